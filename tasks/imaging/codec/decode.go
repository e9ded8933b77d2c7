package codec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// Options says how to decode. The zero value is ready.
type Options struct {
	// MaxPixels is the most pixels that all frames together may have. Default
	// DefaultMaxPixels.
	MaxPixels int64
	// Workers is how many bands of rows are converted at the same time. The
	// decoders themselves use one. Default 1.
	Workers int
	// Pool gives and takes the memory of images. Default none.
	Pool *raster.Pool
}

// Picture is a decoded file: upright, frame by frame.
type Picture struct {
	// Frames has one entry, or those of an animation, all of one size.
	Frames []Frame
	// Loop is how often an animation repeats, in the numbers of image/gif.
	Loop int
	// Profile is the ICC colour profile, nil if there is none.
	Profile []byte
}

// Frame is one picture of an animation.
type Frame struct {
	// Image is what a viewer shows, not only what changed.
	Image *raster.Image
	// Delay is how long, in hundredths of a second.
	Delay int
}

// Decode reads a whole file. It probes first, and refuses what is over the limit
// before it takes memory for pixels; 16 bits per sample stay 16. A file that is
// cut short is an error, never part of a picture. It stops when ctx ends.
func Decode(ctx context.Context, data []byte, opts Options) (pic *Picture, err error) {
	h, err := Probe(data)
	if err != nil {
		return nil, err
	}
	if err := h.Check(opts.MaxPixels); err != nil {
		return nil, err
	}
	defer recovered(&err, h.Format)
	r := &reader{ctx: ctx, r: bytes.NewReader(data)}
	if h.Format == GIF {
		pic, err = decodeGIF(ctx, r, opts)
	} else {
		pic, err = decodeStill(ctx, r, h, opts)
	}
	if err == nil {
		pic.Profile = h.Profile
		return pic, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("decode: %w", context.Cause(ctx))
	}
	return nil, damaged(h.Format, err)
}

func decodeStill(ctx context.Context, r io.Reader, h Header, opts Options) (*Picture, error) {
	var src image.Image
	var err error
	switch h.Format {
	case JPEG:
		src, err = jpeg.Decode(r)
	case PNG:
		src, err = png.Decode(r)
	case WebP:
		src, err = webp.Decode(r)
	default:
		err = fmt.Errorf("no decoder for %s", h.Format)
	}
	if err != nil {
		return nil, err
	}
	if n := int64(src.Bounds().Dx()) * int64(src.Bounds().Dy()); n != int64(h.Width)*int64(h.Height) {
		return nil, errors.New("the pixels are not as many as the header says")
	}
	img, err := convert(ctx, src, h.Format == WebP, opts)
	if err != nil {
		return nil, err
	}
	img, err = raster.Upright(ctx, img, h.Orientation, opts.Workers, opts.Pool)
	if err != nil {
		return nil, err
	}
	return &Picture{Frames: []Frame{{Image: img}}}, nil
}

// reader ends when ctx does, as the decoders know no contexts. It reads bytes
// singly too, so that none of them wraps it in a buffer.
type reader struct {
	ctx context.Context //nolint:containedctx // lives for one call only
	r   *bytes.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (r *reader) ReadByte() (byte, error) { return r.r.ReadByte() }

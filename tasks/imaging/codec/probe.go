package codec

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// DefaultMaxPixels is the limit of pixels unless another is set: 100 MP.
const DefaultMaxPixels = 100_000_000

// Header is what a file says of itself before its pixels are decoded.
type Header struct {
	// Format is told by content.
	Format Format
	// Width and Height are those of the upright picture.
	Width, Height int
	// Frames is 1, or the number of frames of an animated GIF.
	Frames int
	// Orientation is how the stored pixels have to be turned.
	Orientation raster.Orientation
	// Profile is the ICC colour profile, nil if there is none.
	Profile []byte
}

// minFrame is what a frame of an animation counts at least: a million frames of
// one pixel are no small thing either.
const minFrame = 4096

// Pixels returns the pixels of all frames together. A frame of an animation
// counts as 4096 at least.
func (h Header) Pixels() int64 {
	n := int64(h.Width) * int64(h.Height)
	if h.Frames > 1 {
		n = max(n, minFrame) * int64(h.Frames)
	}
	return n
}

// Probe reads the header of a whole file. Whatever the bytes, it takes time in
// proportion to them at most, and no memory for pixels.
func Probe(data []byte) (h Header, err error) {
	format, err := Sniff(data)
	if err != nil {
		return Header{}, err
	}
	defer recovered(&err, format)
	h = Header{Format: format, Frames: 1, Orientation: 1}
	var config image.Config
	r := bytes.NewReader(data)
	switch format {
	case JPEG:
		config, err = jpeg.DecodeConfig(r)
		jpegMeta(data, &h)
	case PNG:
		config, err = png.DecodeConfig(r)
		if animated := pngMeta(data, &h); animated {
			return Header{}, fmt.Errorf("%w: an animated PNG: convert it to GIF first", ErrFormat)
		}
	case GIF:
		config, err = gif.DecodeConfig(r)
		h.Frames = max(1, gifFrames(data))
	case WebP:
		if animated := webpMeta(data, &h); animated {
			return Header{}, fmt.Errorf("%w: an animated WebP: convert it to GIF first", ErrFormat)
		}
		config, err = webp.DecodeConfig(r)
	}
	if err != nil {
		return Header{}, damaged(format, err)
	}
	if config.Width < 1 || config.Height < 1 {
		return Header{}, fmt.Errorf("%w: its header says %dx%d pixels: %s", ErrDamaged, config.Width, config.Height, remedyDamaged)
	}
	h.Width, h.Height = config.Width, config.Height
	if h.Orientation.Swaps() {
		h.Width, h.Height = h.Height, h.Width
	}
	return h, nil
}

// Check refuses a picture of more than maxPixels in all frames together; 0
// stands for DefaultMaxPixels.
func (h Header) Check(maxPixels int64) error {
	if maxPixels <= 0 {
		maxPixels = DefaultMaxPixels
	}
	// A product that overflows has a side of at least 2^31.
	if h.Width >= 1<<31 || h.Height >= 1<<31 || h.Pixels() > maxPixels {
		size := fmt.Sprintf("%dx%d", h.Width, h.Height)
		if h.Frames > 1 {
			size = fmt.Sprintf("%d frames of %s", h.Frames, size)
		}
		return fmt.Errorf("%w: %s is over the limit of %s: raise it (--max-pixels, in JSON max_pixels) if you trust the file",
			ErrTooLarge, size, Megapixels(maxPixels))
	}
	return nil
}

// Megapixels is a number of pixels for people.
func Megapixels(n int64) string {
	if n < 1e4 {
		return fmt.Sprintf("%d pixels", n)
	}
	return fmt.Sprintf("%.4g MP", float64(n)/1e6)
}

// damaged says in plain words what a decoder found.
func damaged(format Format, err error) error {
	var unsupported jpeg.UnsupportedError
	var unsupportedPNG png.UnsupportedError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the %s data is cut short: %s", ErrDamaged, format, remedyDamaged)
	case errors.As(err, &unsupportedPNG) && unsupportedPNG == "dimension overflow":
		return fmt.Errorf("%w: its header says more pixels than can be counted: no limit allows that, and the file is hardly a picture", ErrTooLarge)
	case errors.As(err, &unsupported), errors.As(err, &unsupportedPNG):
		return fmt.Errorf("%w: %w: convert it with another tool first", ErrFormat, err)
	}
	return fmt.Errorf("%w: %w: %s", ErrDamaged, err, remedyDamaged)
}

// recovered turns a decoder's panic into an error: what a file holds must never
// end the process.
func recovered(err *error, format Format) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the %s decoder gave up: %v: %s", ErrDamaged, format, p, remedyDamaged)
	}
}

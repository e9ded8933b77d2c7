package codec

import (
	"bufio"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// DefaultQuality is the quality of JPEG unless another is set.
const DefaultQuality = 90

// Encode writes a picture. The colour profile goes along where it describes what
// is written; other metadata does not: it would describe the picture as it was,
// its thumbnail and its place included.
//
// JPEG has 8 bits, halved chroma, and white where the picture is transparent.
// GIF has at most 256 colours a frame, without dithering, and pixels more than
// half transparent become fully so. A quality of 0 stands for DefaultQuality.
// More than one frame goes into GIF only.
func Encode(ctx context.Context, w io.Writer, pic *Picture, format Format, quality int) error {
	if len(pic.Frames) > 1 && format != GIF {
		return fmt.Errorf("%w: %d frames do not go into one %s: write it as GIF", ErrFormat, len(pic.Frames), format)
	}
	img := pic.Frames[0].Image
	profile := pic.Profile
	if !fits(profile, img.Gray) {
		profile = nil
	}
	out := bufio.NewWriterSize(&writer{ctx: ctx, w: w}, 1<<16)
	var err error
	switch format {
	case JPEG:
		err = encodeJPEG(out, img, profile, quality)
	case PNG:
		err = encodePNG(out, img, profile)
	case GIF:
		err = encodeGIF(ctx, out, pic)
	default:
		err = fmt.Errorf("%w: %q cannot be written: write JPEG, PNG or GIF", ErrFormat, format)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

func encodeJPEG(w io.Writer, img *raster.Image, profile []byte, quality int) error {
	if quality == 0 {
		quality = DefaultQuality
	}
	if quality < 1 || quality > 100 {
		return fmt.Errorf("quality %d: give a number from 1 to 100", quality)
	}
	if profile != nil {
		// After the two bytes that open the file.
		w = &splicer{w: w, after: 2, insert: iccSegments(profile)}
	}
	return jpeg.Encode(w, jpegSource(img), &jpeg.Options{Quality: quality})
}

// jpegSource returns what the encoder has a quick way for.
func jpegSource(img *raster.Image) image.Image {
	if !img.Deep && img.Gray {
		return &image.Gray{Pix: img.Pix, Stride: img.Width, Rect: bounds(img)}
	}
	if !img.Deep && img.Opaque {
		return &image.RGBA{Pix: img.Pix, Stride: 4 * img.Width, Rect: bounds(img)}
	}
	kind := raster.Kind{Gray: img.Gray, Opaque: true}
	out := raster.New(nil, img.Width, img.Height, kind)
	row := make([]uint16, img.Width*img.Channels())
	for y := range img.Height {
		img.ReadRow(y, row)
		flat := row
		if img.Channels() == 4 {
			flat = onWhite(row)
		}
		out.WriteStraight(y, flat)
	}
	return jpegSource(out)
}

// onWhite turns a row multiplied by alpha into an opaque one, in place.
func onWhite(row []uint16) []uint16 {
	flat := row[:0]
	for i := 0; i+3 < len(row); i += 4 {
		white := 0xffff - row[i+3]
		flat = append(flat, row[i]+white, row[i+1]+white, row[i+2]+white)
	}
	return flat
}

func encodePNG(w io.Writer, img *raster.Image, profile []byte) error {
	if profile != nil {
		// After the signature and the header chunk, before the pixels.
		w = &splicer{w: w, after: len(pngMagic) + 25, insert: iccChunk(profile)}
	}
	var src image.Image
	n := img.Width * img.PixelBytes()
	switch {
	case img.Gray && img.Deep:
		src = &image.Gray16{Pix: img.Pix, Stride: n, Rect: bounds(img)}
	case img.Gray:
		src = &image.Gray{Pix: img.Pix, Stride: n, Rect: bounds(img)}
	case img.Deep:
		src = &image.NRGBA64{Pix: img.Pix, Stride: n, Rect: bounds(img)}
	case img.Opaque:
		src = &image.RGBA{Pix: img.Pix, Stride: n, Rect: bounds(img)}
	default:
		src = &image.NRGBA{Pix: img.Pix, Stride: n, Rect: bounds(img)}
	}
	return png.Encode(w, src)
}

func bounds(img *raster.Image) image.Rectangle { return image.Rect(0, 0, img.Width, img.Height) }

// writer ends when ctx does, as the encoders know no contexts.
type writer struct {
	ctx context.Context //nolint:containedctx // lives for one call only
	w   io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// splicer inserts bytes after the first few.
type splicer struct {
	w      io.Writer
	after  int
	insert []byte
}

func (s *splicer) Write(p []byte) (int, error) {
	if s.insert == nil {
		return s.w.Write(p)
	}
	head := min(s.after, len(p))
	n, err := s.w.Write(p[:head])
	if err != nil {
		return n, err
	}
	s.after -= head
	if s.after > 0 {
		return n, nil
	}
	if _, err := s.w.Write(s.insert); err != nil {
		return n, err
	}
	s.insert = nil
	m, err := s.w.Write(p[head:])
	return n + m, err
}

package codec

import (
	"context"
	"image"
	"image/color"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// convert makes a raster of what a decoder returned, without copying where the
// bytes are laid out alike.
func convert(ctx context.Context, src image.Image, video bool, opts Options) (*raster.Image, error) {
	b := src.Bounds()
	switch m := src.(type) {
	case *image.Gray:
		return adopt(m.Pix, m.Stride, b, raster.Kind{Gray: true}, opts), nil
	case *image.Gray16:
		return adopt(m.Pix, m.Stride, b, raster.Kind{Gray: true, Deep: true}, opts), nil
	case *image.RGBA: // the decoders use it only without alpha
		return adopt(m.Pix, m.Stride, b, raster.Kind{Opaque: true}, opts), nil
	case *image.RGBA64:
		return adopt(m.Pix, m.Stride, b, raster.Kind{Opaque: true, Deep: true}, opts), nil
	case *image.NRGBA:
		out := adopt(m.Pix, m.Stride, b, raster.Kind{}, opts)
		out.CheckOpaque()
		return out, nil
	case *image.NRGBA64:
		out := adopt(m.Pix, m.Stride, b, raster.Kind{Deep: true}, opts)
		out.CheckOpaque()
		return out, nil
	case *image.YCbCr:
		return chroma(ctx, m, video, opts)
	case *image.NYCbCrA:
		return withAlpha(ctx, m, video, opts)
	}
	return generic(ctx, src, opts)
}

// adopt wraps pixels, or copies them if rows have gaps.
func adopt(pix []byte, stride int, b image.Rectangle, kind raster.Kind, opts Options) *raster.Image {
	w, h := b.Dx(), b.Dy()
	out := &raster.Image{Width: w, Height: h, Gray: kind.Gray, Deep: kind.Deep, Opaque: kind.Opaque || kind.Gray}
	n := w * out.PixelBytes()
	if stride == n && len(pix) >= n*h {
		out.Pix = pix[:n*h]
		return out
	}
	out = raster.New(opts.Pool, w, h, kind)
	for y := range h {
		copy(out.Row(y), pix[y*stride:])
	}
	return out
}

// generic converts what is rare: paletted pictures and CMYK.
func generic(ctx context.Context, src image.Image, opts Options) (*raster.Image, error) {
	b := src.Bounds()
	out := raster.New(opts.Pool, b.Dx(), b.Dy(), raster.Kind{})
	var table []color.NRGBA
	paletted, _ := src.(*image.Paletted)
	if paletted != nil {
		for _, c := range paletted.Palette {
			n, _ := color.NRGBAModel.Convert(c).(color.NRGBA)
			table = append(table, n)
		}
	}
	err := raster.Rows(ctx, opts.Workers, out.Height, func(y int) {
		row := out.Row(y)
		for x := range out.Width {
			var c color.NRGBA
			if paletted != nil {
				// The decoder lengthens the palette to cover every index.
				c = table[paletted.ColorIndexAt(b.Min.X+x, b.Min.Y+y)]
			} else {
				c, _ = color.NRGBAModel.Convert(src.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
			}
			p := row[4*x : 4*x+4]
			p[0], p[1], p[2], p[3] = c.R, c.G, c.B, c.A
		}
	})
	if err != nil {
		return nil, err
	}
	out.CheckOpaque()
	return out, nil
}

package codec

import (
	"context"
	"image"
	"image/color"
	"image/gif"
	"io"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// gifFrames counts the frames of a GIF file without decoding them. It stops at
// what it cannot follow; the decoder judges that.
func gifFrames(data []byte) int {
	if len(data) < 13 {
		return 0
	}
	rest := skipTable(data[13:], data[10])
	frames := 0
	for len(rest) > 0 {
		switch rest[0] {
		case 0x21: // extension: a label, then blocks
			if len(rest) < 2 {
				return frames
			}
			rest = skipBlocks(rest[2:])
		case 0x2c: // image: descriptor, its colour table, a code size, blocks
			if len(rest) < 10 {
				return frames
			}
			frames++
			rest = skipTable(rest[10:], rest[9])
			if len(rest) < 1 {
				return frames
			}
			rest = skipBlocks(rest[1:])
		default:
			return frames
		}
	}
	return frames
}

func skipTable(b []byte, flags byte) []byte {
	if flags&0x80 == 0 {
		return b
	}
	return b[min(len(b), 3<<(flags&7+1)):]
}

func skipBlocks(b []byte) []byte {
	for len(b) > 0 {
		n := int(b[0])
		b = b[min(len(b), 1+n):]
		if n == 0 {
			break
		}
	}
	return b
}

// decodeGIF composes every frame to what a viewer shows at its time.
func decodeGIF(ctx context.Context, r io.Reader, opts Options) (*Picture, error) {
	g, err := gif.DecodeAll(r)
	if err != nil {
		return nil, err
	}
	pic := &Picture{Loop: g.LoopCount}
	canvas := image.NewNRGBA(image.Rect(0, 0, g.Config.Width, g.Config.Height))
	var before []byte
	for i, frame := range g.Image {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if g.Disposal[i] == gif.DisposalPrevious {
			before = append(before[:0], canvas.Pix...)
		}
		paint(canvas, frame)
		img := raster.New(opts.Pool, canvas.Rect.Dx(), canvas.Rect.Dy(), raster.Kind{})
		copy(img.Pix, canvas.Pix)
		img.CheckOpaque()
		pic.Frames = append(pic.Frames, Frame{Image: img, Delay: g.Delay[i]})
		switch g.Disposal[i] {
		case gif.DisposalPrevious:
			copy(canvas.Pix, before)
		case gif.DisposalBackground:
			// Viewers clear to transparent, whatever the background colour says.
			wipe(canvas, frame.Rect)
		}
	}
	return pic, nil
}

// paint puts what is not transparent of a frame on the canvas.
func paint(canvas *image.NRGBA, frame *image.Paletted) {
	var table [256][4]byte
	for i, c := range frame.Palette {
		n, _ := color.NRGBAModel.Convert(c).(color.NRGBA)
		table[i] = [4]byte{n.R, n.G, n.B, n.A}
	}
	area := frame.Rect.Intersect(canvas.Rect)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		src := frame.Pix[frame.PixOffset(area.Min.X, y):]
		dst := canvas.Pix[canvas.PixOffset(area.Min.X, y):]
		for x := range area.Dx() {
			if c := table[src[x]]; c[3] != 0 {
				copy(dst[4*x:4*x+4], c[:])
			}
		}
	}
}

func wipe(canvas *image.NRGBA, area image.Rectangle) {
	area = area.Intersect(canvas.Rect)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		i := canvas.PixOffset(area.Min.X, y)
		clear(canvas.Pix[i : i+4*area.Dx()])
	}
}

// encodeGIF writes every frame in full, each with colours of its own.
func encodeGIF(ctx context.Context, w io.Writer, pic *Picture) error {
	first := pic.Frames[0].Image
	g := gif.GIF{LoopCount: pic.Loop, Config: image.Config{Width: first.Width, Height: first.Height}}
	// A frame shows through the holes of the next unless it is cleared.
	disposal := byte(gif.DisposalNone)
	for _, f := range pic.Frames {
		if !f.Image.Opaque {
			disposal = gif.DisposalBackground
		}
	}
	for _, f := range pic.Frames {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.Image = append(g.Image, quantize(f.Image))
		g.Delay = append(g.Delay, f.Delay)
		g.Disposal = append(g.Disposal, disposal)
	}
	return gif.EncodeAll(w, &g)
}

package codec_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// The files beside are compared with what Pillow, on libjpeg-turbo and libwebp,
// makes of them. Repeated chroma, or WebP taken for full range, is off by far more.
func TestDecodeAgreesWithPillow(t *testing.T) {
	t.Parallel()
	for name, within := range map[string]float64{
		"444.jpg": 3, "422.jpg": 3, "420.jpg": 3, "progressive.jpg": 3, "cmyk.jpg": 3,
		"lossy.webp": 3, "alpha.webp": 3, "lossless.webp": 0,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := decode(t, testdata(t, name)).Frames[0].Image
			want := decode(t, testdata(t, name+".png")).Frames[0].Image
			if d := worst(t, got, want); d > within {
				t.Errorf("Decode(%s) differs from Pillow by %.1f, want at most %.0f", name, d, within)
			}
		})
	}
}

func TestDecodeTurnsUpright(t *testing.T) {
	t.Parallel()
	const w, h = 48, 32
	stored := drawing(w, h)
	for _, format := range []codec.Format{codec.JPEG, codec.PNG} {
		data := pngBytes(t, stored)
		if format == codec.JPEG {
			data = jpegBytes(t, stored)
		}
		plain := decode(t, data).Frames[0].Image
		for o := uint16(1); o <= 8; o++ {
			for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
				got := decode(t, oriented(format, data, exif(order, o))).Frames[0].Image
				want := turn(plain, int(o))
				if diff := cmp.Diff(want.Pix, got.Pix); diff != "" || got.Width != want.Width {
					t.Errorf("Decode(%s, orientation %d, %v) is not upright", format, o, order)
				}
			}
		}
	}
}

// turn makes upright by the words of the EXIF standard: which edge of the picture
// the stored first row and first column are.
func turn(m *raster.Image, o int) *raster.Image {
	type edges struct{ row, column string }
	is := map[int]edges{
		1: {"top", "left"}, 2: {"top", "right"}, 3: {"bottom", "right"}, 4: {"bottom", "left"},
		5: {"left", "top"}, 6: {"right", "top"}, 7: {"right", "bottom"}, 8: {"left", "bottom"},
	}[o]
	w, h := m.Width, m.Height
	if is.row == "left" || is.row == "right" {
		w, h = h, w
	}
	out := raster.New(nil, w, h, m.Kind())
	place := map[string]func(i int) (axis string, at int){
		"top":    func(i int) (string, int) { return "y", i },
		"bottom": func(i int) (string, int) { return "y", h - 1 - i },
		"left":   func(i int) (string, int) { return "x", i },
		"right":  func(i int) (string, int) { return "x", w - 1 - i },
	}
	for row := range m.Height {
		for column := range m.Width {
			pos := map[string]int{}
			axis, i := place[is.row](row)
			pos[axis] = i
			axis, i = place[is.column](column)
			pos[axis] = i
			copy(out.Pix[4*(pos["y"]*w+pos["x"]):][:4], m.Pix[4*(row*m.Width+column):][:4])
		}
	}
	return out
}

func TestProbeTellsUprightSize(t *testing.T) {
	t.Parallel()
	data := oriented(codec.JPEG, jpegBytes(t, drawing(40, 24)), exif(binary.BigEndian, 6))
	h, err := codec.Probe(data)
	if err != nil {
		t.Fatal(err)
	}
	if h.Width != 24 || h.Height != 40 || h.Orientation != 6 {
		t.Errorf("Probe = %dx%d orientation %d, want 24x40 orientation 6", h.Width, h.Height, h.Orientation)
	}
}

func TestDecodeKeepsDepth(t *testing.T) {
	t.Parallel()
	deep := image.NewNRGBA64(image.Rect(0, 0, 3, 2))
	gray := image.NewGray16(deep.Rect)
	for i := range 6 {
		deep.SetNRGBA64(i%3, i/3, color.NRGBA64{R: uint16(1000*i + 1), G: 0x1234, B: 0xfedc, A: uint16(0xffff - 7*i)})
		gray.SetGray16(i%3, i/3, color.Gray16{Y: uint16(1000*i + 1)})
	}
	for _, m := range []image.Image{deep, gray} {
		pic := decode(t, pngBytes(t, m))
		if !pic.Frames[0].Image.Deep {
			t.Errorf("Decode(%T).Deep = false, want true", m)
		}
		again := decode(t, encode(t, pic, codec.PNG)).Frames[0].Image
		for i := range 6 {
			want, _ := color.NRGBA64Model.Convert(m.At(i%3, i/3)).(color.NRGBA64)
			if m == image.Image(deep) {
				want = deep.NRGBA64At(i%3, i/3)
			}
			if got := at(again, i%3, i/3); got != want {
				t.Errorf("pixel %d of %T = %v after a round trip, want %v", i, m, got, want)
			}
		}
	}
}

func TestDecodePaletted(t *testing.T) {
	t.Parallel()
	m := image.NewPaletted(image.Rect(0, 0, 3, 1), color.Palette{
		color.NRGBA{R: 10, G: 20, B: 30, A: 0xff}, color.NRGBA{R: 200, G: 100, B: 50, A: 0x80}, color.NRGBA{},
	})
	m.Pix = []uint8{0, 1, 2}
	img := decode(t, pngBytes(t, m)).Frames[0].Image
	want := []byte{10, 20, 30, 0xff, 200, 100, 50, 0x80, 0, 0, 0, 0}
	if diff := cmp.Diff(want, img.Pix); diff != "" || img.Opaque {
		t.Errorf("Decode(paletted) opaque %t (-want +got):\n%s", img.Opaque, diff)
	}
}

func TestDecodeCutShort(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{
		"jpeg":        jpegBytes(t, drawing(64, 48)),
		"progressive": testdata(t, "progressive.jpg"),
		"png":         pngBytes(t, drawing(64, 48)),
		"gif":         gifBytes(t, animation(3)),
		"webp":        testdata(t, "lossy.webp"),
		"webp alpha":  testdata(t, "alpha.webp"),
		"lossless":    testdata(t, "lossless.webp"),
	}
	for name, data := range files {
		for _, tenths := range []int{1, 3, 5, 7, 9} {
			_, err := codec.Decode(t.Context(), data[:len(data)*tenths/10], codec.Options{})
			if !errors.Is(err, codec.ErrDamaged) {
				t.Errorf("Decode(%s cut to %d %%) = %v, want ErrDamaged", name, 10*tenths, err)
			} else if !strings.Contains(err.Error(), "again") {
				t.Errorf("Decode(%s cut to %d %%) = %q, which names no remedy", name, 10*tenths, err)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	ihdr := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 30000), 30000)
	bombPNG := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(ihdr, 8, 2, 0, 0, 0))...)
	bombPNG = append(bombPNG, chunk("IDAT", make([]byte, 64))...)
	bare := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 1<<31-1), 1<<31-1)
	endlessPNG := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(bare, 8, 2, 0, 0, 0))...)
	bombJPEG := append([]byte{0xff, 0xd8}, segment(0xc0, []byte{8, 0xff, 0xff, 0xff, 0xff, 1, 1, 0x11, 0})...)
	bombJPEG = append(bombJPEG, segment(0xda, []byte{1, 1, 0, 0, 63, 0})...)
	bombGIF := append([]byte("GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff"), ",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;"...)
	for _, c := range []struct {
		name string
		data []byte
		want error
		says []string
	}{
		{"nothing", nil, codec.ErrDamaged, []string{"empty"}},
		{"text", []byte("hello, this is a text\n"), codec.ErrFormat, []string{`"hello, this "`, "JPEG, PNG, GIF or WebP"}},
		{"png bomb", bombPNG, codec.ErrTooLarge, []string{"30000x30000", "100 MP", "--max-pixels", "max_pixels"}},
		{"png of 2^31-1 by 2^31-1", endlessPNG, codec.ErrTooLarge, []string{"more pixels than can be counted", "no limit allows"}},
		{"jpeg bomb", bombJPEG, codec.ErrTooLarge, []string{"65535x65535", "--max-pixels", "max_pixels"}},
		{"gif bomb", bombGIF, codec.ErrTooLarge, []string{"65535x65535", "--max-pixels", "max_pixels"}},
		{"animated webp", testdata(t, "animated.webp"), codec.ErrFormat, []string{"animated WebP", "GIF"}},
		{"animated png", testdata(t, "animated.png"), codec.ErrFormat, []string{"animated PNG", "GIF"}},
		{"flipped bits", flipped(pngBytes(t, drawing(9, 9))), codec.ErrDamaged, []string{"again"}},
	} {
		_, err := codec.Decode(t.Context(), c.data, codec.Options{})
		if !errors.Is(err, c.want) {
			t.Errorf("Decode(%s) = %v, want %v", c.name, err, c.want)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("Decode(%s) = %q, which does not say %q", c.name, err, s)
			}
		}
	}
}

func flipped(data []byte) []byte {
	data[len(data)/2] ^= 0x55
	return data
}

// A low limit was "1e-05 MP".
func TestMegapixels(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{10: "10 pixels", 9_999: "9999 pixels", 25_000: "0.025 MP", 100_000_000: "100 MP"} {
		if got := codec.Megapixels(n); got != want {
			t.Errorf("Megapixels(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDecodeLimitCountsFrames(t *testing.T) {
	t.Parallel()
	data := gifBytes(t, animation(5)) // 5 frames that count as 4096 pixels each
	if _, err := codec.Decode(t.Context(), data, codec.Options{MaxPixels: 5 * 4096}); err != nil {
		t.Errorf("Decode(5 frames, limit 20480) = %v, want no error", err)
	}
	_, err := codec.Decode(t.Context(), data, codec.Options{MaxPixels: 5*4096 - 1})
	if !errors.Is(err, codec.ErrTooLarge) || !strings.Contains(fmt.Sprint(err), "5 frames of") {
		t.Errorf("Decode(5 frames, limit 20479) = %v, want ErrTooLarge naming the frames", err)
	}
}

func TestDecodeStopsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, data := range map[string][]byte{
		"jpeg": jpegBytes(t, drawing(64, 48)), "png": pngBytes(t, drawing(64, 48)), "gif": gifBytes(t, animation(3)),
	} {
		_, err := codec.Decode(ctx, data, codec.Options{})
		if !errors.Is(err, context.Canceled) || errors.Is(err, codec.ErrDamaged) {
			t.Errorf("Decode(%s, ended context) = %v, want context.Canceled and not ErrDamaged", name, err)
		}
	}
}

// animation has frames that cover parts of the canvas, and each way of disposal.
func animation(n int) *gif.GIF {
	palette := color.Palette{
		color.NRGBA{}, color.NRGBA{R: 0xff, A: 0xff}, color.NRGBA{G: 0xff, A: 0xff}, color.NRGBA{B: 0xff, A: 0xff},
	}
	g := &gif.GIF{Config: image.Config{Width: 6, Height: 4}, LoopCount: 3}
	for i := range n {
		area := image.Rect(i%3, i%2, i%3+3, i%2+3)
		if i == 0 {
			area = image.Rect(0, 0, 6, 4)
		}
		f := image.NewPaletted(area, palette)
		for j := range f.Pix {
			f.Pix[j] = uint8(1 + i%3)
		}
		if i > 0 {
			f.Pix[4] = 0 // a hole in the middle
		}
		g.Image = append(g.Image, f)
		g.Delay = append(g.Delay, 10*i+5)
		g.Disposal = append(g.Disposal, []byte{gif.DisposalNone, gif.DisposalPrevious, gif.DisposalBackground}[i%3])
	}
	return g
}

func TestDecodeComposesAnimation(t *testing.T) {
	t.Parallel()
	pic := decode(t, gifBytes(t, animation(4)))
	want := []string{
		"rrrrrr/rrrrrr/rrrrrr/rrrrrr",
		// Frame 1 at (1,1), with a hole.
		"rrrrrr/rgggrr/rgrgrr/rgggrr",
		// Frame 1 was undone; frame 2 at (2,0).
		"rrbbbr/rrbrbr/rrbbbr/rrrrrr",
		// Frame 2 was cleared; frame 3, at (0,1), covers a part.
		"rr...r/rrr..r/rrr..r/rrrrrr",
	}
	for i, f := range pic.Frames {
		if got := letters(f.Image); got != want[i] {
			t.Errorf("frame %d = %s, want %s", i, got, want[i])
		}
		if f.Delay != 10*i+5 {
			t.Errorf("frame %d has delay %d, want %d", i, f.Delay, 10*i+5)
		}
	}
	if pic.Loop != 3 {
		t.Errorf("Loop = %d, want 3", pic.Loop)
	}
	again := decode(t, encode(t, pic, codec.GIF))
	for i, f := range again.Frames {
		if got := letters(f.Image); got != want[i] || f.Delay != pic.Frames[i].Delay {
			t.Errorf("frame %d = %s with delay %d after a round trip, want %s and %d", i, got, f.Delay, want[i], pic.Frames[i].Delay)
		}
	}
	if again.Loop != 3 {
		t.Errorf("Loop = %d after a round trip, want 3", again.Loop)
	}
}

// letters draws a picture in red, green, blue and transparent.
func letters(m *raster.Image) string {
	var b strings.Builder
	for y := range m.Height {
		if y > 0 {
			b.WriteByte('/')
		}
		for x := range m.Width {
			c := at(m, x, y)
			switch {
			case c.A == 0:
				b.WriteByte('.')
			case c.R == 0xffff && c.G == 0 && c.B == 0:
				b.WriteByte('r')
			case c.R == 0 && c.G == 0xffff && c.B == 0:
				b.WriteByte('g')
			case c.R == 0 && c.G == 0 && c.B == 0xffff:
				b.WriteByte('b')
			default:
				b.WriteByte('?')
			}
		}
	}
	return b.String()
}

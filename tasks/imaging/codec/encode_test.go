package codec_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

func TestProfileGoesAlong(t *testing.T) {
	t.Parallel()
	for _, n := range []int{128, 3144, 65519, 65520, 200_000} {
		want := profile(n, "RGB ")
		pic := decode(t, jpegBytes(t, drawing(20, 10)))
		pic.Profile = want
		for _, format := range []codec.Format{codec.JPEG, codec.PNG, codec.JPEG} {
			data := encode(t, pic, format)
			if format == codec.JPEG && !bytes.HasPrefix(data, []byte("\xff\xd8\xff\xe2")) {
				t.Errorf("a JPEG with a profile begins with %x, want the profile's segment first", data[:4])
			}
			pic = decode(t, data)
			if diff := cmp.Diff(want, pic.Profile); diff != "" {
				t.Errorf("profile of %d bytes through %s is another (%d bytes)", n, format, len(pic.Profile))
			}
		}
	}
}

func TestProfileOfAnotherSpaceIsDropped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		space      string
		gray, kept bool
	}{{"RGB ", false, true}, {"RGB ", true, false}, {"GRAY", true, true}, {"GRAY", false, false}, {"CMYK", false, false}} {
		img := raster.New(nil, 4, 4, raster.Kind{Gray: c.gray, Opaque: true})
		pic := &codec.Picture{Frames: []codec.Frame{{Image: img}}, Profile: profile(200, c.space)}
		for _, format := range []codec.Format{codec.JPEG, codec.PNG} {
			if got := decode(t, encode(t, pic, format)).Profile != nil; got != c.kept {
				t.Errorf("Encode(%s, gray %t) keeps a profile for %q: %t, want %t", format, c.gray, c.space, got, c.kept)
			}
		}
	}
}

func TestOrientationIsReset(t *testing.T) {
	t.Parallel()
	data := oriented(codec.JPEG, jpegBytes(t, drawing(40, 24)), exif(bigEndian, 6))
	for _, format := range []codec.Format{codec.JPEG, codec.PNG} {
		out := encode(t, decode(t, data), format)
		h, err := codec.Probe(out)
		if err != nil || h.Orientation != 1 || h.Width != 24 || h.Height != 40 {
			t.Errorf("Probe(output) = %dx%d orientation %d, %v, want 24x40 orientation 1", h.Width, h.Height, h.Orientation, err)
		}
		if bytes.Contains(out, []byte("Exif\x00")) {
			t.Errorf("the %s output has EXIF data, want none", format)
		}
	}
}

func TestEncodeJPEGOnWhite(t *testing.T) {
	t.Parallel()
	for _, deep := range []bool{false, true} {
		img := raster.New(nil, 16, 16, raster.Kind{Deep: deep})
		row := make([]uint16, 16*4)
		for x := range 16 {
			row[4*x] = 0xffff         // red
			row[4*x+3] = 0x8000 &^ 15 // half of it
		}
		for y := range 16 {
			img.WriteStraight(y, row)
		}
		pic := &codec.Picture{Frames: []codec.Frame{{Image: img}}}
		got := at(decode(t, encode(t, pic, codec.JPEG)).Frames[0].Image, 8, 8)
		if math.Abs(float64(got.R)-0xffff) > 700 || math.Abs(float64(got.G)-0x8000) > 700 || got.A != 0xffff {
			t.Errorf("half transparent red (deep %t) became %v in JPEG, want half white", deep, got)
		}
	}
}

func TestEncodeGIFOfManyColours(t *testing.T) {
	t.Parallel()
	pic := decode(t, pngBytes(t, drawing(200, 150)))
	got := decode(t, encode(t, pic, codec.GIF)).Frames[0].Image
	if p := psnr(got, pic.Frames[0].Image); p < 30 {
		t.Errorf("a gradient in 256 colours has PSNR %.1f dB, want at least 30", p)
	}
	if !got.Opaque {
		t.Error("an opaque picture became transparent in GIF")
	}
	deep := decode(t, pngBytes(t, drawing(20, 15)))
	deep.Frames[0].Image = deepen(deep.Frames[0].Image)
	shallow := decode(t, pngBytes(t, drawing(20, 15)))
	if !bytes.Equal(encode(t, deep, codec.GIF), encode(t, shallow, codec.GIF)) {
		t.Error("the same picture at 16 and 8 bits gave different GIFs")
	}
}

func deepen(m *raster.Image) *raster.Image {
	kind := m.Kind()
	kind.Deep = true
	out := raster.New(nil, m.Width, m.Height, kind)
	row := make([]uint16, m.Width*m.Channels())
	for y := range m.Height {
		m.ReadStraight(y, row)
		out.WriteStraight(y, row)
	}
	return out
}

func psnr(a, b *raster.Image) float64 {
	sum, n := 0.0, 0
	for y := range a.Height {
		for x := range a.Width {
			p, q := at(a, x, y), at(b, x, y)
			for _, d := range []float64{float64(p.R) - float64(q.R), float64(p.G) - float64(q.G), float64(p.B) - float64(q.B)} {
				sum += d * d
				n++
			}
		}
	}
	return 10 * math.Log10(0xffff*0xffff/(sum/float64(n)))
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	pic := decode(t, gifBytes(t, animation(3)))
	for _, format := range []codec.Format{codec.JPEG, codec.PNG} {
		if err := codec.Encode(t.Context(), io.Discard, pic, format, 0); !errors.Is(err, codec.ErrFormat) {
			t.Errorf("Encode(3 frames, %s) = %v, want ErrFormat", format, err)
		}
	}
	still := decode(t, pngBytes(t, drawing(4, 4)))
	if err := codec.Encode(t.Context(), io.Discard, still, codec.WebP, 0); !errors.Is(err, codec.ErrFormat) {
		t.Errorf("Encode(webp) = %v, want ErrFormat", err)
	}
	if err := codec.Encode(t.Context(), io.Discard, still, codec.JPEG, 101); err == nil {
		t.Error("Encode(quality 101) = nil, want an error")
	}
}

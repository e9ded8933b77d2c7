package codec_test

import (
	"encoding/binary"
	"testing"

	"github.com/faena-dev/faena/tasks/imaging/codec"
)

var bigEndian = binary.BigEndian

func seeds(f *testing.F) {
	f.Helper()
	for _, name := range []string{"420.jpg", "progressive.jpg", "cmyk.jpg", "lossy.webp", "alpha.webp", "lossless.webp", "animated.webp", "animated.png"} {
		f.Add(testdata(f, name))
	}
	f.Add(pngBytes(f, drawing(9, 7)))
	f.Add(oriented(codec.PNG, pngBytes(f, drawing(9, 7)), exif(bigEndian, 6)))
	f.Add(oriented(codec.JPEG, jpegBytes(f, drawing(9, 7)), exif(binary.LittleEndian, 8)))
	f.Add(gifBytes(f, animation(4)))
}

// Whatever the bytes, a header is sound or an error.
func FuzzProbe(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := codec.Probe(data)
		if err != nil {
			return
		}
		if h.Width < 1 || h.Height < 1 || h.Frames < 1 || h.Orientation < 1 || h.Orientation > 8 {
			t.Errorf("Probe = %+v, want sizes and frames above 0 and an orientation from 1 to 8", h)
		}
	})
}

// Whatever the bytes, a picture has the size that was probed, can be written, and
// is then read as the same again.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		pic, err := codec.Decode(t.Context(), data, codec.Options{MaxPixels: 1 << 18})
		if err != nil {
			return
		}
		h, err := codec.Probe(data)
		if err != nil {
			t.Fatalf("Probe = %v after Decode succeeded", err)
		}
		for _, frame := range pic.Frames {
			m := frame.Image
			if m.Width != h.Width || m.Height != h.Height || len(m.Pix) != m.Width*m.Height*m.PixelBytes() {
				t.Fatalf("Decode = %dx%d with %d bytes, Probe = %dx%d", m.Width, m.Height, len(m.Pix), h.Width, h.Height)
			}
		}
		again := decode(t, encode(t, &codec.Picture{Frames: pic.Frames[:1]}, codec.PNG))
		if d := worst(t, again.Frames[0].Image, pic.Frames[0].Image); d != 0 {
			t.Errorf("the picture differs by %.2f after a round trip through PNG", d)
		}
	})
}

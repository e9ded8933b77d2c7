package codec_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

func testdata(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func decode(tb testing.TB, data []byte) *codec.Picture {
	tb.Helper()
	pic, err := codec.Decode(tb.Context(), data, codec.Options{Workers: 2})
	if err != nil {
		tb.Fatalf("Decode = %v", err)
	}
	return pic
}

func encode(tb testing.TB, pic *codec.Picture, format codec.Format) []byte {
	tb.Helper()
	var out bytes.Buffer
	if err := codec.Encode(tb.Context(), &out, pic, format, 95); err != nil {
		tb.Fatalf("Encode(%s) = %v", format, err)
	}
	return out.Bytes()
}

// at returns pixel (x, y) as 16-bit samples that are not multiplied by alpha.
func at(m *raster.Image, x, y int) color.NRGBA64 {
	row := make([]uint16, m.Width*m.Channels())
	m.ReadStraight(y, row)
	p := row[x*m.Channels() : (x+1)*m.Channels()]
	switch len(p) {
	case 1:
		return color.NRGBA64{R: p[0], G: p[0], B: p[0], A: 0xffff}
	case 3:
		return color.NRGBA64{R: p[0], G: p[1], B: p[2], A: 0xffff}
	}
	return color.NRGBA64{R: p[0], G: p[1], B: p[2], A: p[3]}
}

// worst returns the largest difference of two images of one size, in 8-bit
// steps, over samples that weigh more than a trace of alpha.
func worst(t *testing.T, a, b *raster.Image) float64 {
	t.Helper()
	if a.Width != b.Width || a.Height != b.Height {
		t.Fatalf("sizes differ: %dx%d and %dx%d", a.Width, a.Height, b.Width, b.Height)
	}
	most := 0.0
	for y := range a.Height {
		for x := range a.Width {
			p, q := at(a, x, y), at(b, x, y)
			most = max(most, math.Abs(float64(p.A)-float64(q.A)))
			if q.A < 0x0400 {
				continue
			}
			for _, d := range []float64{float64(p.R) - float64(q.R), float64(p.G) - float64(q.G), float64(p.B) - float64(q.B)} {
				most = max(most, math.Abs(d))
			}
		}
	}
	return most / 257
}

// drawing is a picture without symmetries.
func drawing(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{R: uint8(255 * x / w), G: uint8(255 * y / h), B: uint8(128 + 60*(x*2/w)), A: 0xff})
		}
	}
	return m
}

func pngBytes(tb testing.TB, m image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func jpegBytes(tb testing.TB, m image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gifBytes(tb testing.TB, g *gif.GIF) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// insert returns data with more after its first n bytes.
func insert(data []byte, n int, more ...byte) []byte {
	out := append([]byte(nil), data[:n]...)
	return append(append(out, more...), data[n:]...)
}

// segment returns a JPEG segment.
func segment(marker byte, body []byte) []byte {
	out := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(body)+2))
	return append(out, body...)
}

// chunk returns a PNG chunk.
func chunk(name string, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, name...), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// exif returns a TIFF file with the orientation after another entry.
func exif(order binary.AppendByteOrder, o uint16) []byte {
	b := []byte("MM\x00*")
	if order == binary.LittleEndian {
		b = []byte("II*\x00")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 0x0100)
	b = order.AppendUint16(b, 4)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint32(b, 77)
	b = order.AppendUint16(b, 0x0112)
	b = order.AppendUint16(b, 3)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, o)
	b = order.AppendUint16(b, 0)
	return order.AppendUint32(b, 0)
}

// oriented returns the data of a picture with the orientation in its metadata.
func oriented(format codec.Format, data []byte, tiff []byte) []byte {
	switch format {
	case codec.JPEG:
		return insert(data, 2, segment(0xe1, append([]byte("Exif\x00\x00"), tiff...))...)
	case codec.PNG:
		return insert(data, 33, chunk("eXIf", tiff)...)
	default:
		panic("no metadata for " + format)
	}
}

// profile returns what passes for a colour profile of the given length.
func profile(n int, space string) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	copy(p[16:], space)
	copy(p[36:], "acsp")
	return p
}

package imaging_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/imaging"
)

// open gives a node with an engine in dir, both closed at the test's end.
func open(t *testing.T, dir string, o faena.Options) *faena.Node {
	t.Helper()
	eng, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	node, err := faena.Open(t.Context(), eng, o)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return node
}

func handle(t *testing.T, node *faena.Node, o imaging.Options) {
	t.Helper()
	if err := node.Handle(imaging.Handlers(o)...); err != nil {
		t.Fatalf("Handle = %v", err)
	}
}

func drawing(w, h, seed int) *image.Paletted {
	p := make(color.Palette, 256)
	for i := range p {
		p[i] = color.RGBA{R: uint8(i), G: uint8(i * seed), B: uint8(255 - i), A: 0xff}
	}
	m := image.NewPaletted(image.Rect(0, 0, w, h), p)
	for i := range m.Pix {
		m.Pix[i] = uint8(i%w + i/w*seed)
	}
	return m
}

func jpegOf(tb testing.TB, w, h, seed int) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, drawing(w, h, seed), nil); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(tb testing.TB, w, h, seed int) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, drawing(w, h, seed)); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gifOf(tb testing.TB, w, h, frames int) []byte {
	tb.Helper()
	g := new(gif.GIF)
	for i := range frames {
		g.Image, g.Delay = append(g.Image, drawing(w, h, i+1)), append(g.Delay, 5)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// turned is a JPEG whose EXIF data say that it has to be turned by a quarter.
func turned(data []byte) []byte {
	exif := []byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00")
	head := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(len(exif)+2))
	return slices.Concat(head, exif, data[2:])
}

// bomb is a PNG of 900 million pixels in few bytes.
func bomb() []byte {
	body := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), 30000), 30000)
	body = append(body, 8, 2, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
}

func write(tb testing.TB, data []byte, parts ...string) string {
	tb.Helper()
	name := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		tb.Fatal(err)
	}
	return name
}

// tree are the names below dir, directories excepted, and what they hold.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		out[rel] = string(data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

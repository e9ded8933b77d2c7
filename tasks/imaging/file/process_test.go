package file_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/file"
	"github.com/faena-dev/faena/tasks/imaging/filter"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

func chain(tb testing.TB, spec string) filter.Chain {
	tb.Helper()
	c, err := filter.Parse(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func drawing(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, color.RGBA{R: uint8(255 * x / w), G: uint8(255 * y / h), B: 99, A: 0xff})
		}
	}
	return m
}

func encoded(tb testing.TB, format codec.Format, w, h int) []byte {
	tb.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case codec.JPEG:
		err = jpeg.Encode(&b, drawing(w, h), nil)
	case codec.PNG:
		err = png.Encode(&b, drawing(w, h))
	case codec.GIF:
		err = gif.Encode(&b, drawing(w, h), nil)
	default:
		tb.Fatalf("no encoder for %s", format)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
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

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// tree returns the files below dir and what they hold.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		out[rel] = string(read(tb, path))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, format := range []codec.Format{codec.JPEG, codec.PNG, codec.GIF} {
		in := write(t, encoded(t, format, 90, 60), dir, "in."+string(format))
		out := filepath.Join(dir, "made", "for it", "out."+string(format))
		res, err := file.Process(t.Context(), in, out, chain(t, "resize:30,blur:1"), file.Options{Workers: 2, Pool: &raster.Pool{}})
		if err != nil {
			t.Fatalf("Process(%s) = %v", format, err)
		}
		data := read(t, out)
		sum := sha256.Sum256(data)
		want := file.Result{
			Item: file.Item{In: in, Out: out}, Format: format, WidthIn: 90, HeightIn: 60, Width: 30, Height: 20, Frames: 1,
			BytesIn: int64(len(read(t, in))), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), ElapsedMS: res.ElapsedMS,
		}
		if diff := cmp.Diff(want, res); diff != "" {
			t.Errorf("Process(%s) (-want +got):\n%s", format, diff)
		}
		if h, err := codec.Probe(data); err != nil || h.Format != format || h.Width != 30 || h.Height != 20 {
			t.Errorf("the output is %s %dx%d, %v, want %s 30x20", h.Format, h.Width, h.Height, err, format)
		}
	}
	if got := len(tree(t, filepath.Join(dir, "made"))); got != 3 {
		t.Errorf("%d files in the output directory, want the 3 outputs alone", got)
	}
}

func TestProcessTellsFormatByContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	webp := read(t, filepath.Join("..", "codec", "testdata", "lossy.webp"))
	for _, c := range []struct {
		in   []byte
		out  string
		want codec.Format
	}{
		{webp, "a.png", codec.PNG},
		{webp, "a", codec.PNG},
		{webp, "a.jpg", codec.JPEG},
		{encoded(t, codec.PNG, 9, 9), "b", codec.PNG},
		{encoded(t, codec.PNG, 9, 9), "b.JPEG", codec.JPEG},
		{encoded(t, codec.JPEG, 9, 9), "c.dat", codec.JPEG},
		{encoded(t, codec.JPEG, 9, 9), "c.gif", codec.GIF},
	} {
		in := write(t, c.in, dir, "misnamed.txt")
		out := filepath.Join(dir, "out", c.out)
		res, err := file.Process(t.Context(), in, out, chain(t, "grayscale"), file.Options{})
		if err != nil || res.Format != c.want {
			t.Errorf("Process(to %s) has format %q, %v, want %q", c.out, res.Format, err, c.want)
			continue
		}
		if got, err := codec.Sniff(read(t, out)); got != c.want {
			t.Errorf("%s holds %q, %v, want %q", c.out, got, err, c.want)
		}
	}
}

func bomb() []byte {
	body := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), 30000), 30000)
	body = append(body, 8, 2, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
}

// Whatever is wrong, the error names the file, the cause and the remedy, and
// nothing is written or changed.
func TestProcessBadInput(t *testing.T) {
	t.Parallel()
	photo := encoded(t, codec.JPEG, 90, 60)
	for _, c := range []struct {
		name, spec string
		opts       file.Options
		// prepare returns input and output below dir.
		prepare func(dir string) (in, out string)
		want    error
		says    []string
	}{
		{
			name:    "cut short",
			prepare: func(dir string) (string, string) { return write(t, photo[:len(photo)/2], dir, "in.jpg"), "out/x.jpg" },
			want:    codec.ErrDamaged, says: []string{"in.jpg", "cut short", "copy or export"},
		}, {
			name:    "empty",
			prepare: func(dir string) (string, string) { return write(t, nil, dir, "in.jpg"), "out/x.jpg" },
			want:    codec.ErrDamaged, says: []string{"in.jpg", "empty", "again"},
		}, {
			name: "text",
			prepare: func(dir string) (string, string) {
				return write(t, []byte("not a picture"), dir, "in.jpg"), "out/x.jpg"
			},
			want: codec.ErrFormat, says: []string{"in.jpg", `"not a pictur"`, "give JPEG"},
		}, {
			name:    "bomb",
			prepare: func(dir string) (string, string) { return write(t, bomb(), dir, "in.png"), "out/x.png" },
			want:    codec.ErrTooLarge, says: []string{"30000x30000", "100 MP", "--max-pixels", "max_pixels"},
		}, {
			name: "bomb on the way", spec: "resize:50000x50000,thumbnail:5",
			prepare: func(dir string) (string, string) { return write(t, photo, dir, "in.jpg"), "out/x.jpg" },
			want:    codec.ErrTooLarge, says: []string{"resize:50000x50000", "2500 MP", "--max-pixels", "max_pixels"},
		}, {
			name: "too long a side", spec: "resize:60000",
			prepare: func(dir string) (string, string) {
				return write(t, encoded(t, codec.PNG, 2, 90), dir, "in.png"), "out/x.png"
			},
			says: []string{"60000x2700000", "65535"},
		}, {
			name: "too many bytes", opts: file.Options{MaxBytes: 100},
			prepare: func(dir string) (string, string) { return write(t, photo, dir, "in.jpg"), "out/x.jpg" },
			want:    codec.ErrTooLarge, says: []string{"--max-bytes", "max_bytes"},
		}, {
			name:    "missing",
			prepare: func(dir string) (string, string) { return filepath.Join(dir, "in.jpg"), "out/x.jpg" },
			want:    fs.ErrNotExist, says: []string{"in.jpg", "check the path"},
		}, {
			name:    "directory",
			prepare: func(dir string) (string, string) { return dir, "out/x.jpg" },
			says:    []string{"a directory", "name the files"},
		}, {
			name: "output is a directory",
			prepare: func(dir string) (string, string) {
				write(t, nil, dir, "out", "x.jpg", "keep")
				return write(t, photo, dir, "in.jpg"), "out/x.jpg"
			},
			says: []string{"directory of that name", "choose another"},
		}, {
			name: "output below a file",
			prepare: func(dir string) (string, string) {
				write(t, []byte("a file"), dir, "out")
				return write(t, photo, dir, "in.jpg"), "out/x.jpg"
			},
			says: []string{"in.jpg", "out", "choose another place"},
		}, {
			name:    "output is the input",
			prepare: func(dir string) (string, string) { return write(t, photo, dir, "in.jpg"), "in.jpg" },
			want:    file.ErrInput, says: []string{"choose another output directory"},
		}, {
			name: "output is a link to the input", opts: file.Options{Overwrite: true},
			prepare: func(dir string) (string, string) {
				in := write(t, photo, dir, "in.jpg")
				if err := os.Symlink(in, filepath.Join(dir, "x.jpg")); err != nil {
					t.Fatal(err)
				}
				return in, "x.jpg"
			},
			want: file.ErrInput, says: []string{"choose another output directory"},
		}, {
			name: "output exists",
			prepare: func(dir string) (string, string) {
				write(t, []byte("precious"), dir, "out", "x.jpg")
				return write(t, photo, dir, "in.jpg"), "out/x.jpg"
			},
			want: file.ErrExists, says: []string{"x.jpg", "remove it", "overwrit"},
		}, {
			name:    "webp wanted",
			prepare: func(dir string) (string, string) { return write(t, photo, dir, "in.jpg"), "out/x.webp" },
			says:    []string{"webp is only read", ".png"},
		}, {
			name: "animation into a still",
			prepare: func(dir string) (string, string) {
				g := &gif.GIF{Delay: []int{1, 1}}
				for range 2 {
					g.Image = append(g.Image, image.NewPaletted(image.Rect(0, 0, 4, 4), color.Palette{color.Black, color.White}))
				}
				var b bytes.Buffer
				if err := gif.EncodeAll(&b, g); err != nil {
					t.Fatal(err)
				}
				return write(t, b.Bytes(), dir, "in.gif"), "out/x.png"
			},
			says: []string{"2 frames", ".gif"},
		}, {
			name: "quality", opts: file.Options{Quality: 101},
			prepare: func(dir string) (string, string) { return write(t, photo, dir, "in.jpg"), "out/x.jpg" },
			says:    []string{"1 to 100"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			in, out := c.prepare(dir)
			before := tree(t, dir)
			spec := c.spec
			if spec == "" {
				spec = "blur:1"
			}
			res, err := file.Process(t.Context(), in, filepath.Join(dir, out), chain(t, spec), c.opts)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("Process = %+v, %v, want an error that is %v", res, err, c.want)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("Process = %q, which does not say %q", err, s)
				}
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("files changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestProcessWithoutPermission(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	in := write(t, encoded(t, codec.PNG, 9, 9), dir, "in.png")
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := file.Process(t.Context(), in, filepath.Join(dir, "out", "x.png"), chain(t, "edges"), file.Options{})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "give access") {
		t.Errorf("Process(into a directory without permission) = %v, want a permission error with a remedy", err)
	}
}

func TestProcessAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := write(t, encoded(t, codec.JPEG, 40, 30), dir, "in.jpg")
	out := filepath.Join(dir, "out", "x.jpg")
	run := func(spec string, opts file.Options) (file.Result, error) {
		return file.Process(t.Context(), in, out, chain(t, spec), opts)
	}
	first, err := run("blur:1", file.Options{})
	if err != nil || first.Unchanged {
		t.Fatalf("first Process = %+v, %v, want a new output", first, err)
	}
	again, err := run("blur:1", file.Options{Workers: 3})
	if err != nil || !again.Unchanged || again.SHA256 != first.SHA256 {
		t.Errorf("second Process = %+v, %v, want the same output, unchanged", again, err)
	}
	if _, err := run("blur:2", file.Options{}); !errors.Is(err, file.ErrExists) {
		t.Errorf("Process(another filter) = %v, want ErrExists", err)
	}
	other, err := run("blur:2", file.Options{Overwrite: true})
	if err != nil || other.SHA256 == first.SHA256 {
		t.Errorf("Process(another filter, overwriting) = %+v, %v, want another output", other, err)
	}
	if got := tree(t, filepath.Join(dir, "out")); len(got) != 1 {
		t.Errorf("%d files in the output directory, want 1", len(got))
	}
}

func TestProcessStopsWithContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := write(t, encoded(t, codec.JPEG, 40, 30), dir, "in.jpg")
	b := file.NewBudget(1)
	release, err := b.Acquire(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = file.Process(ctx, in, filepath.Join(dir, "out", "x.jpg"), chain(t, "edges"), file.Options{Budget: b})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait for memory") {
		t.Errorf("Process(without budget) = %v, want the deadline, waiting for memory", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Process(without budget) made the output directory: %v", err)
	}
}

// What a killed process left has no lock; what is being written has.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, nil, dir, ".faena-DEAD.tmp")
	write(t, nil, dir, "photo.jpg")
	write(t, nil, dir, "faena-photo.tmp")
	busy, err := os.OpenFile(write(t, nil, dir, ".faena-BUSY.tmp"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() //nolint:errcheck // nothing was written
	if err := file.Lock(busy); err != nil {
		t.Skipf("this system has no locks: %v", err)
	}
	if err := file.Sweep(dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{".faena-BUSY.tmp": "", "photo.jpg": "", "faena-photo.tmp": ""}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Errorf("after Sweep (-want +got):\n%s", diff)
	}
	if err := file.Sweep(filepath.Join(dir, "none"), 0); err != nil {
		t.Errorf("Sweep(no directory) = %v, want no error", err)
	}
}

// Sweeping harms nobody who writes.
func TestSweepBesideProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := write(t, encoded(t, codec.PNG, 20, 20), dir, "in.png")
	out := filepath.Join(dir, "out")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := file.Sweep(out, time.Hour); err != nil {
				t.Errorf("Sweep = %v", err)
				return
			}
		}
	})
	for i := range 100 {
		name := filepath.Join(out, strconv.Itoa(i)+".png")
		if _, err := file.Process(t.Context(), in, name, chain(t, "edges"), file.Options{}); err != nil {
			t.Errorf("Process beside Sweep = %v", err)
		}
	}
	close(stop)
	wg.Wait()
	if got := len(tree(t, out)); got != 100 {
		t.Errorf("%d files in the output directory, want 100", got)
	}
}

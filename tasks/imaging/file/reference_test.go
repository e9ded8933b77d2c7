//go:build e2e

package file_test

import (
	"image"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/faena-dev/faena/tasks/imaging/file"
	"github.com/faena-dev/faena/tasks/imaging/filter"
)

// Debian packages that this test needs, with what they bring along (Debian 12,
// without recommended packages): python3-scipy and python3-pil 46 MB to download,
// 355 MB installed; mate-backgrounds 47 MB and 47 MB.
const packages = "python3-scipy python3-pil mate-backgrounds"

// python is Debian's own: another one first in the path has none of the packages.
const python = "/usr/bin/python3"

// photos are JPEG files of 1 to 3 MP: three with chroma halved in one direction,
// three in both, of these two progressive.
var photos = []string{"Blinds", "Dune", "Storm", "RainDrops", "FreshFlower", "GreenMeadow"}

// leastPSNR is what counts as the same picture, in decibels.
const leastPSNR = 45

func TestFiltersAgreeWithOtherTools(t *testing.T) {
	t.Parallel()
	dir, names := references(t)
	filters := map[string]func(w int) string{
		"grayscale": func(int) string { return "grayscale" },
		"blur":      func(int) string { return "blur:3" },
		"sharpen":   func(int) string { return "sharpen:1.5:1" },
		"edges":     func(int) string { return "edges" },
		"shrink":    func(int) string { return "resize:640" },
		"enlarge":   func(w int) string { return "resize:" + strconv.Itoa(w+w/3) },
	}
	for name, spec := range filters {
		// Pixels are the same at the start, or come from two JPEG decoders.
		for _, kind := range []string{"png", "jpeg"} {
			if name == "enlarge" && kind == "jpeg" {
				continue // slow, and shows nothing that the others do not
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				low, most := math.Inf(1), 0.0
				for stem, photo := range names {
					in := photo
					if kind == "png" {
						in = filepath.Join(dir, stem+".png")
					}
					want := load(t, filepath.Join(dir, stem+"."+name+".png"))
					got := load(t, process(t, in, spec(width(t, filepath.Join(dir, stem+".png")))))
					psnr, worst := compare(t, got, want)
					low, most = min(low, psnr), max(most, worst)
					if psnr < leastPSNR {
						t.Errorf("%s of %s: PSNR %.1f dB, want at least %d", name, in, psnr, leastPSNR)
					}
					if name == "grayscale" && kind == "png" && worst > 1 {
						t.Errorf("%s of %s: off by %.0f, want at most 1", name, in, worst)
					}
				}
				t.Logf("%s from %s: PSNR at least %.1f dB, off by %.0f at most, on %d photos", name, kind, low, most, len(names))
			})
		}
	}
	t.Run("deep", func(t *testing.T) {
		t.Parallel()
		got := load(t, process(t, filepath.Join(dir, "deep.png"), "blur:2"))
		if _, ok := got.(*image.Gray16); !ok {
			t.Fatalf("a 16-bit picture came out as %T, want *image.Gray16", got)
		}
		psnr, worst := compare(t, got, load(t, filepath.Join(dir, "deep.blur.png")))
		t.Logf("blur of 16 bits: PSNR %.1f dB, off by %.3f at most", psnr, worst)
		// Rounding to 8 bits on the way would end below 60.
		if psnr < 90 {
			t.Errorf("blur of a 16-bit picture: PSNR %.1f dB, want at least 90", psnr)
		}
	})
}

// references has the script make the pictures to compare with, in a directory. It
// returns the photos by their names there.
func references(t *testing.T) (string, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	names := map[string]string{}
	args := []string{filepath.Join("testdata", "reference.py"), dir}
	for _, p := range photos {
		photo := filepath.Join("/usr/share/backgrounds/mate/nature", p+".jpg")
		if _, err := os.Stat(photo); err != nil {
			t.Fatalf("%v: make test-tools installs the Debian packages %s", err, packages)
		}
		names[p] = photo
		args = append(args, photo)
	}
	if out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: make test-tools installs the Debian packages %s\n%s", strings.Join(args, " "), err, packages, out)
	}
	return dir, names
}

// process returns the name of a PNG file with the result.
func process(t *testing.T, in, spec string) string {
	t.Helper()
	chain, err := filter.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.png")
	if _, err := file.Process(t.Context(), in, out, chain, file.Options{Workers: 2}); err != nil {
		t.Fatalf("Process(%s, %s) = %v", in, spec, err)
	}
	return out
}

func load(t *testing.T, name string) image.Image {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	m, err := png.Decode(f)
	if err != nil {
		t.Fatalf("decode %s: %v", name, err)
	}
	return m
}

func width(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	c, err := png.DecodeConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	return c.Width
}

// compare returns the PSNR of two pictures, and the largest difference in 8-bit
// steps. It fails if they are not of one size and one kind.
func compare(t *testing.T, got, want image.Image) (psnr, worst float64) {
	t.Helper()
	if got.Bounds() != want.Bounds() || got.ColorModel() != want.ColorModel() {
		t.Fatalf("the result is %v %T, want %v %T", got.Bounds(), got, want.Bounds(), want)
	}
	p, q := colours(t, got), colours(t, want)
	sum := 0.0
	for i := range p {
		d := p[i] - q[i]
		sum += d * d
		worst = max(worst, math.Abs(d))
	}
	if sum == 0 {
		return math.Inf(1), 0
	}
	return 10 * math.Log10(255*255*float64(len(p))/sum), worst
}

// colours returns all samples but those of alpha, in 8-bit steps.
func colours(t *testing.T, m image.Image) []float64 {
	t.Helper()
	var out []float64
	switch m := m.(type) {
	case *image.Gray:
		for _, v := range m.Pix {
			out = append(out, float64(v))
		}
	case *image.Gray16:
		for i := 0; i < len(m.Pix); i += 2 {
			out = append(out, float64(int(m.Pix[i])<<8|int(m.Pix[i+1]))/257)
		}
	case *image.RGBA:
		for i, v := range m.Pix {
			if i%4 != 3 {
				out = append(out, float64(v))
			}
		}
	default:
		t.Fatalf("a picture of %T, want one without alpha", m)
	}
	return out
}

package filter_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/faena-dev/faena/tasks/imaging/filter"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

var sizes = [][2]int{{1, 1}, {1, 9}, {13, 1}, {2, 3}, {31, 17}}

// overKinds runs f on a picture of every kind and many sizes.
func overKinds(t *testing.T, f func(t *testing.T, img *raster.Image)) {
	t.Helper()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range sizes {
				f(t, noise(s[0], s[1], kind))
			}
		})
	}
}

// gauss blurs in two dimensions at once, in floating point.
func gauss(p plane, sigma float64, deep bool) plane {
	reach := 3.0
	if deep {
		reach = 4
	}
	r := int(math.Ceil(reach * sigma))
	weight := func(dx, dy int) float64 { return math.Exp(-float64(dx*dx+dy*dy) / (2 * sigma * sigma)) }
	total := 0.0
	for dy := -r; dy <= r; dy++ {
		for dx := -r; dx <= r; dx++ {
			total += weight(dx, dy)
		}
	}
	return each(p.w, p.h, p.c, func(x, y, c int) float64 {
		sum := 0.0
		for dy := -r; dy <= r; dy++ {
			for dx := -r; dx <= r; dx++ {
				sum += weight(dx, dy) * p.at(x+dx, y+dy, c)
			}
		}
		return sum / total
	})
}

func TestBlur(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, img *raster.Image) {
		for spec, sigma := range map[string]float64{"blur:0.3": 0.3, "blur:1.2": 1.2, "blur:4": 4} {
			got := apply(t, spec, img, 2)
			if d := off(t, got, gauss(planeOf(img), sigma, img.Deep)); d > step(img.Kind()) {
				t.Errorf("%s of %dx%d is off by %.3f, want at most %.2f", spec, img.Width, img.Height, d, step(img.Kind()))
			}
		}
	})
}

func TestSharpen(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, img *raster.Image) {
		if img.Channels() == 4 {
			return // TestSharpenKeepsAlpha
		}
		got := apply(t, "sharpen:1.5:1.2", img, 2)
		p := planeOf(img)
		b := gauss(p, 1.2, img.Deep)
		want := each(p.w, p.h, p.c, func(x, y, c int) float64 {
			return p.at(x, y, c) + 1.5*(p.at(x, y, c)-b.at(x, y, c))
		})
		if d := off(t, got, want); d > step(img.Kind()) {
			t.Errorf("sharpen of %dx%d is off by %.3f, want at most %.2f", img.Width, img.Height, d, step(img.Kind()))
		}
	})
}

func TestSharpenKeepsAlpha(t *testing.T) {
	t.Parallel()
	img := noise(20, 20, raster.Kind{})
	got := apply(t, "sharpen:2", img, 1)
	for i := 3; i < len(img.Pix); i += 4 {
		if got.Pix[i] != img.Pix[i] {
			t.Fatalf("alpha of pixel %d = %d, want %d as before", i/4, got.Pix[i], img.Pix[i])
		}
	}
	// With full alpha it is the same as without.
	veiled, plain := noise(20, 20, raster.Kind{}), noise(20, 20, raster.Kind{})
	for i := 3; i < len(img.Pix); i += 4 {
		veiled.Pix[i], plain.Pix[i] = 0xff, 0xff
	}
	plain.Opaque = true
	if !bytes.Equal(apply(t, "sharpen:2", veiled, 1).Pix, apply(t, "sharpen:2", plain, 1).Pix) {
		t.Error("sharpen with full alpha differs from sharpen without alpha")
	}
}

func TestGrayscale(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, img *raster.Image) {
		got := apply(t, "grayscale", img, 2)
		if got.Channels() == 3 {
			t.Fatal("grayscale left three channels, want one, or alpha too")
		}
		p := planeOf(img)
		if p.c == 1 {
			if !bytes.Equal(got.Pix, img.Pix) {
				t.Error("grayscale of a gray picture changed it")
			}
			return
		}
		c := got.Channels()
		want := each(p.w, p.h, c, func(x, y, ch int) float64 {
			if ch == 3 {
				return p.at(x, y, 3)
			}
			return 0.299*p.at(x, y, 0) + 0.587*p.at(x, y, 1) + 0.114*p.at(x, y, 2)
		})
		if d := off(t, got, want); d > step(img.Kind()) {
			t.Errorf("grayscale of %dx%d is off by %.3f, want at most %.2f", img.Width, img.Height, d, step(img.Kind()))
		}
	})
}

func TestGrayscaleOfKnownColours(t *testing.T) {
	t.Parallel()
	// As Pillow's convert("L") has them.
	for c, want := range map[[3]byte]byte{
		{0xff, 0, 0}: 76, {0, 0xff, 0}: 150, {0, 0, 0xff}: 29, {0xff, 0xff, 0xff}: 255, {0, 0, 0}: 0, {10, 20, 30}: 18, {200, 100, 50}: 124,
	} {
		img := &raster.Image{Width: 1, Height: 1, Opaque: true, Pix: []byte{c[0], c[1], c[2], 0xff}}
		if got := apply(t, "grayscale", img, 1).Pix[0]; got != want {
			t.Errorf("grayscale(%v) = %d, want %d", c, got, want)
		}
	}
}

func TestEdges(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, img *raster.Image) {
		got := apply(t, "edges", img, 3)
		gray := planeOf(apply(t, "grayscale", img, 1))
		want := each(gray.w, gray.h, gray.c, func(x, y, c int) float64 {
			if c == 3 {
				return gray.at(x, y, 3)
			}
			at := func(dx, dy int) float64 { return gray.at(x+dx, y+dy, 0) }
			gx := at(1, -1) + 2*at(1, 0) + at(1, 1) - at(-1, -1) - 2*at(-1, 0) - at(-1, 1)
			gy := at(-1, 1) + 2*at(0, 1) + at(1, 1) - at(-1, -1) - 2*at(0, -1) - at(1, -1)
			v := min(math.Hypot(gx, gy), 1)
			if gray.c == 4 {
				v *= gray.at(x, y, 3) // planes hold colours multiplied by alpha
			}
			return v
		})
		if d := off(t, got, want); d > step(img.Kind()) {
			t.Errorf("edges of %dx%d is off by %.3f, want at most %.2f", img.Width, img.Height, d, step(img.Kind()))
		}
	})
}

// lanczos resamples in both directions at once, in floating point.
func lanczos(p plane, w, h int) plane {
	axis := func(i, from, to int) ([]float64, float64) {
		scale := float64(from) / float64(to)
		wide := max(scale, 1)
		weights, sum := make([]float64, from), 0.0
		for k := range weights {
			d := (float64(k) + 0.5 - (float64(i)+0.5)*scale) / wide
			switch {
			case d == 0:
				weights[k] = 1
			case math.Abs(d) < 3:
				weights[k] = 3 * math.Sin(math.Pi*d) * math.Sin(math.Pi*d/3) / (math.Pi * math.Pi * d * d)
			}
			sum += weights[k]
		}
		return weights, sum
	}
	return each(w, h, p.c, func(x, y, c int) float64 {
		wx, sx := axis(x, p.w, w)
		wy, sy := axis(y, p.h, h)
		sum := 0.0
		for j, b := range wy {
			if b == 0 {
				continue
			}
			for i, a := range wx {
				sum += a * b * p.at(i, j, c)
			}
		}
		return sum / sx / sy
	})
}

func TestResize(t *testing.T) {
	t.Parallel()
	overKinds(t, func(t *testing.T, img *raster.Image) {
		for _, spec := range []string{"resize:7x5", "resize:40x3", "resize:5x30", "resize:50x41", "resize:1x1"} {
			s, err := parse(t, spec).Size(img.Width, img.Height)
			if err != nil {
				t.Fatal(err)
			}
			got := apply(t, spec, img, 2)
			want := lanczos(planeOf(img), s.Width, s.Height)
			if want.c == 4 {
				for i := range want.v { // no colour is more than fully there
					want.v[i] = min(want.v[i], max(want.v[i|3], 0))
				}
			}
			if d := off(t, got, want); d > step(img.Kind()) {
				t.Errorf("%s of %dx%d is off by %.3f, want at most %.2f", spec, img.Width, img.Height, d, step(img.Kind()))
			}
		}
	})
}

// A picture of one colour stays so, to the last bit, whatever the kernel.
func TestConstantStays(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		for _, spec := range []string{"blur:0.7", "blur:5", "sharpen:3:2", "resize:50x3", "resize:3x50", "resize:x7", "thumbnail:4"} {
			img := raster.New(nil, 20, 10, kind)
			row := make([]uint16, 20*img.Channels())
			for i := range row {
				row[i] = []uint16{0x1111, 0x8888, 0xfefe, 0xffff}[i%img.Channels()]
			}
			for y := range 10 {
				img.WriteStraight(y, row)
			}
			out := apply(t, spec, img, 2)
			for i := range out.Pix {
				if want := img.Pix[i%img.PixelBytes()]; out.Pix[i] != want {
					t.Fatalf("%s of one %s colour: byte %d = %#x, want %#x", spec, name, i, out.Pix[i], want)
				}
			}
		}
	}
}

// What is transparent has no colour that could show at its border.
func TestNothingHiddenShows(t *testing.T) {
	t.Parallel()
	for _, deep := range []bool{false, true} {
		img := raster.New(nil, 24, 12, raster.Kind{Deep: deep})
		row := make([]uint16, 24*4)
		for x := range 24 {
			if x < 12 {
				copy(row[4*x:], []uint16{0xffff, 0, 0, 0}) // hidden red
			} else {
				copy(row[4*x:], []uint16{0, 0, 0xffff, 0xffff}) // blue
			}
		}
		for y := range 12 {
			img.WriteStraight(y, row)
		}
		for _, spec := range []string{"blur:2", "resize:17", "resize:40", "thumbnail:5"} {
			out := apply(t, spec, img, 1)
			n := out.PixelBytes()
			for i := 0; i < len(out.Pix); i += n {
				if out.Pix[i] != 0 {
					t.Fatalf("%s (deep %t): red shows in pixel %d: %v", spec, deep, i/n, out.Pix[i:i+n])
				}
			}
		}
	}
}

func TestResultDependsNotOnWorkers(t *testing.T) {
	t.Parallel()
	const all = "blur:2,sharpen:0.7,resize:41,resize:90x70,thumbnail:60,edges"
	for name, kind := range kinds {
		img := noise(71, 53, kind)
		want := apply(t, all, img, 1)
		for _, workers := range []int{0, 2, 3, 7, 1000} {
			if got := apply(t, all, img, workers); !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s differs on %s between 1 and %d workers", all, name, workers)
			}
		}
	}
}

func TestPoolDoesNotShow(t *testing.T) {
	t.Parallel()
	const all = "blur:2,sharpen:0.7,resize:41,edges"
	var pool raster.Pool
	for range 3 {
		for name, kind := range kinds {
			in := noise(33, 44, kind)
			want := apply(t, all, in, 1)
			got, err := parse(t, all).Apply(t.Context(), in, filter.Env{Workers: 2, Pool: &pool})
			if err != nil || !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s of %s with a pool differs from that without, %v", all, name, err)
			}
			pool.Put(got)
		}
	}
}

func TestApplyStopsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, spec := range []string{"grayscale", "blur:2", "sharpen", "edges", "resize:100", "resize:2", "thumbnail:3"} {
		for _, workers := range []int{1, 2} {
			_, err := parse(t, spec).Apply(ctx, noise(9, 9, raster.Kind{Opaque: true}), filter.Env{Workers: workers})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Apply(%s, ended context, %d workers) = %v, want context.Canceled", spec, workers, err)
			}
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	for _, spec := range []string{"grayscale", "blur:3", "sharpen", "edges", "resize:1024", "thumbnail:256"} {
		b.Run(spec, func(b *testing.B) {
			const w, h = 3000, 2000
			chain := parse(b, spec)
			var pool raster.Pool
			b.ReportAllocs()
			for b.Loop() {
				in := raster.New(&pool, w, h, raster.Kind{Opaque: true})
				out, err := chain.Apply(b.Context(), in, filter.Env{Pool: &pool})
				if err != nil {
					b.Fatal(err)
				}
				pool.Put(out)
			}
			b.ReportMetric(w*h/1e6*float64(b.N)/b.Elapsed().Seconds(), "MP/s")
		})
	}
}

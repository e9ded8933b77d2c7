package filter_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/faena-dev/faena/tasks/imaging/filter"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

func parse(tb testing.TB, spec string) filter.Chain {
	tb.Helper()
	c, err := filter.Parse(spec)
	if err != nil {
		tb.Fatalf("Parse(%q) = %v", spec, err)
	}
	return c
}

// apply leaves img as it is.
func apply(tb testing.TB, spec string, img *raster.Image, workers int) *raster.Image {
	tb.Helper()
	in := *img
	in.Pix = append([]byte(nil), img.Pix...)
	out, err := parse(tb, spec).Apply(tb.Context(), &in, filter.Env{Workers: workers})
	if err != nil {
		tb.Fatalf("Apply(%s) = %v", spec, err)
	}
	return out
}

// kinds are all that a picture can be.
var kinds = map[string]raster.Kind{
	"gray":        {Gray: true, Opaque: true},
	"gray deep":   {Gray: true, Deep: true, Opaque: true},
	"colour":      {Opaque: true},
	"colour deep": {Deep: true, Opaque: true},
	"alpha":       {},
	"alpha deep":  {Deep: true},
}

// noise is a picture of smooth and rough parts, the same each time.
func noise(w, h int, kind raster.Kind) *raster.Image {
	r := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	img := raster.New(nil, w, h, kind)
	row := make([]uint16, w*img.Channels())
	for y := range h {
		for i := range row {
			v := 0.5 + 0.4*math.Sin(float64(i)/9+float64(y)/5)
			if y%7 < 3 {
				v = r.Float64()
			}
			row[i] = uint16(v * 0xffff)
		}
		img.WriteStraight(y, row)
	}
	return img
}

// plane is a picture as numbers from 0 to 1, colours multiplied by alpha.
type plane struct {
	w, h, c int
	v       []float64
}

func planeOf(img *raster.Image) plane {
	p := plane{w: img.Width, h: img.Height, c: img.Channels()}
	row := make([]uint16, p.w*p.c)
	for y := range p.h {
		img.ReadStraight(y, row)
		for i, s := range row {
			v := float64(s) / 0xffff
			if p.c == 4 && i%4 != 3 {
				v *= float64(row[i|3]) / 0xffff
			}
			p.v = append(p.v, v)
		}
	}
	return p
}

// at repeats the edges.
func (p plane) at(x, y, c int) float64 {
	x, y = min(max(x, 0), p.w-1), min(max(y, 0), p.h-1)
	return p.v[(y*p.w+x)*p.c+c]
}

// each fills a plane by a function of place and channel.
func each(w, h, c int, f func(x, y, c int) float64) plane {
	p := plane{w: w, h: h, c: c}
	for y := range h {
		for x := range w {
			for ch := range c {
				p.v = append(p.v, f(x, y, ch))
			}
		}
	}
	return p
}

// off returns the largest difference, in 8-bit steps.
func off(t *testing.T, got *raster.Image, want plane) float64 {
	t.Helper()
	p := planeOf(got)
	if p.w != want.w || p.h != want.h || p.c != want.c {
		t.Fatalf("got %dx%d in %d channels, want %dx%d in %d", p.w, p.h, p.c, want.w, want.h, want.c)
	}
	most := 0.0
	for i := range p.v {
		most = max(most, math.Abs(p.v[i]-min(max(want.v[i], 0), 1)))
	}
	return most * 255
}

// step is how far rounding alone may lead: half an 8-bit step, and a little more
// where alpha is divided out and multiplied in again.
func step(kind raster.Kind) float64 {
	switch {
	case kind.Deep:
		return 0.02
	case !kind.Opaque:
		return 1.01
	}
	return 0.51
}

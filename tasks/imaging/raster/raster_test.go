package raster_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

func TestRowsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, kind := range []raster.Kind{
		{Gray: true}, {Gray: true, Deep: true}, {Opaque: true}, {Opaque: true, Deep: true}, {}, {Deep: true},
	} {
		img := raster.New(nil, 256, 2, kind)
		for i := range img.Pix {
			img.Pix[i] = byte(i * 7)
		}
		step := img.PixelBytes()
		if kind.Opaque { // full alpha, which rows do not carry
			for i := range img.Pix {
				if i%step >= step/4*3 {
					img.Pix[i] = 0xff
				}
			}
		}
		out := raster.New(nil, 256, 2, kind)
		row := make([]uint16, 256*img.Channels())
		for y := range 2 {
			img.ReadStraight(y, row)
			out.WriteStraight(y, row)
		}
		if diff := cmp.Diff(img.Pix, out.Pix); diff != "" {
			t.Errorf("%+v changes through ReadStraight and WriteStraight:\n%s", kind, diff)
		}
	}
}

// Multiplying by alpha and back keeps every 8-bit colour at every alpha but none.
func TestAlphaRoundTrip(t *testing.T) {
	t.Parallel()
	img, out := raster.New(nil, 256, 256, raster.Kind{}), raster.New(nil, 256, 256, raster.Kind{})
	row := make([]uint16, 256*4)
	for a := range 256 {
		for v := range 256 {
			copy(img.Pix[4*(256*a+v):], []byte{byte(v), byte(255 - v), byte(v ^ 0x55), byte(a)})
		}
		img.ReadRow(a, row)
		if limit := uint16(a * 0x101); row[4*255] > limit {
			t.Fatalf("white at alpha %d reads as %d, want at most %d", a, row[4*255], limit)
		}
		out.WriteRow(a, row)
	}
	for i := 4 * 256; i < len(img.Pix); i++ {
		if img.Pix[i] != out.Pix[i] {
			t.Fatalf("byte %d = %d after a round trip, want %d (alpha %d)", i, out.Pix[i], img.Pix[i], i/4/256)
		}
	}
	for i := range 4 * 256 {
		if out.Pix[i] != 0 {
			t.Fatalf("byte %d = %d in what is transparent, want 0", i, out.Pix[i])
		}
	}
}

func TestNarrowRoundsToNearest(t *testing.T) {
	t.Parallel()
	img := raster.New(nil, 1, 1, raster.Kind{Gray: true})
	for v := range 1 << 16 {
		img.WriteStraight(0, []uint16{uint16(v)})
		if want := byte(math.Round(float64(v) / 257)); img.Pix[0] != want {
			t.Fatalf("%d at 16 bits = %d at 8, want %d", v, img.Pix[0], want)
		}
	}
}

func TestCheckOpaque(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		deep  bool
		alpha []byte
		want  bool
	}{{false, []byte{0xff}, true}, {false, []byte{0xfe}, false}, {true, []byte{0xff, 0xff}, true}, {true, []byte{0xff, 0xfe}, false}} {
		img := raster.New(nil, 1, 1, raster.Kind{Deep: c.deep})
		copy(img.Pix[len(img.Pix)-len(c.alpha):], c.alpha)
		if img.CheckOpaque(); img.Opaque != c.want {
			t.Errorf("CheckOpaque with alpha %x sets %t, want %t", c.alpha, img.Opaque, c.want)
		}
	}
}

func TestUpright(t *testing.T) {
	t.Parallel()
	// Stored as rows "abc" and "def".
	want := map[raster.Orientation]string{
		0: "abc/def", 1: "abc/def", 2: "cba/fed", 3: "fed/cba", 4: "def/abc",
		5: "ad/be/cf", 6: "da/eb/fc", 7: "fc/eb/da", 8: "cf/be/ad", 9: "abc/def",
	}
	for o, w := range want {
		for _, kind := range []raster.Kind{{Gray: true}, {Gray: true, Deep: true}, {}, {Deep: true}} {
			img := raster.New(nil, 3, 2, kind)
			n := img.PixelBytes()
			for i := range img.Pix {
				img.Pix[i] = byte('a' + i/n)
			}
			out, err := raster.Upright(t.Context(), img, o, 2, nil)
			if err != nil {
				t.Fatal(err)
			}
			var rows []string
			for y := range out.Height {
				var s strings.Builder
				for x := range out.Width {
					s.WriteString(string(rune(out.Row(y)[x*n+n-1])))
				}
				rows = append(rows, s.String())
			}
			if got := strings.Join(rows, "/"); got != w {
				t.Errorf("Upright(orientation %d, %+v) = %s, want %s", o, kind, got, w)
			}
		}
	}
}

func TestBandsCoverAllRowsOnce(t *testing.T) {
	t.Parallel()
	for _, width := range []int{-1, 0, 1, 2, 3, 7, 50} {
		for _, n := range []int{1, 2, 7, 20} {
			seen := make([]atomic.Int32, n)
			err := raster.Bands(t.Context(), width, n, func(_ context.Context, lo, hi int) error {
				for y := lo; y < hi; y++ {
					seen[y].Add(1)
				}
				return nil
			})
			for y := range seen {
				if seen[y].Load() != 1 || err != nil {
					t.Errorf("Bands(%d, %d) met row %d %d times, %v, want once", width, n, y, seen[y].Load(), err)
				}
			}
		}
	}
}

func TestBandsReturnsFirstError(t *testing.T) {
	t.Parallel()
	first := errors.New("first")
	err := raster.Bands(t.Context(), 3, 9, func(_ context.Context, lo, _ int) error {
		switch lo {
		case 0:
			return nil
		case 3:
			return first
		}
		return errors.New("later")
	})
	if !errors.Is(err, first) {
		t.Errorf("Bands = %v, want the error of the earlier rows", err)
	}
}

func TestBandsPassesPanicsOn(t *testing.T) {
	t.Parallel()
	for _, width := range []int{1, 2} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "boom") {
					t.Errorf("Bands(%d) panics with %v, want boom", width, p)
				}
			}()
			_ = raster.Bands(t.Context(), width, 4, func(context.Context, int, int) error { panic("boom") })
		}()
	}
}

func TestPoolGivesWhatFits(t *testing.T) {
	t.Parallel()
	var pool raster.Pool
	for _, n := range []int{10, 1000, 10, 999, 1} {
		img := raster.New(&pool, n, 1, raster.Kind{Gray: true})
		if len(img.Pix) != n {
			t.Errorf("New(%d pixels) has %d bytes", n, len(img.Pix))
		}
		pool.Put(img)
		if img.Pix != nil {
			t.Error("Put leaves the pixels with the image, want them gone")
		}
	}
}

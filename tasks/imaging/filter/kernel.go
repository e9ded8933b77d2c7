package filter

import (
	"context"
	"math"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// one is the sum of a Gaussian's weights. With it and 16-bit samples no sum in
// convolve leaves 32 bits.
const one = 1 << 16

// gaussian returns the weights at the distances 0, 1, … up to the cut-off. Twice
// all but the first, plus the first, makes one.
func gaussian(sigma float64, deep bool) []uint64 {
	reach := 3.0
	if deep {
		reach = 4
	}
	r := int(math.Ceil(reach * sigma))
	raw := make([]float64, r+1)
	sum := 0.0
	for i := range raw {
		raw[i] = math.Exp(-float64(i*i) / (2 * sigma * sigma))
		sum += raw[i]
		if i > 0 {
			sum += raw[i]
		}
	}
	w := make([]uint64, r+1)
	w[0] = one
	for i := 1; i <= r; i++ {
		w[i] = uint64(math.Round(raw[i] / sum * one))
		w[0] -= 2 * w[i]
	}
	// What rounds to nothing costs as much as what does not.
	for len(w) > 1 && w[len(w)-1] == 0 {
		w = w[:len(w)-1]
	}
	return w
}

// lanes picks every other 16-bit sample out of four, leaving each room to grow
// to 32 bits.
const lanes = 0x0000ffff0000ffff

// convolve sets dst[x] to the weighted sum of taps[…][x] where the middle tap has
// weight w[0] and those i above and below it w[i]. Two samples share each word.
func convolve(dst []uint16, taps [][]uint16, w []uint64) {
	r := len(w) - 1
	mid := taps[r][:len(dst)]
	const half = one/2 | one/2<<32
	x := 0
	for ; x+8 <= len(dst); x += 8 {
		c0, c1 := load(mid, x), load(mid, x+4)
		a := (c0&lanes)*w[0] + half
		b := (c0>>16&lanes)*w[0] + half
		c := (c1&lanes)*w[0] + half
		d := (c1>>16&lanes)*w[0] + half
		for i := 1; i < len(w); i++ {
			up, down := taps[r-i], taps[r+i]
			u, v := load(up, x), load(down, x)
			a += (u&lanes + v&lanes) * w[i]
			b += (u>>16&lanes + v>>16&lanes) * w[i]
			u, v = load(up, x+4), load(down, x+4)
			c += (u&lanes + v&lanes) * w[i]
			d += (u>>16&lanes + v>>16&lanes) * w[i]
		}
		store(dst, x, a>>16&lanes|b&^uint64(lanes))
		store(dst, x+4, c>>16&lanes|d&^uint64(lanes))
	}
	for ; x < len(dst); x++ {
		sum := uint64(mid[x])*w[0] + one/2
		for i := 1; i < len(w); i++ {
			sum += (uint64(taps[r-i][x]) + uint64(taps[r+i][x])) * w[i]
		}
		dst[x] = uint16(sum >> 16 & 0xffff)
	}
}

// load returns four samples as one word; the compiler makes one instruction of it.
func load(s []uint16, x int) uint64 {
	p := s[x : x+4 : x+4]
	return uint64(p[0]) | uint64(p[1])<<16 | uint64(p[2])<<32 | uint64(p[3])<<48
}

func store(s []uint16, x int, v uint64) {
	p := s[x : x+4 : x+4]
	p[0], p[1], p[2], p[3] = uint16(v&0xffff), uint16(v>>16&0xffff), uint16(v>>32&0xffff), uint16(v>>48)
}

// window gives the blurred rows of an image from top to bottom. It keeps only as
// many rows, blurred across, as the kernel reaches.
type window struct {
	img  *raster.Image
	w    []uint64
	pad  []uint16   // one row with its edges repeated
	side [][]uint16 // pad, moved by each distance
	ring [][]uint16 // rows blurred across; row y is at y modulo the length
	next int        // the first row not yet in ring
	taps [][]uint16
}

func newWindow(img *raster.Image, w []uint64, first int) *window {
	r := len(w) - 1
	c := img.Channels()
	n := img.Width * c
	win := &window{img: img, w: w, pad: make([]uint16, n+2*r*c), next: max(0, first-r)}
	win.side = make([][]uint16, 2*r+1)
	for i := range win.side {
		win.side[i] = win.pad[i*c : i*c+n]
	}
	win.ring = make([][]uint16, min(2*r+1, img.Height))
	store := make([]uint16, n*len(win.ring))
	for i := range win.ring {
		win.ring[i] = store[i*n : (i+1)*n]
	}
	win.taps = make([][]uint16, 2*r+1)
	return win
}

// row sets dst to row y of the blurred image. Rows must be asked for in order,
// from the first that newWindow was told.
func (win *window) row(y int, dst []uint16) {
	r := len(win.w) - 1
	last := min(y+r, win.img.Height-1)
	for ; win.next <= last; win.next++ {
		win.across(win.next)
	}
	for i := range win.taps {
		at := min(max(y-r+i, 0), win.img.Height-1)
		win.taps[i] = win.ring[at%len(win.ring)]
	}
	convolve(dst, win.taps, win.w)
}

// across blurs row y in its own direction, into the ring.
func (win *window) across(y int) {
	r, c := len(win.w)-1, win.img.Channels()
	n := win.img.Width * c
	row := win.pad[r*c : r*c+n]
	win.img.ReadRow(y, row)
	for i := range r * c {
		win.pad[i] = row[i%c]
		win.pad[r*c+n+i] = row[n-c+i%c]
	}
	convolve(win.ring[y%len(win.ring)], win.side, win.w)
}

// sweep calls f with every blurred row, in bands.
func sweep(ctx context.Context, img *raster.Image, sigma float64, env Env, f func(y int, blurred, scratch []uint16)) error {
	w := gaussian(sigma, img.Deep)
	return raster.Bands(ctx, env.Workers, img.Height, func(ctx context.Context, lo, hi int) error {
		win := newWindow(img, w, lo)
		n := img.Width * img.Channels()
		buf := make([]uint16, 2*n)
		for y := lo; y < hi; y++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			win.row(y, buf[:n])
			f(y, buf[:n], buf[n:])
		}
		return nil
	})
}

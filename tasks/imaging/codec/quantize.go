package codec

import (
	"cmp"
	"image"
	"image/color"
	"slices"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// quantize reduces an image to 256 colours, one of them transparent if need be.
// What has no more keeps its exact colours; else the colours are cut at their
// medians. There is no dithering: it flickers from frame to frame.
func quantize(img *raster.Image) *image.Paletted {
	px := pixels{img: img}
	out := image.NewPaletted(image.Rect(0, 0, img.Width, img.Height), nil)
	room := 256
	if !img.Opaque {
		room--
	}
	index, palette := px.exact(room)
	if index == nil {
		index, palette = px.cut(room)
	}
	hole := uint8(len(palette)) //nolint:gosec // G115: at most 255 if there are holes
	for i := range out.Pix {
		out.Pix[i] = hole
		if c, ok := px.at(i); ok {
			out.Pix[i] = index(c)
		}
	}
	for _, c := range palette {
		out.Palette = append(out.Palette, color.NRGBA{R: c[0], G: c[1], B: c[2], A: 0xff})
	}
	if !img.Opaque {
		out.Palette = append(out.Palette, color.NRGBA{})
	}
	return out
}

type rgb [3]uint8

// pixels reads an image of any kind as 8-bit colours.
type pixels struct{ img *raster.Image }

// at returns pixel i, and false if it is more transparent than not.
func (p pixels) at(i int) (rgb, bool) {
	n := p.img.PixelBytes()
	s := p.img.Pix[i*n : (i+1)*n]
	step := 1
	if p.img.Deep {
		step = 2 // the high bytes
	}
	if p.img.Gray {
		return rgb{s[0], s[0], s[0]}, true
	}
	return rgb{s[0], s[step], s[2*step]}, s[3*step] >= 0x80
}

func (p pixels) count() int { return p.img.Width * p.img.Height }

// exact returns the colours in order of appearance and the place of each, or nil
// if they are more than room.
func (p pixels) exact(room int) (func(rgb) uint8, []rgb) {
	index := make(map[rgb]uint8, room)
	var palette []rgb
	for i := range p.count() {
		c, ok := p.at(i)
		if !ok {
			continue
		}
		if _, seen := index[c]; seen {
			continue
		}
		if len(palette) == room {
			return nil, nil
		}
		index[c] = uint8(len(palette)) //nolint:gosec // G115: below room
		palette = append(palette, c)
	}
	return func(c rgb) uint8 { return index[c] }, palette
}

// bin is the place of a colour in a histogram of 5 bits per channel.
func bin(c rgb) int { return int(c[0]>>3)<<10 | int(c[1]>>3)<<5 | int(c[2]>>3) }

// cell is a filled place of the histogram.
type cell struct {
	bin   int
	count int64
	sum   [3]int64
}

func (c cell) mean(ch int) int64 { return c.sum[ch] / c.count }

// cut divides the histogram into at most room boxes and returns the box of each
// colour, and the mean colour of each box.
func (p pixels) cut(room int) (func(rgb) uint8, []rgb) {
	hist := make([]cell, 1<<15)
	for i := range p.count() {
		if c, ok := p.at(i); ok {
			h := &hist[bin(c)]
			h.count++
			for ch := range 3 {
				h.sum[ch] += int64(c[ch])
			}
		}
	}
	var all []cell
	for i, h := range hist {
		if h.count > 0 {
			h.bin = i
			all = append(all, h)
		}
	}
	boxes := []box{newBox(all)}
	for len(boxes) < room {
		worst := 0
		for i, b := range boxes {
			if b.spread > boxes[worst].spread {
				worst = i
			}
		}
		if boxes[worst].spread == 0 {
			break
		}
		a, b := boxes[worst].split()
		boxes[worst] = a
		boxes = append(boxes, b)
	}
	bins := make([]uint8, 1<<15)
	palette := make([]rgb, len(boxes))
	for i, b := range boxes {
		for _, c := range b.cells {
			bins[c.bin] = uint8(i)
		}
		palette[i] = b.mean()
	}
	return func(c rgb) uint8 { return bins[bin(c)] }, palette
}

// box is a set of cells; spread is the sum of squared distances from its mean
// along the channel where they are most apart.
type box struct {
	cells   []cell
	channel int
	spread  float64
}

func newBox(cells []cell) box {
	b := box{cells: cells}
	for ch := range 3 {
		var n, sum, squares float64
		for _, c := range cells {
			v, k := float64(c.mean(ch)), float64(c.count)
			n += k
			sum += k * v
			squares += k * v * v
		}
		if s := squares - sum*sum/n; s > b.spread+1e-6*squares {
			b.channel, b.spread = ch, s
		}
	}
	return b
}

// split divides a box of spread above zero where its mean lies.
func (b box) split() (lo, hi box) {
	ch := b.channel
	slices.SortFunc(b.cells, func(x, y cell) int {
		return cmp.Or(cmp.Compare(x.mean(ch), y.mean(ch)), cmp.Compare(x.bin, y.bin))
	})
	mean := int64(b.mean()[ch])
	at := 1
	for at < len(b.cells)-1 && b.cells[at].mean(ch) <= mean {
		at++
	}
	return newBox(b.cells[:at]), newBox(b.cells[at:])
}

func (b box) mean() rgb {
	var n int64
	var sum [3]int64
	for _, c := range b.cells {
		n += c.count
		for ch := range 3 {
			sum[ch] += c.sum[ch]
		}
	}
	var out rgb
	for ch := range 3 {
		out[ch] = uint8((sum[ch] + n/2) / n) //nolint:gosec // G115: a mean of 8-bit values
	}
	return out
}

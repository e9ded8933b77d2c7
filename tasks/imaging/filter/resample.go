package filter

import (
	"context"
	"math"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// lobes is the reach of the Lanczos kernel.
const lobes = 3

// weightBits is the fixed point of the weights, rowBits what of it a row keeps
// between the two directions.
const weightBits, rowBits = 24, 8

// span says which samples make one sample of the result.
type span struct {
	first   int
	weights []int64 // sum: 1 << weightBits
}

// spans returns one span for each of the to samples made of from.
func spans(from, to int) []span {
	scale := float64(from) / float64(to)
	wide := max(scale, 1)
	out := make([]span, to)
	var raw []float64
	store := make([]int64, 0, to*(int(2*lobes*wide)+2))
	for i := range out {
		centre := (float64(i) + 0.5) * scale
		lo := max(0, int(math.Floor(centre-lobes*wide+0.5)))
		hi := min(from, int(math.Floor(centre+lobes*wide+0.5)))
		raw = raw[:0]
		for k := lo; k < hi; k++ {
			raw = append(raw, lanczos((float64(k)+0.5-centre)/wide))
		}
		n := len(store)
		store = fixed(store, raw)
		out[i] = span{first: lo, weights: store[n:len(store):len(store)]}
	}
	return out
}

// fixed appends raw to w, scaled to whole numbers of exact sum; the largest takes
// what rounding leaves over.
func fixed(w []int64, raw []float64) []int64 {
	sum := 0.0
	for _, v := range raw {
		sum += v
	}
	left, top := int64(1)<<weightBits, len(w)
	for _, v := range raw {
		n := int64(math.Round(v / sum * (1 << weightBits)))
		left -= n
		w = append(w, n)
		if n > w[top] {
			top = len(w) - 1
		}
	}
	w[top] += left
	return w
}

func lanczos(x float64) float64 {
	if x == 0 {
		return 1
	}
	if x <= -lobes || x >= lobes {
		return 0
	}
	x *= math.Pi
	return lobes * math.Sin(x) * math.Sin(x/lobes) / (x * x)
}

// resample makes a w × h picture of img, which is returned as it is if it has
// that size.
func resample(ctx context.Context, img *raster.Image, w, h int, env Env) (*raster.Image, error) {
	if w == img.Width && h == img.Height {
		return img, nil
	}
	out := raster.New(env.Pool, w, h, img.Kind())
	across, down := spans(img.Width, w), spans(img.Height, h)
	err := raster.Bands(ctx, env.Workers, h, func(ctx context.Context, lo, hi int) error {
		s := sampler{
			img: img, out: out, across: across, down: down,
			src: make([]uint16, img.Width*img.Channels()),
			sum: make([]int64, w*img.Channels()),
			dst: make([]uint16, w*img.Channels()),
		}
		if h < img.Height {
			return s.shrink(ctx, lo, hi)
		}
		return s.enlarge(ctx, lo, hi)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sampler makes a band of rows. Source rows are resampled across when they are
// met; what differs is how they are kept until they are summed downwards.
type sampler struct {
	img, out     *raster.Image
	across, down []span
	src, dst     []uint16
	sum          []int64
}

// enlarge keeps the few source rows that a row of the result is made of.
func (s *sampler) enlarge(ctx context.Context, lo, hi int) error {
	reach := 0
	for _, d := range s.down {
		reach = max(reach, len(d.weights))
	}
	rows := make([][]int32, reach)
	for i := range rows {
		rows[i] = make([]int32, len(s.dst))
	}
	next := s.down[lo].first
	for y := lo; y < hi; y++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := s.down[y]
		for ; next < d.first+len(d.weights); next++ {
			s.squeeze(rows[next%reach], next)
		}
		clear(s.sum)
		for k, w := range d.weights {
			add(s.sum, rows[(d.first+k)%reach], w)
		}
		s.emit(y, s.sum)
	}
	return nil
}

// shrink keeps the sums of the few rows of the result that a source row adds to:
// the rows themselves may be as many as the picture has.
func (s *sampler) shrink(ctx context.Context, lo, hi int) error {
	sums := make([][]int64, s.overlap(lo, hi))
	for i := range sums {
		sums[i] = make([]int64, len(s.dst))
	}
	row := make([]int32, len(s.dst))
	open := lo // rows [lo, open) have begun
	for next := s.down[lo].first; lo < hi; next++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.squeeze(row, next)
		for ; open < hi && s.down[open].first <= next; open++ {
			clear(sums[open%len(sums)])
		}
		for y := lo; y < open; y++ {
			add(sums[y%len(sums)], row, s.down[y].weights[next-s.down[y].first])
		}
		for ; lo < open && s.down[lo].end() == next+1; lo++ {
			s.emit(lo, sums[lo%len(sums)])
		}
	}
	return nil
}

// overlap returns how many rows of [lo, hi) share a source row at most.
func (s *sampler) overlap(lo, hi int) int {
	most := 0
	for end := lo; lo < hi; lo++ {
		for end < hi && s.down[end].first < s.down[lo].end() {
			end++
		}
		most = max(most, end-lo)
	}
	return most
}

func (d span) end() int { return d.first + len(d.weights) }

func add(sum []int64, row []int32, w int64) {
	row = row[:len(sum)]
	for x := range sum {
		sum[x] += w * int64(row[x])
	}
}

// emit stores a row of the result.
func (s *sampler) emit(y int, sum []int64) {
	const shift = weightBits + rowBits
	for x, v := range sum {
		s.dst[x] = uint16(min(max((v+1<<(shift-1))>>shift, 0), 0xffff))
	}
	s.out.WriteRow(y, s.dst)
}

// squeeze resamples source row y across.
func (s *sampler) squeeze(dst []int32, y int) {
	s.img.ReadRow(y, s.src)
	c := s.img.Channels()
	const shift = weightBits - rowBits
	const half = 1 << (shift - 1)
	for x, a := range s.across {
		from := s.src[a.first*c : a.end()*c]
		switch c {
		case 1:
			v0 := int64(half)
			for k, w := range a.weights {
				v0 += w * int64(from[k])
			}
			dst[x] = int32(v0 >> shift)
		case 3:
			v0, v1, v2 := int64(half), int64(half), int64(half)
			for _, w := range a.weights {
				p := from[:3]
				v0 += w * int64(p[0])
				v1 += w * int64(p[1])
				v2 += w * int64(p[2])
				from = from[3:]
			}
			d := dst[3*x : 3*x+3 : 3*x+3]
			d[0], d[1], d[2] = int32(v0>>shift), int32(v1>>shift), int32(v2>>shift)
		default:
			v0, v1, v2, v3 := int64(half), int64(half), int64(half), int64(half)
			for _, w := range a.weights {
				p := from[:4]
				v0 += w * int64(p[0])
				v1 += w * int64(p[1])
				v2 += w * int64(p[2])
				v3 += w * int64(p[3])
				from = from[4:]
			}
			d := dst[4*x : 4*x+4 : 4*x+4]
			d[0], d[1], d[2], d[3] = int32(v0>>shift), int32(v1>>shift), int32(v2>>shift), int32(v3>>shift)
		}
	}
}

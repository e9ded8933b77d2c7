package filter

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// luma is the same for 8 and 16 bits: the weights sum to 1 << 16.
func luma(r, g, b uint32) uint32 {
	return (19595*r + 38470*g + 7471*b + 1<<15) >> 16
}

type grayscale struct{}

func (grayscale) String() string             { return Grayscale }
func (grayscale) size(w, h int) (ow, oh int) { return w, h }

func (grayscale) apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error) {
	if img.Gray {
		return img, nil
	}
	kind := img.Kind()
	kind.Gray = kind.Opaque
	out := raster.New(env.Pool, img.Width, img.Height, kind)
	err := raster.Rows(ctx, env.Workers, img.Height, func(y int) {
		if img.Deep {
			gray16(out.Row(y), img.Row(y), out.Gray)
		} else {
			gray8(out.Row(y), img.Row(y), out.Gray)
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func gray8(dst, src []byte, plain bool) {
	for i := 0; len(src) >= 4; i++ {
		v := byte(luma(uint32(src[0]), uint32(src[1]), uint32(src[2])) & 0xff)
		if plain {
			dst[i] = v
		} else {
			d := dst[4*i : 4*i+4 : 4*i+4]
			d[0], d[1], d[2], d[3] = v, v, v, src[3]
		}
		src = src[4:]
	}
}

func gray16(dst, src []byte, plain bool) {
	be := binary.BigEndian
	for ; len(src) >= 8; src = src[8:] {
		v := uint16(luma(uint32(be.Uint16(src)), uint32(be.Uint16(src[2:])), uint32(be.Uint16(src[4:]))) & 0xffff)
		be.PutUint16(dst, v)
		if plain {
			dst = dst[2:]
			continue
		}
		be.PutUint16(dst[2:], v)
		be.PutUint16(dst[4:], v)
		copy(dst[6:8], src[6:8])
		dst = dst[8:]
	}
}

type edges struct{}

func (edges) String() string             { return Edges }
func (edges) size(w, h int) (ow, oh int) { return w, h }

func (edges) apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error) {
	gray, err := grayscale{}.apply(ctx, img, env)
	if err != nil {
		return nil, err
	}
	out := raster.New(env.Pool, gray.Width, gray.Height, gray.Kind())
	err = raster.Bands(ctx, env.Workers, gray.Height, func(ctx context.Context, lo, hi int) error {
		s := newSobel(gray)
		for y := lo; y < hi; y++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.row(y)
			s.write(out, y)
		}
		return nil
	})
	if gray != img {
		env.Pool.Put(gray)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sobel gives one row of gradients after the other.
type sobel struct {
	img  *raster.Image
	raw  []uint16    // a row as the image gives it
	line [3][]uint16 // luma with its edges repeated; row y is at y modulo 3
	have [3]int      // which row each line holds, plus one
	out  []uint16
}

func newSobel(img *raster.Image) *sobel {
	s := &sobel{img: img, raw: make([]uint16, img.Width*img.Channels()), out: make([]uint16, img.Width)}
	for i := range s.line {
		s.line[i] = make([]uint16, img.Width+2)
	}
	return s
}

// fetch returns row y, clamped to the image, with one sample more at both ends.
func (s *sobel) fetch(y int) []uint16 {
	y = min(max(y, 0), s.img.Height-1)
	l := s.line[y%3]
	if s.have[y%3] == y+1 {
		return l
	}
	s.have[y%3] = y + 1
	s.img.ReadRow(y, s.raw)
	c := s.img.Channels()
	for x := range s.img.Width {
		l[x+1] = s.raw[x*c]
	}
	l[0], l[len(l)-1] = l[1], l[len(l)-2]
	return l
}

func (s *sobel) row(y int) {
	n := s.img.Width
	a, b, c := s.fetch(y - 1)[:n+2], s.fetch(y)[:n+2], s.fetch(y + 1)[:n+2]
	for x := range s.out[:n] {
		a0, a1, a2 := int64(a[x]), int64(a[x+1]), int64(a[x+2])
		c0, c1, c2 := int64(c[x]), int64(c[x+1]), int64(c[x+2])
		gx := a2 + 2*int64(b[x+2]) + c2 - a0 - 2*int64(b[x]) - c0
		gy := c0 + 2*c1 + c2 - a0 - 2*a1 - a2
		s.out[x] = uint16(min(math.Sqrt(float64(gx*gx+gy*gy))+0.5, 0xffff))
	}
}

// write stores the row; alpha stays as it is.
func (s *sobel) write(out *raster.Image, y int) {
	if out.Gray {
		out.WriteStraight(y, s.out)
		return
	}
	s.img.ReadStraight(y, s.raw)
	for x, v := range s.out {
		p := s.raw[4*x : 4*x+4]
		p[0], p[1], p[2] = v, v, v
	}
	out.WriteStraight(y, s.raw)
}

package codec

import (
	"context"
	"image"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// chroma converts luma and chroma to colours. Chroma of half the size is
// interpolated, three parts of the nearer sample and one of the farther, as
// libjpeg and libwebp do; the standard library would repeat it.
//
// With video, samples have the narrow range of television, as in WebP, where
// the decoder's own image type says otherwise.
func chroma(ctx context.Context, m *image.YCbCr, video bool, opts Options) (*raster.Image, error) {
	out := raster.New(opts.Pool, m.Rect.Dx(), m.Rect.Dy(), raster.Kind{Opaque: true})
	paint := fullRange
	if video {
		paint = videoRange
	}
	err := raster.Bands(ctx, opts.Workers, out.Height, func(ctx context.Context, lo, hi int) error {
		u := newUpsampler(m)
		for y := lo; y < hi; y++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			luma := m.Y[m.YOffset(m.Rect.Min.X, m.Rect.Min.Y+y):][:out.Width]
			u.row(y)
			paint(out.Row(y), luma, u.cb, u.cr)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func withAlpha(ctx context.Context, m *image.NYCbCrA, video bool, opts Options) (*raster.Image, error) {
	out, err := chroma(ctx, &m.YCbCr, video, opts)
	if err != nil {
		return nil, err
	}
	for y := range out.Height {
		row, alpha := out.Row(y), m.A[y*m.AStride:]
		for x := range out.Width {
			row[4*x+3] = alpha[x]
		}
	}
	out.CheckOpaque()
	return out, nil
}

// upsampler gives chroma rows at the width of the picture.
type upsampler struct {
	m        *image.YCbCr
	across   int // samples of luma to one of chroma
	down     int
	w, h     int    // size of the chroma planes
	mix      []int  // two rows mixed, times four
	cb, cr   []byte // the result
	fullSize bool
}

func newUpsampler(m *image.YCbCr) *upsampler {
	u := &upsampler{m: m, across: 1, down: 1}
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		u.across = 2
	case image.YCbCrSubsampleRatio420:
		u.across, u.down = 2, 2
	case image.YCbCrSubsampleRatio440:
		u.down = 2
	case image.YCbCrSubsampleRatio411:
		u.across = 4
	case image.YCbCrSubsampleRatio410:
		u.across, u.down = 4, 2
	default:
		u.fullSize = true
	}
	u.w = (m.Rect.Dx() + u.across - 1) / u.across
	u.h = (m.Rect.Dy() + u.down - 1) / u.down
	if !u.fullSize {
		u.mix = make([]int, u.w)
		u.cb, u.cr = make([]byte, u.w*u.across), make([]byte, u.w*u.across)
	}
	return u
}

// row sets cb and cr to those of row y of the picture.
func (u *upsampler) row(y int) {
	if u.fullSize {
		at := y * u.m.CStride
		u.cb, u.cr = u.m.Cb[at:at+u.w], u.m.Cr[at:at+u.w]
		return
	}
	u.plane(u.cb, u.m.Cb, y)
	u.plane(u.cr, u.m.Cr, y)
}

func (u *upsampler) plane(dst, src []byte, y int) {
	near := y / u.down
	far := near
	if u.down == 2 {
		far = min(max(near-1+y%2*2, 0), u.h-1)
	}
	a, b := src[near*u.m.CStride:][:u.w], src[far*u.m.CStride:][:u.w]
	mix := u.mix[:u.w]
	for i := range mix {
		mix[i] = 3*int(a[i]) + int(b[i])
	}
	if u.across != 2 {
		// Alternate rows round ties down and up, else all would drift up.
		bias := 1 + y%2
		for x := range dst {
			dst[x] = byte((mix[x/u.across] + bias) >> 2 & 0xff)
		}
		return
	}
	// Likewise here with columns, in the order that libjpeg has it.
	even, odd := 8, 7
	if u.down == 1 {
		even, odd = 7, 8
	}
	left := mix[0]
	for i, v := range mix {
		right := v
		if i+1 < len(mix) {
			right = mix[i+1]
		}
		dst[2*i] = byte((3*v + left + even) >> 4 & 0xff)
		dst[2*i+1] = byte((3*v + right + odd) >> 4 & 0xff)
		left = v
	}
}

// fullRange is the conversion of JFIF, in 16 bits of fixed point.
func fullRange(dst, luma, cb, cr []byte) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, l := range luma {
		y := int32(l)<<16 + 1<<15
		b, r := int32(cb[x])-128, int32(cr[x])-128
		p := dst[4*x : 4*x+4 : 4*x+4]
		p[0] = clamp((y + 91881*r) >> 16)
		p[1] = clamp((y - 22554*b - 46802*r) >> 16)
		p[2] = clamp((y + 116130*b) >> 16)
		p[3] = 0xff
	}
}

// videoRange is the conversion of Rec. 601 with luma from 16 to 235 and chroma
// from 16 to 240.
func videoRange(dst, luma, cb, cr []byte) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, l := range luma {
		y := 76309*(int32(l)-16) + 1<<15
		b, r := int32(cb[x])-128, int32(cr[x])-128
		p := dst[4*x : 4*x+4 : 4*x+4]
		p[0] = clamp((y + 104597*r) >> 16)
		p[1] = clamp((y - 25675*b - 53279*r) >> 16)
		p[2] = clamp((y + 132201*b) >> 16)
		p[3] = 0xff
	}
}

func clamp(v int32) byte { return byte(min(max(v, 0), 0xff) & 0xff) }

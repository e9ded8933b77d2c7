package filter

import (
	"context"
	"math"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

type blur struct{ sigma float64 }

func (b blur) String() string           { return Blur + ":" + format(b.sigma) }
func (blur) size(w, h int) (ow, oh int) { return w, h }

func (b blur) apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error) {
	out := raster.New(env.Pool, img.Width, img.Height, img.Kind())
	err := sweep(ctx, img, b.sigma, env, func(y int, blurred, _ []uint16) {
		out.WriteRow(y, blurred)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type sharpen struct{ amount, sigma float64 }

func (s sharpen) String() string {
	switch {
	case s.sigma != 1:
		return Sharpen + ":" + format(s.amount) + ":" + format(s.sigma)
	case s.amount != 1:
		return Sharpen + ":" + format(s.amount)
	}
	return Sharpen
}

func (sharpen) size(w, h int) (ow, oh int) { return w, h }

func (s sharpen) apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error) {
	out := raster.New(env.Pool, img.Width, img.Height, img.Kind())
	amount := int64(math.Round(s.amount * one))
	alpha := img.Channels() == 4
	err := sweep(ctx, img, s.sigma, env, func(y int, blurred, row []uint16) {
		img.ReadStraight(y, row)
		if alpha {
			unveil(blurred, row)
		}
		for i, b := range blurred {
			v := int64(row[i])
			v += ((v-int64(b))*amount + one/2) >> 16
			row[i] = uint16(min(max(v, 0), 0xffff))
		}
		out.WriteStraight(y, row)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// unveil turns a blurred row with alpha into colours to be compared with those of
// row, and sets its alpha to the row's, so that alpha is not sharpened.
func unveil(blurred, row []uint16) {
	for i := 0; i+3 < len(row); i += 4 {
		p := blurred[i : i+4 : i+4]
		if p[3] == 0 {
			copy(p, row[i:i+4])
			continue
		}
		raster.Straighten(p)
		p[3] = row[i+3]
	}
}

package raster

import "context"

// Orientation says, in the numbers of EXIF, how stored pixels have to be turned
// to be upright. 1 is upright as stored; 2 to 4 mirror and turn by half; 5 to 8
// swap width and height. Any other number counts as 1.
type Orientation uint8

// Swaps reports whether width and height change places.
func (o Orientation) Swaps() bool { return o >= 5 && o <= 8 }

// Upright returns img as o says it should be seen. It returns img itself if there
// is nothing to turn, else a new image, and img's memory goes to the pool.
func Upright(ctx context.Context, img *Image, o Orientation, width int, pool *Pool) (*Image, error) {
	if o < 2 || o > 8 {
		return img, nil
	}
	w, h := img.Width, img.Height
	if o.Swaps() {
		w, h = h, w
	}
	out := New(pool, w, h, img.Kind())
	size := img.PixelBytes()
	err := Rows(ctx, width, h, func(y int) {
		x0, y0 := o.source(0, y, img.Width, img.Height)
		x1, y1 := o.source(1, y, img.Width, img.Height)
		from := (y0*img.Width + x0) * size
		step := ((y1-y0)*img.Width + x1 - x0) * size
		row := out.Row(y)
		for i := 0; i < len(row); i += size {
			if size == 4 {
				*(*[4]byte)(row[i:]) = *(*[4]byte)(img.Pix[from:])
			} else {
				copy(row[i:i+size], img.Pix[from:from+size])
			}
			from += step
		}
	})
	if err != nil {
		return nil, err
	}
	pool.Put(img)
	return out, nil
}

// source returns which stored pixel of a w × h image is seen at (x, y).
func (o Orientation) source(x, y, w, h int) (sx, sy int) {
	switch o {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return y, h - 1 - x
	case 7:
		return w - 1 - y, h - 1 - x
	case 8:
		return w - 1 - y, x
	}
	return x, y
}

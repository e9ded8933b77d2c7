package filter

import (
	"context"
	"strconv"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// resize has 0 for a side that follows the other.
type resize struct{ width, height int }

func (s resize) String() string {
	switch {
	case s.height == 0:
		return Resize + ":" + strconv.Itoa(s.width)
	case s.width == 0:
		return Resize + ":x" + strconv.Itoa(s.height)
	}
	return Resize + ":" + strconv.Itoa(s.width) + "x" + strconv.Itoa(s.height)
}

func (s resize) size(w, h int) (ow, oh int) {
	switch {
	case s.height == 0:
		return s.width, scaled(h, s.width, w)
	case s.width == 0:
		return scaled(w, s.height, h), s.height
	}
	return s.width, s.height
}

func (s resize) apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error) {
	w, h := s.size(img.Width, img.Height)
	return resample(ctx, img, w, h, env)
}

// scaled returns n × to / from, rounded, at least 1.
func scaled(n, to, from int) int {
	return int(max(1, (int64(n)*int64(to)+int64(from)/2)/int64(from)))
}

type thumbnail struct{ width, height int }

func (s thumbnail) String() string {
	if s.width == s.height {
		return Thumbnail + ":" + strconv.Itoa(s.width)
	}
	return Thumbnail + ":" + strconv.Itoa(s.width) + "x" + strconv.Itoa(s.height)
}

func (s thumbnail) size(w, h int) (ow, oh int) {
	switch {
	case w <= s.width && h <= s.height:
		return w, h
	case int64(w)*int64(s.height) >= int64(h)*int64(s.width): // the width decides
		return s.width, min(scaled(h, s.width, w), s.height)
	}
	return min(scaled(w, s.height, h), s.width), s.height
}

func (s thumbnail) apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error) {
	w, h := s.size(img.Width, img.Height)
	return resample(ctx, img, w, h, env)
}

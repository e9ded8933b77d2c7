// Package filter changes pictures: grayscale, blur, sharpen, edges, resize and
// thumbnail, alone or in chains.
//
// All filters work on the stored, gamma-coded values, as the common tools do.
// Averages are taken over colours multiplied by alpha, with 16 bits per sample,
// and what lies beyond an edge repeats the edge. Each filter is described at the
// constant that names it.
package filter

import (
	"context"
	"fmt"
	"strings"

	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// Names of the filters, and what they do.
const (
	// Grayscale takes the luma of Rec. 601, 0.299 R + 0.587 G + 0.114 B, in the
	// fixed point of libjpeg and Pillow. Alpha stays.
	Grayscale = "grayscale"
	// Blur is "blur:SIGMA": a Gaussian cut off at 3 sigma (4 for 16-bit pictures)
	// and scaled to a sum of exactly one.
	Blur = "blur"
	// Sharpen is "sharpen[:AMOUNT[:SIGMA]]", an unsharp mask: AMOUNT times the
	// difference from the blurred picture is added, on every pixel, to colours
	// only. Both are 1 unless given.
	Sharpen = "sharpen"
	// Edges is the length of the Sobel gradient of the grayscale picture, not
	// scaled, cut at white. Alpha stays; what cannot be seen counts as black.
	Edges = "edges"
	// Resize is "resize:W", "resize:xH" or "resize:WxH": Lanczos with three lobes,
	// widened by the factor when shrinking. A side that is not given follows the
	// other in proportion.
	Resize = "resize"
	// Thumbnail is "thumbnail:N" or "thumbnail:WxH": the largest size in
	// proportion that fits, and never larger than the picture is.
	Thumbnail = "thumbnail"
)

// Bounds of what Parse and Size accept.
const (
	// MaxSteps is the longest chain.
	MaxSteps = 16
	// MaxSide is the longest side that a filter makes, and the longest that JPEG
	// and GIF can hold.
	MaxSide = 65535
	// MinSigma is the smallest radius of blur and sharpen.
	MinSigma = 0.1
	// MaxSigma is the largest.
	MaxSigma = 100
	// MinAmount is the least strength of sharpen.
	MinAmount = 0.01
	// MaxAmount is the most.
	MaxAmount = 10
)

// step is one filter with its arguments.
type step interface {
	// size returns what comes out of a w × h picture; a side may be too long.
	size(w, h int) (int, int)
	apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error)
	// String returns the specification that Parse turns into this step.
	String() string
}

// Chain is a parsed specification, one filter after the other. It never changes
// and may be used by many goroutines. The zero value does nothing.
type Chain struct {
	steps []step
}

// Env is what filters work with.
type Env struct {
	// Workers is how many bands of rows go at the same time. Default 1.
	Workers int
	// Pool gives and takes the memory of images. Default none.
	Pool *raster.Pool
}

// String returns the specification in its shortest form; Parse accepts it.
func (c Chain) String() string {
	specs := make([]string, len(c.steps))
	for i, s := range c.steps {
		specs[i] = s.String()
	}
	return strings.Join(specs, ",")
}

// Size is what a chain makes of a picture's size.
type Size struct {
	// Width and Height are those of the result.
	Width, Height int
	// Pixels is the most that any picture on the way has, the first included.
	Pixels int64
	// Peak is the most that are held at the same time, by a filter's input and
	// output together.
	Peak int64
}

// Size returns what the chain makes of a picture of the given size, without
// doing it. A side beyond MaxSide is an error that names the filter.
func (c Chain) Size(width, height int) (Size, error) {
	n := int64(width) * int64(height)
	s := Size{Width: width, Height: height, Pixels: n, Peak: n}
	for _, f := range c.steps {
		w, h := f.size(s.Width, s.Height)
		if (w > MaxSide || h > MaxSide) && (w > s.Width || h > s.Height) {
			return Size{}, fmt.Errorf("%s would make %dx%d of %dx%d: a side has at most %d pixels, ask for less",
				f, w, h, s.Width, s.Height, MaxSide)
		}
		next := int64(w) * int64(h)
		s = Size{Width: w, Height: h, Pixels: max(s.Pixels, next), Peak: max(s.Peak, n+next)}
		n = next
	}
	return s, nil
}

// Apply runs the chain on img and returns the result, which is img itself where
// there is nothing to do. The memory of img and of what lies between goes to the
// pool, so the caller must not use img afterwards. The result depends on neither
// Workers nor the machine. It stops soon after ctx ends, with ctx's error.
func (c Chain) Apply(ctx context.Context, img *raster.Image, env Env) (*raster.Image, error) {
	if _, err := c.Size(img.Width, img.Height); err != nil {
		return nil, err
	}
	for _, s := range c.steps {
		out, err := s.apply(ctx, img, env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		if out != img {
			env.Pool.Put(img)
		}
		img = out
	}
	return img, nil
}

package raster

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Bands cuts the rows [0, n) into at most width bands of about equal height, runs
// f on all of them at once, waits for all, and returns the first error in order
// of rows. A width below 1 counts as 1. A panic in f comes out of Bands, where
// the caller's own recovery can meet it.
func Bands(ctx context.Context, width, n int, f func(ctx context.Context, lo, hi int) error) error {
	width = max(1, min(width, n))
	if err := ctx.Err(); err != nil {
		return err
	}
	if width == 1 {
		return f(ctx, 0, n)
	}
	errs := make([]error, width)
	panics := make([]any, width)
	var wg sync.WaitGroup
	for i := range width {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panics[i] = fmt.Sprintf("%v\n%s", p, debug.Stack())
				}
			}()
			errs[i] = f(ctx, n*i/width, n*(i+1)/width)
		})
	}
	wg.Wait()
	for i := range width {
		if panics[i] != nil {
			panic(panics[i])
		}
		if errs[i] != nil {
			return errs[i]
		}
	}
	return nil
}

// Rows is Bands with f called for one row after the other; it stops soon after
// ctx ends.
func Rows(ctx context.Context, width, n int, f func(y int)) error {
	return Bands(ctx, width, n, func(ctx context.Context, lo, hi int) error {
		for y := lo; y < hi; y++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			f(y)
		}
		return nil
	})
}

package imaging

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/file"
	"github.com/faena-dev/faena/tasks/imaging/filter"
)

// process is the handler of Process.
func (h *handlers) process(ctx context.Context, f File) (Done, error) {
	chain, o, err := h.settle(f)
	if err != nil {
		return Done{}, faena.Permanent(err)
	}
	h.sweep(ctx, filepath.Dir(f.Out))
	r, err := file.Process(ctx, f.In, f.Out, chain, o)
	if err != nil {
		if ctx.Err() != nil {
			return Done{}, err // why it ended says what becomes of the run
		}
		return Done{}, hopeless(err)
	}
	return Done{
		Format: r.Format, WidthIn: r.WidthIn, HeightIn: r.HeightIn, Width: r.Width, Height: r.Height, Frames: r.Frames,
		BytesIn: r.BytesIn, Bytes: r.Bytes, SHA256: r.SHA256, Unchanged: r.Unchanged, Elapsed: r.Elapsed,
	}, nil
}

// settle turns a run's settings into those of package file.
func (h *handlers) settle(f File) (filter.Chain, file.Options, error) {
	var none file.Options
	if err := f.check(); err != nil {
		return filter.Chain{}, none, err
	}
	for _, name := range []string{f.In, f.Out} {
		if name == "" {
			return filter.Chain{}, none, fmt.Errorf("process %q into %q: a path is missing", f.In, f.Out)
		}
		if err := absolute(name); err != nil {
			return filter.Chain{}, none, err
		}
	}
	chain, err := filter.Parse(f.Filter)
	if err != nil {
		return chain, none, err
	}
	pixels, err := within("max_pixels", f.MaxPixels, codec.DefaultMaxPixels, h.MaxPixels)
	if err != nil {
		return chain, none, err
	}
	bytes, err := within("max_bytes", f.MaxBytes, file.DefaultMaxBytes, h.MaxBytes)
	return chain, file.Options{
		MaxPixels: pixels, MaxBytes: bytes, Quality: f.Quality, Overwrite: f.Overwrite,
		Workers: h.Workers, Budget: h.budget, Pool: h.pool,
	}, err
}

// within is the limit to hold: what is asked for, if this worker allows that much.
func within(what string, asked, usual, most int64) (int64, error) {
	if asked > most {
		return 0, fmt.Errorf("%s is %d: this worker allows at most %d", what, asked, most)
	}
	return min(cmp.Or(asked, usual), most), nil
}

const (
	// sweepEvery is how often a directory that is written to is swept at most, and
	// sweepAge what counts as left behind where locks do not tell.
	sweepEvery = time.Minute
	sweepAge   = 2 * time.Hour
	// sweptMost bounds how many directories are remembered.
	sweptMost = 1024
)

// sweep removes what killed processes left half written in dir. It is worth
// nobody's failure.
func (h *handlers) sweep(ctx context.Context, dir string) {
	now := time.Now()
	h.mu.Lock()
	last, known := h.swept[dir]
	fresh := known && now.Sub(last) < sweepEvery
	if !fresh {
		if h.swept == nil || len(h.swept) >= sweptMost {
			h.swept = map[string]time.Time{}
		}
		h.swept[dir] = now
	}
	h.mu.Unlock()
	if !fresh {
		sweep(ctx, dir)
	}
}

func sweep(ctx context.Context, dir string) {
	if err := file.Sweep(dir, sweepAge); err != nil {
		faena.Logger(ctx).WarnContext(ctx, "half-written files stay", slog.String("directory", dir), slog.Any("error", err))
	}
}

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
		BytesIn: r.BytesIn, Bytes: r.Bytes, SHA256: r.SHA256, Unchanged: r.Unchanged, ElapsedMS: r.ElapsedMS,
	}, nil
}

// checkFile tells why a run would fail whatever the files hold.
func (h *handlers) checkFile(f File) error {
	_, _, err := h.settle(f)
	return err
}

// settle turns a run's settings into those of package file.
func (h *handlers) settle(f File) (filter.Chain, file.Options, error) {
	var none file.Options
	if err := f.check(); err != nil {
		return filter.Chain{}, none, err
	}
	for _, path := range [][2]string{{"in", f.In}, {"out", f.Out}} {
		if path[1] == "" {
			return filter.Chain{}, none, fmt.Errorf("field %q is missing: want the absolute path of a file", path[0])
		}
		if err := absolute(path[1]); err != nil {
			return filter.Chain{}, none, err
		}
	}
	chain, err := filter.Parse(f.Filter)
	if err != nil {
		return chain, none, err
	}
	pixels, bytes, err := h.limits(f.Settings)
	return chain, file.Options{
		MaxPixels: pixels, MaxBytes: bytes, Quality: f.Quality, Overwrite: f.Overwrite,
		Workers: h.Workers, Budget: h.budget, Pool: h.pool,
	}, err
}

// limits are the limits to hold.
func (h *handlers) limits(s Settings) (pixels, bytes int64, err error) {
	if pixels, err = within("max_pixels", s.MaxPixels, codec.DefaultMaxPixels, h.MaxPixels); err != nil {
		return 0, 0, err
	}
	bytes, err = within("max_bytes", s.MaxBytes, file.DefaultMaxBytes, h.MaxBytes)
	return pixels, bytes, err
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

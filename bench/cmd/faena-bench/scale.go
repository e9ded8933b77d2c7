package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

// million retains many runs and measures pages of them, a restart, and a rebuild
// of the index. One run in a hundred fails, one in ten has a tag.
func million(ctx context.Context, o *options, r *result) error {
	b, err := open(ctx, o, embedded.Strict, "", false)
	if err != nil {
		return err
	}
	defer b.close()
	n := o.n * 10
	if err := b.fill(ctx, n); err != nil {
		return err
	}
	r.add("resident MB after the drain", resident(os.Getpid()))
	if err := pages(ctx, b.node, r, "warm"); err != nil {
		return err
	}
	if err := errors.Join(b.node.Close(), b.eng.Close()); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	r.add("bytes of disk per run, all", float64(size(b.dir, ""))/float64(n))
	r.add("bytes of disk per run, index", float64(size(b.dir, "index.db"))/float64(n))
	t0 := time.Now()
	if err := b.reopen(ctx, embedded.Strict, ""); err != nil {
		return err
	}
	r.add("restart, seconds", time.Since(t0).Seconds())
	if err := pages(ctx, b.node, r, "first after a restart"); err != nil {
		return err
	}
	if err := errors.Join(b.node.Close(), b.eng.Close()); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	for _, f := range []string{"index.db", "index.db-wal", "index.db-shm"} {
		if err := os.Remove(filepath.Join(b.dir, f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("drop the index: %w", err)
		}
	}
	t0 = time.Now()
	if err := b.reopen(ctx, embedded.Strict, ""); err != nil {
		return err
	}
	r.add("restart with the index built anew, seconds", time.Since(t0).Seconds())
	return settled(ctx, b.node, int64(n-n/100))
}

// fill submits n runs and has them executed.
func (b *bench) fill(ctx context.Context, n int) error {
	h := echo.With(func(_ context.Context, in payload) (payload, error) {
		if in.At%100 == 0 {
			return in, faena.Permanent(errors.New("one in a hundred"))
		}
		return in, nil
	})
	if err := b.node.Handle(h); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 256)
	for c := range 256 {
		wg.Go(func() {
			for i := c; i < n; i += 256 {
				var opts []faena.Option
				if i%10 == 0 {
					opts = append(opts, faena.Tags("customer", fmt.Sprint(i%1000)))
				}
				if _, err := echo.Go(ctx, b.node, payload{Text: filler(), At: int64(i)}, opts...); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return fmt.Errorf("submit: %w", err)
	default:
		return settled(ctx, b.node, int64(n-(n+99)/100))
	}
}

// pages measures lists of 50, newest first, by each filter.
func pages(ctx context.Context, n *faena.Node, r *result, when string) error {
	now := time.Now()
	queries := map[string]faena.Query{
		"all":                 {},
		"state succeeded":     {States: []faena.State{faena.Succeeded}},
		"state failed":        {States: []faena.State{faena.Failed}},
		"state queued (none)": {States: []faena.State{faena.Queued}},
		"queue":               {Queue: "bench"},
		"task":                {Task: "echo"},
		"task (none)":         {Task: "nothing"},
		"tag":                 {Tags: []faena.Tag{{Key: "customer", Value: "500"}}},
		"time":                {From: now.Add(-time.Hour), To: now.Add(-time.Second)},
		"failed, task":        {States: []faena.State{faena.Failed}, Task: "echo"},
		"failed, queue":       {States: []faena.State{faena.Failed}, Queue: "bench"},
		"failed, tag":         {States: []faena.State{faena.Failed}, Tags: []faena.Tag{{Key: "customer", Value: "500"}}},
		"succeeded, tag":      {States: []faena.State{faena.Succeeded}, Tags: []faena.Tag{{Key: "customer", Value: "500"}}},
	}
	rounds := 100
	if when != "warm" {
		rounds = 1
	}
	worst, of := time.Duration(0), ""
	var all []time.Duration
	for name, q := range queries {
		q.Limit = 50
		for range rounds {
			t0 := time.Now()
			if _, err := n.Page(ctx, q); err != nil {
				return fmt.Errorf("page of %s: %w", name, err)
			}
			d := time.Since(t0)
			all = append(all, d)
			if d > worst {
				worst, of = d, name
			}
		}
	}
	r.latencies("page of 50, "+when+",", all)
	r.add("worst page "+when+", ms ("+of+")", float64(worst.Microseconds())/1000)
	return nil
}

// size is the disk space under dir of files whose names begin with prefix.
func size(dir, prefix string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(d.Name()) < len(prefix) || d.Name()[:len(prefix)] != prefix {
			return nil
		}
		if i, err := d.Info(); err == nil {
			if s, ok := i.Sys().(*syscall.Stat_t); ok {
				n += s.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// churn submits 2 000 runs/s that are kept for a minute, in a process of its own,
// and compares its memory in minute 9 with that in minute 3.
func churn(ctx context.Context, o *options, r *result) error {
	dir, err := os.MkdirTemp(o.dir, "faena-churn-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, "-worker", "churn:"+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer cmd.Wait()         //nolint:errcheck // it is killed
	defer cmd.Process.Kill() //nolint:errcheck // it is killed
	mean := func(from, to time.Duration, begun time.Time) (float64, error) {
		if err := pause(ctx, time.Until(begun.Add(from))); err != nil {
			return 0, err
		}
		sum, k := 0.0, 0.0
		for time.Since(begun) < to {
			sum, k = sum+resident(cmd.Process.Pid), k+1
			if err := pause(ctx, time.Second); err != nil {
				return 0, err
			}
		}
		return sum / k, nil
	}
	begun := time.Now()
	third, err := mean(2*time.Minute, 3*time.Minute, begun)
	if err != nil {
		return err
	}
	ninth, err := mean(8*time.Minute, 9*time.Minute, begun)
	if err != nil {
		return err
	}
	r.add("mean resident MB in minute 3", third)
	r.add("mean resident MB in minute 9", ninth)
	r.add("ratio", ninth/third)
	r.add("MB of disk at the end", float64(size(dir, ""))/(1<<20))
	return nil
}

// churnForever is the process that churn watches.
func churnForever(ctx context.Context, dir string) error {
	b := &bench{dir: dir}
	if err := b.reopen(ctx, embedded.Strict, ""); err != nil {
		return err
	}
	if err := b.node.Handle(handlers()...); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for range t.C {
		for range 20 {
			go func() {
				if _, err := echo.Go(ctx, b.node, payload{Text: filler()}, faena.Keep(time.Minute, time.Minute)); err != nil {
					fmt.Fprintln(os.Stderr, "churn:", err)
				}
			}()
		}
	}
	return nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
)

func open(ctx context.Context, o *options, durability, listen string, work bool) (*bench, error) {
	dir, err := os.MkdirTemp(o.dir, "faena-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	b := &bench{dir: dir}
	if err := b.reopen(ctx, durability, listen); err != nil {
		return nil, err
	}
	if work {
		if err := b.node.Handle(handlers()...); err != nil {
			return nil, fmt.Errorf("handle: %w", err)
		}
	}
	return b, nil
}

func (b *bench) reopen(ctx context.Context, durability, listen string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	if b.eng, err = embedded.Open(ctx, embedded.Options{Dir: b.dir, Durability: durability, Listen: listen, Logger: log}); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if b.node, err = faena.Open(ctx, b.eng, faena.Options{Slots: slots, Logger: log}); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}

func (b *bench) close() {
	_ = b.node.Close()
	_ = b.eng.Close()
	_ = os.RemoveAll(b.dir)
}

// settled waits until the index says that n runs have succeeded. Each question
// makes the index hurry, so it asks seldom while the end is far.
func settled(ctx context.Context, n *faena.Node, want int64) error {
	began := time.Now()
	for {
		counts, err := n.Counts(ctx)
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		done := int64(0)
		for _, c := range counts {
			if c.State == faena.Succeeded {
				done += c.N
			}
		}
		if done >= want {
			return nil
		}
		left := time.Duration(float64(time.Since(began)) * float64(want-done) / float64(max(done, 1)))
		if err := pause(ctx, min(max(left/2, 2*time.Millisecond), 100*time.Millisecond)); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain lets the worker in this process work off n runs.
func (b *bench) drain(ctx context.Context, r *result, n int64) error {
	c, t := cpu(), time.Now()
	if err := b.node.Handle(handlers()...); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	if err := settled(ctx, b.node, n); err != nil {
		return err
	}
	r.add("drained/s", float64(n)/time.Since(t).Seconds())
	r.add("CPU µs per run, drain", float64((cpu()-c).Microseconds())/float64(n))
	return nil
}

// submitAll submits singles from 256 callers.
func submitAll(ctx context.Context, n *faena.Node, ins []payload) error {
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for part := range slices.Chunk(ins, max(1, len(ins)/256)) {
		wg.Go(func() {
			for _, in := range part {
				if _, err := echo.Go(ctx, n, in); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("submit: %w", *err)
	}
	return nil
}

// callers runs f in n goroutines for d and gives the number of calls.
func callers(ctx context.Context, n int, d time.Duration, f func(ctx context.Context) error) (int64, []time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var calls atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	var first error
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var l []time.Duration
			for ctx.Err() == nil {
				t := time.Now()
				if err := f(ctx); err != nil {
					if ctx.Err() == nil {
						mu.Lock()
						first = errors.Join(first, err)
						mu.Unlock()
					}
					break
				}
				calls.Add(1)
				l = append(l, time.Since(t))
			}
			mu.Lock()
			all = append(all, l...)
			mu.Unlock()
		})
	}
	wg.Wait()
	return calls.Load(), all, first
}

// learn lets the engine see how long the task takes, and ends the worker.
func (b *bench) learn(ctx context.Context) error {
	for t := time.Now(); time.Since(t) < 2*time.Second; {
		if _, err := echo.Run(ctx, b.node, payload{Text: filler()}); err != nil {
			return fmt.Errorf("run: %w", err)
		}
	}
	if err := b.node.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	var err error
	b.node, err = faena.Open(ctx, b.eng, faena.Options{})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}

// startWorker runs this program as a worker process, and returns when it works.
func startWorker(ctx context.Context, dir string) (stop func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, "-worker", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}, nil
}

// work is the worker process.
func work(ctx context.Context, dir string) error {
	if rest, ok := strings.CutPrefix(dir, "churn:"); ok {
		return churnForever(ctx, rest)
	}
	if rest, ok := strings.CutPrefix(dir, "idle:"); ok {
		e, err := embedded.Open(ctx, embedded.Options{Dir: rest})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer e.Close() //nolint:errcheck // killed before
		fmt.Println("ready")
		<-ctx.Done()
		select {}
	}
	a, err := embedded.Find(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("find the server: %w", err)
	}
	eng, err := natsengine.Connect(ctx, a.URL, natsengine.Options{Token: a.Secret})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	n, err := faena.Open(ctx, eng, faena.Options{Slots: slots})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	fmt.Println("ready")
	if err := n.Handle(handlers()...); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	select {}
}

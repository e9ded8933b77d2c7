package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
	"golang.org/x/sys/unix"
)

// payload is 100 bytes as JSON.
type payload struct {
	Text string `json:"text"`
	At   int64  `json:"at"`
}

func filler() string { return string(slices.Repeat([]byte("x"), 70)) }

const slots = 64

//nolint:gochecknoglobals // a task contract, never changed
var (
	echo  = faena.Define[payload, payload]("echo", faena.Queue("bench"))
	plain = faena.Define[json.RawMessage, json.RawMessage]("plain", faena.Queue("bench"))
	fan   = faena.Define[int, int]("fan", faena.Queue("fan"))
	sleep = faena.Define[int, int]("sleep", faena.Queue("sleep"))
)

func handlers() []faena.Handler {
	return []faena.Handler{
		echo.With(func(_ context.Context, in payload) (payload, error) { return in, nil }),
		plain.With(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }),
		sleep.With(func(ctx context.Context, ms int) (int, error) {
			t := time.NewTimer(time.Duration(ms) * time.Millisecond)
			defer t.Stop()
			select {
			case <-t.C:
				return ms, nil
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}),
	}
}

func measurements() []measurement {
	return []measurement{
		{"disk", "one sync with little to write, and raw JetStream publishes", disk},
		{"backlog-fast", "singles, worker in process, fast", backlog(embedded.Fast, false, false)},
		{"backlog-strict", "singles, worker in process, strict", backlog(embedded.Strict, false, false)},
		{"backlog-strict-remote", "singles, worker in another process, strict", backlog(embedded.Strict, false, true)},
		{"batch-strict", "one batch, worker in process, strict", backlog(embedded.Strict, true, false)},
		{"batch-strict-raw", "the same of json.RawMessage, which is not decoded", batchRaw},
		{"submit-16", "single submissions from 16 callers, strict, of a task that no worker has told of", submit16(false)},
		{"submit-16-known", "the same of a task that is known to be short", submit16(true)},
		{"wait-64", "submit and wait from 64 callers, strict", submitAndWait(64)},
		{"wait-1", "submit and wait from one caller, strict", submitAndWait(1)},
		{"steady-200", "200 runs/s, strict", steady},
		{"fan-10000", "a run that fans out 10 000 and gathers them, strict", fanOut},
		{"spread", "1 000 runs of 100 ms over 3 workers of 8 slots", spread(false)},
		{"spread-batch", "the same as one batch", spread(true)},
		{"restart", "memory 10 s after a restart with 100 000 queued", restart},
		{"million", "pages, restart and disk with ten times -n runs retained", million},
		{"churn", "memory at 2 000 runs/s, each kept for a minute (9 minutes)", churn},
	}
}

// bench is an engine and node in a directory of its own.
type bench struct {
	dir  string
	eng  *embedded.Engine
	node *faena.Node
}

// disk measures what lies below.
func disk(ctx context.Context, o *options, r *result) error {
	f, err := os.CreateTemp(o.dir, "faena-sync-")
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a temporary file
	defer f.Close()           //nolint:errcheck // a temporary file
	var l []time.Duration
	for range 300 {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		t := time.Now()
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		l = append(l, time.Since(t))
	}
	r.latencies("one sync", l)
	n, err := rawPublishes(ctx, o)
	r.add("raw JetStream publishes/s", n)
	return err
}

// backlog submits runs with no worker, then drains them.
func backlog(durability string, batch, remote bool) func(context.Context, *options, *result) error {
	return func(ctx context.Context, o *options, r *result) error {
		listen := ""
		if remote {
			listen = "127.0.0.1:0"
		}
		b, err := open(ctx, o, durability, listen, false)
		if err != nil {
			return err
		}
		defer b.close()
		ins := make([]payload, o.n)
		for i := range ins {
			ins[i] = payload{Text: filler(), At: int64(i)}
		}
		c0, t0 := cpu(), time.Now()
		if err := o.profiled("submit", func() error {
			if !batch {
				return submitAll(ctx, b.node, ins)
			}
			_, err := echo.Batch(ctx, b.node, ins)
			return err
		}); err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		r.add("submitted/s", float64(o.n)/time.Since(t0).Seconds())
		c1 := cpu()
		r.add("CPU µs per run, submit", float64((c1-c0).Microseconds())/float64(o.n))
		if err := pause(ctx, time.Second); err != nil { // let the index catch up with the submissions
			return err
		}
		c1, t0 = cpu(), time.Now()
		if err := o.profiled("drain", func() error {
			if remote {
				stop, err := startWorker(ctx, b.dir)
				if err != nil {
					return err
				}
				defer stop()
				t0 = time.Now()
			} else if err := b.node.Handle(handlers()...); err != nil {
				return fmt.Errorf("handle: %w", err)
			}
			return settled(ctx, b.node, int64(o.n))
		}); err != nil {
			return err
		}
		r.add("drained/s", float64(o.n)/time.Since(t0).Seconds())
		r.add("CPU µs per run, drain", float64((cpu()-c1).Microseconds())/float64(o.n))
		r.add("resident MB after the drain", resident(os.Getpid()))
		return nil
	}
}

// batchRaw drains a batch whose inputs nobody decodes.
func batchRaw(ctx context.Context, o *options, r *result) error {
	b, err := open(ctx, o, embedded.Strict, "", false)
	if err != nil {
		return err
	}
	defer b.close()
	ins := make([]json.RawMessage, o.n)
	for i := range ins {
		if ins[i], err = json.Marshal(payload{Text: filler(), At: int64(i)}); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
	}
	if _, err := plain.Batch(ctx, b.node, ins); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	return o.profiled("drain", func() error { return b.drain(ctx, r, int64(o.n)) })
}

const steadyFor = 4 * time.Second

func submit16(known bool) func(context.Context, *options, *result) error {
	return func(ctx context.Context, o *options, r *result) error {
		b, err := open(ctx, o, embedded.Strict, "", known)
		if err != nil {
			return err
		}
		defer b.close()
		if known {
			if err := b.learn(ctx); err != nil {
				return err
			}
		}
		return submit16For(ctx, o, r, b)
	}
}

func submit16For(ctx context.Context, o *options, r *result, b *bench) error {
	if err := disk(ctx, o, r); err != nil {
		return err
	}
	oneSync := r.figures[0].v
	var n int64
	var l []time.Duration
	c0 := cpu()
	err := o.profiled("submit", func() (err error) {
		n, l, err = callers(ctx, 16, steadyFor, func(ctx context.Context) error {
			_, err := echo.Go(ctx, b.node, payload{Text: filler()})
			return err
		})
		return err
	})
	rate := float64(n) / steadyFor.Seconds()
	r.add("submitted/s", rate)
	r.add("target/s: 0.6 × 16 / p50 of one sync", 0.6*16/oneSync*1000)
	r.add("CPU µs per run", float64((cpu()-c0).Microseconds())/float64(max(n, 1)))
	r.latencies("submit", l)
	return err
}

func submitAndWait(callersN int) func(context.Context, *options, *result) error {
	return func(ctx context.Context, o *options, r *result) error {
		b, err := open(ctx, o, embedded.Strict, "", true)
		if err != nil {
			return err
		}
		defer b.close()
		c0 := cpu()
		n, l, err := callers(ctx, callersN, steadyFor, func(ctx context.Context) error {
			_, err := echo.Run(ctx, b.node, payload{Text: filler()})
			return err
		})
		r.add("runs/s", float64(n)/steadyFor.Seconds())
		r.latencies("submit to result", l)
		r.add("CPU µs per run", float64((cpu()-c0).Microseconds())/float64(max(n, 1)))
		return err
	}
}

// steady submits at 200/s and measures each run's way.
func steady(ctx context.Context, o *options, r *result) error {
	b, err := open(ctx, o, embedded.Strict, "", false)
	if err != nil {
		return err
	}
	defer b.close()
	var mu sync.Mutex
	var starts, ends []time.Duration
	h := echo.With(func(_ context.Context, in payload) (payload, error) {
		d := time.Since(time.Unix(0, in.At))
		mu.Lock()
		starts = append(starts, d)
		mu.Unlock()
		return in, nil
	})
	if err := b.node.Handle(h); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	var wg sync.WaitGroup
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for range 1000 {
		<-t.C
		wg.Go(func() {
			t0 := time.Now()
			if _, err := echo.Run(ctx, b.node, payload{Text: filler(), At: t0.UnixNano()}); err == nil {
				mu.Lock()
				ends = append(ends, time.Since(t0))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(ends) != 1000 {
		return fmt.Errorf("%d of 1000 runs succeeded", len(ends))
	}
	r.latencies("submit to start", starts)
	r.latencies("submit to result", ends)
	return nil
}

func fanOut(ctx context.Context, o *options, r *result) error {
	b, err := open(ctx, o, embedded.Strict, "", true)
	if err != nil {
		return err
	}
	defer b.close()
	const n = 10_000
	var took time.Duration
	parent := fan.With(func(ctx context.Context, n int) (int, error) {
		t0 := time.Now()
		got := 0
		in := func(yield func(payload) bool) {
			for i := range n {
				if !yield(payload{Text: filler(), At: int64(i)}) {
					return
				}
			}
		}
		for _, err := range echo.Map(ctx, b.node, in, faena.Window(n)) {
			if err != nil {
				return 0, err
			}
			got++
		}
		took = time.Since(t0)
		return got, nil
	})
	if err := b.node.Handle(parent); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	if _, err := fan.Run(ctx, b.node, 100); err != nil { // warm
		return fmt.Errorf("warm up: %w", err)
	}
	got, err := fan.Run(ctx, b.node, n)
	if err != nil || got != n {
		return fmt.Errorf("gathered %d: %w", got, err)
	}
	r.add("seconds", took.Seconds())
	return nil
}

// spread measures how evenly work goes to three workers.
func spread(batch bool) func(context.Context, *options, *result) error {
	return func(ctx context.Context, o *options, r *result) error {
		b, err := open(ctx, o, embedded.Strict, "127.0.0.1:0", false)
		if err != nil {
			return err
		}
		defer b.close()
		for range 3 {
			eng, err := natsengine.Connect(ctx, b.eng.URL(), natsengine.Options{Token: b.eng.Secret()})
			if err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			defer eng.Close() //nolint:errcheck // gives none
			n, err := faena.Open(ctx, eng, faena.Options{Slots: 8})
			if err != nil {
				return fmt.Errorf("open: %w", err)
			}
			defer n.Close() //nolint:errcheck // measured already
			if err := n.Handle(handlers()...); err != nil {
				return fmt.Errorf("handle: %w", err)
			}
		}
		const n = 1000
		ins := slices.Repeat([]int{100}, n)
		t0 := time.Now()
		var futs []*faena.Future[int]
		if batch {
			if futs, err = sleep.Batch(ctx, b.node, ins); err != nil {
				return fmt.Errorf("submit: %w", err)
			}
		} else {
			for _, in := range ins {
				f, err := sleep.Go(ctx, b.node, in)
				if err != nil {
					return fmt.Errorf("submit: %w", err)
				}
				futs = append(futs, f)
			}
		}
		if _, err := faena.All(ctx, futs...); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		ideal := float64((n+23)/24) * 0.1
		r.add("seconds", time.Since(t0).Seconds())
		r.add("of the ideal time", time.Since(t0).Seconds()/ideal)
		return nil
	}
}

func restart(ctx context.Context, o *options, r *result) error {
	b, err := open(ctx, o, embedded.Strict, "", false)
	if err != nil {
		return err
	}
	defer b.close()
	ins := slices.Repeat([]payload{{Text: filler()}}, 100_000)
	if err := submitAll(ctx, b.node, ins); err != nil {
		return err
	}
	if err := b.node.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if err := b.eng.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, "-worker", "idle:"+b.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	t0 := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer cmd.Wait()         //nolint:errcheck // it is killed
	defer cmd.Process.Kill() //nolint:errcheck // it is killed
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	r.add("seconds to open", time.Since(t0).Seconds())
	if err := pause(ctx, 10*time.Second); err != nil {
		return err
	}
	r.add("resident MB", resident(cmd.Process.Pid))
	return nil
}

// engineCheck keeps the port in view: what is measured is an engine like any.
var _ engine.Engine = (*embedded.Engine)(nil)

package faena_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

// inside runs fn as the handler of a run.
func inside(t *testing.T, o faena.Options, r engine.Run, saved []byte, fn func(ctx context.Context)) *hold {
	t.Helper()
	l := newLoop(0)
	n := open(t, l, o)
	handle(t, n, faena.Define[int, int]("t").With(func(ctx context.Context, _ int) (int, error) {
		fn(ctx)
		return 0, nil
	}))
	r.Task = "t"
	h := &hold{l: l, saved: saved}
	started := time.Unix(9, 0)
	if r.Timeout > 0 { // which counts from there
		started = time.Now()
	}
	if out := l.opts.Exec(t.Context(), &engine.Attempt{Run: &r, Input: []byte("7"), Started: started, Lease: h}); out.Failure != nil {
		t.Fatalf("handler: %s", out.Failure.Message)
	}
	return h
}

func TestInsideOfAHandler(t *testing.T) {
	t.Parallel()
	run := engine.Run{
		ID: faena.ID{1}, Parent: faena.ID{2}, Queue: "q", Attempt: 1, Retry: engine.Retry{Attempts: 4}, Trace: "00-a",
		Deadline: 9e12, Tags: []faena.Tag{{Key: "a", Value: "b"}}, Keep: [2]uint32{60, 3600},
	}
	var buf bytes.Buffer
	inside(t, faena.Options{Logger: slog.New(slog.NewTextHandler(&buf, nil))}, run, nil, func(ctx context.Context) {
		c, ok := faena.Current(ctx)
		if !ok {
			t.Fatal("Current finds no attempt")
		}
		type all struct {
			ID, Parent        faena.ID
			Task, Queue, Tr   string
			Attempt, Attempts int
			Started, Deadline time.Time
			Tags              map[string]string
			Input             string
		}
		got := all{c.ID(), c.Parent(), c.Task(), c.Queue(), c.Trace(), c.Attempt(), c.Attempts(), c.Started(), c.Deadline(), c.Tags(), string(c.Input())}
		want := all{run.ID, run.Parent, "t", "q", "00-a", 2, 4, time.Unix(9, 0), time.UnixMilli(9e12), map[string]string{"a": "b"}, "7"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("Current (-want +got)\n%s", d)
		}
		if ok, bad := c.Keep(); ok != time.Minute || bad != time.Hour {
			t.Errorf("Keep = %s, %s, want 1m0s, 1h0m0s", ok, bad)
		}
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		if id, n := faena.RunID(derived), faena.Attempt(derived); id != run.ID || n != 2 {
			t.Errorf("RunID, Attempt of a derived context = %s, %d, want %s, 2", id, n, run.ID)
		}
		if d, ok := derived.Deadline(); !ok || !d.Equal(time.UnixMilli(9e12)) {
			t.Errorf("the context's deadline = %s, %v, want the run's", d, ok)
		}
		if got := faena.Trace(ctx); got != "00-a" {
			t.Errorf("Trace = %q, want the run's", got)
		}
		if got := faena.Trace(faena.WithTrace(ctx, "00-b")); got != "00-b" {
			t.Errorf("Trace of WithTrace = %q, want 00-b", got)
		}
		faena.Logger(ctx).InfoContext(ctx, "hello")
	})
	if want := "msg=hello run_id=" + run.ID.String() + " task=t attempt=2"; !strings.Contains(buf.String(), want) {
		t.Errorf("log = %q, want %q in it", buf.String(), want)
	}
}

func TestOutsideOfHandlers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	faena.Progress(ctx, 1, "")
	var v int
	found, err := faena.Resume(ctx, &v)
	if _, ok := faena.Current(ctx); ok || found || err != nil || faena.Checkpoint(ctx, 1) != nil || !faena.RunID(ctx).IsZero() || faena.Attempt(ctx) != 0 || faena.Trace(ctx) != "" || faena.Logger(ctx) == nil {
		t.Error("outside of a handler something behaves as inside")
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	h := inside(t, faena.Options{}, engine.Run{}, nil, func(ctx context.Context) {
		faena.Progress(ctx, -1, "a")
		faena.Progress(ctx, 0.5, "b")
		faena.Progress(ctx, 2, "c")
		faena.Progress(ctx, math.NaN(), "d")
	})
	want := []engine.Progress{{Done: 0, Text: "a"}, {Done: 0.5, Text: "b"}, {Done: 1, Text: "c"}, {Done: 0, Text: "d"}}
	if d := cmp.Diff(want, h.progress); d != "" {
		t.Errorf("progress (-want +got)\n%s", d)
	}
}

// A node tells of all its runs four times a second.
func TestLongTextOfProgressIsCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{strings.Repeat("x", 1024), strings.Repeat("x", 1024)},
		{strings.Repeat("x", 5_000_000), strings.Repeat("x", 1021) + "..."},
		{"x" + strings.Repeat("é", 600), "x" + strings.Repeat("é", 510) + "..."},
		{strings.Repeat("😀", 600), strings.Repeat("😀", 255) + "..."},
	} {
		h := inside(t, faena.Options{}, engine.Run{}, nil, func(ctx context.Context) { faena.Progress(ctx, 0, c.text) })
		if len(h.progress) != 1 || h.progress[0].Text != c.want {
			t.Errorf("progress with a text of %d bytes = %.40v, want a text of %d bytes, whole runes", len(c.text), h.progress, len(c.want))
		}
	}
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inside(t, faena.Options{}, engine.Run{}, []byte(`{"X":4}`), func(ctx context.Context) {
			var p point
			if ok, err := faena.Resume(ctx, &p); !ok || err != nil || p.X != 4 {
				t.Errorf("Resume = %v, %v and %+v, want X 4", ok, err, p)
			}
			var s string
			if ok, err := faena.Resume(ctx, &s); ok || err == nil {
				t.Errorf("Resume into a string = %v, %v, want an error", ok, err)
			}
			for i := range 10 {
				if err := faena.Checkpoint(ctx, i); err != nil {
					t.Errorf("Checkpoint = %v", err)
				}
				if i == 4 {
					time.Sleep(time.Second)
				}
			}
			time.Sleep(time.Second)
			if err := faena.Checkpoint(ctx, math.Inf(1)); err == nil {
				t.Error("Checkpoint of infinity = nil, want an error")
			}
		})
		if d := cmp.Diff([][]byte{[]byte("0"), []byte("5")}, h.saves); d != "" {
			t.Errorf("checkpoints (-want +got)\n%s", d)
		}
	})
	inside(t, faena.Options{MaxInput: 5}, engine.Run{}, nil, func(ctx context.Context) {
		if ok, err := faena.Resume(ctx, new(int)); ok || err != nil {
			t.Errorf("Resume of nothing = %v, %v", ok, err)
		}
		wantCode(t, "Checkpoint over the limit", faena.Checkpoint(ctx, "123456"), faena.CodeTooLarge)
	})
}

// What the throttle holds back is what the next attempt finds, however this one
// ends, and as it was when it was given.
func TestLastCheckpointIsSavedAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := []int{1, 2}
		for _, last := range []struct {
			v    any
			want string
		}{{"two", `"two"`}, {struct{ X int }{7}, `{"X":7}`}, {list, `[1,2]`}, {&list, `[1,2]`}, {nil, `null`}} {
			for how, end := range map[string]func() error{
				"error":   func() error { return errors.New("bad") },
				"panic":   func() error { panic("bad") },
				"snooze":  func() error { return faena.Snooze(time.Second) },
				"goexit":  func() error { runtime.Goexit(); return nil },
				"success": func() error { return nil },
			} {
				l := newLoop(0)
				n := open(t, l, faena.Options{})
				handle(t, n, faena.Define[int, int]("task").With(func(ctx context.Context, _ int) (int, error) {
					list[0] = 1
					for _, v := range []any{"one", "more", last.v} {
						if err := faena.Checkpoint(ctx, v); err != nil {
							t.Errorf("Checkpoint(%v) = %v", v, err)
						}
					}
					list[0] = 100
					return 0, end()
				}))
				h, over := &hold{l: l}, make(chan struct{})
				go func() {
					defer close(over)
					l.opts.Exec(t.Context(), &engine.Attempt{Started: time.Now(), Run: &engine.Run{Task: "task"}, Input: []byte("1"), Lease: h})
				}()
				<-over
				want := [][]byte{[]byte(`"one"`), []byte(last.want)}
				if how == "success" {
					want = want[:1]
				}
				if d := cmp.Diff(want, h.saves); d != "" {
					t.Errorf("checkpoints of an attempt that ends by %s (-want +got)\n%s", how, d)
				}
			}
		}
	})
}

// A checkpoint that cannot be encoded at the end harms nobody.
func TestHeldCheckpointThatPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []error
		l := newLoop(0)
		n := open(t, l, faena.Options{Hooks: faena.Hooks{Error: func(err error) { told = append(told, err) }}})
		handle(t, n, faena.Define[int, int]("task").With(func(ctx context.Context, _ int) (int, error) {
			for _, v := range []any{1, touchy(0)} {
				if err := faena.Checkpoint(ctx, v); err != nil {
					t.Errorf("Checkpoint = %v", err)
				}
			}
			return 0, errors.New("bad")
		}))
		if o := try(l, t.Context(), &engine.Run{Task: "task", Input: engine.Value{Data: []byte("1")}}); o.Failure == nil || o.Failure.Code != faena.CodeFailed || len(told) != 1 {
			t.Errorf("outcome %+v, told %v; want the handler's error, and the panic told", o, told)
		}
	})
}

type touchy int

func (touchy) MarshalJSON() ([]byte, error) { panic("touched") }

// The context makes its timer late; nothing of it is to be noticed.
func TestHandlersContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inside(t, faena.Options{}, engine.Run{Timeout: time.Minute, Deadline: time.Now().Add(time.Hour).UnixMilli()}, nil, func(ctx context.Context) {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) != time.Minute {
				t.Errorf("Deadline = %s, %v, want in a minute", d, ok)
			}
			if ctx.Err() != nil || context.Cause(ctx) != nil {
				t.Errorf("Err = %v, Cause = %v at first, want nil", ctx.Err(), context.Cause(ctx))
			}
			time.Sleep(2 * time.Minute)
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), faena.ErrTimeout) {
				t.Errorf("Err = %v, Cause = %v, want the timeout", ctx.Err(), context.Cause(ctx))
			}
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			if !errors.Is(context.Cause(child), faena.ErrTimeout) {
				t.Errorf("Cause of a derived context = %v, want the timeout", context.Cause(child))
			}
		})
		kept := make(chan context.Context, 1)
		inside(t, faena.Options{}, engine.Run{}, nil, func(ctx context.Context) { kept <- ctx })
		ctx := <-kept
		<-ctx.Done()
		if ctx.Err() == nil {
			t.Error("Err after the attempt = nil, want an error")
		}
	})
}

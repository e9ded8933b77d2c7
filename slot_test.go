package faena_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

func TestTenLevelsOfWaitingWithOneSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(1)
		n := open(t, l, faena.Options{})
		task := faena.Define[int, int]("nest", faena.Timeout(0))
		handle(t, n, task.With(func(ctx context.Context, depth int) (int, error) {
			if depth == 0 {
				return 1, nil
			}
			var wg sync.WaitGroup
			var out [2]int
			var errs [2]error
			for i := range out {
				wg.Go(func() { out[i], errs[i] = task.Run(ctx, n, depth-1) })
			}
			wg.Wait()
			return out[0] + out[1], errors.Join(errs[:]...)
		}))
		got, err := task.Run(t.Context(), n, 10)
		if err != nil || got != 1024 {
			t.Errorf("Run = %d, %v, want 1024", got, err)
		}
	})
}

// oneWaits runs fn as the handler of the only slot's run, beside a future that
// ends once release is closed.
func oneWaits(t *testing.T, fn func(ctx context.Context, f *faena.Future[int]) error) *hold {
	t.Helper()
	l := newLoop(1)
	n := open(t, l, faena.Options{})
	handle(t, n, faena.Define[int, int]("t").With(func(ctx context.Context, _ int) (int, error) {
		l.hold = true
		f, err := childTask.Go(ctx, n, 1)
		if err != nil {
			return 0, err
		}
		go func() {
			time.Sleep(time.Minute)
			l.end(&engine.Record{ID: f.ID(), State: engine.Succeeded, Output: engine.Value{Data: []byte("5")}})
		}()
		return 0, fn(ctx, f)
	}))
	l.slots <- struct{}{}
	h := &hold{l: l}
	o := l.opts.Exec(t.Context(), &engine.Attempt{Started: time.Now(), Run: &engine.Run{Task: "t"}, Lease: h})
	if o.Failure != nil {
		t.Errorf("handler: %s", o.Failure.Message)
	}
	return h
}

func TestResolvedFutureKeepsTheSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := oneWaits(t, func(ctx context.Context, f *faena.Future[int]) error {
			<-f.Done()
			if _, err := faena.All(ctx, f, f); err != nil {
				return err
			}
			v, err := f.Get(ctx)
			if v != 5 {
				t.Errorf("Get = %d, want 5", v)
			}
			return err
		})
		if h.yields != 0 {
			t.Errorf("the slot was given back %d times, want 0", h.yields)
		}
	})
}

func TestSlotIsFreeWhileOneWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := oneWaits(t, func(ctx context.Context, f *faena.Future[int]) error {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if _, err := f.Get(ctx); err != nil {
						t.Errorf("Get = %v", err)
					}
				})
			}
			if _, err := f.Get(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get within a second = %v, want the context's error", err)
			}
			wg.Wait()
			return nil
		})
		if h.yields != 1 || h.free {
			t.Errorf("the slot was given back %d times and is free: %v; want once and not", h.yields, h.free)
		}
	})
}

func TestSlotIsTakenAgainAfterAContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := oneWaits(t, func(ctx context.Context, f *faena.Future[int]) error {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			for range 2 { // the second time it has ended already
				if _, err := f.Get(short); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Get within a second = %v, want the context's error", err)
				}
			}
			<-f.Done()
			return nil
		})
		if h.yields != 1 || h.free {
			t.Errorf("the slot was given back %d times and is free: %v; want once and not", h.yields, h.free)
		}
	})
}

func TestTooManyWaiting(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	l.hold = true
	var got error
	handle(t, n, faena.Define[int, int]("t").With(func(ctx context.Context, _ int) (int, error) {
		_, got = childTask.Run(ctx, n, 1)
		return 0, got
	}))
	full := &faena.Error{Code: faena.CodeLimit, Err: errors.New("10000 runs wait already")}
	l.opts.Exec(t.Context(), &engine.Attempt{Started: time.Now(), Run: &engine.Run{Task: "t"}, Lease: &hold{l: l, yieldErr: full}})
	wantCode(t, "Get", got, faena.CodeLimit)
}

// Goroutines of one handler that begin and end waits at random never wait for a
// slot that nobody will give back, and in the end the attempt has its own.
func TestManyWaitersOfOneSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(1)
		n := open(t, l, faena.Options{})
		nap := faena.Define[int, int]("nap")
		handle(t, n, nap.With(func(_ context.Context, ms int) (int, error) {
			time.Sleep(time.Duration(ms) * time.Millisecond)
			return ms, nil
		}))
		parent := faena.Define[int, int]("parent")
		handle(t, n, parent.With(func(ctx context.Context, _ int) (int, error) {
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					for j := range 10 {
						if _, err := nap.Run(ctx, n, (i*7+j*3)%11); err != nil {
							t.Errorf("Run = %v", err)
						}
						time.Sleep(time.Duration(i+j) * time.Millisecond)
					}
				})
			}
			wg.Wait()
			return 0, nil
		}))
		if _, err := parent.Run(t.Context(), n, 0); err != nil {
			t.Errorf("Run = %v", err)
		}
		synctest.Wait()
		if len(l.slots) != 0 {
			t.Errorf("%d slots are taken after all, want 0", len(l.slots))
		}
	})
}

// A goroutine that the handler leaves behind takes no slot that nobody frees.
func TestLeftBehindWaiterTakesNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(1)
		n := open(t, l, faena.Options{})
		handle(t, n, faena.Define[int, int]("nap").With(func(context.Context, int) (int, error) {
			time.Sleep(time.Second)
			return 0, nil
		}), faena.Define[int, int]("parent").With(func(ctx context.Context, _ int) (int, error) {
			go func() { _, _ = faena.Define[int, int]("nap").Run(ctx, n, 1) }()
			time.Sleep(time.Millisecond)
			return 0, nil
		}))
		if _, err := faena.Define[int, int]("parent").Run(t.Context(), n, 0); err != nil {
			t.Errorf("Run = %v", err)
		}
		time.Sleep(time.Minute)
		if len(l.slots) != 0 {
			t.Errorf("%d slots are taken after all, want 0", len(l.slots))
		}
	})
}

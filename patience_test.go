package faena_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

// forChildren adds what asks for children to what a test asks for besides.
func forChildren(asks map[string]func(ctx context.Context, n *faena.Node) error) map[string]func(ctx context.Context, n *faena.Node) error {
	asks["a child"] = func(ctx context.Context, n *faena.Node) error { _, err := childTask.Run(ctx, n, 1); return err }
	asks["a named child"] = func(ctx context.Context, n *faena.Node) error {
		_, err := childTask.Run(ctx, n, 1, faena.Named("a"))
		return err
	}
	asks["a batch"] = func(ctx context.Context, n *faena.Node) error {
		_, err := childTask.Batch(ctx, n, []int{1, 2})
		return err
	}
	return asks
}

// A server that is started anew below a parent is waited for: the attempt does
// not fail for what it asks meanwhile.
func TestServerAwayFailsNoParent(t *testing.T) {
	t.Parallel()
	asks := forChildren(map[string]func(ctx context.Context, n *faena.Node) error{
		"a child found by its name": func(ctx context.Context, n *faena.Node) error {
			_, _, err := childTask.Child(ctx, n, faena.RunID(ctx), "a")
			return err
		},
		"a checkpoint": func(ctx context.Context, _ *faena.Node) error {
			var v int
			_, err := faena.Resume(ctx, &v)
			return err
		},
	})
	for what, ask := range asks {
		synctest.Test(t, func(t *testing.T) {
			var l *loop
			l = family(t, func(ctx context.Context, n *faena.Node) error {
				if _, err := childTask.Run(ctx, n, 1, faena.Named("a")); err != nil {
					return err
				}
				if faena.Attempt(ctx) == 2 {
					l.away = 20
				}
				return ask(ctx, n)
			})
			for attempt := range uint16(2) {
				if o := l.parent(t.Context(), attempt); o.Failure != nil {
					t.Errorf("%s: attempt %d = %v, want success", what, attempt, o.Failure.Message)
				}
			}
			if l.away != 0 {
				t.Errorf("%s: %d questions were not asked again", what, l.away)
			}
		})
	}
}

// What waits for a server ends with its own context, and outside of handlers is
// told at once.
func TestServerAwayIsWaitedForAsLongAsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l *loop
		l = family(t, func(ctx context.Context, n *faena.Node) error {
			l.away = 1 << 20
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			begun := time.Now()
			_, err := childTask.Go(short, n, 1, faena.Named("a"))
			l.away = 0
			if d := time.Since(begun); err == nil || d != time.Second {
				t.Errorf("Go for a second without a server = %v after %s, want an error then", err, d)
			}
			return nil
		})
		l.parent(t.Context(), 0)
		l.away = 1
		n := open(t, l, faena.Options{})
		_, err := faena.Attach[int](t.Context(), n, faena.ID{1})
		wantCode(t, "Attach outside of handlers", err, faena.CodeUnavailable)
	})
}

// A parent that was accepted did not survive a disk that was short of space: each
// submission of a child failed an attempt.
func TestShortDiskFailsNoParent(t *testing.T) {
	t.Parallel()
	asks := forChildren(map[string]func(ctx context.Context, n *faena.Node) error{
		"a run by its name": func(ctx context.Context, n *faena.Node) error {
			_, err := n.Submit(ctx, "child", []byte("1"))
			return err
		},
	})
	for what, ask := range asks {
		for attempt := range uint16(2) { // whose children are not asked for, and whose are
			synctest.Test(t, func(t *testing.T) {
				l := family(t, ask)
				l.slots = make(chan struct{}, 1)
				l.short = 5
				other := make(chan engine.Outcome)
				go func() { // takes the slot meanwhile
					time.Sleep(time.Second)
					other <- l.run(t.Context(), &engine.Run{ID: faena.ID{7}, Task: "other", Input: engine.Value{Data: []byte("1")}}, nil)
				}()
				begun := time.Now()
				id, _ := faena.ParseID("01hzzzzzzzzzzzzzzzzzzzzzzw")
				done := make(chan engine.Outcome)
				go func() { done <- l.run(t.Context(), &engine.Run{ID: id, Task: "parent", Attempt: attempt}, nil) }()
				if o := <-other; o.Failure != nil {
					t.Errorf("%s: a run that submits nothing = %v, want success", what, o.Failure)
				}
				if o := <-done; o.Failure != nil || l.short != 0 {
					t.Errorf("%s: attempt %d = %v with %d tries left, want success and none", what, attempt, o.Failure, l.short)
				}
				if d := time.Since(begun); d > 5*time.Second {
					t.Errorf("%s: it took %v, want what five ever longer waits take", what, d)
				}
			})
		}
	}
}

// What waits for space ends with its context, keeps its slot where too many wait,
// and outside of handlers is told at once.
func TestShortDiskIsWaitedForAsLongAsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l *loop
		l = family(t, func(ctx context.Context, n *faena.Node) error {
			short, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			l.short = 1 << 20
			begun := time.Now()
			_, err := childTask.Go(short, n, 1)
			wantCode(t, "Go for a minute without space", err, faena.CodeFull)
			if d := time.Since(begun); d != time.Minute {
				t.Errorf("Go for a minute without space took %v", d)
			}
			if n := 1<<20 - l.short; n > 20 {
				t.Errorf("%d tries in a minute, want few", n)
			}
			l.short = 3
			_, err = childTask.Run(ctx, n, 1)
			return err
		})
		lease := &hold{l: l, yieldErr: &faena.Error{Code: faena.CodeLimit}}
		id, _ := faena.ParseID("01hzzzzzzzzzzzzzzzzzzzzzzw")
		o := l.opts.Exec(t.Context(), &engine.Attempt{Started: time.Now(), Run: &engine.Run{ID: id, Task: "parent"}, Lease: lease})
		if l.short != 0 || len(l.runs) != 1 {
			t.Errorf("%d tries left and %d runs, want the child submitted with the slot kept; attempt = %v", l.short, len(l.runs), o.Failure)
		}
		l.short = 1
		n := open(t, l, faena.Options{})
		_, err := childTask.Go(t.Context(), n, 1)
		wantCode(t, "Go outside of handlers", err, faena.CodeFull)
	})
}

// Children that were not there kept their parent's others from being cancelled
// with it, as those do that a disk without space has refused.
func TestACancelledParentTakesThoseThatAreThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l *loop
		l = family(t, func(ctx context.Context, n *faena.Node) error {
			for i := range 5 {
				if _, err := childTask.Go(ctx, n, i); err != nil {
					return err
				}
			}
			l.short = 1 << 20
			_, err := childTask.Go(ctx, n, 5)
			return err
		})
		l.hold = true
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Minute)
			l.mu.Lock()
			l.lost = []faena.ID{l.runs[3].ID} // the answer to it was lost, as it were
			l.mu.Unlock()
			cancel(faena.ErrCancelled)
		}()
		id, _ := faena.ParseID("01hzzzzzzzzzzzzzzzzzzzzzzw")
		lease := &hold{l: l}
		o := l.opts.Exec(ctx, &engine.Attempt{Started: time.Now(), Run: &engine.Run{ID: id, Task: "parent"}, Lease: lease})
		if o.Failure == nil || o.Failure.Code != faena.CodeCancelled {
			t.Errorf("attempt = %v, want cancelled", o.Failure)
		}
		if len(l.cancels) != 4 {
			t.Errorf("%d runs cancelled, want the four children that are there", len(l.cancels))
		}
	})
}

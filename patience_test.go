package faena_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena"
)

// A server that is started anew below a parent is waited for: the attempt does
// not fail for what it asks meanwhile.
func TestServerAwayFailsNoParent(t *testing.T) {
	t.Parallel()
	asks := map[string]func(ctx context.Context, n *faena.Node) error{
		"a child": func(ctx context.Context, n *faena.Node) error { _, err := childTask.Run(ctx, n, 1); return err },
		"a named child": func(ctx context.Context, n *faena.Node) error {
			_, err := childTask.Run(ctx, n, 1, faena.Named("a"))
			return err
		},
		"a batch": func(ctx context.Context, n *faena.Node) error {
			_, err := childTask.Batch(ctx, n, []int{1, 2})
			return err
		},
		"a child found by its name": func(ctx context.Context, n *faena.Node) error {
			_, _, err := childTask.Child(ctx, n, faena.RunID(ctx), "a")
			return err
		},
		"a checkpoint": func(ctx context.Context, _ *faena.Node) error {
			var v int
			_, err := faena.Resume(ctx, &v)
			return err
		},
	}
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

package faena_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

// A sync that fails ends waits and calls with an error that says so, also where
// nobody is told by Options.Fatal; so does an engine that is closed before its
// node.
func TestEngineThatCannotGoOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	for name, end := range map[string]func(eng *embedded.Engine, bad *atomic.Bool) error{
		"a sync fails": func(_ *embedded.Engine, bad *atomic.Bool) error { bad.Store(true); return broken },
		"it is closed": func(eng *embedded.Engine, _ *atomic.Bool) error { return eng.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var bad atomic.Bool
			eng, err := embedded.Open(ctx, embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Sync: func() error {
				if bad.Load() {
					return broken
				}
				return nil
			}})
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			defer eng.Close() //nolint:errcheck // the test is over
			n, err := faena.Open(ctx, eng, faena.Options{Slots: 1})
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			defer n.Close() //nolint:errcheck // the test is over
			never := faena.Define[int, int]("never")
			f, err := never.Go(ctx, n, 1)
			if err != nil {
				t.Fatalf("Go = %v", err)
			}
			got := make(chan error, 2)
			go func() { _, err := f.Get(ctx); got <- err }()
			go func() { _, err := faena.All(ctx, f); got <- err }()
			time.Sleep(50 * time.Millisecond) // they wait
			why := end(eng, &bad)
			if why != nil {
				if _, err := never.Go(ctx, n, 2); err == nil {
					t.Error("Go whose sync fails = nil, want an error")
				}
			}
			for range 2 {
				err := <-got
				wantCode(t, "a wait", err, faena.CodeClosed)
				if why != nil && !errors.Is(err, why) {
					t.Errorf("a wait ended with %v, want why", err)
				}
			}
			_, err = n.Counts(ctx)
			wantCode(t, "Counts", err, faena.CodeClosed)
			_, err = faena.Open(ctx, eng, faena.Options{})
			wantCode(t, "Open", err, faena.CodeClosed)
		})
	}
}

// A node can be opened on the engine of one that was closed, and executes.
func TestNodeAfterAnother(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	eng, err := embedded.Open(ctx, embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	defer eng.Close() //nolint:errcheck // the test is over
	double := faena.Define[int, int]("double")
	for i := range 3 {
		n, err := faena.Open(ctx, eng, faena.Options{Slots: 1})
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		if err := n.Handle(double.With(func(_ context.Context, i int) (int, error) { return 2 * i, nil })); err != nil {
			t.Fatalf("Handle of node %d = %v", i, err)
		}
		if got, err := double.Run(ctx, n, i); err != nil || got != 2*i {
			t.Errorf("Run on node %d = %d, %v, want %d", i, got, err, 2*i)
		}
		if err := n.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}

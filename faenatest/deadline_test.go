package faenatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/faenatest"
)

// A run that nobody takes ends at its deadline too, and so it does after it was
// retried into a paused queue.
func TestDeadlineOfARunThatNobodyTakes(t *testing.T) {
	t.Parallel()
	faenatest.Bubble(t, func(t *testing.T, eng engine.Engine) {
		node, err := faena.Open(t.Context(), eng, faena.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close() //nolint:errcheck // gives none here
		err = node.Handle(double.With(func(_ context.Context, n int) (int, error) { return 2 * n, nil }))
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Pause(t.Context(), faena.DefaultQueue); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		fut, err := double.Go(t.Context(), node, 1, faena.ExpireIn(10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		later, err := double.Go(t.Context(), node, 1, faena.In(time.Hour), faena.ExpireIn(10*time.Second))
		if err == nil {
			_, err = later.Get(t.Context())
		}
		if faena.CodeOf(err) != faena.CodeDeadline && faena.CodeOf(err) != faena.CodeInvalid {
			t.Errorf("Get of a run scheduled behind its deadline = %v, want CodeDeadline", err)
		}
		_, err = fut.Get(t.Context())
		if faena.CodeOf(err) != faena.CodeDeadline {
			t.Errorf("Get of a paused run = %v, want CodeDeadline", err)
		}
		if d := time.Since(begun); d > 15*time.Second {
			t.Errorf("it ended after %v, want some 11 s", d)
		}
		if err := node.Resume(t.Context(), faena.DefaultQueue); err != nil {
			t.Fatal(err)
		}
		if n, err := double.Run(t.Context(), node, 4); err != nil || n != 8 {
			t.Errorf("Run after Resume = %d, %v, want 8", n, err)
		}
	})
}

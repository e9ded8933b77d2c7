package faenatest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/faenatest"
)

var double = faena.Define[int, int]("double")

func open(t *testing.T, eng engine.Engine, hs ...faena.Handler) *faena.Node {
	t.Helper()
	n, err := faena.Open(t.Context(), eng, faena.Options{Slots: 4})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	if err := n.Handle(hs...); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	return n
}

func shut(t *testing.T, n *faena.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestTenMinutesPassAtOnce(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	faenatest.Bubble(t, func(t *testing.T, eng engine.Engine) {
		n := open(t, eng, double.With(func(_ context.Context, i int) (int, error) { return 2 * i, nil }))
		defer shut(t, n)
		begun := time.Now()
		got, err := double.Run(t.Context(), n, 21, faena.In(10*time.Minute))
		if got != 42 || err != nil {
			t.Errorf("Run = %d, %v, want 42", got, err)
		}
		if d := time.Since(begun); d < 10*time.Minute || d > 10*time.Minute+5*time.Second {
			t.Errorf("the run took %s of the bubble's time, want ten minutes", d)
		}
	})
	if d := time.Since(begun); d > time.Minute {
		t.Errorf("the test took %s of real time", d)
	}
}

func TestRetriesWait(t *testing.T) {
	t.Parallel()
	faenatest.Bubble(t, func(t *testing.T, eng engine.Engine) {
		var starts []time.Time
		n := open(t, eng, double.With(func(context.Context, int) (int, error) {
			starts = append(starts, time.Now())
			return 0, errors.New("no")
		}))
		defer shut(t, n)
		_, err := double.Run(t.Context(), n, 1, faena.Retry(3, time.Minute))
		if got := faena.CodeOf(err); got != faena.CodeFailed {
			t.Errorf("Run = %v, want code failed", err)
		}
		if len(starts) != 3 {
			t.Fatalf("%d attempts, want 3", len(starts))
		}
		for i, want := range []time.Duration{time.Minute, 2 * time.Minute} {
			if d := starts[i+1].Sub(starts[i]); d < want*9/10 || d > want*11/10+time.Second {
				t.Errorf("wait %d was %s, want about %s", i+1, d, want)
			}
		}
	})
}

package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"context"
	"testing"

	"github.com/faena-dev/faena/engine"
)

// An end may come while the input is fetched: then it may be shown before the
// handler would begin.
func TestNoHandlerBeginsWhenItsContextHasEnded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cause error
		want  int
	}{{nil, 1}, {engine.ErrCancelled, 0}, {engine.ErrLost, 0}} {
		began := 0
		w := &worker{e: &Engine{}, o: engine.WorkOptions{Exec: func(context.Context, *engine.Attempt) engine.Outcome {
			began++
			return engine.Outcome{}
		}}}
		ctx, cancel := context.WithCancelCause(t.Context())
		if c.cause != nil {
			cancel(c.cause)
		}
		out := w.attempt(ctx, &item{w: w})
		cancel(nil)
		if began != c.want || out.Interrupted != (c.want == 0) {
			t.Errorf("attempt, its context ended by %v: %d handlers began, interrupted %v; want %d", c.cause, began, out.Interrupted, c.want)
		}
	}
}

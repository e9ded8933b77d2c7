package faena_test

import (
	"context"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

// open gives a node on a loop.
func open(t *testing.T, l *loop, o faena.Options) *faena.Node {
	t.Helper()
	n, err := faena.Open(t.Context(), l, o)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return n
}

func handle(t *testing.T, n *faena.Node, hs ...faena.Handler) {
	t.Helper()
	if err := n.Handle(hs...); err != nil {
		t.Fatalf("Handle = %v", err)
	}
}

func try(l *loop, ctx context.Context, r *engine.Run) engine.Outcome { //nolint:revive // the loop is what is tried
	return l.opts.Exec(ctx, &engine.Attempt{Started: time.Now(), Run: r, Input: r.Input.Data, Lease: &hold{l: l}})
}

func wantCode(t *testing.T, what string, err error, want faena.Code) {
	t.Helper()
	if got := faena.CodeOf(err); got != want {
		t.Errorf("%s = %v (code %q), want code %q", what, err, got, want)
	}
}

func same(_ context.Context, i int) (int, error) { return i, nil }

package faena

import (
	"context"
	"errors"
	"time"

	"github.com/faena-dev/faena/engine"
)

// askAgain is between tries of what an engine out of reach did not answer.
const askAgain = 100 * time.Millisecond

// patient calls fn until the engine can be reached, if ctx belongs to an attempt
// on it: a server that is started anew must cost no attempt. It gives up when the
// attempt or ctx ends. Elsewhere it calls fn once.
func (n *Node) patient(ctx context.Context, fn func() error) error {
	err := fn()
	a := attemptOf(ctx)
	if err == nil || a == nil || a.node.eng != n.eng {
		return err
	}
	for err != nil && engine.CodeOf(err) == CodeUnavailable {
		t := time.NewTimer(askAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		case <-a.Done():
			t.Stop()
			return err
		case <-n.done:
			t.Stop()
			return err
		}
		err = fn()
	}
	return err
}

// told is an error of the engine for who did op. That its context has ended stays
// no Error.
func told(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctxError(ctx, op)
	}
	return &Error{Code: engine.CodeOf(err), Op: op, Err: err}
}

package faena

import (
	"context"
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

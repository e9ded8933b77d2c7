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
	for err != nil && engine.CodeOf(err) == CodeUnavailable && n.pause(ctx, a, askAgain) {
		err = fn()
	}
	return err
}

// pause waits for d, and is false if what waits ends before: ctx, the attempt or
// the node.
func (n *Node) pause(ctx context.Context, a *attempt, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-a.Done():
	case <-n.done:
	}
	return false
}

// spaceAgain is the longest wait between tries of a submission that there is no
// disk space for.
const spaceAgain = 5 * time.Second

// spacious calls fn, which submits children of the attempt, until there is disk
// space for them: they are part of work that was accepted. Meanwhile the attempt
// gives its slot back, so that runs which submit nothing go on, and with what is
// deleted after them make space. Where too many wait already it keeps its slot.
func (a *attempt) spacious(ctx context.Context, n *Node, fn func() error) error {
	err := fn()
	if engine.CodeOf(err) != CodeFull {
		return err
	}
	asked := false
	again := func() error {
		asked = true
		for d := askAgain; engine.CodeOf(err) == CodeFull && n.pause(ctx, a, d); d = min(2*d, spaceAgain) {
			err = fn()
		}
		return err
	}
	werr := waiting(ctx, again)
	if !asked {
		return again()
	}
	return werr
}

// told is an error of the engine for who did op. That its context has ended stays
// no Error.
func told(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctxError(ctx, op)
	}
	return &Error{Code: engine.CodeOf(err), Op: op, Err: err}
}

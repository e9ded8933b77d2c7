package faena

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/faena-dev/faena/engine"
)

// attempt is one try of a run on this node, and the context that its handler is
// given: the engine's, ended by the attempt's timeout and the run's deadline. A
// timer for each would be a third of what a short attempt costs, so it is made
// only when somebody asks for Done.
type attempt struct {
	context.Context //nolint:containedctx // the engine's: an attempt is a context

	node    *Node
	run     *engine.Run // of what may change when the attempt is over, copies follow
	before  uint16      // attempts before this one
	fresh   bool        // the run was never executed before
	input   []byte
	started time.Time
	lease   engine.Lease
	call    Call

	due   time.Time // when timeout or deadline pass; zero for never
	cause error     // which of them

	mu     sync.Mutex      // of what follows
	timed  context.Context //nolint:containedctx // the same with its timer
	cancel context.CancelFunc
	over   bool

	slot slot
	kids children
	save save
}

func newAttempt(ctx context.Context, n *Node, ea *engine.Attempt) (context.Context, *attempt) {
	r := ea.Run
	a := &attempt{
		Context: ctx, node: n, run: r, before: r.Attempt, fresh: r.Attempt == 0 && r.Rev == 0 && r.Deaths == 0 && !r.Doubt,
		input: ea.Input, started: ea.Started, lease: ea.Lease,
	}
	a.call.a = a
	if d := r.Timeout; d > 0 {
		begun := a.started
		if r.Input.Apart { // to fetch it is no part of the attempt
			begun = time.Now()
		}
		a.due, a.cause = begun.Add(d), ErrTimeout
	}
	if ms := r.Deadline; ms != 0 {
		if d := time.UnixMilli(ms); a.cause == nil || d.Before(a.due) {
			a.due, a.cause = d, ErrDeadline
		}
	}
	return a, a
}

// end is for when the handler has returned.
func (a *attempt) end() {
	a.saveHeld()
	a.slot.end()
	a.kids.settle()
	a.mu.Lock()
	a.over = true
	cancel := a.cancel
	a.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	a.slot.settle()
}

// bounded is the context with its timer.
func (a *attempt) bounded() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timed == nil {
		if a.cause == nil {
			a.timed, a.cancel = context.WithCancel(a.Context)
		} else {
			a.timed, a.cancel = context.WithDeadlineCause(a.Context, a.due, a.cause)
		}
		if a.over { // who kept the context finds it ended
			a.cancel()
		}
	}
	return a.timed
}

// Deadline is part of being a context, as are Done, Err and Value.
func (a *attempt) Deadline() (time.Time, bool) {
	if d, ok := a.Context.Deadline(); ok && (a.cause == nil || d.Before(a.due)) {
		return d, true
	}
	return a.due, a.cause != nil
}

func (a *attempt) Done() <-chan struct{} { return a.bounded().Done() }

func (a *attempt) Err() error {
	a.mu.Lock()
	lazy := a.timed == nil && !a.over && (a.cause == nil || time.Now().Before(a.due))
	a.mu.Unlock()
	if lazy {
		if a.Context.Err() == nil {
			return nil
		}
	}
	return a.bounded().Err() // whose cause is found by Value
}

func (a *attempt) Value(key any) any {
	if _, ok := key.(attemptKey); ok {
		return a
	}
	a.mu.Lock()
	timed := a.timed
	a.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return a.Context.Value(key)
}

// follows tells that the attempt's context has ended and another attempt comes
// after it.
func (a *attempt) follows() bool {
	if a.Err() == nil {
		return false
	}
	switch cause := context.Cause(a); {
	case errors.Is(cause, ErrDeadline):
		return false
	case errors.Is(cause, ErrTimeout):
		return a.before+1 < max(a.run.Retry.Attempts, 1)
	}
	return true // or it is cancelled, and its children with it
}

func (a *attempt) progress(done float64, text string) {
	if !(done > 0) { // not <= 0: it may be no number
		done = 0
	}
	a.lease.Progress(engine.Progress{Done: min(done, 1), Text: clip(text, maxProgress)})
}

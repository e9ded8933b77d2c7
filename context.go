package faena

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// Call is an attempt as handlers, middleware and hooks see it. It is read-only
// and may be used concurrently; after the attempt it still tells what it was.
type Call struct{ a *attempt }

// ID is the run's id.
func (c *Call) ID() ID { return c.a.run.ID }

// Task is the name of the run's task.
func (c *Call) Task() string { return c.a.run.Task }

// Queue is the queue that the run came from.
func (c *Call) Queue() string { return c.a.run.Queue }

// Attempt is the number of this attempt, from 1. Attempts that were snoozed or
// interrupted are not counted.
func (c *Call) Attempt() int { return int(c.a.before) + 1 }

// Attempts is how many the run may have.
func (c *Call) Attempts() int { return int(max(c.a.run.Retry.Attempts, 1)) }

// Started is when the attempt began.
func (c *Call) Started() time.Time { return c.a.started }

// Deadline is the run's deadline; the zero time if it has none.
func (c *Call) Deadline() time.Time {
	if c.a.run.Deadline == 0 {
		return time.Time{}
	}
	return time.UnixMilli(c.a.run.Deadline)
}

// Parent is the run whose handler submitted this one; zero if there is none.
func (c *Call) Parent() ID { return c.a.run.Parent }

// Keep is how long the run can be read after its end: if it succeeds or is
// cancelled, and if it fails. A handler may give it to the runs it submits.
func (c *Call) Keep() (succeeded, failed time.Duration) {
	k := c.a.run.Keep
	return time.Duration(k[0]) * time.Second, time.Duration(k[1]) * time.Second
}

// Tags are a copy of the run's tags.
func (c *Call) Tags() map[string]string {
	m := make(map[string]string, len(c.a.run.Tags))
	for _, t := range c.a.run.Tags {
		m[t.Key] = t.Value
	}
	return m
}

// Trace is the W3C traceparent that the run was submitted with, or empty.
func (c *Call) Trace() string { return c.a.run.Trace }

// Input is the run's input, not to be changed.
func (c *Call) Input() json.RawMessage { return c.a.input }

// Node executes the attempt.
func (c *Call) Node() *Node { return c.a.node }

type (
	attemptKey struct{}
	traceKey   struct{}
)

func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// Current is the attempt that ctx belongs to: the handler's, if ctx is or comes
// from the one it was given.
func Current(ctx context.Context) (*Call, bool) {
	a := attemptOf(ctx)
	if a == nil {
		return nil, false
	}
	return &a.call, true
}

// RunID is the id of the run that ctx belongs to; zero outside of handlers.
func RunID(ctx context.Context) ID {
	if a := attemptOf(ctx); a != nil {
		return a.run.ID
	}
	return ID{}
}

// Attempt is the number, from 1, of the attempt that ctx belongs to; 0 outside
// of handlers.
func Attempt(ctx context.Context) int {
	if a := attemptOf(ctx); a != nil {
		return a.call.Attempt()
	}
	return 0
}

// Logger is the node's logger with run_id, task and attempt set; outside of
// handlers it is slog.Default().
func Logger(ctx context.Context) *slog.Logger {
	a := attemptOf(ctx)
	if a == nil {
		return slog.Default()
	}
	return a.node.log.With(slog.String("run_id", a.run.ID.String()), slog.String("task", a.run.Task), slog.Int("attempt", a.call.Attempt()))
}

// WithTrace gives a context whose runs are submitted with this W3C traceparent.
// Without it a child has its parent's.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// Trace is the traceparent that a run submitted with ctx would have, or empty.
func Trace(ctx context.Context) string {
	if t, ok := ctx.Value(traceKey{}).(string); ok {
		return t
	}
	if a := attemptOf(ctx); a != nil {
		return a.run.Trace
	}
	return ""
}

// Progress tells how far the attempt has come: done is from 0 to 1. It never
// blocks and costs next to nothing, so a loop may call it each time; it is
// shown while the attempt is under way. A text over 1 KiB is cut. Outside of
// handlers it does nothing.
func Progress(ctx context.Context, done float64, text string) {
	if a := attemptOf(ctx); a != nil {
		a.progress(done, text)
	}
}

// Checkpoint saves v, as JSON, for [Resume] in the run's next attempt. It never
// waits for the disk: of many within a second the last is stored, and what the
// attempt gave last is stored at its end, however it ends; a crash may lose what
// came after the last one stored.
//
// A loop may call it each time: a call that comes sooner after the one before than
// 20 times what that took to encode (at least 1 ms, at most 1 s) is held back until
// another one or the attempt's end. What is saved is always v as it was at the
// call, so of such calls those are left out for good whose v holds pointers, slices
// or maps and takes more than 5 µs to encode: the attempt's last checkpoint is then
// up to a second older. An error says that v cannot be encoded or is too large; of
// a call that was held back it may go to Hooks.Error. Outside of handlers it does
// nothing.
func Checkpoint(ctx context.Context, v any) error {
	if a := attemptOf(ctx); a != nil {
		return a.checkpoint(v)
	}
	return nil
}

// Resume reads into v what an earlier attempt of the run saved last by
// [Checkpoint] and tells whether there was something. Outside of handlers there
// is nothing.
func Resume(ctx context.Context, v any) (bool, error) {
	a := attemptOf(ctx)
	if a == nil {
		return false, nil
	}
	var b []byte
	err := a.node.patient(ctx, func() (err error) {
		b, err = a.lease.Resume(ctx)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read checkpoint: %w", err)
	}
	if b == nil {
		return false, nil
	}
	if err := decodeOver(b, v); err != nil {
		return false, fmt.Errorf("decode checkpoint: %w", err)
	}
	return true, nil
}

// ctxError says that ctx ended while op was done; it wraps both its error and
// its cause.
func ctxError(ctx context.Context, op string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err { //nolint:errorlint // the very same value
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w: %w", op, err, cause)
}

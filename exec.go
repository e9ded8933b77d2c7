package faena

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Bounds of what is stored of a failure.
const (
	maxMessage = 4 << 10
	maxStack   = 16 << 10
)

// executor makes a handler's call. The one here is a goroutine of this process;
// handler processes will be another.
type executor interface {
	execute(ctx context.Context, c *Call) (json.RawMessage, error)
}

// exec is what the engine calls for each attempt.
func (n *Node) exec(ctx context.Context, ea *engine.Attempt) engine.Outcome {
	t := n.table.Load()
	if ea.Run.Deadline != 0 && time.Now().UnixMilli() >= ea.Run.Deadline {
		return failure(&fault{code: CodeDeadline, permanent: true, err: ErrDeadline})
	}
	a := &attempt{node: n, run: ea.Run, input: ea.Input, started: ea.Started, lease: ea.Lease}
	a.call.a = a
	ctx, cancel := bound(context.WithValue(ctx, attemptKey{}, a), ea.Run, time.Now())
	defer cancel()
	a.ctx = ctx
	n.hookCall(n.opts.Hooks.Started, ctx, &a.call)
	out, err := n.chained(ctx, t, &a.call)
	o := n.outcome(ctx, ea.Run, out, err)
	a.slot.end()
	a.kids.settle(ctx)
	if h := n.opts.Hooks.Finished; h != nil {
		n.hookCall(func(ctx context.Context, c *Call) { h(ctx, c, err) }, ctx, &a.call)
	}
	return o
}

// bound ends a context with the attempt's timeout or the run's deadline,
// whichever comes first.
func bound(ctx context.Context, r *engine.Run, now time.Time) (context.Context, context.CancelFunc) {
	var at time.Time
	var cause error
	if r.Timeout > 0 {
		at, cause = now.Add(r.Timeout), ErrTimeout
	}
	if r.Deadline != 0 {
		if d := time.UnixMilli(r.Deadline); cause == nil || d.Before(at) {
			at, cause = d, ErrDeadline
		}
	}
	if cause == nil {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, at, cause)
}

// chained calls the middleware and, inside it, the handler. A panic of the
// middleware is an error, too.
func (n *Node) chained(ctx context.Context, t *table, c *Call) (out json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, panicked(v)
		}
	}()
	return t.chain(ctx, c)
}

// invoke is the innermost Next: the handler itself.
func (n *Node) invoke(ctx context.Context, c *Call) (json.RawMessage, error) {
	e := n.table.Load().handlers[c.Task()]
	if e == nil {
		return nil, &fault{code: CodeUnknownTask, err: fmt.Errorf("this node has no handler for task %q", c.Task())}
	}
	return e.exec.execute(ctx, c)
}

// inProcess executes a handler on a goroutine of its own, so that one that ends
// its goroutine (runtime.Goexit) ends nothing else.
type inProcess struct {
	call func(context.Context, []byte) ([]byte, error)
}

type result struct {
	out json.RawMessage
	err error
}

func (p inProcess) execute(ctx context.Context, c *Call) (json.RawMessage, error) {
	done := make(chan result, 1)
	go func() {
		r := result{err: &fault{code: CodePanic, err: errGoexit}}
		defer func() {
			if v := recover(); v != nil {
				r.err = panicked(v)
			}
			done <- r
		}()
		r.out, r.err = p.call(ctx, c.a.input)
	}()
	r := <-done
	return r.out, r.err
}

var errGoexit = errors.New("the handler ended its goroutine")

// panicked is the failure of a panic, with the stack from where it happened.
func panicked(v any) error {
	stack := debug.Stack()
	// The panic's own frame ends the frames of this function and its callers.
	if i := bytes.Index(stack, []byte("\npanic(")); i >= 0 {
		lines := bytes.SplitN(stack[i+1:], []byte("\n"), 3)
		stack = lines[len(lines)-1]
	}
	err, ok := v.(error)
	if !ok {
		return &fault{code: CodePanic, stack: string(stack), err: fmt.Errorf("panic: %v", v)}
	}
	return &fault{code: CodePanic, stack: string(stack), err: fmt.Errorf("panic: %w", err)}
}

// outcome is what an attempt's output or error mean for its run.
func (n *Node) outcome(ctx context.Context, r *engine.Run, out []byte, err error) engine.Outcome {
	if err == nil {
		if int64(len(out)) > n.opts.MaxOutput {
			return failure(&fault{
				code: CodeTooLarge, permanent: true,
				err: fmt.Errorf("the output of %d bytes is over the limit of %d (MaxOutput)", len(out), n.opts.MaxOutput),
			})
		}
		return engine.Outcome{Output: out}
	}
	if s, ok := errors.AsType[*snoozeError](err); ok {
		return engine.Outcome{Snooze: s.d}
	}
	switch cause := context.Cause(ctx); {
	case ctx.Err() == nil:
	case errors.Is(cause, ErrShutdown), errors.Is(cause, ErrLost):
		return engine.Outcome{Interrupted: true}
	case errors.Is(cause, ErrCancelled):
		return failure(&fault{code: CodeCancelled, err: ErrCancelled})
	case errors.Is(cause, ErrTimeout):
		err = &fault{code: CodeTimeout, err: fmt.Errorf("the attempt's timeout of %s has passed: %w", r.Timeout, err)}
	case errors.Is(cause, ErrDeadline):
		err = &fault{code: CodeDeadline, permanent: true, err: fmt.Errorf("%w: %w", ErrDeadline, err)}
	}
	return failure(err)
}

func failure(err error) engine.Outcome {
	f := &Failure{Code: CodeFailed, Message: clip(err.Error(), maxMessage)}
	o := engine.Outcome{Failure: f}
	if p, ok := errors.AsType[*permanentError](err); ok && p != nil {
		f.Code, o.Permanent = CodePermanent, true
	}
	if x, ok := errors.AsType[*fault](err); ok {
		f.Code, f.Stack = x.code, clip(x.stack, maxStack)
		o.Permanent = o.Permanent || x.permanent
	}
	return o
}

// clip bounds a text and makes it valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n-3] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// hookCall calls a hook, which must not do harm.
func (n *Node) hookCall(fn func(context.Context, *Call), ctx context.Context, c *Call) { //nolint:revive // the hook stands first, as in a method call
	if fn == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			n.log.LogAttrs(ctx, slog.LevelError, "a hook panicked", slog.Any("panic", v), slog.String("run_id", c.ID().String()))
		}
	}()
	fn(ctx, c)
}

// report tells of an error that no caller sees.
func (n *Node) report(err error) {
	if h := n.opts.Hooks.Error; h != nil {
		defer func() {
			if v := recover(); v != nil {
				n.log.Error("a hook panicked", slog.Any("panic", v))
			}
		}()
		h(err)
		return
	}
	n.log.Warn("in the background", slog.Any("error", err))
}

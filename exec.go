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
	"unicode/utf8"

	"github.com/faena-dev/faena/engine"
)

// Bounds of what is stored of a failure.
const (
	maxMessage = 4 << 10
	// maxProgress bounds what a node tells of each run four times a second.
	maxProgress = 1 << 10
	maxStack    = 16 << 10
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
		return failure(lasting(CodeDeadline, ErrDeadline))
	}
	ctx, a := newAttempt(ctx, n, ea)
	defer a.end() // also when the handler ends the goroutine
	n.hookCall(ctx, n.opts.Hooks.Started, &a.call)
	out, err := n.chained(ctx, t, &a.call)
	if err == nil && len(t.wrap) > 0 && len(out) > 0 && !json.Valid(out) { // a handler's own is
		err = lasting(CodePermanent, errors.New("the output that the middleware gives is not JSON"))
	}
	o, err := a.judged(out, err) //nolint:contextcheck // an attempt is a context, the one that ends it
	a.dropLeft(ctx, &o)
	if o.Failure == nil && o.Snooze == 0 && !o.Interrupted {
		a.save.dropHeld()
	}
	if h := n.opts.Hooks.Finished; h != nil {
		n.hookCall(ctx, func(ctx context.Context, c *Call) { h(ctx, c, err) }, &a.call)
	}
	return o
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
		return nil, newFault(CodeUnknownTask, fmt.Errorf("this node has no handler for task %q", c.Task()))
	}
	out, err := e.exec.execute(ctx, c)
	return out, c.a.ended(err) //nolint:contextcheck // an attempt is a context, the one that ends it
}

// inProcess executes a handler on the attempt's own goroutine. One of its own
// would cost each attempt a stack that grows; so a handler that ends its
// goroutine (runtime.Goexit) is left to the engine to notice.
type inProcess struct {
	call func(context.Context, []byte) ([]byte, error)
}

func (p inProcess) execute(ctx context.Context, c *Call) (out json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, panicked(v)
		}
	}()
	return p.call(ctx, c.a.input)
}

// panicked is the failure of a panic, with the stack from where it happened.
func panicked(v any) error {
	stack := debug.Stack()
	// The panic's own frame ends the frames of this function and its callers.
	if i := bytes.Index(stack, []byte("\npanic(")); i >= 0 {
		lines := bytes.SplitN(stack[i+1:], []byte("\n"), 3)
		stack = lines[len(lines)-1]
	}
	err, ok := v.(error)
	if !ok || isWish(err) {
		err = fmt.Errorf("panic: %v", v)
	} else {
		err = fmt.Errorf("panic: %w", err)
	}
	return &fault{is: Error{Code: CodePanic, Err: err, Stack: string(stack)}}
}

// isWish tells whether an error says what is to follow if a handler returns it.
func isWish(err error) bool {
	_, snooze := errors.AsType[*snoozeError](err)
	_, permanent := errors.AsType[*permanentError](err)
	return snooze || permanent
}

// judged is outcome for errors whose methods may panic, as those of a nil pointer
// in an error do.
func (a *attempt) judged(out []byte, err error) (o engine.Outcome, is error) {
	defer func() {
		if v := recover(); v != nil {
			is = panicked(v)
			o = failure(is)
		}
	}()
	return a.outcome(out, err)
}

// outcome is what an attempt's output or error mean for its run, and the error as
// hooks are told it: a failure's with the code of the failure.
func (a *attempt) outcome(out []byte, err error) (engine.Outcome, error) {
	if limit := a.node.opts.MaxOutput; err == nil && int64(len(out)) > limit {
		err = lasting(CodeTooLarge, fmt.Errorf("the output of %d bytes is over the limit of %d (MaxOutput)", len(out), limit))
		return failure(err), err
	}
	if ms := a.run.Deadline; err == nil && ms != 0 && time.Now().UnixMilli() >= ms {
		err = lasting(CodeDeadline, ErrDeadline)
		return failure(err), err
	}
	if err == nil {
		return engine.Outcome{Output: out}, nil
	}
	if s := snoozed(err); s != nil {
		return engine.Outcome{Snooze: s.d}, err
	}
	if a.Err() != nil { // before its cause is asked for, see attempt
		if cause := context.Cause(a); errors.Is(cause, ErrShutdown) || errors.Is(cause, ErrLost) {
			return engine.Outcome{Interrupted: true}, err
		}
	}
	err = a.ended(err)
	o := failure(err)
	if o.Failure.Code == CodeCancelled {
		o = failure(newFault(CodeCancelled, ErrCancelled)) // what the handler made of it does not count
	}
	if CodeOf(err) != o.Failure.Code { // it has none of its own, or that of another run
		err = &Error{Code: o.Failure.Code, Err: err}
	}
	return o, err
}

// ended gives a handler's error the code of what has ended its attempt, if
// something did that makes a failure of it.
func (a *attempt) ended(err error) error {
	if err == nil || a.Err() == nil {
		return err
	}
	if snoozed(err) != nil {
		return err
	}
	var f *fault
	switch cause := context.Cause(a); {
	case errors.Is(cause, ErrCancelled):
		f = newFault(CodeCancelled, ended(ErrCancelled.Error(), cause, err))
	case errors.Is(cause, ErrTimeout):
		f = newFault(CodeTimeout, ended(fmt.Sprintf("the attempt's timeout of %s has passed", a.run.Timeout), cause, err))
	case errors.Is(cause, ErrDeadline):
		f = lasting(CodeDeadline, ended(ErrDeadline.Error(), cause, err))
	default:
		return err
	}
	if before, ok := errors.AsType[*fault](err); ok && before.is.Code == f.is.Code { // inside the middleware
		return err
	}
	return f
}

// ended is a handler's error with what has ended its attempt before it, or in place
// of the cause of that where the error ends with it.
func ended(text string, cause, err error) error {
	msg := fmt.Sprint(err) // which outlives an Error that panics
	if before, ok := strings.CutSuffix(msg, cause.Error()); ok {
		text = before + text
	} else {
		text += ": " + msg
	}
	return &endedError{text, [2]error{cause, err}}
}

// endedError is the error of an attempt that was ended.
type endedError struct {
	text string
	errs [2]error // the cause, and the handler's
}

func (e *endedError) Error() string   { return e.text }
func (e *endedError) Unwrap() []error { return e.errs[:] }

func failure(err error) engine.Outcome {
	f := &Failure{Code: CodeFailed, Message: clip(err.Error(), maxMessage)}
	o := engine.Outcome{Failure: f}
	if p, ok := errors.AsType[*permanentError](err); ok && p != nil {
		f.Code, o.Permanent = CodePermanent, true
	}
	if x, ok := errors.AsType[*fault](err); ok {
		f.Code, f.Stack = x.is.Code, clip(x.is.Stack, maxStack)
		o.Permanent = o.Permanent || x.permanent
	}
	return o
}

// clip bounds a text and makes it valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		end := n - 3
		for i := range utf8.UTFMax {
			if utf8.RuneStart(s[end-i]) { // else it would end with half a rune
				end -= i
				break
			}
		}
		s = s[:end] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// hookCall calls a hook, which must not do harm.
func (n *Node) hookCall(ctx context.Context, fn func(context.Context, *Call), c *Call) {
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

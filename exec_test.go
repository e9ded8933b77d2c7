package faena_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	fail := func(code faena.Code, permanent bool, msg string) engine.Outcome {
		return engine.Outcome{Failure: &faena.Failure{Code: code, Message: msg}, Permanent: permanent}
	}
	until := func(end error) func(context.Context, point) (any, error) {
		return func(ctx context.Context, _ point) (any, error) {
			<-ctx.Done()
			if got := context.Cause(ctx); !errors.Is(got, end) {
				return nil, fmt.Errorf("the cause is %w", got)
			}
			return nil, ctx.Err()
		}
	}
	for name, c := range map[string]struct {
		fn    func(context.Context, point) (any, error)
		input string
		run   engine.Run
		cause error // ends the engine's context after a second
		want  engine.Outcome
	}{
		"success":        {fn: func(_ context.Context, p point) (any, error) { return p.X, nil }, input: `{"X":3,"new":1}`, want: engine.Outcome{Output: []byte("3")}},
		"no input":       {fn: func(_ context.Context, p point) (any, error) { return p.X, nil }, want: engine.Outcome{Output: []byte("0")}},
		"error":          {fn: func(context.Context, point) (any, error) { return 1, bad }, want: fail(faena.CodeFailed, false, "bad")},
		"permanent":      {fn: func(context.Context, point) (any, error) { return nil, faena.Permanent(bad) }, want: fail(faena.CodePermanent, true, "bad")},
		"wrapped":        {fn: func(context.Context, point) (any, error) { return nil, fmt.Errorf("so: %w", faena.Permanent(bad)) }, want: fail(faena.CodePermanent, true, "so: bad")},
		"snooze":         {fn: func(context.Context, point) (any, error) { return nil, faena.Snooze(time.Minute) }, want: engine.Outcome{Snooze: time.Minute}},
		"snooze wrapped": {fn: func(context.Context, point) (any, error) { return nil, fmt.Errorf("x: %w", faena.Snooze(0)) }, want: engine.Outcome{Snooze: time.Millisecond}},
		"snooze joined": {fn: func(context.Context, point) (any, error) {
			return nil, errors.Join(bad, faena.Snooze(time.Minute), faena.Snooze(0))
		}, want: engine.Outcome{Snooze: time.Minute}},
		"snooze and permanent": {
			fn: func(context.Context, point) (any, error) {
				return nil, errors.Join(faena.Snooze(time.Minute), faena.Permanent(bad))
			},
			want: fail(faena.CodePermanent, true, "snooze for 1m0s\nbad"),
		},
		"permanent and snooze": {
			fn: func(context.Context, point) (any, error) {
				return nil, errors.Join(faena.Permanent(bad), faena.Snooze(time.Minute))
			},
			want: fail(faena.CodePermanent, true, "bad\nsnooze for 1m0s"),
		},
		"panic":           {fn: func(context.Context, point) (any, error) { panic("oh") }, want: fail(faena.CodePanic, false, "panic: oh")},
		"panic at run":    {fn: func(_ context.Context, p point) (any, error) { return 1 / p.X, nil }, want: fail(faena.CodePanic, false, "panic: runtime error: integer divide by zero")},
		"panic snooze":    {fn: func(context.Context, point) (any, error) { panic(faena.Snooze(time.Minute)) }, want: fail(faena.CodePanic, false, "panic: snooze for 1m0s")},
		"panic permanent": {fn: func(context.Context, point) (any, error) { panic(fmt.Errorf("x: %w", faena.Permanent(bad))) }, want: fail(faena.CodePanic, false, "panic: x: bad")},
		"a child's error": {
			fn: func(context.Context, point) (any, error) {
				return nil, &faena.Error{Code: faena.CodePanic, Op: "run c"}
			},
			want: fail(faena.CodeFailed, false, "run c: panic"),
		},
		"wrong type":  {input: `{"X":"a"}`, want: fail(faena.CodeInput, true, `decode input of t: field "X": want a whole number, got text`)},
		"wrong whole": {input: `[]`, want: fail(faena.CodeInput, true, `decode input of t: want an object such as {"X": 5, "Y": 5, "Name": "…"}, got a list`)},
		"cut":         {input: `{"X":`, want: fail(faena.CodeInput, true, "decode input of t: unexpected end of JSON input")},
		"bad output": {
			fn:   func(context.Context, point) (any, error) { return math.Inf(1), nil },
			want: fail(faena.CodePermanent, true, "encode output of t: json: unsupported value: +Inf"),
		},
		"large output": {
			fn:   func(context.Context, point) (any, error) { return strings.Repeat("x", 99), nil },
			want: fail(faena.CodeTooLarge, true, "the output of 101 bytes is over the limit of 100 (MaxOutput)"),
		},
		"long message": {
			fn:   func(context.Context, point) (any, error) { return nil, errors.New(strings.Repeat("x", 5000)) },
			want: fail(faena.CodeFailed, false, strings.Repeat("x", 4093)+"..."),
		},
		"message in no encoding": {
			fn:   func(context.Context, point) (any, error) { return nil, errors.New("a\xff") },
			want: fail(faena.CodeFailed, false, "a\uFFFD"),
		},
		"timeout": {
			fn: until(faena.ErrTimeout), run: engine.Run{Timeout: time.Minute},
			want: fail(faena.CodeTimeout, false, "the attempt's timeout of 1m0s has passed: context deadline exceeded"),
		},
		"timeout as its cause": {
			fn:  func(ctx context.Context, _ point) (any, error) { <-ctx.Done(); return nil, context.Cause(ctx) },
			run: engine.Run{Timeout: time.Minute}, want: fail(faena.CodeTimeout, false, "the attempt's timeout of 1m0s has passed"),
		},
		"timeout unnoticed": {
			fn: func(context.Context, point) (any, error) { time.Sleep(time.Hour); return nil, bad }, run: engine.Run{Timeout: time.Minute},
			want: fail(faena.CodeTimeout, false, "the attempt's timeout of 1m0s has passed: bad"),
		},
		"timeout, but done": {
			fn: func(context.Context, point) (any, error) { time.Sleep(time.Hour); return 1, nil }, run: engine.Run{Timeout: time.Minute},
			want: engine.Outcome{Output: []byte("1")},
		},
		"deadline": {
			fn: until(faena.ErrDeadline), run: engine.Run{Timeout: time.Hour, Deadline: 1}, // replaced below
			want: fail(faena.CodeDeadline, true, "the run's deadline has passed: context deadline exceeded"),
		},
		"deadline as its cause": {
			fn:  func(ctx context.Context, _ point) (any, error) { <-ctx.Done(); return nil, context.Cause(ctx) },
			run: engine.Run{Deadline: 1}, want: fail(faena.CodeDeadline, true, "the run's deadline has passed"),
		},
		"deadline and where": {
			fn: func(ctx context.Context, _ point) (any, error) {
				<-ctx.Done()
				return nil, fmt.Errorf("fetch: %w", context.Cause(ctx))
			},
			run: engine.Run{Deadline: 1}, want: fail(faena.CodeDeadline, true, "fetch: the run's deadline has passed"),
		},
		"deadline, but done": {
			fn: func(context.Context, point) (any, error) { time.Sleep(time.Hour); return 1, nil }, run: engine.Run{Deadline: 1},
			want: fail(faena.CodeDeadline, true, "the run's deadline has passed"),
		},
		"deadline passed before": {
			fn: func(context.Context, point) (any, error) { return 1, nil }, run: engine.Run{Deadline: 5},
			want: fail(faena.CodeDeadline, true, "the run's deadline has passed"),
		},
		"cancelled":          {fn: until(faena.ErrCancelled), cause: faena.ErrCancelled, want: fail(faena.CodeCancelled, false, "the run was cancelled")},
		"shutdown":           {fn: until(faena.ErrShutdown), cause: faena.ErrShutdown, want: engine.Outcome{Interrupted: true}},
		"lost":               {fn: until(faena.ErrLost), cause: faena.ErrLost, run: engine.Run{Timeout: time.Minute}, want: engine.Outcome{Interrupted: true}},
		"shutdown, but done": {fn: func(ctx context.Context, _ point) (any, error) { <-ctx.Done(); return 1, nil }, cause: faena.ErrShutdown, want: engine.Outcome{Output: []byte("1")}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLoop(0)
			n := open(t, l, faena.Options{MaxOutput: 100})
			if c.fn == nil {
				c.fn = func(context.Context, point) (any, error) { return nil, errors.New("called") }
			}
			handle(t, n, faena.Define[point, any]("t").With(c.fn))
			ctx := endedBy(t, c.cause)
			if c.run.Deadline == 1 {
				c.run.Deadline = time.Now().Add(time.Minute).UnixMilli()
			}
			c.run.Task = "t"
			c.run.Input.Data = []byte(c.input)
			got := try(l, ctx, &c.run)
			if d := cmp.Diff(c.want, got, cmpopts.IgnoreFields(engine.Failure{}, "Stack")); d != "" {
				t.Errorf("%s: outcome (-want +got)\n%s", name, d)
			}
		})
	}
}

func explode() { panic(fmt.Errorf("so: %w", io.EOF)) }

func TestPanicStackBeginsWhereItHappened(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	handle(t, open(t, l, faena.Options{}), faena.Define[int, int]("t").With(func(context.Context, int) (int, error) {
		explode()
		return 0, nil
	}))
	o := try(l, t.Context(), &engine.Run{Task: "t"})
	first, _, _ := strings.Cut(o.Failure.Stack, "\n")
	if !strings.Contains(first, "faena_test.explode") {
		t.Errorf("the stack begins with %q, want the function that panicked", first)
	}
}

// sick is an error whose methods need more than a nil pointer.
type sick struct{ err error }

func (s *sick) Error() string { return s.err.Error() }
func (s *sick) Unwrap() error { return s.err }

func TestErrorsThatPanic(t *testing.T) {
	t.Parallel()
	var (
		none  *sick
		empty *faena.Error
	)
	for name, err := range map[string]error{"a nil pointer": none, "without what it wraps": &sick{}, "a nil *Error": empty} {
		l := newLoop(0)
		var told error
		n := open(t, l, faena.Options{Hooks: faena.Hooks{Finished: func(_ context.Context, _ *faena.Call, err error) { told = err }}})
		handle(t, n, faena.Define[int, int]("t").With(func(context.Context, int) (int, error) { return 0, err }))
		o := try(l, t.Context(), &engine.Run{Task: "t", Input: engine.Value{Data: []byte("1")}, Retry: engine.Retry{Attempts: 2}})
		if o.Failure == nil || o.Failure.Code != faena.CodePanic || o.Failure.Stack == "" || o.Permanent || faena.CodeOf(told) != faena.CodePanic {
			t.Errorf("%s: outcome = %+v, Finished is told %v, want a panic with its stack", name, o, faena.CodeOf(told))
		}
	}
}

func TestOutputOfMiddleware(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]faena.Code{`{"a":1}`: "", ``: "", `{"a":`: faena.CodePermanent} {
		l := newLoop(0)
		n := open(t, l, faena.Options{})
		n.Use(func(faena.Next) faena.Next {
			return func(context.Context, *faena.Call) (json.RawMessage, error) { return json.RawMessage(given), nil }
		})
		handle(t, n, faena.Define[int, int]("t").With(same))
		o := try(l, t.Context(), &engine.Run{Task: "t"})
		if (o.Failure == nil) != (want == "") || o.Failure != nil && (o.Failure.Code != want || !o.Permanent) {
			t.Errorf("outcome of middleware's output %q = %+v, want code %q", given, o, want)
		}
	}
}

func TestNoHandler(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	handle(t, open(t, l, faena.Options{}), faena.Define[int, int]("t").With(same))
	o := try(l, t.Context(), &engine.Run{Task: "other"})
	if o.Failure == nil || o.Failure.Code != faena.CodeUnknownTask {
		t.Errorf("outcome of a task without handler = %+v, want code unknown_task", o)
	}
}

// endedBy is a context that ends after a second, if there is a cause.
func endedBy(t *testing.T, cause error) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	if cause != nil {
		time.AfterFunc(time.Second, func() { cancel(cause) })
	}
	return ctx
}

// A panic's error had no code for middleware and hooks, nor had any other failure.
func TestCodesForMiddlewareAndHooks(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	wait := func(err error) func(context.Context, int) (any, error) {
		return func(ctx context.Context, _ int) (any, error) {
			<-ctx.Done()
			return nil, errors.Join(err, ctx.Err())
		}
	}
	for name, c := range map[string]struct {
		fn             func(context.Context, int) (any, error)
		input          string
		run            engine.Run
		cause          error // ends the engine's context after a second
		middle, finish faena.Code
		is             error
	}{
		"success":      {fn: func(context.Context, int) (any, error) { return 1, nil }},
		"panic":        {fn: func(context.Context, int) (any, error) { panic(bad) }, middle: faena.CodePanic, finish: faena.CodePanic, is: bad},
		"input":        {fn: func(context.Context, int) (any, error) { return 1, nil }, input: `"x"`, middle: faena.CodeInput, finish: faena.CodeInput},
		"output":       {fn: func(context.Context, int) (any, error) { return math.Inf(1), nil }, middle: faena.CodePermanent, finish: faena.CodePermanent},
		"large output": {fn: func(context.Context, int) (any, error) { return strings.Repeat("x", 99), nil }, finish: faena.CodeTooLarge},
		"permanent":    {fn: func(context.Context, int) (any, error) { return nil, faena.Permanent(bad) }, middle: faena.CodePermanent, finish: faena.CodePermanent, is: bad},
		"plain":        {fn: func(context.Context, int) (any, error) { return nil, bad }, middle: faena.CodeInternal, finish: faena.CodeFailed, is: bad},
		"a child's": {
			fn:     func(context.Context, int) (any, error) { return nil, &faena.Error{Code: faena.CodeTimeout, Err: bad} },
			middle: faena.CodeTimeout, finish: faena.CodeFailed, is: bad,
		},
		"timeout":   {fn: wait(bad), run: engine.Run{Timeout: time.Minute}, middle: faena.CodeTimeout, finish: faena.CodeTimeout, is: bad},
		"deadline":  {fn: wait(bad), run: engine.Run{Deadline: 1}, middle: faena.CodeDeadline, finish: faena.CodeDeadline, is: faena.ErrDeadline},
		"cancelled": {fn: wait(bad), cause: faena.ErrCancelled, middle: faena.CodeCancelled, finish: faena.CodeCancelled, is: bad},
		"shutdown":  {fn: wait(bad), cause: faena.ErrShutdown, middle: faena.CodeInternal, finish: faena.CodeInternal, is: bad},
		"panic after a timeout": {
			fn:  func(ctx context.Context, _ int) (any, error) { <-ctx.Done(); panic(bad) },
			run: engine.Run{Timeout: time.Minute}, middle: faena.CodeTimeout, finish: faena.CodeTimeout, is: bad,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLoop(0)
			var middle, finish error
			n := open(t, l, faena.Options{MaxOutput: 100, Hooks: faena.Hooks{
				Finished: func(_ context.Context, _ *faena.Call, err error) { finish = err },
			}})
			n.Use(func(next faena.Next) faena.Next {
				return func(ctx context.Context, call *faena.Call) (out json.RawMessage, err error) {
					out, err = next(ctx, call)
					middle = err
					return out, err
				}
			})
			handle(t, n, faena.Define[int, any]("t").With(c.fn))
			ctx := endedBy(t, c.cause)
			if c.run.Deadline != 0 {
				c.run.Deadline = time.Now().Add(time.Minute).UnixMilli()
			}
			c.run.Task, c.run.Input.Data = "t", []byte(c.input)
			o := try(l, ctx, &c.run)
			wantCode(t, name+": middleware's error", middle, c.middle)
			wantCode(t, name+": error of Finished", finish, c.finish)
			if c.is != nil && !errors.Is(finish, c.is) {
				t.Errorf("%s: error of Finished = %v, want one that is %v", name, finish, c.is)
			}
			if o.Failure != nil && o.Failure.Code != c.finish {
				t.Errorf("%s: code of the outcome = %s, want that of Finished, %s", name, o.Failure.Code, c.finish)
			}
			if e, ok := errors.AsType[*faena.Error](middle); c.middle == faena.CodePanic && (!ok || e.Stack == "") {
				t.Errorf("%s: middleware's error = %#v, want an *Error with the stack", name, middle)
			}
		})
	}
}

func TestMiddlewareAndHooks(t *testing.T) {
	t.Parallel()
	var log []string
	note := func(s string) faena.Middleware {
		return func(next faena.Next) faena.Next {
			return func(ctx context.Context, c *faena.Call) (out json.RawMessage, err error) {
				log = append(log, s+" in "+c.Task())
				out, err = next(ctx, c)
				log = append(log, fmt.Sprintf("%s out %s %v", s, out, err))
				return out, err
			}
		}
	}
	l := newLoop(0)
	n := open(t, l, faena.Options{
		Logger: slog.New(slog.DiscardHandler),
		Hooks: faena.Hooks{
			Started: func(_ context.Context, c *faena.Call) {
				log = append(log, fmt.Sprint("started ", c.Attempt(), c.Attempts()))
			},
			Finished: func(_ context.Context, _ *faena.Call, err error) {
				log = append(log, fmt.Sprint("finished ", err))
				panic("a hook's")
			},
		},
	})
	n.Use(note("a"))
	n.Use(note("b"))
	handle(t, n, faena.Define[int, int]("t").With(func(_ context.Context, i int) (int, error) {
		if i == 0 {
			panic("zero")
		}
		return i + 1, nil
	}))
	run := &engine.Run{Task: "t", Attempt: 2, Retry: engine.Retry{Attempts: 5}, Input: engine.Value{Data: []byte("1")}}
	if o := try(l, t.Context(), run); string(o.Output) != "2" {
		t.Errorf("outcome = %+v, want output 2", o)
	}
	run.Input.Data = []byte("0")
	try(l, t.Context(), run)
	want := []string{
		"started 3 5", "a in t", "b in t", "b out 2 <nil>", "a out 2 <nil>", "finished <nil>",
		"started 3 5", "a in t", "b in t", "b out  panic: zero", "a out  panic: zero", "finished panic: zero",
	}
	if d := cmp.Diff(want, log); d != "" {
		t.Errorf("calls (-want +got)\n%s", d)
	}
	n.Use(func(faena.Next) faena.Next {
		return func(context.Context, *faena.Call) (json.RawMessage, error) { panic("the middleware's") }
	})
	if o := try(l, t.Context(), run); o.Failure == nil || o.Failure.Code != faena.CodePanic {
		t.Errorf("outcome of a panic in middleware = %+v, want code panic", o)
	}
}

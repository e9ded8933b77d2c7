package faena

import (
	"context"
	"slices"

	"github.com/faena-dev/faena/engine"
)

// Task is a named contract from In to Out: what a client submits and what a
// handler implements. It is a pure value, made by [Define], never changes, may
// be used concurrently and is usually a package variable. In and Out travel as
// JSON. The zero Task is none: what would submit or handle it is an error with
// CodeInvalid.
type Task[In, Out any] struct {
	name string
	set  settings
}

// Define makes a task. The name is what binds clients and workers, so it stays
// when Go code is renamed: letters, digits and -_. , at most 64. The options are
// the defaults of the task's runs. Define panics if the name or an option is
// wrong.
func Define[In, Out any](name string, opts ...Option) Task[In, Out] {
	op := "define task " + name
	if err := engine.CheckName("task", name); err != nil {
		panic(err)
	}
	s, err := defaults().with(op, opts)
	if err == nil && s.named != "" {
		err = invalid(op, "Named is for a call")
	}
	if err != nil {
		panic(err)
	}
	s.tags = slices.Clip(s.tags)
	return Task[In, Out]{name, s}
}

// settings are those of a call. A task that has no name was not made by Define,
// and lacks the defaults too.
func (t Task[In, Out]) settings(op string, opts []Option) (settings, error) {
	if t.name == "" {
		return settings{}, zeroTask(op)
	}
	return t.set.with(op+" "+t.name, opts)
}

func zeroTask(op string) error {
	return invalid(op, "the task is its zero value: make it by Define")
}

// Name is the task's name.
func (t Task[In, Out]) Name() string { return t.name }

// With binds the task to the function that executes it, for [Node.Handle]. The
// function may be called many times concurrently. Its context ends when the
// run is cancelled, the attempt's Timeout or the run's Deadline passes or the
// node closes (context.Cause tells which), and it should then return soon: its
// slot is taken until it does.
func (t Task[In, Out]) With(fn func(context.Context, In) (Out, error)) Handler {
	return t.WithCheck(fn, func(In) error { return nil })
}

// WithCheck is With for a task of which some inputs that decode can be told to
// fail: check says why, soon and without side effects, and [Node.Submit] then
// refuses the input with CodeInput, before anything is stored. It may be called
// concurrently. Typed calls and other nodes do not ask it, so that fn has to
// refuse such inputs, too.
func (t Task[In, Out]) WithCheck(fn func(context.Context, In) (Out, error), check func(In) error) Handler {
	if fn == nil || check == nil {
		return Handler{task: t.name} // which nobody can handle
	}
	return Handler{task: t.name, set: t.set, call: func(ctx context.Context, input []byte) ([]byte, error) {
		in, err := decodeInput[In](t.name, input)
		if err != nil {
			return nil, err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		return encodeOutput(t.name, out)
	}, check: func(input []byte) error {
		in, err := decodeInput[In](t.name, input)
		if err != nil {
			return err
		}
		return check(in)
	}}
}

// Go submits a run and returns when it is stored. It blocks while the engine is
// at a limit, or the server is away, until ctx ends: the error then has
// CodeUnavailable if the run may be stored nevertheless. It is found by a tag, or in
// the list of runs, before it is submitted again. Inside a handler, with its
// context, the run is a child of the handler's run, and the same call made again, by
// this attempt or the next, finds it.
func (t Task[In, Out]) Go(ctx context.Context, node *Node, in In, opts ...Option) (*Future[Out], error) {
	s, err := t.settings("submit", opts)
	if err != nil {
		return nil, err
	}
	data, err := encodeInput(t.name, in)
	if err != nil {
		return nil, err
	}
	f := new(Future[Out])
	err = node.submit(ctx, &order{task: t.name, set: &s, inputs: [][]byte{data}, futures: []*future{&f.future}})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Run submits a run and waits for its result: Go and Get.
func (t Task[In, Out]) Run(ctx context.Context, node *Node, in In, opts ...Option) (Out, error) {
	f, err := t.Go(ctx, node, in, opts...)
	if err != nil {
		var zero Out
		return zero, err
	}
	return f.Get(ctx)
}

// Batch submits a run for each input, all of them or none, and gives their
// futures in order.
func (t Task[In, Out]) Batch(ctx context.Context, node *Node, inputs []In, opts ...Option) ([]*Future[Out], error) {
	s, err := t.settings("submit", opts)
	if err != nil {
		return nil, err
	}
	if s.named != "" {
		return nil, invalid("submit "+t.name, "Named is for a single run")
	}
	o := order{task: t.name, set: &s, batch: true, inputs: make([][]byte, len(inputs)), futures: make([]*future, len(inputs))}
	fs := make([]Future[Out], len(inputs))
	out := make([]*Future[Out], len(inputs))
	for i, in := range inputs {
		if o.inputs[i], err = encodeInput(t.name, in); err != nil {
			return nil, err
		}
		o.futures[i], out[i] = &fs[i].future, &fs[i]
	}
	if err := node.submit(ctx, &o); err != nil {
		return nil, err
	}
	return out, nil
}

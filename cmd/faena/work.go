package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/faena-dev/faena"
)

// work is a job of runs of one task.
type work[In, Out any] struct {
	task   faena.Task[In, Out]
	inputs []In
	called string // what several inputs are called
	// each is told of every run as it ends; an error of its own ends the waiting.
	// It may be nil.
	each func(out console, in In, v Out, err error) error
	// last delivers the result once all have ended; see job.finish.
	last func(out console) error

	futures []*faena.Future[Out]
	ended   atomic.Int64
}

func (w *work[In, Out]) submit(ctx context.Context, node *faena.Node, opts ...faena.Option) (err error) {
	w.futures, err = w.task.Batch(ctx, node, w.inputs, opts...)
	return err
}

func (w *work[In, Out]) attach(ctx context.Context, node *faena.Node, ids []faena.ID) error {
	if len(ids) != len(w.inputs) {
		return fmt.Errorf("%d runs were left behind, and the command line asks for %d", len(ids), len(w.inputs))
	}
	w.futures = make([]*faena.Future[Out], len(ids))
	for i, id := range ids {
		var err error
		if w.futures[i], err = faena.Attach[Out](ctx, node, id); err != nil {
			return err
		}
	}
	return nil
}

func (w *work[In, Out]) ids() []faena.ID {
	ids := make([]faena.ID, len(w.futures))
	for i, f := range w.futures {
		ids[i] = f.ID()
	}
	return ids
}

func (w *work[In, Out]) wait(ctx context.Context, out console) error {
	at := make(map[faena.ID]int, len(w.futures))
	for i, f := range w.futures {
		at[f.ID()] = i
	}
	for f, err := range faena.AsCompleted(ctx, w.futures...) {
		var v Out
		if err == nil {
			v, err = f.Get(ctx)
		}
		if err != nil && !ranAndFailed(ctx, err) {
			return err
		}
		w.ended.Add(1)
		if w.each != nil {
			if err := w.each(out, w.inputs[at[f.ID()]], v, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *work[In, Out]) finish(out console) error { return w.last(out) }
func (w *work[In, Out]) pieces() string           { return w.called }
func (w *work[In, Out]) done() int                { return int(w.ended.Load()) }

// ranAndFailed tells the end of a run from the end of waiting for it.
func ranAndFailed(ctx context.Context, err error) bool {
	code := faena.CodeOf(err)
	return ctx.Err() == nil && (codeExit(code) == exitFailed || code == faena.CodeInput)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/natsengine"
)

// submitter is a session that knows the built-in tasks and executes none: what
// it submits by name has the settings of the task's definition, and an input
// that does not decode is refused, both as by faena serve.
type submitter struct {
	*session
	queues map[string]string // where runs of the tasks it knows wait
	sent   *sent
}

func (a *app) submitter(ctx context.Context, r *remote) (*submitter, error) {
	queues, out := map[string]string{}, new(sent)
	s, err := a.connectAs(ctx, r, faena.Options{}, func(e *natsengine.Engine) engine.Engine { return noWork{out.by(e), queues} })
	if err != nil {
		return nil, err
	}
	if err := s.Handle(a.handlers()...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &submitter{s, queues, out}, nil
}

// noWork is an engine whose workers take nothing, and only note what they are told.
type noWork struct {
	noting
	queues map[string]string
}

// Work gives a worker that takes nothing.
func (e noWork) Work(engine.WorkOptions) (engine.Worker, error) { return noWorker(e.queues), nil }

type noWorker map[string]string

func (w noWorker) Handle(_ context.Context, queue, task string) error {
	w[task] = queue
	return nil
}

func (noWorker) Stop(context.Context) error { return nil }

// submit is that of the node, which takes for granted that somebody executes
// what it has a definition of, and for right what queue it is told: a task that no
// live worker knows, or takes from that queue, is an error with CodeUnknownTask
// unless told to wait, and a task that they take from other queues waits there.
func (s *submitter) submit(ctx context.Context, task string, input []byte, o *submission, opts []faena.Option) (faena.ID, error) {
	own, known := s.queues[task]
	if !known && o.waitForWorker {
		return s.store(ctx, task, input, append(opts, faena.WaitForWorker()))
	}
	queues, err := s.taken(ctx, task)
	switch {
	case err == nil && len(queues) > 0 && o.queue != "" && !o.waitForWorker && !slices.Contains(queues, o.queue):
		return faena.ID{}, &faena.Error{Code: faena.CodeUnknownTask, Op: "submit " + task, Err: fmt.Errorf(
			"no live worker takes task %q from queue %q, but from %s", task, o.queue, strings.Join(slices.Compact(slices.Sorted(slices.Values(queues))), ", "))}
	case !known: // says the rest itself
	case o.waitForWorker && len(queues) == 0: // it may be that nobody could say
	case err != nil:
		return faena.ID{}, fmt.Errorf("see who knows task %s: %w", task, err)
	case len(queues) == 0:
		return faena.ID{}, &faena.Error{Code: faena.CodeUnknownTask, Op: "submit " + task, Err: fmt.Errorf("no live worker knows task %q", task)}
	case !slices.Contains(queues, own):
		opts = append([]faena.Option{faena.Queue(slices.Min(queues))}, opts...)
	}
	return s.store(ctx, task, input, opts)
}

// store submits, and goes on for a while when it is interrupted.
func (s *submitter) store(ctx context.Context, task string, input []byte, opts []faena.Option) (faena.ID, error) {
	if ctx.Err() != nil {
		return faena.ID{}, context.Cause(ctx)
	}
	ctx, stop := lingering(ctx, submitFor)
	defer stop()
	return s.Submit(ctx, task, input, opts...)
}

// taken are the queues from which live workers take a task.
func (s *submitter) taken(ctx context.Context, task string) ([]string, error) {
	nodes, err := s.Nodes(ctx)
	var queues []string
	for i := range nodes {
		for _, r := range nodes[i].Routes {
			if r.Task == task {
				queues = append(queues, r.Queue)
			}
		}
	}
	return queues, err
}

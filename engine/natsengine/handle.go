package natsengine

import (
	"context"
	"fmt"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Handle implements engine.Worker. What fails leaves nothing behind that a later
// call would take for done.
func (w *worker) Handle(ctx context.Context, queue, task string) error {
	select { // no lock: it may wait for a server that is away
	case w.handling <- struct{}{}:
		defer func() { <-w.handling }()
	case <-ctx.Done():
		return fmt.Errorf("wait for another handler to begin: %w", unavailable(ctx.Err()))
	}
	if err := w.e.queue(ctx, queue); err != nil {
		return &engine.Error{Code: engine.CodeOf(err), Op: "handle " + task, Err: err}
	}
	w.mu.Lock()
	known, first := w.tasks[taskKey{queue, task}] != nil, len(w.queues[queue]) == 0
	w.mu.Unlock()
	if known {
		return nil
	}
	ins := []*intake{{w: w, queue: queue, src: srcParked, stream: streamDelayed, consumer: parkConsumer(queue, task), filter: parkSubject(queue, task)}}
	if first {
		ins = append(ins,
			&intake{w: w, queue: queue, src: srcDue, stream: streamDelayed, consumer: dueConsumer(queue), filter: dueSubject(queue)},
			&intake{w: w, queue: queue, src: srcQueue, stream: queueStream(queue), consumer: queueConsumer()})
	}
	paused, err := w.e.createBeside(ctx, queue, ins)
	if err != nil {
		return err
	}
	if err := openIntakes(ctx, ins); err != nil {
		return err
	}
	w.takes(queue, task, ins, paused)
	return nil
}

// openIntakes opens all or none.
func openIntakes(ctx context.Context, ins []*intake) error {
	for i, in := range ins {
		if err := in.openIntake(ctx); err != nil {
			for _, in := range ins[:i+1] {
				in.close()
			}
			return err
		}
	}
	return nil
}

// takes has the worker take runs of a task from its intakes.
func (w *worker) takes(queue, task string, ins []*intake, paused bool) {
	p := &pace{}
	var late []*intake // the connection was lost since they were opened
	w.mu.Lock()
	if paused {
		w.paused[queue] = true
	}
	w.tasks[taskKey{queue, task}] = p
	w.queues[queue] = append(w.queues[queue], p)
	w.intakes = append(w.intakes, ins...)
	for _, in := range ins {
		if in.marked != w.reconnects() {
			late = append(late, in)
		}
	}
	w.mu.Unlock()
	if len(late) > 0 {
		go w.mark(late)
	}
	w.pump()
	w.beat(false)
}

// createBeside makes the consumers that a queue has beside its own, paused as the
// queue is, which may change meanwhile. It tells whether it is paused.
func (e *Engine) createBeside(ctx context.Context, queue string, ins []*intake) (paused bool, err error) {
	until, err := e.pausedUntil(ctx, queue)
	for err == nil {
		was := until
		for _, in := range ins {
			if in.src == srcQueue {
				continue
			}
			if err := e.createConsumer(ctx, in.stream, in.consumer, in.filter, until, nil); err != nil {
				return false, err
			}
			if err := e.pauseAs(ctx, in.stream, in.consumer, until); err != nil {
				return false, err
			}
		}
		if until, err = e.pausedUntil(ctx, queue); err == nil && (until == nil) == (was == nil) {
			return until != nil, nil
		}
	}
	return false, err
}

// pauseAs pauses a consumer, or has it go on, unless it does so already.
func (e *Engine) pauseAs(ctx context.Context, stream, consumer string, until *time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, err := e.js.Consumer(ctx, stream, consumer)
	switch {
	case err != nil || c.CachedInfo().Paused == (until != nil):
	case until != nil:
		_, err = e.js.PauseConsumer(ctx, stream, consumer, *until)
	default:
		_, err = e.js.ResumeConsumer(ctx, stream, consumer)
	}
	if err != nil {
		return fmt.Errorf("pause consumer %s of %s as its queue is: %w", consumer, stream, unavailable(err))
	}
	return nil
}

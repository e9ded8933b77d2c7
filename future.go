package faena

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/faena-dev/faena/engine"
)

// Future is a handle on a run's result. It may be used concurrently and needs
// no closing; the run goes on without it.
type Future[T any] struct{ future }

// none tells that there is no future, or its zero value, which is of no run.
func (f *Future[T]) none() bool { return f == nil || f.node == nil }

// future is what does not depend on the result's type.
type future struct {
	node *Node
	id   ID
	task string

	stored atomic.Bool // the run is, or has been

	mu   sync.Mutex // of what follows
	rec  *engine.Record
	done chan struct{} // made when somebody needs it
	sub  sub           // the first, which is mostly the only one
	subs []sub
}

// sub is a wish to hear of a future's end.
type sub struct {
	box *inbox
	i   int
}

// Attach gives a future for a run that anyone submitted at any time; an id
// nobody knows is an error with CodeNotFound. T must fit the run's output;
// json.RawMessage always does.
func Attach[T any](ctx context.Context, node *Node, id ID) (*Future[T], error) {
	f := new(Future[T])
	f.node, f.id = node, id
	if err := f.attach(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *future) attach(ctx context.Context) error {
	if f.node.unopened() {
		return zeroNode("attach to run " + f.id.String())
	}
	if f.node.isClosed() {
		return closed("attach to run " + f.id.String())
	}
	if err := f.node.eng.Attach(ctx, f.id, (*waiter)(f)); err != nil {
		return told(ctx, "attach to run "+f.id.String(), err)
	}
	f.stored.Store(true)
	return nil
}

func (f *future) detach() { f.node.eng.Unwatch(f.id, (*waiter)(f)) }

// waiter is a future as the engine knows it.
type waiter future

// Resolve implements engine.Waiter.
func (w *waiter) Resolve(r *engine.Record) { (*future)(w).resolve(r) }

// Stored implements engine.Forgetter.
func (w *waiter) Stored() bool { return w.stored.Load() }

// Forgotten implements engine.Forgetter.
func (w *waiter) Forgotten() {
	f := (*future)(w)
	f.resolve(&engine.Record{ID: f.id, Task: f.task, State: Failed, Failure: &Failure{
		Code: CodeNotFound, Message: "it is not known any more: it ended, and its retention passed, while the connection was lost",
	}})
}

// resolve is called by the engine with the run's end; the first one counts.
func (f *future) resolve(r *engine.Record) {
	f.mu.Lock()
	if f.rec != nil {
		f.mu.Unlock()
		return
	}
	f.rec = r
	first, subs := f.sub, f.subs
	f.sub, f.subs = sub{}, nil
	if f.done != nil {
		close(f.done)
	}
	f.mu.Unlock()
	if first.box != nil {
		first.box.put(first.i)
	}
	for _, s := range subs {
		s.box.put(s.i)
	}
}

func (f *future) record() *engine.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rec
}

// subscribe puts i into box once the run has ended.
func (f *future) subscribe(box *inbox, i int) {
	f.mu.Lock()
	ended := f.rec != nil
	switch {
	case ended:
	case f.sub.box == nil:
		f.sub = sub{box, i}
	default:
		f.subs = append(f.subs, sub{box, i})
	}
	f.mu.Unlock()
	if ended {
		box.put(i)
	}
}

// unsubscribe takes back all wishes of box.
func (f *future) unsubscribe(box *inbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sub.box == box {
		f.sub = sub{}
	}
	f.subs = slices.DeleteFunc(f.subs, func(s sub) bool { return s.box == box })
}

// ID is the run's id, to be stored and given to Attach later.
func (f *future) ID() ID { return f.id }

// Done is closed when the run has ended. It is for select statements: unlike
// Get, waiting for it inside a handler keeps the handler's slot.
func (f *future) Done() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done == nil {
		f.done = make(chan struct{})
		if f.rec != nil {
			close(f.done)
		}
	}
	return f.done
}

// Cancel ends the run as cancelled, unless it has ended before, which is no
// error. Once Cancel returns the future is resolved or about to be: a handler
// that is under way has its context ended with ErrCancelled, but nobody waits
// for it.
func (f *Future[T]) Cancel(ctx context.Context) error {
	if f.none() {
		return invalid("cancel", "the future is nil or its zero value")
	}
	return f.cancel(ctx)
}

func (f *future) cancel(ctx context.Context) error {
	states, err := f.node.Cancel(ctx, f.id)
	if err != nil {
		return err
	}
	if states[0] == Cancelled {
		f.resolve(cancelledRecord(f.id, f.task))
	}
	return nil
}

func cancelledRecord(id ID, task string) *engine.Record {
	return &engine.Record{ID: id, Task: task, State: Cancelled, Failure: &Failure{Code: CodeCancelled, Message: ErrCancelled.Error()}}
}

// Get blocks until the run ends, ctx ends, or the node closes. It may be called
// any number of times and from any process: the result stays for the task's
// Keep. A run that failed or was cancelled yields an *Error with its code. ctx
// ending does not cancel the run.
//
// Inside a handler ctx must come from the handler's. Then the attempt gives its
// slot back while at least one of its goroutines waits, and the last of them
// takes one again before it goes on; goroutines that compute beside a waiting
// one do so without a slot. If Options.MaxWaiting runs wait already, Get is an
// error with CodeLimit. A future that has ended is read without any of this.
func (f *Future[T]) Get(ctx context.Context) (T, error) {
	var v T
	if f.none() {
		return v, invalid("wait for a run", "the future is nil or its zero value")
	}
	r, err := f.wait(ctx)
	if err != nil {
		return v, err
	}
	if err := f.read(ctx, r, &v); err != nil {
		return v, err
	}
	return v, nil
}

// wait blocks until there is a record.
func (f *future) wait(ctx context.Context) (*engine.Record, error) {
	if r := f.record(); r != nil {
		return r, nil
	}
	done := f.Done()
	err := waiting(ctx, func() error {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctxError(ctx, "wait for run "+f.id.String())
		case <-f.node.done:
			return closed("wait for run " + f.id.String())
		case <-f.node.eng.Done():
			return f.node.over("wait for run " + f.id.String())
		}
	})
	if r := f.record(); r != nil && err == nil {
		return r, nil
	}
	return nil, err
}

// read decodes an ended run's output into v, or gives its error.
func (f *future) read(ctx context.Context, r *engine.Record, v any) error {
	if r.State != Succeeded {
		fail := r.Failure
		if fail == nil {
			fail = &Failure{Code: CodeInternal, Message: "it is " + r.State.String() + " for no known reason"}
		}
		return runError(r.Task, r.ID, fail)
	}
	data := r.Output.Data
	if r.Output.Apart {
		err := f.node.patient(ctx, func() (err error) {
			data, err = f.node.eng.Output(ctx, r)
			return err
		})
		if err != nil {
			return told(ctx, "fetch output of run "+r.ID.String(), err)
		}
	}
	if err := decode(data, v); err != nil {
		return &Error{Code: CodeInvalid, Op: fmt.Sprintf("decode output of %s %s", r.Task, r.ID), Err: err}
	}
	return nil
}

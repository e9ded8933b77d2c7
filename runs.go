package faena

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/faena-dev/faena/engine"
)

// maxIDs is how many runs are changed by one request to the engine.
const maxIDs = 1000

// abandonTime bounds the cancelling of runs that nobody waits for any more.
const abandonTime = 10 * time.Second

// Submit stores a run of a task by its name, with an input in JSON (none is
// null), and returns when it is stored. The options count from the library's
// defaults, or from the task's definition if this node has a handler for it;
// without [Queue] the run goes to the queue from which live workers take the
// task. An input that does not decode, or that the task's check refuses, is an
// error with CodeInput where this node has a handler for the task; elsewhere the
// run fails at its first attempt. A task that none of them knows is an error with CodeUnknownTask,
// unless [WaitForWorker] is given.
func (n *Node) Submit(ctx context.Context, task string, input json.RawMessage, opts ...Option) (ID, error) {
	ids, err := n.submitRaw(ctx, task, []json.RawMessage{input}, false, opts)
	if err != nil {
		return ID{}, err
	}
	return ids[0], nil
}

// SubmitBatch is Submit for many inputs: all runs are stored or none is.
func (n *Node) SubmitBatch(ctx context.Context, task string, inputs []json.RawMessage, opts ...Option) ([]ID, error) {
	return n.submitRaw(ctx, task, inputs, true, opts)
}

func (n *Node) submitRaw(ctx context.Context, task string, inputs []json.RawMessage, batch bool, opts []Option) ([]ID, error) {
	op := "submit " + task
	if n.unopened() {
		return nil, zeroNode(op)
	}
	if err := engine.CheckName("task", task); err != nil {
		return nil, &Error{Code: CodeInvalid, Op: op, Err: err}
	}
	s := defaults()
	if e := n.table.Load().handlers[task]; e != nil {
		s = e.set
		s.queue = e.queues[0]
	}
	s, err := s.with(op, opts)
	if err != nil {
		return nil, err
	}
	if batch && s.named != "" {
		return nil, invalid(op, "Named is for a single run")
	}
	if err := n.route(ctx, task, &s); err != nil {
		return nil, err
	}
	o := order{task: task, set: &s, batch: batch, inputs: make([][]byte, len(inputs))}
	for i, in := range inputs {
		if o.inputs[i], err = n.fit(op, task, in); err != nil {
			if batch {
				err = &Error{Code: CodeOf(err), Op: op, Err: fmt.Errorf("inputs[%d]: %w", i, bare(err, op))}
			}
			return nil, err
		}
	}
	if err := n.submit(ctx, &o); err != nil {
		return nil, err
	}
	return o.ids, nil
}

// fit encodes an input, and refuses what would fail here.
func (n *Node) fit(op, task string, in json.RawMessage) ([]byte, error) {
	data, err := encodeInput(task, in)
	if err != nil {
		return nil, err
	}
	e := n.table.Load().handlers[task]
	if e == nil {
		return data, nil
	}
	if err := n.checkInput(task, data); err != nil {
		return nil, err
	}
	if err := e.check(data); err != nil {
		return nil, &Error{Code: CodeInput, Op: op, Err: err}
	}
	return data, nil
}

// bare is what an error of an operation says without its name.
func bare(err error, op string) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Op == op && e.Err != nil {
		return e.Err
	}
	return err
}

// routes are what live workers take, as read a moment ago.
type routes struct {
	mu     sync.Mutex
	at     time.Time
	queues map[string][]string // by task, sorted
}

// route chooses the queue of a task that is known by name only.
func (n *Node) route(ctx context.Context, task string, s *settings) error {
	if n.table.Load().handlers[task] != nil || s.waitForWorker && s.queue != "" {
		return nil
	}
	queues, err := n.queuesOf(ctx, task)
	switch {
	case err != nil && !s.waitForWorker:
		return fmt.Errorf("see who knows task %s: %w", task, err)
	case len(queues) == 0 && !s.waitForWorker:
		return &Error{Code: CodeUnknownTask, Op: "submit " + task, Err: fmt.Errorf("no live worker knows task %q", task)}
	case s.queue == "" && len(queues) > 0 && !slices.Contains(queues, DefaultQueue):
		s.queue = queues[0]
	}
	return nil
}

func (n *Node) queuesOf(ctx context.Context, task string) ([]string, error) {
	n.seen.mu.Lock()
	defer n.seen.mu.Unlock()
	if q := n.seen.queues[task]; len(q) > 0 && time.Since(n.seen.at) < time.Second {
		return q, nil
	}
	nodes, err := n.eng.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	queues := map[string][]string{}
	for _, node := range nodes {
		for _, r := range node.Routes {
			if i, there := slices.BinarySearch(queues[r.Task], r.Queue); !there {
				queues[r.Task] = slices.Insert(queues[r.Task], i, r.Queue)
			}
		}
	}
	n.seen.at, n.seen.queues = time.Now(), queues
	return queues[task], nil
}

// Get tells all that is known of a run, its input and output included where
// they are not too large. Like all that reads it needs a process that holds the
// index, else the error has CodeUnavailable; it sees what this node wrote before.
func (n *Node) Get(ctx context.Context, id ID) (*Info, error) {
	if n.unopened() {
		return nil, zeroNode("get run")
	}
	return n.eng.Get(ctx, id)
}

// Page gives one page of the runs that q selects, newest first unless q.Order says
// otherwise; the next one is got with q.Cursor set to Page.Next and the same conditions, until that is empty;
// with others the error has CodeInvalid, as it has for a state that is none. Of each run it tells what is soon found:
// no Parent, Attempts, Deadline, Waits, Input and Output, no Stack, of an error
// 160 bytes, with an ellipsis if that is not all, and as Deaths those of an open run since it was queued last;
// Get tells all.
func (n *Node) Page(ctx context.Context, q Query) (*Page, error) {
	if n.unopened() {
		return nil, zeroNode("list runs")
	}
	return n.eng.List(ctx, q)
}

// List yields the runs that q selects, newest first, and reads them page by page
// as it goes on; of each it tells what Page does. An error ends it.
func (n *Node) List(ctx context.Context, q Query) iter.Seq2[*Info, error] {
	return func(yield func(*Info, error) bool) {
		for {
			p, err := n.Page(ctx, q)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range p.Runs {
				if !yield(&p.Runs[i], nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			q.Cursor = p.Next
		}
	}
}

// Counts tells how many runs there are of each task, queue and state.
func (n *Node) Counts(ctx context.Context) ([]Count, error) {
	if n.unopened() {
		return nil, zeroNode("count runs")
	}
	return n.eng.Counts(ctx)
}

// Queues lists the queues there are.
func (n *Node) Queues(ctx context.Context) ([]QueueInfo, error) {
	if n.unopened() {
		return nil, zeroNode("list queues")
	}
	return n.eng.Queues(ctx)
}

// Nodes lists the live faena processes.
func (n *Node) Nodes(ctx context.Context) ([]NodeInfo, error) {
	if n.unopened() {
		return nil, zeroNode("list nodes")
	}
	return n.eng.Nodes(ctx)
}

// Status is the state of the engine, as this process sees it.
func (n *Node) Status(ctx context.Context) (*Status, error) {
	if n.unopened() {
		return nil, zeroNode("see status")
	}
	return n.eng.Status(ctx)
}

// Pause stops the runs of a queue from being started, on all nodes, until
// Resume; those under way go on.
func (n *Node) Pause(ctx context.Context, queue string) error {
	if n.unopened() {
		return zeroNode("pause queue")
	}
	return n.eng.Pause(ctx, queue)
}

// Resume ends a queue's pause.
func (n *Node) Resume(ctx context.Context, queue string) error {
	if n.unopened() {
		return zeroNode("resume queue")
	}
	return n.eng.Resume(ctx, queue)
}

// Input is the input of a run, whatever its size. It is kept until the run has
// succeeded: then, as for an id that nobody knows, the error has CodeNotFound.
func (n *Node) Input(ctx context.Context, id ID) (json.RawMessage, error) {
	if n.unopened() {
		return nil, zeroNode("read input")
	}
	b, err := n.eng.Input(ctx, id)
	if err != nil {
		return nil, told(ctx, "read input of run "+id.String(), err)
	}
	return b, nil
}

// Output is the output of a run that succeeded, whatever its size; for one that
// did not it is the run's error, and for one that has not ended CodeConflict.
func (n *Node) Output(ctx context.Context, id ID) (json.RawMessage, error) {
	if n.unopened() {
		return nil, zeroNode("read output")
	}
	in, err := n.eng.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !in.State.Terminal() {
		return nil, &Error{Code: CodeConflict, Op: "read output of run " + id.String(), Err: fmt.Errorf("it is %s", in.State)}
	}
	f, err := Attach[json.RawMessage](ctx, n, id)
	if err != nil {
		return nil, err
	}
	return f.Get(ctx)
}

// Cancel ends runs that have not ended as cancelled, and gives for each the
// state that holds now: Cancelled, or the one it had ended in before.
func (n *Node) Cancel(ctx context.Context, ids ...ID) ([]State, error) {
	if n.unopened() {
		return nil, zeroNode("cancel")
	}
	states := make([]State, 0, len(ids))
	for part := range slices.Chunk(ids, maxIDs) {
		s, err := n.eng.Cancel(ctx, part)
		if err != nil {
			return states, err
		}
		states = append(states, s...)
	}
	return states, nil
}

// CancelAll cancels all open runs that q selects and tells how many it
// cancelled.
func (n *Node) CancelAll(ctx context.Context, q Query) (int, error) {
	if len(q.States) == 0 {
		q.States = slices.DeleteFunc(States(), State.Terminal)
	}
	return n.forAll(ctx, q, func(s State) bool { return !s.Terminal() }, func(ids []ID) (int, error) {
		states, err := n.eng.Cancel(ctx, ids)
		done := 0
		for _, s := range states {
			if s == Cancelled {
				done++
			}
		}
		return done, err
	})
}

// Retry submits each failed or cancelled run again as a new one, marks the old
// one as retried, and gives the new ids in order; one that is given twice is
// retried once. A run that cannot be retried is an error, and then none of the
// thousand it is among is: with CodeConflict if it has not failed or was retried
// already, with CodeNotFound if it or its input is gone.
func (n *Node) Retry(ctx context.Context, ids ...ID) ([]ID, error) {
	if n.unopened() {
		return nil, zeroNode("retry")
	}
	out := make([]ID, 0, len(ids))
	for part := range slices.Chunk(ids, maxIDs) {
		again, err := n.eng.Retry(ctx, part)
		if err != nil {
			return out, err
		}
		out = append(out, again...)
	}
	return out, nil
}

// RetryAll retries all failed runs that q selects, cancelled ones too if
// q.States names them, and tells how many. Those that cannot be retried, since
// their input is gone, are left out, and stay in the list of what q selects.
func (n *Node) RetryAll(ctx context.Context, q Query) (int, error) {
	if len(q.States) == 0 {
		q.States = []State{Failed}
	}
	q.Retried = false
	return n.forAll(ctx, q, func(s State) bool { return s == Failed || s == Cancelled }, func(ids []ID) (int, error) {
		return n.retryEach(ctx, ids)
	})
}

// retryEach retries those of many runs that can be, and tells how many: a request
// that fails for one of them is split.
func (n *Node) retryEach(ctx context.Context, ids []ID) (int, error) {
	again, err := n.eng.Retry(ctx, ids)
	if code := engine.CodeOf(err); code != CodeNotFound && code != CodeConflict {
		return len(again), err
	}
	if len(ids) == 1 {
		return 0, nil // its error is no fault of the others
	}
	total := 0
	for _, half := range [][]ID{ids[:len(ids)/2], ids[len(ids)/2:]} {
		k, err := n.retryEach(ctx, half)
		total += k
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// forAll calls fn with the ids of the runs that q selects and want admits, page
// by page, and adds up what it tells.
func (n *Node) forAll(ctx context.Context, q Query, want func(State) bool, fn func([]ID) (int, error)) (int, error) {
	if n.unopened() {
		return 0, zeroNode("list runs")
	}
	q.Order = OrderCreated // which has all
	if q.Limit == 0 {
		q.Limit = 500
	}
	total := 0
	for {
		p, err := n.eng.List(ctx, q)
		if err != nil {
			return total, err
		}
		var ids []ID
		for i := range p.Runs {
			if want(p.Runs[i].State) {
				ids = append(ids, p.Runs[i].ID)
			}
		}
		if len(ids) > 0 {
			k, err := fn(ids)
			total += k
			if err != nil {
				return total, err
			}
		}
		if p.Next == "" {
			return total, nil
		}
		q.Cursor = p.Next
	}
}

// watchEvery is how often Watch looks for changes.
const watchEvery = 250 * time.Millisecond

// Watch yields what is known of a run, now and whenever it has changed, until
// the run has ended; that is told at once, other changes within a quarter of a
// second, of several the last. An error ends it; a server that goes away meanwhile
// is none: it goes on when that is back.
func (n *Node) Watch(ctx context.Context, id ID) iter.Seq2[*Info, error] {
	return func(yield func(*Info, error) bool) {
		f := &future{node: n, id: id}
		if err := f.attach(ctx); err != nil {
			yield(nil, err)
			return
		}
		defer f.detach()
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		ended := f.Done()
		var last []byte
		for {
			in, err := n.eng.Get(ctx, id)
			if err != nil && engine.CodeOf(err) != CodeUnavailable {
				yield(nil, err)
				return
			}
			if err == nil {
				now, err := json.Marshal(in)
				if err != nil {
					yield(nil, fmt.Errorf("compare run %s: %w", id, err))
					return
				}
				if !bytes.Equal(now, last) && !yield(in, nil) || in.State.Terminal() {
					return
				}
				last = now
			}
			select {
			case <-tick.C:
			case <-ended:
				ended = nil // an index elsewhere may lag behind
			case <-ctx.Done():
				yield(nil, ctxError(ctx, "watch run "+id.String()))
				return
			case <-n.done:
				yield(nil, closed("watch run "+id.String()))
				return
			case <-n.eng.Done():
				yield(nil, n.over("watch run "+id.String()))
				return
			}
		}
	}
}

// abandon cancels runs that nobody waits for any more.
func (n *Node) abandon(ctx context.Context, ids []ID) {
	ctx, cancel := context.WithTimeout(ctx, abandonTime)
	defer cancel()
	err := n.cancelThere(ctx, ids)
	for err != nil && engine.CodeOf(err) == CodeUnavailable && !n.isClosed() { // a server that starts anew, perhaps
		t := time.NewTimer(askAgain)
		select {
		case <-t.C:
			err = n.cancelThere(ctx, ids)
			continue
		case <-ctx.Done():
			t.Stop()
		}
		break
	}
	if err != nil {
		n.report(&Error{Code: engine.CodeOf(err), Op: fmt.Sprintf("cancel %d runs", len(ids)), Err: err})
	}
}

// cancelThere cancels those of many runs that are there: of some it may be open
// whether they were stored, and a request that names one which was not cancels none.
func (n *Node) cancelThere(ctx context.Context, ids []ID) error {
	_, err := n.Cancel(ctx, ids...)
	if engine.CodeOf(err) != CodeNotFound {
		return err
	}
	if len(ids) == 1 {
		return nil
	}
	return errors.Join(n.cancelThere(ctx, ids[:len(ids)/2]), n.cancelThere(ctx, ids[len(ids)/2:]))
}

package faena

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Handler is a task bound to its function, made by [Task.With] or
// [Task.WithCheck].
type Handler struct {
	task   string
	set    settings
	queues []string
	call   func(context.Context, []byte) ([]byte, error)
	check  func([]byte) error // why an input would fail
}

// Task is the name of the task it executes.
func (h Handler) Task() string { return h.task }

// From makes the node take the task's runs from these queues, instead of only
// from the one in the task's definition.
func (h Handler) From(queues ...string) Handler {
	h.queues = slices.Clone(queues)
	return h
}

// Next is the rest of what is done for an attempt: the next middleware, at last
// the handler. It gives the output as JSON.
type Next func(ctx context.Context, c *Call) (json.RawMessage, error)

// Middleware wraps all handlers of a node. It may change the context, the
// output, which has to be JSON, and the error, and need not call next. It sees a
// handler's panic as an error with CodePanic, and by their codes, too, whatever
// else faena itself finds: an input that does not decode, a timeout, a deadline, a
// cancellation. Other errors come as the handler returned them.
type Middleware func(next Next) Next

// Hooks are called as things happen; nil ones are not. They should return soon,
// for what they tell of waits. A panic in one is logged.
type Hooks struct {
	// Started is called before each attempt.
	Started func(ctx context.Context, c *Call)
	// Finished is called after each attempt, with its error if it failed, was
	// interrupted or snoozes. A failure's error has the code of the failure:
	// CodeFailed or CodePermanent if it is the handler's own.
	Finished func(ctx context.Context, c *Call, err error)
	// Error is told what went wrong in the background, where no caller can be.
	Error func(err error)
}

// table is an immutable view of a node's handlers, wrapped in its middleware.
type table struct {
	handlers map[string]*entry
	wrap     []Middleware
	chain    Next
}

type entry struct {
	Handler
	exec executor
	part bool // taken from some of its queues, the engine refused the rest; guarded by the node's mu
}

func newTable(n *Node, handlers map[string]*entry, wrap []Middleware) *table {
	t := &table{handlers: handlers, wrap: wrap, chain: n.invoke}
	for _, m := range slices.Backward(wrap) {
		t.chain = m(t.chain)
	}
	return t
}

// Use adds middleware around all handlers, those of earlier calls and earlier
// arguments outside. It holds for attempts that begin afterwards. Nil ones are
// left out.
func (n *Node) Use(wrap ...Middleware) {
	if n.unopened() {
		return // Handle says so
	}
	wrap = slices.DeleteFunc(slices.Clone(wrap), func(m Middleware) bool { return m == nil })
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.table.Load()
	n.table.Store(newTable(n, t.handlers, slices.Concat(t.wrap, wrap)))
}

// Handle makes the node execute the tasks; it begins to take their runs at once.
// A second handler for a task is an error with CodeConflict, and then none of
// the call's handlers is taken. After an error of the engine those of them that
// it has refused can be handled again.
func (n *Node) Handle(handlers ...Handler) error {
	if n.unopened() {
		return zeroNode("handle tasks")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return closed("handle tasks")
	}
	before := n.table.Load()
	all := maps.Clone(before.handlers)
	if all == nil {
		all = map[string]*entry{}
	}
	added := make([]*entry, len(handlers))
	for i, h := range handlers {
		e, err := admit(all, h)
		if err != nil {
			return err
		}
		added[i], all[h.task] = e, e
	}
	if err := n.startWorker(); err != nil {
		return err
	}
	n.table.Store(newTable(n, all, before.wrap)) // before the first run can come
	ctx, cancel := context.WithTimeout(context.Background(), handleTime)
	defer cancel()
	for i, e := range added {
		if err := n.take(ctx, e); err != nil {
			all = maps.Clone(all)
			for _, e := range added[i:] {
				if e.part = e.part || before.handlers[e.task] != nil; !e.part { // else its runs come already
					delete(all, e.task)
				}
			}
			n.table.Store(newTable(n, all, before.wrap))
			return err
		}
	}
	return nil
}

// handleTime bounds how long the engine may take to begin with handlers.
const handleTime = 30 * time.Second

// admit checks a handler against those there are.
func admit(all map[string]*entry, h Handler) (*entry, error) {
	if h.task == "" {
		if h.call == nil {
			return nil, invalid("handle tasks", "a handler is its zero value, or of a task that is: make it by With, and the task by Define")
		}
		return nil, zeroTask("handle tasks")
	}
	if h.call == nil {
		return nil, invalid("handle "+h.task, "its function is nil")
	}
	op := "handle " + h.task
	if had := all[h.task]; had != nil && !had.part {
		return nil, &Error{Code: CodeConflict, Op: op, Err: fmt.Errorf("task %q has a handler already", h.task)}
	}
	if len(h.queues) == 0 {
		h.queues = []string{queueOr(h.set.queue)}
	}
	for _, q := range h.queues {
		if err := engine.CheckName("queue", q); err != nil {
			return nil, &Error{Code: CodeInvalid, Op: op, Err: err}
		}
	}
	return &entry{Handler: h, exec: inProcess{h.call}}, nil
}

func (n *Node) startWorker() error {
	if n.worker != nil {
		return nil
	}
	w, err := n.eng.Work(engine.WorkOptions{
		Slots: n.opts.Slots, Waiting: n.opts.MaxWaiting, Deaths: n.opts.MaxDeaths, Name: n.opts.Name, Version: n.opts.Version,
		Exec: n.exec,
	})
	if err != nil {
		return &Error{Code: engine.CodeOf(err), Op: "start worker", Err: err}
	}
	n.worker = w
	return nil
}

func (n *Node) take(ctx context.Context, e *entry) error {
	for i, q := range e.queues {
		if err := n.worker.Handle(ctx, q, e.task); err != nil {
			e.part = i > 0
			return &Error{Code: engine.CodeOf(err), Op: fmt.Sprintf("take %s from queue %s", e.task, q), Err: err}
		}
	}
	return nil
}

func queueOr(q string) string {
	if q == "" {
		return DefaultQueue
	}
	return q
}

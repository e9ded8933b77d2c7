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

// Handler is a task bound to its function, made by [Task.With].
type Handler struct {
	task   string
	set    settings
	queues []string
	call   func(context.Context, []byte) ([]byte, error)
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
// output and the error, and need not call next. It sees a handler's panic as an
// error with CodePanic.
type Middleware func(next Next) Next

// Hooks are called as things happen; nil ones are not. They should return soon,
// for what they tell of waits. A panic in one is logged.
type Hooks struct {
	// Started is called before each attempt.
	Started func(ctx context.Context, c *Call)
	// Finished is called after each attempt, with its error if it failed, was
	// interrupted or snoozes.
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
}

func newTable(n *Node, handlers map[string]*entry, wrap []Middleware) *table {
	t := &table{handlers: handlers, wrap: wrap, chain: n.invoke}
	for _, m := range slices.Backward(wrap) {
		t.chain = m(t.chain)
	}
	return t
}

// Use adds middleware around all handlers, those of earlier calls and earlier
// arguments outside. It holds for attempts that begin afterwards.
func (n *Node) Use(wrap ...Middleware) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.table.Load()
	n.table.Store(newTable(n, t.handlers, slices.Concat(t.wrap, wrap)))
}

// Handle makes the node execute the tasks; it begins to take their runs at once.
// A second handler for a task is an error with CodeConflict, and then none of
// the call's handlers is taken. An error of the engine leaves those before it
// at work.
func (n *Node) Handle(handlers ...Handler) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return closed("handle tasks")
	}
	t := n.table.Load()
	all := make(map[string]*entry, len(t.handlers)+len(handlers))
	maps.Copy(all, t.handlers)
	for i, h := range handlers {
		if h.call == nil {
			return invalid("handle tasks", "handler %d is its zero value", i)
		}
		if all[h.task] != nil {
			return &Error{Code: CodeConflict, Op: "handle " + h.task, Err: fmt.Errorf("task %q has a handler already", h.task)}
		}
		for _, q := range h.queues {
			if err := checkName("queue", q); err != nil {
				return &Error{Code: CodeInvalid, Op: "handle " + h.task, Err: err}
			}
		}
		if len(h.queues) == 0 {
			h.queues = []string{queueOr(h.set.queue)}
		}
		handlers[i] = h
		all[h.task] = &entry{h, inProcess{h.call}}
	}
	if n.worker == nil {
		w, err := n.eng.Work(engine.WorkOptions{
			Slots: n.opts.Slots, Waiting: n.opts.MaxWaiting, Name: n.opts.Name, Version: n.opts.Version,
			Exec: n.exec,
		})
		if err != nil {
			return &Error{Code: engine.CodeOf(err), Op: "start worker", Err: err}
		}
		n.worker = w
	}
	n.table.Store(newTable(n, all, t.wrap)) // before the first run can come
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, h := range handlers {
		for _, q := range h.queues {
			if err := n.worker.Handle(ctx, q, h.task); err != nil {
				return &Error{Code: engine.CodeOf(err), Op: fmt.Sprintf("take %s from queue %s", h.task, q), Err: err}
			}
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

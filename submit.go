package faena

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/faena-dev/faena/engine"
)

// order is what is to be submitted: runs of one task with one setting.
type order struct {
	task    string
	set     *settings
	batch   bool      // all or none
	inputs  [][]byte  // JSON
	futures []*future // one for each input, or nil if nobody waits
	ids     []ID      // set by submit if there are no futures
}

func tooLarge(what string, size int, limit int64, option string) *Error {
	return &Error{Code: CodeTooLarge, Op: what, Err: fmt.Errorf("%d bytes are over the limit of %d (%s)", size, limit, option)}
}

func (n *Node) checkInput(task string, data []byte) error {
	if int64(len(data)) > n.opts.MaxInput {
		return tooLarge("input of "+task, len(data), n.opts.MaxInput, "MaxInput")
	}
	return nil
}

// submit stores an order's runs. On an error the futures are of no use.
func (n *Node) submit(ctx context.Context, o *order) error {
	op := "submit " + o.task
	if n.unopened() {
		return zeroNode(op)
	}
	if n.isClosed() {
		return closed(op)
	}
	if ctx.Err() != nil {
		return ctxError(ctx, op)
	}
	if len(o.inputs) == 0 {
		return nil
	}
	for _, data := range o.inputs {
		if err := n.checkInput(o.task, data); err != nil {
			return err
		}
	}
	runs, err := n.runs(ctx, o)
	if err != nil {
		return err
	}
	if a := attemptOf(ctx); a != nil && a.node.eng == n.eng {
		return a.submit(ctx, n, o, runs)
	}
	if o.set.named != "" {
		return invalid(op, "Named is for children, inside a handler")
	}
	for i := range runs {
		runs[i].ID = n.ids.New()
	}
	return n.store(ctx, o, runs)
}

// store watches the runs and gives them to the engine.
func (n *Node) store(ctx context.Context, o *order, runs []engine.Run) error {
	if o.futures == nil {
		o.ids = make([]ID, len(runs))
		for i := range runs {
			o.ids[i] = runs[i].ID
		}
	} else {
		for i := range runs {
			f := o.futures[i]
			f.node, f.id, f.task = n, runs[i].ID, o.task
			n.eng.Watch(f.id, (*waiter)(f))
		}
	}
	err := n.put(ctx, o, runs)
	if err == nil {
		for _, f := range o.futures {
			f.stored.Store(true)
		}
		return nil
	}
	for _, f := range o.futures {
		f.detach()
	}
	code := engine.CodeOf(err)
	if e, ok := err.(*Error); ok && e.Op == "submit" && e.Err != nil { //nolint:errorlint // the very one: the operation is named once
		err = e.Err
	}
	return &Error{Code: code, Op: "submit " + o.task, Err: err}
}

func (n *Node) put(ctx context.Context, o *order, runs []engine.Run) error {
	if o.batch {
		return n.eng.SubmitBatch(ctx, runs)
	}
	return n.eng.Submit(ctx, runs)
}

// runs makes the envelopes, without ids.
func (n *Node) runs(ctx context.Context, o *order) ([]engine.Run, error) {
	s, now := o.set, time.Now()
	r := engine.Run{
		Queue: queueOr(s.queue), Task: o.task, Detached: s.detached, Timeout: s.timeout,
		Retry: s.retry, Keep: s.keep, Trace: Trace(ctx), Tags: s.tags,
	}
	if len(r.Trace) > math.MaxUint8 {
		return nil, invalid("submit "+o.task, "a traceparent of %d bytes is too long", len(r.Trace))
	}
	at := s.at
	if s.in > 0 {
		at = now.Add(s.in)
	}
	if at.After(now) {
		r.At = at.UnixMilli()
	}
	by := s.deadline
	if s.expire > 0 {
		by = now.Add(s.expire)
	}
	if !by.IsZero() {
		if !by.After(now) || r.At != 0 && !by.After(at) {
			return nil, invalid("submit "+o.task, "its deadline %s is before it could begin", by.Format(time.RFC3339))
		}
		r.Deadline = by.UnixMilli()
	}
	runs := make([]engine.Run, len(o.inputs))
	for i, data := range o.inputs {
		runs[i] = r
		runs[i].Input.Data = data
	}
	return runs, nil
}

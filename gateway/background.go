package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/web"
)

// How much background work is shown, and of each output.
const (
	shown      = 25
	maxPreview = 2 << 10
	maxLast    = 8 // tasks whose last result is looked for
	maxWhy     = 8 // tasks in a queue of which it is asked why they wait
	kept       = 500
)

// Background is the answer of /background-tasks as JSON.
type Background struct {
	Running   []Work `json:"running"`
	Scheduled []Work `json:"scheduled"`
	Queued    []Work `json:"queued"`
	Finished  []Work `json:"finished"`
}

// Work is one run among background work.
type Work struct {
	ID         faena.ID            `json:"id"`
	Task       string              `json:"task"`
	Queue      string              `json:"queue"`
	State      faena.State         `json:"state"`
	Attempt    int                 `json:"attempt"`
	Progress   *faena.ProgressInfo `json:"progress"`
	NextTime   *time.Time          `json:"next_time"`
	Created    time.Time           `json:"created"`
	Started    *time.Time          `json:"started"`
	Ended      *time.Time          `json:"ended"`
	Node       string              `json:"node,omitempty"`
	Waits      string              `json:"waits,omitempty"`            // why a queued one has not begun
	LastResult *Result             `json:"last_result"`                // its own: how it ended, or its last attempt failed
	TaskLast   *Result             `json:"task_last_result,omitempty"` // of one that has not ended: that of another run, its task's last that did
}

// Result is how a run ended, or, of one that is tried again, how its last
// attempt did. Large outputs are left out.
type Result struct {
	ID     faena.ID        `json:"id"`
	State  faena.State     `json:"state"`
	Ended  *time.Time      `json:"ended"`
	Error  *faena.Failure  `json:"error,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
}

func (g *Gateway) background(w http.ResponseWriter, r *http.Request) error {
	if asData(w, r) {
		b, err := g.work(r.Context())
		if err != nil {
			return err
		}
		return ok(w, b)
	}
	v := &web.Tasks{}
	v.Frame, _ = g.frame(r.Context(), "tasks", "tasks.title")
	v.Live = true
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	sums, err := g.sums(ctx)
	v.Note(err)
	v.NRunning = sums[faena.Running] + sums[faena.Waiting]
	v.NScheduled = sums[faena.Scheduled] + sums[faena.Retrying]
	v.NQueued = sums[faena.Queued]
	v.NFinished = sums[faena.Succeeded] + sums[faena.Failed] + sums[faena.Cancelled]
	b, err := g.work(r.Context())
	v.Note(err)
	if err == nil {
		v.Last = lasts(b)
		v.Running, v.Scheduled, v.Queued, v.Finished = rows(b.Running), rows(b.Scheduled), rows(b.Queued), rows(b.Finished)
	}
	g.page(w, r, http.StatusOK, "tasks", v)
	return nil
}

// rows are work as a page shows it.
func rows(work []Work) []web.Work {
	out := make([]web.Work, len(work))
	for i := range work {
		b := &work[i]
		out[i].Info = faena.Info{
			ID: b.ID, Task: b.Task, Queue: b.Queue, State: b.State, Attempt: b.Attempt, Progress: b.Progress,
			At: b.NextTime, Created: b.Created, Started: b.Started, Ended: b.Ended, Node: b.Node, Waits: b.Waits,
		}
		if l := b.LastResult; l != nil {
			out[i].Last = &web.Result{ID: l.ID.String(), State: l.State.String(), Ended: l.Ended, Error: l.Error, Output: string(l.Output)}
		}
	}
	return out
}

// lasts are the last results of the tasks that have open runs, one for each.
func lasts(b *Background) []web.Work {
	var out []Work
	for _, w := range slices.Concat(b.Running, b.Scheduled, b.Queued) {
		l := w.TaskLast
		if l != nil && !slices.ContainsFunc(out, func(o Work) bool { return o.ID == l.ID }) {
			out = append(out, Work{ID: l.ID, Task: w.Task, State: l.State, Ended: l.Ended, LastResult: l})
		}
	}
	return rows(out)
}

// lately is a list as it was made last.
type lately[T any] struct {
	turn  chan struct{} // held while it is made: who comes meanwhile takes the same
	list  T
	until time.Time
}

func newLately[T any]() lately[T] { return lately[T]{turn: make(chan struct{}, 1)} }

// get gives the list, made anew if it is old.
func (l *lately[T]) get(ctx context.Context, now func(context.Context) (T, error)) (T, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("wait for a list: %w", context.Cause(ctx))
	}
	began := time.Now()
	if began.Before(l.until) {
		return l.list, nil
	}
	list, err := now(ctx)
	if took := time.Since(began); err == nil && took > quick {
		l.list, l.until = list, began.Add((restFor+1)*took)
	}
	return list, err
}

// To list what ended last takes longer the more runs are kept. A list that took more
// than quick is shown for restFor times as long before it is made again.
const (
	quick   = 50 * time.Millisecond
	restFor = 10
)

func (g *Gateway) work(ctx context.Context) (*Background, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return g.lately.get(ctx, g.workNow)
}

// workNow lists what runs, what comes next, soonest first, and what has ended.
func (g *Gateway) workNow(ctx context.Context) (*Background, error) {
	var b Background
	last := map[string]*Result{}
	ended, err := g.some(ctx, shown, faena.OrderEnded)
	if err != nil {
		return nil, err
	}
	b.Finished = make([]Work, len(ended))
	for i := range ended {
		b.Finished[i] = workOf(&ended[i])
		b.Finished[i].LastResult = g.result(ctx, &ended[i])
		if _, there := last[ended[i].Task]; !there {
			last[ended[i].Task] = b.Finished[i].LastResult
		}
	}
	for _, part := range []struct {
		to     *[]Work
		order  faena.Order
		states []faena.State
	}{
		{&b.Running, faena.OrderCreated, []faena.State{faena.Running, faena.Waiting}},
		{&b.Scheduled, faena.OrderNext, nil},
		{&b.Queued, faena.OrderCreated, []faena.State{faena.Queued}},
	} {
		if *part.to, err = g.open(ctx, last, part.order, part.states...); err != nil {
			return nil, err
		}
	}
	g.explain(ctx, b.Queued)
	return &b, nil
}

// open lists runs that have not ended, each with the last result of its task.
func (g *Gateway) open(ctx context.Context, last map[string]*Result, order faena.Order, states ...faena.State) ([]Work, error) {
	infos, err := g.some(ctx, shown, order, states...)
	if err != nil {
		return nil, err
	}
	out := make([]Work, len(infos))
	for i := range infos {
		in := &infos[i]
		if _, there := last[in.Task]; !there && len(last) < maxLast {
			last[in.Task] = nil
			p, err := g.node.Page(ctx, faena.Query{Task: in.Task, Order: faena.OrderEnded, Retried: true, Limit: 1})
			if err != nil {
				return nil, err
			}
			if len(p.Runs) > 0 {
				last[in.Task] = g.result(ctx, &p.Runs[0])
			}
		}
		out[i] = workOf(in)
		out[i].TaskLast = last[in.Task]
	}
	return out, nil
}

// explain says of queued runs why they have not begun, asking once for all of a
// task in a queue. What cannot be learned is left out.
func (g *Gateway) explain(ctx context.Context, queued []Work) {
	type place struct{ queue, task string }
	why := map[place]string{}
	for i := range queued {
		w := &queued[i]
		at := place{w.Queue, w.Task}
		if _, there := why[at]; !there && len(why) < maxWhy {
			in, err := g.node.Get(ctx, w.ID)
			if err != nil || in.State != faena.Queued {
				continue // perhaps the next one can say
			}
			why[at] = in.Waits
		}
		w.Waits = why[at]
	}
}

func workOf(in *faena.Info) Work {
	w := Work{
		ID: in.ID, Task: in.Task, Queue: in.Queue, State: in.State, Attempt: in.Attempt, Progress: in.Progress,
		NextTime: in.At, Created: in.Created, Started: in.Started, Ended: in.Ended, Node: in.Node,
	}
	if in.State == faena.Retrying && in.Error != nil {
		w.LastResult = &Result{ID: in.ID, State: in.State, Error: in.Error}
	}
	return w
}

// result is how a run ended, with its output if that is small.
func (g *Gateway) result(ctx context.Context, in *faena.Info) *Result {
	r := &Result{ID: in.ID, State: in.State, Ended: in.Ended, Error: in.Error}
	if in.State != faena.Succeeded {
		return r
	}
	out, there := g.outputs.get(in.ID)
	if !there {
		full, err := g.node.Get(ctx, in.ID)
		if err != nil {
			return r // the page goes without
		}
		if len(full.Output) <= maxPreview {
			out = full.Output
		}
		g.outputs.put(in.ID, out)
	}
	r.Output = out
	return r
}

// previews remembers small outputs: that of an ended run does not change.
type previews struct {
	mu    sync.Mutex
	m     map[faena.ID]json.RawMessage
	order []faena.ID
}

func (p *previews) get(id faena.ID) (json.RawMessage, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, ok := p.m[id]
	return out, ok
}

func (p *previews) put(id faena.ID, out json.RawMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[faena.ID]json.RawMessage{}
	}
	if _, there := p.m[id]; there {
		return
	}
	if len(p.order) == kept {
		delete(p.m, p.order[0])
		p.order = p.order[1:]
	}
	p.m[id], p.order = out, append(p.order, id)
}

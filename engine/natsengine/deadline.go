package natsengine

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// tagDeadline marks, in the index alone, open runs that have a deadline, so that
// they are found after a restart. No user's tag begins with a zero byte.
const tagDeadline = "\x00deadline"

// lateDeadline is how long after a deadline a run ends from here: a worker that
// has it ends it itself.
const lateDeadline = time.Second

// deadlines are the deadlines of open runs: what is paused, or has no worker, is
// not delivered to anyone who would look.
type deadlines struct {
	n atomic.Int64 // how many there are

	mu   sync.Mutex
	m    map[engine.ID]int64 // unix ms
	next deadlineHeap        // of them, and of those that were dropped
}

type deadline struct {
	ms int64
	id engine.ID
}

type deadlineHeap []deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].ms < h[j].ms }
func (h deadlineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deadlineHeap) Push(x any)        { *h = append(*h, x.(deadline)) } //nolint:forcetypeassert // nothing else is pushed
func (h *deadlineHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// deadlinesSpare is how many dropped ones may be in the heap beside as many as
// there are.
const deadlinesSpare = 1024

func (d *deadlines) add(id engine.ID, ms int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if was, ok := d.m[id]; ok && was == ms {
		return
	}
	if d.m == nil {
		d.m = map[engine.ID]int64{}
	}
	d.m[id] = ms
	d.n.Store(int64(len(d.m)))
	if len(d.next) > 2*len(d.m)+deadlinesSpare {
		d.next = d.next[:0]
		for id, ms := range d.m {
			d.next = append(d.next, deadline{ms, id})
		}
		heap.Init(&d.next)
		return
	}
	heap.Push(&d.next, deadline{ms, id})
}

func (d *deadlines) drop(id engine.ID) {
	if d.n.Load() == 0 {
		return
	}
	d.mu.Lock()
	delete(d.m, id)
	d.n.Store(int64(len(d.m)))
	d.mu.Unlock()
}

// due takes out some runs whose deadline has passed by a while, the oldest first.
func (d *deadlines) due(now time.Time) (out []deadline) {
	ms := now.Add(-lateDeadline).UnixMilli()
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.next) > 0 && d.next[0].ms <= ms && len(out) < maxAtOnce {
		x := heap.Pop(&d.next).(deadline) //nolint:forcetypeassert // nothing else is pushed
		if d.m[x.id] == x.ms {
			delete(d.m, x.id)
			out = append(out, x)
		}
	}
	d.n.Store(int64(len(d.m)))
	return out
}

// forgetDeadlines drops those of runs that have ended, by changes of the index and
// where their envelopes were read after their records.
func (h *holder) forgetDeadlines(changes []index.Change, over []index.ID) {
	if h.deadlines.n.Load() == 0 {
		return
	}
	for i := range changes {
		rows := changes[i].Rows
		for j := range rows {
			if engine.State(rows[j].State).Terminal() {
				h.deadlines.drop(engine.ID(rows[j].ID))
			}
		}
	}
	for _, id := range over {
		h.deadlines.drop(engine.ID(id))
	}
}

// loadDeadlines finds the deadlines of open runs after a restart.
func (h *holder) loadDeadlines(ctx context.Context) error {
	q := index.Query{Tags: []index.Tag{{Key: tagDeadline, Value: "1"}}, Limit: 500}
	for _, s := range engine.States() {
		if !s.Terminal() {
			q.States = append(q.States, uint8(s))
		}
	}
	for {
		rows, next, err := h.ix.List(q)
		if err != nil {
			return fmt.Errorf("look for deadlines: %w", err)
		}
		for i := range rows {
			run, _, err := h.stored(ctx, &rows[i])
			if err != nil {
				return err
			}
			if run != nil && run.Deadline != 0 {
				h.deadlines.add(run.ID, run.Deadline)
			}
		}
		if next == "" {
			return nil
		}
		q.Cursor = next
	}
}

// endLate ends runs whose deadline has passed and that no node executes; those
// that one does are looked at again.
func (h *holder) endLate(ctx context.Context, now time.Time) error {
	for again := []deadline(nil); ; {
		due := h.deadlines.due(now)
		busy, err := h.endOverdue(ctx, now, due)
		if again = append(again, busy...); err == nil && len(due) == maxAtOnce {
			continue
		}
		for _, x := range again {
			h.deadlines.add(x.id, x.ms)
		}
		return err
	}
}

// indexLag is how long a run that the index does not know may still come.
const indexLag = time.Minute

// endOverdue gives those that have not been ended and may have to be.
func (h *holder) endOverdue(ctx context.Context, now time.Time, due []deadline) (left []deadline, err error) {
	if len(due) == 0 {
		return nil, nil
	}
	want := make([]index.ID, len(due))
	for i := range due {
		want[i] = index.ID(due[i].id)
	}
	rows, err := h.ix.Find(want)
	if err != nil {
		return due, fmt.Errorf("ask the index: %w", err)
	}
	known := make(map[engine.ID]bool, len(rows))
	for i := range rows {
		known[engine.ID(rows[i].ID)] = true
	}
	var late []*index.Row
	executed := map[engine.ID]bool{} // as of one look: a node that falls silent meanwhile has not ended its run
	for i := range rows {
		id := engine.ID(rows[i].ID)
		if engine.State(rows[i].State).Terminal() {
			continue
		}
		if executed[id] = h.nodes.executes(id); !executed[id] {
			late = append(late, &rows[i])
		}
	}
	if err := h.writeEnds(ctx, late, engine.Failed, &engine.Failure{Code: engine.CodeDeadline, Message: engine.ErrDeadline.Error() + " before it was executed"}); err != nil {
		return due, err
	}
	for _, x := range due {
		if executed[x.id] || !known[x.id] && now.UnixMilli()-x.ms < indexLag.Milliseconds() {
			left = append(left, x)
		}
	}
	return left, nil
}

// executes tells whether a live node reports a run as under way.
func (n *nodes) executes(id engine.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.runs[id]
	return ok
}

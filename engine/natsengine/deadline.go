package natsengine

import (
	"context"
	"fmt"
	"sync"
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

// deadlines are the deadlines of runs that may not have ended: what is paused, or
// has no worker, is not delivered to anyone who would look.
type deadlines struct {
	mu sync.Mutex
	m  map[engine.ID]int64
}

func (d *deadlines) add(id engine.ID, ms int64) {
	d.mu.Lock()
	if d.m == nil {
		d.m = map[engine.ID]int64{}
	}
	d.m[id] = ms
	d.mu.Unlock()
}

func (d *deadlines) drop(id engine.ID) {
	d.mu.Lock()
	delete(d.m, id)
	d.mu.Unlock()
}

// due lists some runs whose deadline has passed by a while.
func (d *deadlines) due(now time.Time) (ids []engine.ID) {
	ms := now.Add(-lateDeadline).UnixMilli()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, at := range d.m {
		if at <= ms {
			if ids = append(ids, id); len(ids) == maxAtOnce {
				break
			}
		}
	}
	return ids
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

// endLate ends runs whose deadline has passed and that no node executes.
func (h *holder) endLate(ctx context.Context, now time.Time) error {
	ids := h.deadlines.due(now)
	if len(ids) == 0 {
		return nil
	}
	want := make([]index.ID, len(ids))
	for i, id := range ids {
		want[i] = index.ID(id)
	}
	rows, err := h.ix.Find(want)
	if err != nil {
		return fmt.Errorf("ask the index: %w", err)
	}
	var late []*index.Row
	for i := range rows {
		id := engine.ID(rows[i].ID)
		if !engine.State(rows[i].State).Terminal() && !h.nodes.executes(id) {
			late = append(late, &rows[i])
		}
	}
	if err := h.writeEnds(ctx, late, engine.Failed, &engine.Failure{Code: engine.CodeDeadline, Message: engine.ErrDeadline.Error() + " before it was executed"}); err != nil {
		return err
	}
	for _, id := range ids {
		if !h.nodes.executes(id) {
			h.deadlines.drop(id)
		}
	}
	return nil
}

// executes tells whether a live node reports a run as under way.
func (n *nodes) executes(id engine.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.runs[id]
	return ok
}

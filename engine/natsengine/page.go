package natsengine

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// page gives a page from a cursor without its mark. What nodes report as under way
// is in no stream, so a page that may hold such runs has two sources. What nodes
// report is read first: a run that ends meanwhile is found by its id.
func (h *holder) page(q engine.Query) (*engine.Page, error) {
	if q.Limit == 0 {
		q.Limit = 50
	}
	before, err := cursorID(q.Cursor)
	if err != nil {
		return nil, err
	}
	var live []engine.ID
	if slices.ContainsFunc(q.States, underWay) {
		live = h.nodes.live()
		if !before.IsZero() {
			live = slices.DeleteFunc(live, func(id engine.ID) bool { return bytes.Compare(id[:], before[:]) >= 0 })
		}
	}
	p, err := h.listStored(q)
	if err != nil || len(live) == 0 {
		return p, err
	}
	end, err := cursorID(p.Next)
	if err != nil {
		return nil, err
	}
	if !end.IsZero() { // what is behind it comes with the next page
		live = slices.DeleteFunc(live, func(id engine.ID) bool { return bytes.Compare(id[:], end[:]) < 0 })
	}
	return p, h.addLive(p, live, &q)
}

// underWay tells whether nodes report runs in this state.
func underWay(s engine.State) bool { return s == engine.Running || s == engine.Waiting }

// cursorID is the run behind which a page begins, zero for the first one.
func cursorID(cursor string) (id engine.ID, err error) {
	b, err := hex.DecodeString(cursor)
	if err != nil || len(b) != 0 && len(b) != len(id) {
		return id, badCursor(cursor)
	}
	copy(id[:], b)
	return id, nil
}

func badCursor(s string) error {
	return &engine.Error{Code: engine.CodeInvalid, Op: "list", Err: fmt.Errorf("%q is not a cursor of this list: use the next of the page before, with the same conditions", s)}
}

// listStored lists what the index has in the states asked for, those under way
// left out unless all are asked for.
func (h *holder) listStored(q engine.Query) (*engine.Page, error) {
	iq := index.Query{Queue: q.Queue, Task: q.Task, From: q.From, To: q.To, Limit: q.Limit, Cursor: q.Cursor, Retried: q.Retried}
	for _, s := range q.States {
		if !underWay(s) {
			iq.States = append(iq.States, uint8(s))
		}
		if s == engine.Queued { // as a run that was begun in doubt is, while its node is silent
			iq.States = append(iq.States, uint8(engine.Running))
		}
		if s == engine.Queued || s == engine.Scheduled {
			iq.States = append(iq.States, stateUntaken)
		}
	}
	if now := time.Now(); slices.Contains(iq.States, stateUntaken) {
		iq.Keep = func(r *index.Row) bool { return r.State != stateUntaken || slices.Contains(q.States, stateOf(r, now)) }
	}
	if len(iq.States) == 0 && len(q.States) > 0 {
		return &engine.Page{Runs: []engine.Info{}}, nil
	}
	for _, t := range q.Tags {
		iq.Tags = append(iq.Tags, index.Tag{Key: t.Key, Value: t.Value})
	}
	switch q.Order {
	case engine.OrderNext:
		iq.Order = index.ByAt
	case engine.OrderEnded:
		iq.Order = index.ByEnd
	case engine.OrderCreated:
	}
	rows, next, err := h.ix.List(iq)
	if err != nil {
		return nil, fmt.Errorf("ask the index: %w", err)
	}
	p := &engine.Page{Runs: make([]engine.Info, 0, len(rows)), Next: next}
	for i := range rows {
		info := h.info(&rows[i])
		if len(q.States) > 0 && !slices.Contains(q.States, info.State) {
			continue // it began meanwhile
		}
		p.Runs = append(p.Runs, *info)
	}
	return p, nil
}

// addLive adds to a page those of the runs that q selects, newest first, and cuts
// it off where it is full.
func (h *holder) addLive(p *engine.Page, ids []engine.ID, q *engine.Query) error {
	there := make(map[engine.ID]bool, len(p.Runs))
	for i := range p.Runs {
		there[p.Runs[i].ID] = true
	}
	for added, i := 0, 0; i < len(ids) && added <= q.Limit; i++ {
		if there[ids[i]] {
			continue
		}
		rows, err := h.ix.Find([]index.ID{index.ID(ids[i])})
		if err != nil {
			return fmt.Errorf("ask the index: %w", err)
		}
		if len(rows) == 0 {
			continue
		}
		if info := h.info(&rows[0]); matchesQuery(info, q) {
			p.Runs = append(p.Runs, *info)
			added++
		}
	}
	slices.SortFunc(p.Runs, func(a, b engine.Info) int { return bytes.Compare(b.ID[:], a.ID[:]) })
	if len(p.Runs) > q.Limit {
		p.Runs = p.Runs[:q.Limit]
		p.Next = hex.EncodeToString(p.Runs[q.Limit-1].ID[:])
	}
	return nil
}

func matchesQuery(i *engine.Info, q *engine.Query) bool {
	for _, t := range q.Tags {
		if v, ok := i.Tags[t.Key]; !ok || v != t.Value {
			return false
		}
	}
	return slices.Contains(q.States, i.State) && (q.Queue == "" || q.Queue == i.Queue) && (q.Task == "" || q.Task == i.Task) &&
		(q.From.IsZero() || !i.Created.Before(q.From)) && (q.To.IsZero() || i.Created.Before(q.To))
}

package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// Deadlines of runs that end before them were kept until they had passed.
func TestDeadlinesOfEndedRunsAreForgotten(t *testing.T) {
	t.Parallel()
	h := &holder{}
	ids := engine.NewIDs()
	now := time.Now()
	row := func(id engine.ID, s engine.State) index.Row {
		return index.Row{ID: index.ID(id), State: uint8(s)}
	}
	var open engine.ID
	for range 10 {
		var rows []index.Row
		var over []index.ID
		for i := range 1000 {
			id := ids.New()
			h.deadlines.add(id, now.Add(time.Hour).UnixMilli())
			switch {
			case i == 0:
				open = id
				rows = append(rows, row(id, engine.Running))
			case i%2 == 0:
				rows = append(rows, row(id, engine.Succeeded))
			default:
				over = append(over, index.ID(id))
			}
		}
		h.forgetDeadlines([]index.Change{{Rows: rows}}, over)
	}
	if n, m, k := h.deadlines.n.Load(), len(h.deadlines.m), len(h.deadlines.next); n != 10 || m != 10 || k > 2*m+2*deadlinesSpare {
		t.Errorf("%d deadlines, %d in the map and %d in the heap, want those of 10 open runs", n, m, k)
	}
	h.deadlines.add(open, now.Add(-time.Minute).UnixMilli()) // another one
	if got := h.deadlines.due(now); len(got) != 1 || got[0].id != open {
		t.Errorf("due = %v, want %s", got, open)
	}
	if got := h.deadlines.due(now.Add(2 * time.Hour)); len(got) != 9 {
		t.Errorf("%d are due in two hours, want the 9 others", len(got))
	}
}

// More deadlines than one look takes pass at once: all are taken, the oldest first.
func TestDeadlinesAreTakenInOrder(t *testing.T) {
	t.Parallel()
	var d deadlines
	ids := engine.NewIDs()
	now := time.Now()
	for i := range 5 * maxAtOnce / 2 {
		d.add(ids.New(), now.Add(-time.Hour+time.Duration(i*7919%1000)*time.Millisecond).UnixMilli())
	}
	last, n := int64(0), 0
	for _, want := range []int{maxAtOnce, maxAtOnce, maxAtOnce / 2, 0} {
		got := d.due(now)
		if len(got) != want {
			t.Fatalf("due gives %d, want %d", len(got), want)
		}
		for _, x := range got {
			if x.ms < last {
				t.Fatalf("%d comes after %d", x.ms, last)
			}
			last, n = x.ms, n+1
		}
	}
}

package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// As long as parts of a heartbeat are on their way, what the one before told counts.
func TestHeartbeatInParts(t *testing.T) {
	t.Parallel()
	var n nodes
	n.init()
	ids := engine.NewIDs()
	first, second, over := ids.New(), ids.New(), ids.New()
	node := engine.NodeInfo{ID: "n"}
	n.take(&beat{Node: node, Part: true, More: true, Runs: []liveRun{{ID: first}}})
	if got := n.infos(); len(got) != 0 {
		t.Errorf("infos of a node of which only progress is known = %+v, want none", got)
	}
	n.take(&beat{Node: node, Runs: []liveRun{{ID: first}, {ID: second, Held: true}, {ID: over}}})
	for _, c := range []struct {
		b    beat
		want [3]bool // in its hand
	}{
		{beat{Node: node, More: true, Runs: []liveRun{{ID: second}}}, [3]bool{true, true, true}},
		{beat{Node: node, Part: true, More: true, Runs: []liveRun{{ID: second}}}, [3]bool{true, true, true}}, // progress in between
		{beat{Node: node, Part: true, Runs: []liveRun{{ID: first, Held: true}}}, [3]bool{true, true, false}},
		{beat{Node: node, More: true}, [3]bool{true, true, false}}, // its other parts are lost
		{beat{Node: node, Runs: []liveRun{{ID: second}}}, [3]bool{false, true, false}},
		{beat{Node: node, End: true}, [3]bool{}},
	} {
		n.take(&c.b)
		if got := [3]bool{n.heldBy(first, "") > 0, n.heldBy(second, "") > 0, n.heldBy(over, "") > 0}; got != c.want {
			t.Errorf("after %+v the node has in hand %v, want %v", c.b, got, c.want)
		}
	}
}

// A node counted as heard when the first part of its heartbeat had come: runs that
// the others tell of seemed to be in nobody's hand.
func TestNodeIsHeardByAWholeHeartbeat(t *testing.T) {
	t.Parallel()
	node, id := engine.NodeInfo{ID: "n"}, engine.NewIDs().New()
	for _, c := range []struct {
		name  string
		beats []beat
		want  bool
	}{
		{"one part", []beat{{}}, true},
		{"the first part", []beat{{More: true}}, false},
		{"progress", []beat{{Part: true, More: true}}, false},
		{"both parts", []beat{{More: true}, {Part: true}}, true},
		{"progress in between", []beat{{More: true}, {Part: true, More: true}}, false},
		{"the last part alone", []beat{{Part: true}}, false},
		{"its end", []beat{{End: true}}, true},
	} {
		var n nodes
		n.init()
		n.missing[node.ID] = true
		for _, b := range c.beats {
			b.Node, b.Runs = node, []liveRun{{ID: id}}
			n.take(&b)
		}
		if heard := !n.missing[node.ID]; heard != c.want {
			t.Errorf("%s: it is heard: %v, want %v", c.name, heard, c.want)
		}
	}
}

// The entries of runs that had ended were kept as long as their node lived.
func TestHomesForgetWhatHasEnded(t *testing.T) {
	t.Parallel()
	ix, err := index.Open(index.Options{
		Path: filepath.Join(t.TempDir(), "index.db"), Terminal: func(s uint8) bool { return engine.State(s).Terminal() },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close() //nolint:errcheck // the test is over
	h := &holder{e: &Engine{log: slog.New(slog.DiscardHandler), ctx: t.Context()}, ix: ix, applied: map[string]uint64{posHome: 4}}
	h.cond = sync.NewCond(&h.mu)
	ids := engine.NewIDs()
	ended, open, gone, unread := ids.New(), ids.New(), ids.New(), ids.New()
	h.homes.m = map[engine.ID]*home{ended: {seq: 1}, open: {seq: 2}, gone: {seq: 3}, unread: {seq: 5}}
	if _, err := ix.Apply([]index.Change{{Pos: posLog, Seq: 1, Rows: []index.Row{
		{ID: index.ID(ended), State: uint8(engine.Succeeded), Queue: "q", Task: "t"},
		{ID: index.ID(open), State: uint8(engine.Queued), Queue: "q", Task: "t", Stream: srcHome},
	}}}); err != nil {
		t.Fatal(err)
	}
	m, err := h.endedHomes()
	if err != nil || len(m) != 2 || m[ended] == nil || m[gone] == nil {
		t.Errorf("endedHomes = %v, %v, want neither that of an open run nor of one that the index has not read yet", m, err)
	}
}

// A server that had been stopped took all nodes for silent when it went on.
func TestNobodyIsSilentForAProcessThatWasStopped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stopped time.Duration
		alive   bool
	}{"it ran": {100 * time.Millisecond, false}, "it was stopped": {6 * time.Second, true}} {
		var n nodes
		n.init()
		n.take(&beat{Node: engine.NodeInfo{ID: "w"}})
		heard := time.Now()
		n.past = heard.Add(6*time.Second - c.stopped)
		n.reap(heard.Add(6 * time.Second))
		if n.alive("w") != c.alive {
			t.Errorf("%s: alive = %v, want %v", name, !c.alive, c.alive)
		}
		n.reap(heard.Add(6*time.Second + 100*time.Millisecond))
		n.reap(heard.Add(8 * time.Second))
		n.reap(heard.Add(10 * time.Second))
		n.reap(heard.Add(11 * time.Second))
		if n.alive("w") {
			t.Errorf("%s: it is alive although it was not heard for a time after", name)
		}
	}
}

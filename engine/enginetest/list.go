package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Runs with many tags, which together are more than a message may be.
func testLargeLists(b *bed) {
	const n = 150
	var ids []engine.ID
	var runs []engine.Run
	for range n {
		r := b.run("echo", "1")
		for i := range 30 {
			r.Tags = append(r.Tags, engine.Tag{Key: fmt.Sprint("tag", i), Value: strings.Repeat("&", 256)}) // which JSON writes in six bytes
		}
		ids, runs = append(ids, r.ID), append(runs, r)
	}
	b.batch(runs)
	far := b.join(nil)
	found, err := far.Find(b.ctx(), ids)
	if err != nil || len(found) != n {
		b.t.Errorf("Find = %d runs, %v, want %d", len(found), err, n)
	}
	seen := map[engine.ID]bool{}
	pages := 0
	for q := (engine.Query{Limit: 500, Queue: runs[0].Queue}); ; pages++ {
		p, err := far.List(b.ctx(), q)
		if err != nil {
			b.t.Fatalf("List = %v", err)
		}
		for i := range p.Runs {
			seen[p.Runs[i].ID] = true
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	if len(seen) != n || pages == 0 {
		b.t.Errorf("List gives %d runs, and %d more pages, want %d in several", len(seen), pages, n)
	}
	p, err := far.List(b.ctx(), engine.Query{Limit: 1})
	if err != nil || len(p.Runs) != 1 {
		b.t.Errorf("List of one = %+v, %v", p, err)
	}
}

// A batch whose time has come is queued, in each list and count, although no worker
// has looked at it.
func testUntaken(b *bed) {
	const n = 5
	var runs []engine.Run
	for range n {
		r := b.run("echo", "1")
		r.At = time.Now().Add(time.Minute).UnixMilli()
		runs = append(runs, r)
	}
	fs := b.batch(runs)
	sees := func(s, not engine.State) {
		b.t.Helper()
		all, some := b.listed(engine.Query{}), b.listed(engine.Query{States: []engine.State{s}, Limit: 2})
		if len(all) != n || all[0].State != s || len(some) != n || b.counted(s) != n {
			b.t.Errorf("%d runs, %d of them listed as %v, %d counted, want %d", len(all), len(some), s, b.counted(s), n)
		}
		if k, c := len(b.listed(engine.Query{States: []engine.State{not}})), b.counted(not); k != 0 || c != 0 {
			b.t.Errorf("%d runs are listed as %v, and %d counted, want none", k, not, c)
		}
		qs, err := b.client.Queues(b.ctx())
		if err != nil || len(qs) != 1 || qs[0].Counts[s.String()] != n || len(qs[0].Counts) != 1 {
			b.t.Errorf("Queues = %+v, %v, want %d runs that are %v", qs, err, n, s)
		}
		if k := len(b.listed(engine.Query{States: []engine.State{engine.Scheduled, engine.Queued}})); k != n {
			b.t.Errorf("%d runs are listed as scheduled or queued, want %d", k, n)
		}
	}
	sees(engine.Scheduled, engine.Queued)
	if k := len(b.listed(engine.Query{Order: engine.OrderNext})); k != n {
		b.t.Errorf("%d runs by next time, want %d", k, n)
	}
	b.sleep(2 * time.Minute)
	sees(engine.Queued, engine.Scheduled)
	if k := len(b.listed(engine.Query{Order: engine.OrderNext})); k != 0 {
		b.t.Errorf("%d runs by next time, want none: the time of all has come", k)
	}
	states, err := b.client.Cancel(b.ctx(), []engine.ID{runs[0].ID})
	if err != nil || states[0] != engine.Cancelled {
		b.t.Errorf("Cancel = %v, %v, want cancelled", states, err)
	}
	b.worker(1, tasks{"echo": echo})
	fs[0].want(engine.Cancelled, engine.CodeCancelled)
	for _, f := range fs[1:] {
		f.output()
	}
}

func testOrders(b *bed) {
	gate := make(chan struct{})
	b.worker(2, tasks{"echo": echo, "fail": fail, "slow": func(context.Context, *engine.Attempt) engine.Outcome {
		<-gate
		return ok("1")
	}})
	slow := b.one(b.run("slow", "1"))
	var next, ended []engine.ID
	for _, wait := range []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour} {
		r := b.run("echo", "1")
		r.At = time.Now().Add(wait).UnixMilli()
		b.one(r)
		next = append(next, r.ID)
	}
	next = []engine.ID{next[1], next[2], next[0]}
	for range 2 {
		f := b.one(b.run("echo", "1"))
		f.get()
		ended = append([]engine.ID{f.id}, ended...)
		b.sleep(5 * time.Millisecond)
	}
	bad := b.one(b.run("fail", "1"))
	bad.get()
	b.sleep(5 * time.Millisecond)
	close(gate)
	slow.get()
	ended = append([]engine.ID{slow.id, bad.id}, ended...)
	for _, c := range []struct {
		q    engine.Query
		want []engine.ID
	}{
		{engine.Query{Order: engine.OrderNext}, next},
		{engine.Query{Order: engine.OrderNext, Limit: 1}, next[:1]},
		{engine.Query{Order: engine.OrderNext, States: []engine.State{engine.Retrying}}, nil},
		{engine.Query{Order: engine.OrderEnded}, ended},
		{engine.Query{Order: engine.OrderEnded, Limit: 2}, ended[:2]},
		{engine.Query{Order: engine.OrderEnded, States: []engine.State{engine.Failed}}, ended[1:2]},
		{engine.Query{Order: engine.OrderEnded, Task: "echo"}, ended[2:]},
	} {
		var got []engine.ID
		for _, in := range b.listed(c.q) {
			got = append(got, in.ID)
		}
		if !slices.Equal(got, c.want) {
			b.t.Errorf("List(%+v) = %v, want %v", c.q, got, c.want)
		}
	}
	for _, q := range []engine.Query{
		{Order: "age"}, {Order: engine.OrderNext, States: []engine.State{engine.Running}}, {Order: engine.OrderEnded, Cursor: "x"},
	} {
		_, err := b.client.List(b.ctx(), q)
		b.wantCode(fmt.Sprintf("List(%+v)", q), err, engine.CodeInvalid)
	}
}

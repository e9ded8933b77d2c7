package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena/engine"
)

// lifeCases are a run's ordinary life.
func lifeCases() []testCase {
	return []testCase{
		{"a run succeeds", 0, testSucceeds},
		{"runs submitted one by one all end", 0, testMany},
		{"attach shows what was and what comes", 0, testAttach},
		{"nobody knows an id", 0, testUnknownID},
		{"a small batch", 0, testSmallBatch},
		{"a large batch is staged", 0, testLargeBatch},
		{"a batch of two queues is refused", 0, testMixedBatch},
		{"large values", 0, testLargeValues},
		{"list and counts agree", 0, testCounts},
		{"list by time", 0, testOrders},
		{"delayed batch that nobody takes", long, testUntaken},
		{"lists of any size", joined, testLargeLists},
		{"a paused queue delivers nothing", 0, testPause},
		{"an unknown task waits for a worker that knows it", 0, testUnknownTask},
		{"progress is shown", 0, testProgress},
		{"names may be dots", joined, testDots},
		{"ten levels wait in one slot", 0, testNested},
	}
}

func echo(_ context.Context, a *engine.Attempt) engine.Outcome { return ok(string(a.Input)) }

func testSucceeds(b *bed) {
	b.worker(2, tasks{"echo": echo})
	r := b.run("echo", `"hello"`)
	r.Tags = []engine.Tag{{Key: "colour", Value: "red"}}
	f := b.one(r)
	if got := f.output(); got != `"hello"` {
		b.t.Errorf("output = %s, want what was put in", got)
	}
	i := b.untilState(r.ID, engine.Succeeded)
	if string(i.Output) != `"hello"` || i.Attempt != 1 || i.Task != "echo" || i.Queue != queue || i.Tags["colour"] != "red" {
		b.t.Errorf("Get = %+v, want what was submitted, one attempt and the output", i)
	}
	if i.Started == nil || i.Ended == nil || i.Ended.Before(*i.Started) {
		b.t.Errorf("Get = started %v, ended %v, want both, in order", i.Started, i.Ended)
	}
	if n := b.led.count(r.ID); n != 1 {
		b.t.Errorf("%d starts, want 1", n)
	}
}

func testMany(b *bed) {
	b.worker(8, tasks{"echo": echo})
	const n = 2000
	runs := make([]engine.Run, n)
	for i := range runs {
		runs[i] = b.run("echo", fmt.Sprint(i))
	}
	for i, f := range b.submit(runs...) {
		if got := f.output(); got != fmt.Sprint(i) {
			b.t.Errorf("output of run %d = %s, want its input", i, got)
		}
	}
	for i := range runs {
		if c := b.led.count(runs[i].ID); c != 1 {
			b.t.Errorf("run %d began %d times, want once", i, c)
		}
	}
}

func testAttach(b *bed) {
	gate := make(chan struct{})
	b.worker(1, tasks{"gate": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		<-gate
		return echo(ctx, a)
	}})
	r := b.run("gate", `1`)
	first := b.one(r)
	during := b.attach(r.ID)
	close(gate)
	first.output()
	after := b.attach(r.ID)
	for what, f := range map[string]*future{"before the end": during, "after the end": after} {
		if got := f.output(); got != "1" {
			b.t.Errorf("future attached %s = %s, want 1", what, got)
		}
	}
}

func testUnknownID(b *bed) {
	id := b.ids.New()
	_, err := b.client.Get(b.ctx(), id)
	b.wantCode("Get of an id nobody knows", err, engine.CodeNotFound)
	err = b.client.Attach(b.ctx(), id, engine.WaiterFunc(func(*engine.Record) {}))
	b.wantCode("Attach to an id nobody knows", err, engine.CodeNotFound)
	_, err = b.client.Cancel(b.ctx(), []engine.ID{id})
	b.wantCode("Cancel of an id nobody knows", err, engine.CodeNotFound)
	_, err = b.client.Retry(b.ctx(), []engine.ID{id})
	b.wantCode("Retry of an id nobody knows", err, engine.CodeNotFound)
	if is, err := b.client.Find(b.ctx(), []engine.ID{id}); err != nil || len(is) != 0 {
		b.t.Errorf("Find of an id nobody knows = %v, %v, want nothing", is, err)
	}
	far := b.run("echo", "1")
	far.At = time.Now().AddDate(300, 0, 0).UnixMilli()
	b.wantCode("Submit of a run to be started in 300 years", b.client.Submit(b.ctx(), []engine.Run{far}), engine.CodeInvalid)
	b.wantCode("SubmitBatch of it", b.client.SubmitBatch(b.ctx(), []engine.Run{far}), engine.CodeInvalid)
	for what, q := range map[string]engine.Query{
		"a state that is none": {States: []engine.State{99}},
		"the year 10000":       {To: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		_, err := b.client.List(b.ctx(), q)
		b.wantCode("List of "+what, err, engine.CodeInvalid)
	}
	b.misnamed()
	err = b.client.Pause(b.ctx(), "nowhere")
	b.wantCode("Pause of a queue that is not there", err, engine.CodeNotFound)
}

// misnamed submits runs whose task or queue cannot be one, behind a good one: they
// were stored, and what could not be parked was tried for ever.
func (b *bed) misnamed() {
	b.t.Helper()
	for _, name := range []string{"", "a b", "a/b", "ä", strings.Repeat("x", 65)} {
		task, in := b.run(name, "1"), b.run("echo", "1")
		in.Queue = name
		for what, bad := range map[string]engine.Run{"task": task, "queue": in} {
			what = fmt.Sprintf("%s %q", what, name)
			good := b.run("echo", "1")
			b.wantCode("Submit of "+what, b.client.Submit(b.ctx(), []engine.Run{good, bad}), engine.CodeInvalid)
			b.wantCode("SubmitBatch of "+what, b.client.SubmitBatch(b.ctx(), []engine.Run{bad}), engine.CodeInvalid)
			if is, err := b.client.Find(b.ctx(), []engine.ID{good.ID, bad.ID}); err != nil || len(is) != 0 {
				b.t.Errorf("Find after Submit of %s = %v, %v, want nothing", what, is, err)
			}
		}
	}
}

func (b *bed) wantCode(what string, err error, want engine.Code) {
	b.t.Helper()
	if got := engine.CodeOf(err); got != want {
		b.t.Errorf("%s = %v (code %q), want code %q", what, err, got, want)
	}
}

// batch submits runs as one and gives their futures.
func (b *bed) batch(runs []engine.Run) []*future {
	b.t.Helper()
	out := make([]*future, len(runs))
	for i := range runs {
		out[i] = b.watch(b.client, runs[i].ID)
	}
	if err := b.client.SubmitBatch(b.ctx(), runs); err != nil {
		b.t.Fatalf("SubmitBatch = %v", err)
	}
	return out
}

func testSmallBatch(b *bed) {
	b.worker(4, tasks{"echo": echo})
	runs := make([]engine.Run, 100)
	for i := range runs {
		runs[i] = b.run("echo", fmt.Sprint(i))
	}
	for i, f := range b.batch(runs) {
		if got := f.output(); got != fmt.Sprint(i) {
			b.t.Errorf("output of run %d = %s, want its input", i, got)
		}
	}
	b.startedOnce(runs)
}

func (b *bed) startedOnce(runs []engine.Run) {
	b.t.Helper()
	for i := range runs {
		if c := b.led.count(runs[i].ID); c != 1 {
			b.t.Errorf("run %d began %d times, want once", i, c)
		}
	}
}

func testLargeBatch(b *bed) {
	pad := strings.Repeat("x", 1000)
	runs := make([]engine.Run, 1000) // a megabyte: many parts
	for i := range runs {
		runs[i] = b.run("echo", fmt.Sprintf(`"%d%s"`, i, pad))
	}
	fs := b.batch(runs)
	if i := b.get(runs[999].ID); i.State != engine.Queued {
		b.t.Errorf("a run of a batch without a worker = %v, want queued", i.State)
	} else if want := fmt.Sprintf(`"999%s"`, pad); string(i.Input) != want {
		b.t.Errorf("its input is %.20s…, want %.20s…", i.Input, want)
	}
	b.worker(4, tasks{"echo": echo})
	for i, f := range fs {
		if got, want := f.output(), fmt.Sprintf(`"%d%s"`, i, pad); got != want {
			b.t.Errorf("output of run %d = %.20s, want its input", i, got)
		}
	}
	b.startedOnce(runs)
}

func testMixedBatch(b *bed) {
	runs := []engine.Run{b.run("echo", "1"), b.run("echo", "2")}
	runs[1].Queue = "other"
	b.wantCode("SubmitBatch of two queues", b.client.SubmitBatch(b.ctx(), runs), engine.CodeInvalid)
	if err := b.client.SubmitBatch(b.ctx(), nil); err != nil {
		b.t.Errorf("SubmitBatch of nothing = %v", err)
	}
}

func testLargeValues(b *bed) {
	b.worker(1, tasks{
		"grow": func(_ context.Context, a *engine.Attempt) engine.Outcome {
			return engine.Outcome{Output: append([]byte(nil), bytes.Repeat(a.Input, 3)...)}
		},
		"save": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			v, err := a.Lease.Resume(ctx)
			if err != nil {
				return engine.Outcome{Failure: failure(engine.CodeInternal)}
			}
			if v == nil {
				a.Lease.Checkpoint(bytes.Repeat([]byte("c"), 500<<10))
				return engine.Outcome{Failure: failure(engine.CodeFailed)}
			}
			return ok(fmt.Sprint(len(v)))
		},
	})
	in := strings.Repeat("y", 300<<10)
	r := b.run("grow", in)
	f := b.one(r)
	if got := f.output(); got != in+in+in {
		b.t.Errorf("output of %d bytes, want %d", len(got), 3*len(in))
	}
	if i := b.untilState(r.ID, engine.Succeeded); i.OutputSize != int64(3*len(in)) {
		b.t.Errorf("Get = an output of %d bytes, want %d", i.OutputSize, 3*len(in))
	}
	_, err := b.client.Input(b.ctx(), r.ID)
	b.wantCode("Input of a run that has succeeded", err, engine.CodeNotFound)
	b.readsInputs(in)
	s := b.run("save", "")
	s.Retry = engine.Retry{Attempts: 2, Base: time.Millisecond}
	if got := b.one(s).output(); got != fmt.Sprint(500<<10) {
		b.t.Errorf("the second attempt resumed from %s bytes, want all", got)
	}
}

// testDots has names as long as they may be, of what is longest once it is escaped.
func testDots(b *bed) {
	dots := strings.Repeat(".", 64)
	w := b.worker(1, tasks{dots: echo})
	if err := w.Handle(b.ctx(), dots, dots); err != nil {
		b.t.Fatalf("Handle = %v", err)
	}
	now, later, parked := b.run(dots, `"now"`), b.run(dots, `"later"`), b.run(dots[1:], `"parked"`)
	later.At = time.Now().Add(1500 * time.Millisecond).UnixMilli()
	now.Queue, later.Queue, parked.Queue = dots, dots, dots
	fs := b.submit(now, later, parked)
	for i, want := range []string{`"now"`, `"later"`} {
		if got := fs[i].output(); got != want {
			b.t.Errorf("output = %s, want %s", got, want)
		}
	}
	other := b.workerOn(b.join(nil), engine.WorkOptions{Slots: 1}, tasks{dots[1:]: echo})
	if err := other.Handle(b.ctx(), dots, dots[1:]); err != nil {
		b.t.Fatalf("Handle = %v", err)
	}
	if got := fs[2].output(); got != `"parked"` {
		b.t.Errorf("output = %s, want what was parked", got)
	}
}

// readsInputs reads inputs of runs that have not succeeded.
func (b *bed) readsInputs(in string) {
	b.t.Helper()
	large, small := b.run("later", in), b.run("later", `"small"`)
	b.submit(large, small)
	check := func(when string) {
		b.t.Helper()
		for _, r := range []engine.Run{large, small} {
			if v, err := b.client.Input(b.ctx(), r.ID); err != nil || (string(v) != in && string(v) != `"small"`) {
				b.t.Errorf("Input(%s) = %d bytes, %v, want what was submitted", when, len(v), err)
			}
		}
		if i := b.get(large.ID); i.InputSize != int64(len(in)) || i.Input != nil {
			b.t.Errorf("Get(%s) = an input of %d bytes, want %d", when, i.InputSize, len(in))
		}
		if i := b.get(small.ID); i.InputSize != 0 || string(i.Input) != `"small"` {
			b.t.Errorf("Get(%s) = input %s of %d bytes, want the small one", when, i.Input, i.InputSize)
		}
	}
	check("queued")
	b.cancelled(large.ID, small.ID)
	check("cancelled")
	_, err := b.client.Input(b.ctx(), b.ids.New())
	b.wantCode("Input of an unknown run", err, engine.CodeNotFound)
}

// counted sums up what Counts says of a state.
func (b *bed) counted(s engine.State) int64 {
	b.t.Helper()
	cs, err := b.client.Counts(b.ctx())
	if err != nil {
		b.t.Fatalf("Counts = %v", err)
	}
	n := int64(0)
	for _, c := range cs {
		if c.State == s {
			n += c.N
		}
	}
	return n
}

// listed pages through what List says of a state.
func (b *bed) listed(q engine.Query) []engine.Info {
	b.t.Helper()
	var out []engine.Info
	for {
		p, err := b.client.List(b.ctx(), q)
		if err != nil {
			b.t.Fatalf("List(%+v) = %v", q, err)
		}
		out = append(out, p.Runs...)
		if p.Next == "" {
			return out
		}
		q.Cursor = p.Next
	}
}

func testCounts(b *bed) {
	gate := make(chan struct{})
	defer close(gate)
	child := func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		select {
		case <-gate:
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
		return ok("1")
	}
	b.worker(2, tasks{
		"echo": echo, "hold": child,
		"fail": func(context.Context, *engine.Attempt) engine.Outcome {
			return engine.Outcome{Failure: failure(engine.CodeFailed)}
		},
		"yield": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			if err := a.Lease.Yield(); err != nil {
				return engine.Outcome{Failure: failure(engine.CodeLimit)}
			}
			out := child(ctx, a)
			_ = a.Lease.Regain(ctx) // an error says that the context has ended
			return out
		},
	})
	want := map[engine.State]int64{
		engine.Succeeded: 7, engine.Failed: 3, engine.Cancelled: 2, engine.Scheduled: 4, engine.Retrying: 1, engine.Waiting: 1, engine.Running: 2, engine.Queued: 5,
	}
	var done []*future
	for range 7 {
		done = append(done, b.one(b.run("echo", "1")))
	}
	for range 3 {
		done = append(done, b.one(b.run("fail", "1")))
	}
	again := b.run("fail", "1")
	again.Retry = engine.Retry{Attempts: 5, Base: time.Hour}
	b.one(again)
	var later []engine.ID
	for range 6 {
		r := b.run("echo", "1")
		r.At = time.Now().Add(time.Hour).UnixMilli()
		b.one(r)
		later = append(later, r.ID)
	}
	if _, err := b.client.Cancel(b.ctx(), later[:2]); err != nil {
		b.t.Fatalf("Cancel = %v", err)
	}
	for _, f := range done {
		f.get()
	}
	b.one(b.run("yield", "1"))
	b.until("one run waits", func() bool { return b.counted(engine.Waiting) == 1 })
	for range 7 {
		b.one(b.run("hold", "1"))
	}
	b.until("counts are as submitted", func() bool {
		for s, n := range want {
			if b.counted(s) != n {
				return false
			}
		}
		return true
	})
	b.listsStates(want)
	b.listsPairs()
}

// listsStates lists runs by each state, and by what none or some have.
func (b *bed) listsStates(want map[engine.State]int64) {
	b.t.Helper()
	for _, s := range engine.States() {
		got := b.listed(engine.Query{States: []engine.State{s}, Limit: 2})
		if int64(len(got)) != want[s] {
			b.t.Errorf("List(%v) has %d runs, want %d", s, len(got), want[s])
		}
		for _, i := range got {
			if i.State != s {
				b.t.Errorf("List(%v) has a run that is %v", s, i.State)
			}
		}
	}
	if got := b.listed(engine.Query{Task: "fail"}); len(got) != 4 {
		b.t.Errorf("List of task fail has %d runs, want 4", len(got))
	}
	if got := b.listed(engine.Query{Queue: "elsewhere"}); len(got) != 0 {
		b.t.Errorf("List of another queue has %d runs, want none", len(got))
	}
}

// listsPairs lists runs that stay as they are by every pair of states, in pages of
// several sizes.
func (b *bed) listsPairs() {
	b.t.Helper()
	all := b.listed(engine.Query{})
	for _, one := range engine.States() {
		for _, two := range engine.States() {
			states := []engine.State{one, two}
			var want []engine.ID // newest first, as all are
			for _, i := range all {
				if slices.Contains(states, i.State) {
					want = append(want, i.ID)
				}
			}
			for _, limit := range []int{0, 1, 3} {
				var got []engine.ID
				for _, i := range b.listed(engine.Query{States: states, Limit: limit}) {
					got = append(got, i.ID)
				}
				if !slices.Equal(got, want) {
					b.t.Errorf("List(%v) by %d = %v, want %v", states, limit, got, want)
				}
			}
		}
	}
}

func testPause(b *bed) {
	b.worker(1, tasks{"echo": echo})
	b.one(b.run("echo", "1")).output()
	if err := b.client.Pause(b.ctx(), queue); err != nil {
		b.t.Fatalf("Pause = %v", err)
	}
	if qs, err := b.client.Queues(b.ctx()); err != nil || len(qs) != 1 || !qs[0].Paused || qs[0].Name != queue {
		b.t.Errorf("Queues = %+v, %v, want %s, paused", qs, err, queue)
	}
	r := b.run("echo", "2")
	late := b.run("echo", "3")
	late.At = time.Now().Add(1500 * time.Millisecond).UnixMilli()
	unknown := b.run("unknown", "4")
	fs := b.submit(r, late, unknown)
	b.sleep(2500 * time.Millisecond)
	for _, f := range fs {
		if n := b.led.count(f.id); n != 0 {
			b.t.Errorf("%d starts of a paused queue", n)
		}
	}
	if i := b.get(r.ID); i.State != engine.Queued || !strings.Contains(i.Waits, "paused") {
		b.t.Errorf("Get = %v, waits %q, want queued because it is paused", i.State, i.Waits)
	}
	if err := b.client.Resume(b.ctx(), queue); err != nil {
		b.t.Fatalf("Resume = %v", err)
	}
	fs[0].output()
	fs[1].output()
	b.untilWaits(unknown.ID, "no live worker knows task unknown")
}

// untilWaits waits until Get says why a run does not run yet.
func (b *bed) untilWaits(id engine.ID, why string) {
	b.t.Helper()
	var got string
	for range 500 {
		if got = b.get(id).Waits; strings.Contains(got, why) {
			return
		}
		b.sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("Get(%v) says it waits because %q, want %q", id, got, why)
}

func testUnknownTask(b *bed) {
	w := b.worker(1, tasks{"echo": echo})
	r := b.run("new", `"x"`)
	b.one(r)
	b.one(b.run("echo", "1")).output()
	b.untilWaits(r.ID, "no live worker knows task new")
	if s := b.get(r.ID).State; s != engine.Queued {
		b.t.Errorf("a run whose task nobody knows = %v, want queued", s)
	}
	if err := w.Handle(b.ctx(), queue, "echo"); err != nil { // again: harmless
		b.t.Errorf("Handle again = %v", err)
	}
	b.restart()
	f := b.attach(r.ID)
	b.worker(2, tasks{"new": echo, "echo": echo})
	if got := f.output(); got != `"x"` {
		b.t.Errorf("output = %s, want its input", got)
	}
}

func testProgress(b *bed) {
	gate := make(chan struct{})
	b.worker(1, tasks{"slow": func(_ context.Context, a *engine.Attempt) engine.Outcome {
		a.Lease.Progress(engine.Progress{Done: 0.25, Text: "first"})
		a.Lease.Progress(engine.Progress{Done: 0.5, Text: "half"})
		<-gate
		return ok("1")
	}})
	r := b.run("slow", "")
	f := b.one(r)
	b.until("progress is shown", func() bool {
		p := b.get(r.ID).Progress
		return p != nil && p.Done == 0.5 && p.Text == "half"
	})
	if i := b.get(r.ID); i.State != engine.Running || i.Node == "" || i.Attempt != 1 {
		b.t.Errorf("Get = %v on %q, attempt %d, want running on a node, the first", i.State, i.Node, i.Attempt)
	}
	close(gate)
	f.output()
}

func testNested(b *bed) {
	var most atomic.Int32
	var busy atomic.Int32
	var nest exec //nolint:staticcheck // it calls itself
	nest = func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		n := busy.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		if string(a.Input) == "" {
			busy.Add(-1)
			return ok("bottom")
		}
		r := b.run("nest", string(a.Input[1:]))
		r.Parent = a.Run.ID
		f := b.watch(b.client, r.ID)
		if err := b.client.Submit(ctx, []engine.Run{r}); err != nil {
			return engine.Outcome{Failure: failure(engine.CodeInternal)}
		}
		busy.Add(-1)
		if err := a.Lease.Yield(); err != nil {
			return engine.Outcome{Failure: failure(engine.CodeLimit)}
		}
		<-f.done
		if err := a.Lease.Regain(ctx); err != nil {
			return engine.Outcome{Interrupted: true}
		}
		busy.Add(1)
		defer busy.Add(-1)
		f.mu.Lock()
		defer f.mu.Unlock()
		return engine.Outcome{Output: slices.Clone(f.recs[0].Output.Data)}
	}
	b.worker(1, tasks{"nest": nest})
	time.Sleep(2 * time.Second) // the worker knows the queue
	began := time.Now()
	if got := b.one(b.run("nest", "0123456789")).output(); got != "bottom" {
		b.t.Errorf("output = %s, want bottom", got)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		b.t.Errorf("ten levels took %v, want no wait for a timer at each", took)
	}
	if m := most.Load(); m != 1 {
		b.t.Errorf("%d attempts held the one slot at a time", m)
	}
}

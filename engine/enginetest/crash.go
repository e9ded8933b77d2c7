package enginetest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/faena-dev/faena/engine"
)

func exit() { runtime.Goexit() }

// crashCases let workers die and engines start again.
func crashCases() []testCase {
	return []testCase{
		{"a dead worker's run starts elsewhere", long | joined, testDeath},
		{"a dead worker's long run starts elsewhere", long | joined, testLongDeath},
		{"a run that kills its workers fails", long | joined, testKiller},
		{"a run in doubt that kills its workers fails", long | joined, testDoubtfulKiller},
		{"a long run that kills its workers fails", long | joined, testLongKiller},
		{"runs beside one that kills its workers succeed", long | joined, testBesideKiller},
		{"long runs begin again soon after a second death", long | joined, testSecondDeath},
		{"a kill in the middle of a batch of short runs", long | owned, testBatchKill},
		{"a run of a batch that kills its workers fails", long | owned, testBatchKiller},
		{"a stop in the middle of a batch of short runs", long | owned, testBatchStop},
		{"stops and kills in the middle of a batch", long | owned, testBatchStops},
		{"a pause in the middle of a batch of short runs", long | owned, testBatchPause},
		{"a restart with many messages of several runs", long | owned, testManyAfterRestart},
		{"a restart with runs in every state", long | owned, testRestart},
		{"a kill with runs in every state", long | owned, testKill},
		{"a copy without a record is not an end", long | owned, testCopyWithoutRecord},
		{"a copy without a record does not outlast the log", long | owned, testOldCopyWithoutRecord},
		{"retention", long, testRetention},
		{"the index is built anew", long | owned, testIndex},
		{"a queue that is paused stays so", long | owned, testPauseStays},
	}
}

// napper is a handler that takes some time.
func napper(d time.Duration) exec {
	return func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return ok("1")
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
	}
}

// killer is a handler that kills its process as soon as it has begun, or after
// some time.
func killer(after time.Duration) exec {
	return func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		t := time.NewTimer(after)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
		a.Lease.Checkpoint([]byte("x")) // the write that it dies at
		<-ctx.Done()
		return engine.Outcome{Interrupted: true}
	}
}

// doomed opens an engine with a worker that dies with its first checkpoint.
func (b *bed) doomed(slots int, h tasks) *Faults {
	b.t.Helper()
	f := NewFaults(Point{engine.WriteCheckpoint, 1, false}, Crash)
	b.workerOn(b.join(f), engine.WorkOptions{Slots: slots}, h)
	return f
}

// Those that run beside a killer begin again beside it; only it fails.
func testBesideKiller(b *bed) {
	h := tasks{"kill": killer(500 * time.Millisecond), "nap": napper(time.Second)}
	runs := []engine.Run{b.run("nap", ""), b.run("kill", "")}
	for range 6 {
		runs = append(runs, b.run("nap", ""))
	}
	var fs []*future
	for _, r := range runs {
		fs = append(fs, b.one(r))
	}
	for range engine.MaxDeaths {
		dead := b.doomed(4, h)
		select {
		case <-dead.Crashed():
		case <-fs[1].done:
		}
	}
	b.workerOn(b.join(nil), engine.WorkOptions{Slots: 4}, h)
	fs[1].want(engine.Failed, engine.CodeLost)
	if n := b.led.count(runs[1].ID); n != engine.MaxDeaths {
		b.t.Errorf("the killer began %d times, want %d", n, engine.MaxDeaths)
	}
	for i, f := range fs {
		if i != 1 {
			f.want(engine.Succeeded, "")
		}
	}
}

// Long runs that were in hand at two deaths begin again soon, although one at a
// time.
func testSecondDeath(b *bed) {
	h := tasks{"kill": killer(3 * time.Second), "nap": napper(time.Minute)}
	var runs []engine.Run
	var fs []*future
	for _, task := range []string{"kill", "nap", "nap", "nap"} {
		r := b.run(task, "")
		runs, fs = append(runs, r), append(fs, b.one(r))
	}
	for range 2 {
		<-b.doomed(8, h).Crashed()
	}
	died := time.Now()
	b.worker(8, tasks{"kill": napper(time.Minute), "nap": napper(time.Minute)})
	for i, r := range runs {
		fs[i].want(engine.Succeeded, "")
		ts := b.led.times(r.ID)
		if len(ts) != 3 {
			b.t.Fatalf("%s began %d times, want 3", r.Task, len(ts))
		}
		if d := ts[2].Sub(died); d > 5*time.Second+3*2200*time.Millisecond {
			b.t.Errorf("%s began again %v after the second death, want one within 5 s and the others 2 s after each other", r.Task, d)
		}
	}
}

func testDeath(b *bed) {
	f := b.doomed(1, tasks{"kill": killer(2 * time.Second)})
	r := b.run("kill", `"x"`)
	fut := b.one(r)
	<-f.Crashed()
	died := time.Now()
	b.worker(1, tasks{"kill": echo})
	if got := fut.output(); got != `"x"` {
		b.t.Errorf("output = %s, want its input", got)
	}
	ts := b.led.times(r.ID)
	if len(ts) != 2 {
		b.t.Fatalf("%d starts, want 2", len(ts))
	}
	if d := ts[1].Sub(died); d > 5*time.Second {
		b.t.Errorf("it began again %v after the death, want within 5 s", d)
	}
	if i := b.untilState(r.ID, engine.Succeeded); i.Attempt != 1 {
		b.t.Errorf("attempt %d, want 1: a death is not charged", i.Attempt)
	}
}

func testLongDeath(b *bed) {
	f := b.doomed(1, tasks{"kill": killer(3 * time.Minute)})
	r := b.run("kill", `"x"`)
	fut := b.one(r)
	<-f.Crashed()
	died := time.Now()
	b.worker(1, tasks{"kill": echo})
	fut.output()
	ts := b.led.times(r.ID)
	if len(ts) != 2 {
		b.t.Fatalf("%d starts, want 2", len(ts))
	}
	if d := ts[1].Sub(died); d > 5*time.Second {
		b.t.Errorf("it began again %v after the death, want within 5 s", d)
	}
}

// kills lets a run kill each worker that takes it, and wants three starts.
func (b *bed) kills(r engine.Run, after ...time.Duration) {
	b.t.Helper()
	f := b.one(r)
	for _, d := range after {
		dead := b.doomed(1, tasks{"kill": killer(d)})
		select {
		case <-dead.Crashed():
		case <-f.done:
		}
	}
	b.worker(1, tasks{"kill": echo})
	rec := f.want(engine.Failed, engine.CodeLost)
	if n := b.led.count(r.ID); n != engine.MaxDeaths {
		b.t.Errorf("it began %d times, want %d", n, engine.MaxDeaths)
	}
	if rec.Attempt != 0 {
		b.t.Errorf("%d attempts charged, want none", rec.Attempt)
	}
}

func testKiller(b *bed) {
	b.kills(b.run("kill", ""), 0, 0, 0)
}

func testDoubtfulKiller(b *bed) {
	r := b.run("kill", "")
	r.Doubt = true
	b.kills(r, 0, 0, 0)
}

func testLongKiller(b *bed) {
	b.kills(b.run("kill", ""), 2*time.Minute, 0, 2*time.Minute)
}

// states are runs in every state.
type states struct {
	b      *bed
	gate   chan struct{}
	want   map[engine.State][]engine.ID
	before map[engine.ID]engine.Info
}

func (b *bed) states() *states {
	b.t.Helper()
	s := &states{b: b, gate: make(chan struct{}), want: map[engine.State][]engine.ID{}}
	s.work(2)
	add := func(st engine.State, r engine.Run) *future {
		s.want[st] = append(s.want[st], r.ID)
		return b.one(r)
	}
	add(engine.Succeeded, b.run("echo", `"out"`)).output()
	add(engine.Succeeded, b.run("echo", string(make([]byte, 250<<10)))).output()
	add(engine.Failed, b.run("fail", `"in"`)).get()
	retry := b.run("fail", "1")
	retry.Retry = engine.Retry{Attempts: 2, Base: 10 * time.Minute}
	add(engine.Retrying, retry)
	for i := range 3 {
		r := b.run("echo", `"later"`)
		r.At = time.Now().Add(10 * time.Minute).UnixMilli()
		if i == 0 {
			b.one(r)
			b.cancelled(r.ID)
			s.want[engine.Cancelled] = append(s.want[engine.Cancelled], r.ID)
			continue
		}
		add(engine.Scheduled, r)
	}
	b.untilState(retry.ID, engine.Retrying)
	w := b.run("yield", "")
	add(engine.Waiting, w)
	b.untilState(w.ID, engine.Waiting)
	b.sleep(2 * time.Second) // it leaves its queue
	for range 2 {
		r := b.run("hold", "")
		add(engine.Running, r)
		b.untilState(r.ID, engine.Running)
	}
	add(engine.Queued, b.run("unknown", "1"))
	var batch []engine.Run
	for range 10 {
		r := b.run("echo", `"b"`)
		batch = append(batch, r)
		s.want[engine.Queued] = append(s.want[engine.Queued], r.ID)
	}
	b.batch(batch)
	b.until("all are as they should be", func() bool {
		for st, ids := range s.want {
			if b.counted(st) != int64(len(ids)) {
				return false
			}
		}
		return true
	})
	s.before = map[engine.ID]engine.Info{}
	for _, ids := range s.want {
		for _, id := range ids {
			s.before[id] = *b.get(id)
		}
	}
	return s
}

func (s *states) work(slots int) {
	hold := func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		select {
		case <-s.gate:
			return ok("1")
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
	}
	s.b.worker(slots, tasks{"echo": echo, "fail": fail, "hold": hold, "yield": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		if err := a.Lease.Yield(); err != nil {
			return engine.Outcome{Failure: failure(engine.CodeLimit)}
		}
		out := hold(ctx, a)
		if err := a.Lease.Regain(ctx); err != nil {
			return engine.Outcome{Interrupted: true}
		}
		return out
	}})
}

// after checks what a new engine says of the runs, and that they all end.
func (s *states) after() {
	b := s.b
	b.t.Helper()
	for st, ids := range s.want {
		for _, id := range ids {
			got, want := b.get(id), s.before[id]
			if st == engine.Running || st == engine.Waiting {
				if got.State != engine.Queued {
					b.t.Errorf("a run that was %v = %v without a worker, want queued", st, got.State)
				}
				continue
			}
			if got.State != want.State || got.Attempt != want.Attempt || string(got.Output) != string(want.Output) || got.OutputSize != want.OutputSize || string(got.Input) != string(want.Input) {
				b.t.Errorf("Get = %+v, want as before: %+v", got, want)
			}
		}
	}
	b.agree()
	close(s.gate)
	s.work(3)
	for st, ids := range s.want {
		for _, id := range ids {
			if i := b.get(id); i.Task == "unknown" {
				continue
			}
			end := engine.Succeeded
			switch st {
			case engine.Failed, engine.Retrying:
				end = engine.Failed
			case engine.Cancelled:
				end = engine.Cancelled
			default:
			}
			if r := b.attach(id).get(); r.State != end {
				b.t.Errorf("a run that was %v ended %v, want %v", st, r.State, end)
			}
		}
	}
	for _, id := range append(s.want[engine.Running], s.want[engine.Waiting]...) {
		if n := b.led.count(id); n != 2 {
			b.t.Errorf("a run that was under way began %d times, want twice", n)
		}
	}
	for _, st := range []engine.State{engine.Queued, engine.Scheduled, engine.Succeeded} {
		for _, id := range s.want[st] {
			if n := b.led.count(id); n > 1 {
				b.t.Errorf("a run that was %v began %d times, want once", st, n)
			}
		}
	}
}

func testRestart(b *bed) {
	s := b.states()
	b.restart()
	s.after()
}

func testKill(b *bed) {
	s := b.states()
	b.kill(false)
	s.after()
}

// orphan leaves a copy without a record: the process dies between the two.
func (b *bed) orphan(r engine.Run, cancel bool) {
	b.t.Helper()
	f := NewFaults(Point{engine.WriteRecord, 1, false}, Crash)
	b.closeAll()
	b.faults = f
	b.open(b.dir, "boot")
	b.faults = nil
	b.one(r)
	if cancel {
		go b.client.Cancel(b.ctx(), []engine.ID{r.ID}) //nolint:errcheck // nobody hears it
	} else {
		b.worker(1, tasks{r.Task: fail})
	}
	<-f.Crashed()
	b.kill(false)
}

// Whoever opens the directory next, with its index or a new one, finds the run as
// if nothing had been written, and executes it.
func testCopyWithoutRecord(b *bed) {
	for _, cancel := range []bool{true, false} {
		for _, fresh := range []bool{false, true} {
			r := b.run("orphan", `"x"`)
			b.orphan(r, cancel)
			if fresh && b.s.Index != nil {
				b.closeAll()
				if err := removeIndex(b.s.Index(b.dir)); err != nil {
					b.t.Fatalf("remove the index: %v", err)
				}
				b.open(b.dir, "boot")
			}
			what := fmt.Sprintf("cancelled %t, index new %t", cancel, fresh)
			if i := b.get(r.ID); i.State != engine.Queued {
				b.t.Errorf("%s: after the restart it is %v, want queued", what, i.State)
			}
			b.worker(1, tasks{"orphan": echo})
			if got := b.attach(r.ID).output(); got != `"x"` {
				b.t.Errorf("%s: output %s, want its input", what, got)
			}
			b.restart()
			if i := b.get(r.ID); i.State != engine.Succeeded {
				b.t.Errorf("%s: after another restart it is %v, want succeeded", what, i.State)
			}
		}
	}
}

// A delayed run outlives the part of the log that shows that it has not ended.
func testOldCopyWithoutRecord(b *bed) {
	if b.s.Index == nil {
		b.t.Skip("this engine keeps no index")
	}
	r := b.run("orphan", `"x"`)
	r.At, r.Keep = time.Now().Add(3*time.Hour).UnixMilli(), [2]uint32{30 * 24 * 3600, 30 * 24 * 3600}
	b.orphan(r, true)
	b.worker(1, tasks{"echo": echo, "orphan": echo})
	for range 2 { // runs after it come and go, and the log with them
		one := b.run("echo", "1")
		one.Keep = [2]uint32{60, 60}
		b.one(one).output()
		b.sleep(time.Hour)
	}
	b.closeAll()
	if err := removeIndex(b.s.Index(b.dir)); err != nil {
		b.t.Fatalf("remove the index: %v", err)
	}
	b.open(b.dir, "boot")
	if i := b.get(r.ID); i.State != engine.Scheduled {
		b.t.Errorf("with a new index it is %v, want scheduled", i.State)
	}
	b.worker(1, tasks{"orphan": echo})
	b.attach(r.ID).output()
}

func testRetention(b *bed) {
	b.worker(1, tasks{"echo": echo, "fail": fail})
	good, bad, large := b.run("echo", "1"), b.run("fail", "1"), b.run("echo", string(make([]byte, 250<<10)))
	good.Keep, bad.Keep, large.Keep = [2]uint32{60, 600}, [2]uint32{60, 600}, [2]uint32{60, 600}
	fs := b.submit(good, bad, large)
	for _, f := range fs {
		f.get()
	}
	rec := fs[2].get()
	b.sleep(30 * time.Second)
	for _, f := range fs {
		b.get(f.id)
	}
	b.sleep(time.Minute)
	_, err := b.client.Get(b.ctx(), good.ID)
	b.wantCode("Get of a run past its retention", err, engine.CodeNotFound)
	if i := b.get(bad.ID); i.State != engine.Failed || string(i.Input) != "1" {
		b.t.Errorf("Get of a failed run = %v, input %s, want failed: it is kept longer", i.State, i.Input)
	}
	b.sleep(11 * time.Minute)
	_, err = b.client.Get(b.ctx(), bad.ID)
	b.wantCode("Get of a failed run past its retention", err, engine.CodeNotFound)
	if n := len(b.listed(engine.Query{})); n != 0 {
		b.t.Errorf("List has %d runs, want none", n)
	}
	if n := b.counted(engine.Succeeded) + b.counted(engine.Failed); n != 0 {
		b.t.Errorf("Counts has %d runs, want none", n)
	}
	cs, err := b.client.Counts(b.ctx())
	want := []engine.Count{{Queue: good.Queue, Task: "echo", State: engine.Succeeded, Finished: 2}, {Queue: bad.Queue, Task: "fail", State: engine.Failed, Finished: 1}}
	if err != nil || !slices.Equal(cs, want) {
		b.t.Errorf("Counts = %+v, %v, want %+v: it counts what has ended whether that is kept or not", cs, err, want)
	}
	b.sleep(100 * time.Minute)
	_, err = b.client.Output(b.ctx(), rec)
	b.wantCode("Output of a run long past its retention", err, engine.CodeNotFound)
}

func testIndex(b *bed) {
	if b.s.Index == nil {
		b.t.Skip("this engine keeps no index")
	}
	s := b.states()
	b.closeAll()
	path := b.s.Index(b.dir)
	var before []engine.Info
	for _, damage := range []struct {
		name string
		do   func() error
	}{
		{"as it was", func() error { return nil }},
		{"deleted", func() error { return removeIndex(path) }},
		{"truncated", func() error { return os.Truncate(path, 5000) }},
		{"overwritten", func() error { return os.WriteFile(path, []byte("something else"), 0o600) }},
	} {
		if err := damage.do(); err != nil {
			b.t.Fatalf("damage the index: %v", err)
		}
		b.open(b.dir, "boot")
		got := b.listed(engine.Query{Retried: true})
		b.agree()
		b.closeAll()
		slices.SortFunc(got, func(x, y engine.Info) int { return cmp.Compare(x.ID.String(), y.ID.String()) })
		if before == nil {
			before = got
		}
		if a, z := fmt.Sprintf("%+v", plain(before)), fmt.Sprintf("%+v", plain(got)); a != z {
			b.t.Errorf("List with the index %s = %s, want %s", damage.name, z, a)
		}
	}
	b.open(b.dir, "boot")
	s.after()
}

// plain are infos without pointers, to be compared.
func plain(is []engine.Info) []string {
	out := make([]string, len(is))
	for i := range is {
		at, start, end, e := time.Time{}, time.Time{}, time.Time{}, engine.Failure{}
		if is[i].At != nil {
			at = *is[i].At
		}
		if is[i].Started != nil {
			start = *is[i].Started
		}
		if is[i].Ended != nil {
			end = *is[i].Ended
		}
		if is[i].Error != nil {
			e = *is[i].Error
		}
		out[i] = fmt.Sprint(is[i].ID, is[i].State, is[i].Task, is[i].Attempt, is[i].Deaths, at, start, end, e, is[i].RetriedBy, is[i].Tags)
	}
	return out
}

func removeIndex(path string) error {
	for _, s := range []string{"", "-wal", "-shm"} {
		if err := os.RemoveAll(path + s); err != nil {
			return err
		}
	}
	return nil
}

func testPauseStays(b *bed) {
	b.worker(1, tasks{"echo": echo})
	b.one(b.run("echo", "1")).output()
	if err := b.client.Pause(b.ctx(), queue); err != nil {
		b.t.Fatalf("Pause = %v", err)
	}
	r := b.run("echo", "2")
	b.one(r)
	for _, again := range []func(){b.restart, func() { b.kill(false) }} {
		again()
		b.worker(1, tasks{"echo": echo})
		b.sleep(10 * time.Second)
		if n := b.led.count(r.ID); n != 0 {
			b.t.Errorf("%d starts after a restart of a paused queue", n)
		}
	}
	if err := b.client.Resume(b.ctx(), queue); err != nil {
		b.t.Fatalf("Resume = %v", err)
	}
	b.attach(r.ID).output()
}

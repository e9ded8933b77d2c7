package enginetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena/engine"
)

// controlCases cancel, retry and hand back.
func controlCases() []testCase {
	return []testCase{
		{"cancel what is scheduled", long, testCancelScheduled},
		{"cancel what is queued", 0, testCancelQueued},
		{"cancel what is running", 0, testCancelRunning},
		{"cancel what waits for its next attempt", long, testCancelRetrying},
		{"cancel what has ended", 0, testCancelEnded},
		{"cancel a batch that is not expanded", 0, testCancelStaged},
		{"cancel a parent", 0, testCancelParent},
		{"retry what has failed", 0, testRetry},
		{"a worker that stops hands back", joined, testStop},
		{"a worker that stops hands back what waits for its time", joined, testStopBetween},
		{"workers start while runs are cancelled", joined, testStartWhileCancelled},
		{"a worker that stops waits for its grace", 0, testGrace},
		{"two workers share", joined, testTwoWorkers},
		{"a handler that ends its goroutine", 0, testGoexit},
		{"too many wait", 0, testTooManyWait},
		{"a paused queue's parked runs wait for a worker", joined, testParkedHandledInPause},
		{"a paused queue's parked runs do not start", long | joined, testParkedInPause},
	}
}

// cancelled cancels a run and wants that to hold.
func (b *bed) cancelled(ids ...engine.ID) {
	b.t.Helper()
	states, err := b.client.Cancel(b.ctx(), ids)
	if err != nil {
		b.t.Fatalf("Cancel = %v", err)
	}
	for i, s := range states {
		if s != engine.Cancelled {
			b.t.Errorf("Cancel(%v) = %v, want cancelled", ids[i], s)
		}
	}
}

func testCancelScheduled(b *bed) {
	b.worker(1, tasks{"echo": echo})
	r := b.run("echo", "1")
	r.At = time.Now().Add(time.Minute).UnixMilli()
	f := b.one(r)
	b.cancelled(r.ID)
	f.want(engine.Cancelled, engine.CodeCancelled)
	b.sleep(2 * time.Minute)
	if n := b.led.count(r.ID); n != 0 {
		b.t.Errorf("%d starts of a cancelled run", n)
	}
}

func testCancelQueued(b *bed) {
	r, after := b.run("echo", "1"), b.run("echo", "2")
	fs := b.submit(r, after)
	b.cancelled(r.ID)
	b.cancelled(r.ID) // again
	fs[0].want(engine.Cancelled, engine.CodeCancelled)
	b.worker(1, tasks{"echo": echo})
	fs[1].output()
	if n := b.led.count(r.ID); n != 0 {
		b.t.Errorf("%d starts of a cancelled run", n)
	}
}

func testCancelRunning(b *bed) {
	var cause atomic.Value
	began := make(chan struct{})
	b.worker(1, tasks{"hold": func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		close(began)
		<-ctx.Done()
		cause.Store(context.Cause(ctx))
		return ok("too late")
	}, "echo": echo})
	r := b.run("hold", "1")
	f := b.one(r)
	<-began
	b.sleep(2 * time.Second) // its node tells of it
	was := b.get(r.ID)
	b.cancelled(r.ID)
	f.want(engine.Cancelled, engine.CodeCancelled)
	b.one(b.run("echo", "1")).output() // the slot is free
	if err, _ := cause.Load().(error); !errors.Is(err, engine.ErrCancelled) {
		b.t.Errorf("the attempt's context ended because %v, want that it was cancelled", err)
	}
	if i := b.get(r.ID); i.State != engine.Cancelled || i.Output != nil {
		b.t.Errorf("Get = %v with output %s, want cancelled without", i.State, i.Output)
	} else if was.Started == nil || i.Attempt != 1 || i.Started == nil || !i.Started.Equal(*was.Started) {
		b.t.Errorf("cancelled in attempt %d that began at %v, want 1 at %v", i.Attempt, i.Started, was.Started)
	}
}

func testCancelRetrying(b *bed) {
	b.worker(1, tasks{"fail": fail})
	r := b.run("fail", "1")
	r.Retry = engine.Retry{Attempts: 9, Base: time.Minute}
	f := b.one(r)
	b.untilState(r.ID, engine.Retrying)
	b.cancelled(r.ID)
	f.want(engine.Cancelled, engine.CodeCancelled)
	b.sleep(3 * time.Minute)
	if n := b.led.count(r.ID); n != 1 {
		b.t.Errorf("%d starts, want the one before", n)
	}
}

func fail(context.Context, *engine.Attempt) engine.Outcome {
	return engine.Outcome{Failure: failure(engine.CodeFailed)}
}

func testCancelEnded(b *bed) {
	b.worker(1, tasks{"echo": echo, "fail": fail})
	good, bad := b.run("echo", "1"), b.run("fail", "1")
	fs := b.submit(good, bad)
	fs[0].output()
	fs[1].want(engine.Failed, engine.CodeFailed)
	states, err := b.client.Cancel(b.ctx(), []engine.ID{good.ID, bad.ID})
	if err != nil || len(states) != 2 || states[0] != engine.Succeeded || states[1] != engine.Failed {
		b.t.Errorf("Cancel of ended runs = %v, %v, want succeeded, failed", states, err)
	}
}

func testCancelStaged(b *bed) {
	pad := make([]byte, 2000)
	runs := make([]engine.Run, 400)
	ids := make([]engine.ID, len(runs))
	for i := range runs {
		runs[i] = b.run("echo", string(pad))
		ids[i] = runs[i].ID
	}
	fs := b.batch(runs)
	b.cancelled(ids[:100]...)
	b.worker(2, tasks{"echo": echo})
	for i, f := range fs {
		if i < 100 {
			f.want(engine.Cancelled, engine.CodeCancelled)
		} else {
			f.want(engine.Succeeded, "")
		}
	}
	for i := range 100 {
		if n := b.led.count(ids[i]); n != 0 {
			b.t.Errorf("%d starts of a cancelled run", n)
		}
	}
}

func testCancelParent(b *bed) {
	var kids [2]engine.Run
	var fs [2]*future
	began := make(chan struct{})
	b.worker(1, tasks{"echo": echo, "parent": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		for i := range kids {
			kids[i] = b.run("echo", "1")
			kids[i].Parent, kids[i].Detached = a.Run.ID, i == 1
			fs[i] = b.watch(b.client, kids[i].ID)
		}
		if err := b.client.Submit(ctx, kids[:]); err != nil {
			return engine.Outcome{Failure: failure(engine.CodeInternal)}
		}
		close(began)
		<-ctx.Done()
		return engine.Outcome{Failure: failure(engine.CodeCancelled)}
	}})
	r := b.run("parent", "")
	f := b.one(r)
	<-began
	b.cancelled(r.ID)
	f.want(engine.Cancelled, engine.CodeCancelled)
	fs[0].want(engine.Cancelled, engine.CodeCancelled)
	fs[1].output()
	if n := b.led.count(kids[0].ID); n != 0 {
		b.t.Errorf("%d starts of a cancelled run's child", n)
	}
}

func testRetry(b *bed) {
	var good atomic.Bool
	b.worker(1, tasks{"flip": func(_ context.Context, a *engine.Attempt) engine.Outcome {
		if good.Load() {
			return ok(string(a.Input))
		}
		return engine.Outcome{Failure: failure(engine.CodeFailed)}
	}})
	r, large := b.run("flip", `"in"`), b.run("flip", string(make([]byte, 250<<10)))
	r.Tags = []engine.Tag{{Key: "k", Value: "v"}}
	for _, f := range b.submit(r, large) {
		f.want(engine.Failed, engine.CodeFailed)
	}
	good.Store(true)
	ids, err := b.client.Retry(b.ctx(), []engine.ID{r.ID, large.ID, r.ID})
	if err != nil || len(ids) != 3 || ids[0] != ids[2] || ids[0] == ids[1] {
		b.t.Fatalf("Retry(a, b, a) = %v, %v, want two new ids, the first one twice", ids, err)
	}
	if got := b.attach(ids[0]).output(); got != `"in"` {
		b.t.Errorf("output = %s, want the input of the first", got)
	}
	if got := b.attach(ids[1]).output(); len(got) != 250<<10 {
		b.t.Errorf("output of %d bytes, want all of the large input", len(got))
	}
	if i := b.get(r.ID); i.State != engine.Failed || i.RetriedBy != ids[0].String() {
		b.t.Errorf("Get = %v, retried by %q, want failed and %v", i.State, i.RetriedBy, ids[0])
	}
	if i := b.get(ids[0]); i.RetryOf != r.ID.String() || i.Tags["k"] != "v" {
		b.t.Errorf("Get = retry of %q, tags %v, want %v and those of the first", i.RetryOf, i.Tags, r.ID)
	}
	failed := engine.Query{States: []engine.State{engine.Failed}}
	if n := len(b.listed(failed)); n != 0 {
		b.t.Errorf("List(failed) has %d runs, want none: they were retried", n)
	}
	failed.Retried = true
	if n := len(b.listed(failed)); n != 2 {
		b.t.Errorf("List(failed, retried too) has %d runs, want 2", n)
	}
	_, err = b.client.Retry(b.ctx(), []engine.ID{r.ID})
	b.wantCode("Retry again", err, engine.CodeConflict)
	_, err = b.client.Retry(b.ctx(), []engine.ID{ids[0]})
	b.wantCode("Retry of a succeeded run", err, engine.CodeConflict)
}

func testStop(b *bed) {
	began := make(chan struct{}, 9)
	hold := func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		began <- struct{}{}
		<-ctx.Done()
		return engine.Outcome{Interrupted: true}
	}
	other := b.join(nil)
	w := b.workerOn(other, engine.WorkOptions{Slots: 1}, tasks{"hold": hold})
	var runs []engine.Run
	for range 5 {
		runs = append(runs, b.run("hold", `"x"`))
	}
	fs := b.submit(runs...)
	<-began
	ctx, cancel := context.WithTimeout(b.t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		b.t.Errorf("Stop = %v", err)
	}
	if err := w.Stop(ctx); err != nil {
		b.t.Errorf("Stop again = %v", err)
	}
	stopped := time.Now()
	b.worker(2, tasks{"hold": echo})
	for _, f := range fs {
		if r := f.want(engine.Succeeded, ""); r.Attempt != 1 {
			b.t.Errorf("%d attempts charged, want 1", r.Attempt)
		}
	}
	if d := time.Since(stopped); d > 3*time.Second {
		b.t.Errorf("what was handed back ended %v later, want at once, before any lease ends", d)
	}
}

// testStopBetween stops a worker while one run waits for its next attempt and one
// for its time, both under this worker's lease.
func testStopBetween(b *bed) {
	failed := make(chan struct{}, 1)
	w := b.workerOn(b.join(nil), engine.WorkOptions{Slots: 2}, tasks{"twice": func(context.Context, *engine.Attempt) engine.Outcome {
		failed <- struct{}{}
		return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed, Message: "not yet"}}
	}})
	again, soon := b.run("twice", ""), b.run("twice", "")
	again.Retry = engine.Retry{Attempts: 3, Base: 900 * time.Millisecond, Cap: 900 * time.Millisecond}
	soon.At = time.Now().Add(800 * time.Millisecond).UnixMilli()
	fs := b.submit(again, soon)
	<-failed
	b.sleep(50 * time.Millisecond) // the outcome is taken, the other run delivered
	if err := w.Stop(b.t.Context()); err != nil {
		b.t.Errorf("Stop = %v", err)
	}
	stopped := time.Now()
	b.worker(2, tasks{"twice": echo})
	for i, f := range fs {
		r := f.want(engine.Succeeded, "")
		if want := uint16(2 - i); r.Attempt != want || r.Deaths != 0 {
			b.t.Errorf("run %d: %d attempts and %d deaths, want %d and none", i, r.Attempt, r.Deaths, want)
		}
	}
	if d := time.Since(stopped); d > 3*time.Second {
		b.t.Errorf("what was handed back ended %v later, want before any lease ends", d)
	}
}

func testStartWhileCancelled(b *bed) {
	var ids []engine.ID
	for range 200 {
		r := b.run("never", "")
		r.At = time.Now().Add(time.Hour).UnixMilli()
		b.submit(r)
		ids = append(ids, r.ID)
	}
	for some := range slices.Chunk(ids, 20) {
		e := b.join(nil)
		var wg sync.WaitGroup
		for _, id := range some {
			wg.Go(func() {
				if _, err := b.client.Cancel(b.ctx(), []engine.ID{id}); err != nil {
					b.t.Errorf("Cancel = %v", err)
				}
			})
		}
		w := b.workerOn(e, engine.WorkOptions{Slots: 1}, tasks{"never": echo})
		wg.Wait()
		if err := w.Stop(b.t.Context()); err != nil {
			b.t.Errorf("Stop = %v", err)
		}
	}
}

func testGrace(b *bed) {
	began := make(chan struct{})
	w := b.worker(1, tasks{"slow": func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		close(began)
		t := time.NewTimer(300 * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
			return ok("done")
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
	}})
	f := b.one(b.run("slow", ""))
	<-began
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		b.t.Errorf("Stop = %v", err)
	}
	if got := f.output(); got != "done" {
		b.t.Errorf("output = %s, want done: the attempt had time to end", got)
	}
}

func testTwoWorkers(b *bed) {
	var n [2]atomic.Int32
	work := func(i int) tasks {
		return tasks{"nap": func(context.Context, *engine.Attempt) engine.Outcome {
			n[i].Add(1)
			b.sleep(10 * time.Millisecond)
			return ok("1")
		}}
	}
	b.workerOn(b.client, engine.WorkOptions{Slots: 2, Name: "first"}, work(0))
	b.workerOn(b.join(nil), engine.WorkOptions{Slots: 2, Name: "second"}, work(1))
	b.until("both nodes are known", func() bool {
		ns, err := b.client.Nodes(b.ctx())
		if err != nil {
			b.t.Fatalf("Nodes = %v", err)
		}
		return len(ns) == 2
	})
	runs := make([]engine.Run, 200)
	for i := range runs {
		runs[i] = b.run("nap", "")
	}
	for _, f := range b.submit(runs...) {
		f.output()
	}
	b.startedOnce(runs)
	if n[0].Load() < 20 || n[1].Load() < 20 {
		b.t.Errorf("of 200 runs the first worker took %d and the second %d, want a share for each", n[0].Load(), n[1].Load())
	}
}

func testGoexit(b *bed) {
	b.worker(1, tasks{"echo": echo, "exit": func(context.Context, *engine.Attempt) engine.Outcome {
		exit()
		return ok("never")
	}})
	f := b.one(b.run("exit", ""))
	f.want(engine.Failed, engine.CodePanic)
	b.one(b.run("echo", "1")).output() // the slot is there again
}

func testTooManyWait(b *bed) {
	gate := make(chan struct{})
	b.workerOn(b.client, engine.WorkOptions{Slots: 2, Waiting: 1}, tasks{"wait": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		if err := a.Lease.Yield(); err != nil {
			return engine.Outcome{Failure: failure(engine.CodeOf(err)), Permanent: true}
		}
		<-gate
		if err := a.Lease.Regain(ctx); err != nil {
			return engine.Outcome{Interrupted: true}
		}
		return ok("1")
	}})
	first := b.run("wait", "")
	f := b.one(first)
	b.until("it waits", func() bool { return b.counted(engine.Waiting) == 1 })
	b.one(b.run("wait", "")).want(engine.Failed, engine.CodeLimit)
	close(gate)
	f.output()
}

// testParkedHandledInPause has a worker come, while its queue is paused, that knows
// the task of a parked run.
func testParkedHandledInPause(b *bed) {
	h := tasks{"other": echo}
	w := b.worker(1, h)
	f := b.one(b.run("echo", "1"))
	b.one(b.run("other", "")).output()
	b.sleep(time.Second) // it is parked
	b.pause(true)
	h["echo"] = echo
	if err := w.Handle(b.ctx(), queue, "echo"); err != nil {
		b.t.Fatalf("Handle = %v", err)
	}
	b.sleep(2 * time.Second)
	if n := b.led.count(f.id); n != 0 {
		b.t.Errorf("%d starts in a paused queue", n)
	}
	b.pause(false)
	f.output()
}

// testParkedInPause parks a run in front of a worker that knows its task, and
// pauses the queue before that worker asks for it.
func testParkedInPause(b *bed) {
	b.worker(1, tasks{"other": echo})
	began, gate := make(chan struct{}), make(chan struct{})
	b.workerOn(b.join(nil), engine.WorkOptions{Slots: 1}, tasks{"echo": echo, "hold": func(context.Context, *engine.Attempt) engine.Outcome {
		close(began)
		<-gate
		return ok("1")
	}})
	held := b.one(b.run("hold", ""))
	<-began
	b.sleep(30 * time.Second) // it has asked for nothing since
	f := b.one(b.run("echo", "1"))
	b.sleep(2 * time.Second)
	b.pause(true)
	b.sleep(2500 * time.Millisecond) // the worker has heard of it
	close(gate)
	held.output()
	b.sleep(10 * time.Second)
	if n := b.led.count(f.id); n != 0 {
		b.t.Errorf("%d starts in a paused queue", n)
	}
	b.pause(false)
	f.output()
}

// pause pauses the queue, or resumes it.
func (b *bed) pause(paused bool) {
	b.t.Helper()
	set := b.client.Resume
	if paused {
		set = b.client.Pause
	}
	if err := set(b.ctx(), queue); err != nil {
		b.t.Fatalf("pause the queue (%v) = %v", paused, err)
	}
}

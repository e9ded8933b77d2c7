package enginetest

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena/engine"
)

// timeCases need fake time, or would take long.
func timeCases() []testCase {
	return []testCase{
		{"a delay is kept", long, testDelay},
		{"a short delay is kept", 0, testShortDelay},
		{"retries wait longer each time", long, testRetries},
		{"a permanent failure is not retried", 0, testPermanent},
		{"snooze is not an attempt", long, testSnooze},
		{"a deadline that passes before the start", long, testDeadline},
		{"a handler that ignores its timeout", long, testOverdue},
		{"a handler that ignores its timeout, with another attempt", long, testOverdueRetry},
		{"a handler that ignores the deadline", long, testOverdueDeadline},
		{"a delayed batch", long, testDelayedBatch},
		{"a checkpoint is resumed from", long, testCheckpoint},
		{"a long run leaves its queue", long, testLongRun},
		{"a waiting run leaves its queue", long, testLongWait},
	}
}

func testDelay(b *bed) {
	b.worker(1, tasks{"echo": echo})
	r := b.run("echo", "1")
	at := time.Now().Add(20 * time.Minute)
	r.At = at.UnixMilli()
	f := b.one(r)
	if i := b.get(r.ID); i.State != engine.Scheduled || i.At == nil || !i.At.Equal(time.UnixMilli(r.At)) || i.Waits == "" {
		b.t.Errorf("Get = %v at %v, waits %q, want scheduled at %v and why", i.State, i.At, i.Waits, at)
	}
	f.output()
	if d := b.led.times(r.ID)[0].Sub(at); d < -time.Millisecond || d > 2*time.Second {
		b.t.Errorf("it began %v after its time, want soon after", d)
	}
}

func testShortDelay(b *bed) {
	b.worker(1, tasks{"echo": echo})
	r := b.run("echo", "1")
	at := time.Now().Add(300 * time.Millisecond)
	r.At = at.UnixMilli()
	b.one(r).output()
	if d := b.led.times(r.ID)[0].Sub(at); d < -time.Millisecond {
		b.t.Errorf("it began %v before its time", -d)
	}
}

func testRetries(b *bed) {
	b.worker(1, tasks{"fail": func(context.Context, *engine.Attempt) engine.Outcome {
		return engine.Outcome{Failure: failure(engine.CodeFailed)}
	}})
	r := b.run("fail", "1")
	r.Retry = engine.Retry{Attempts: 5, Base: 500 * time.Millisecond, Cap: 3 * time.Second}
	f := b.one(r)
	f.want(engine.Failed, engine.CodeFailed)
	times := b.led.times(r.ID)
	if len(times) != 5 {
		b.t.Fatalf("%d attempts, want 5", len(times))
	}
	for i, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second} {
		if d := times[i+1].Sub(times[i]); d < want*9/10-time.Millisecond || d > want*11/10+time.Second {
			b.t.Errorf("wait %d was %v, want about %v", i+1, d, want)
		}
	}
	if i := b.untilState(r.ID, engine.Failed); i.Attempt != 5 || i.Error == nil || i.Error.Code != engine.CodeFailed || string(i.Input) != "1" {
		b.t.Errorf("Get = attempt %d, error %+v, input %s, want 5 attempts, why, and the input", i.Attempt, i.Error, i.Input)
	}
}

func testPermanent(b *bed) {
	b.worker(1, tasks{"fail": func(context.Context, *engine.Attempt) engine.Outcome {
		return engine.Outcome{Failure: failure(engine.CodePermanent), Permanent: true}
	}})
	r := b.run("fail", "1")
	r.Retry = engine.Retry{Attempts: 5, Base: time.Millisecond}
	b.one(r).want(engine.Failed, engine.CodePermanent)
	if n := b.led.count(r.ID); n != 1 {
		b.t.Errorf("%d attempts, want 1", n)
	}
}

func testSnooze(b *bed) {
	var n atomic.Int32
	b.worker(1, tasks{"nap": func(_ context.Context, a *engine.Attempt) engine.Outcome {
		if n.Add(1) < 4 {
			return engine.Outcome{Snooze: 5 * time.Minute}
		}
		if a.Run.Attempt != 0 {
			return engine.Outcome{Failure: failure(engine.CodeInternal)}
		}
		return ok("1")
	}})
	r := b.run("nap", "1")
	f := b.one(r)
	if got := f.want(engine.Succeeded, "").Attempt; got != 1 {
		b.t.Errorf("%d attempts charged, want 1", got)
	}
	ts := b.led.times(r.ID)
	if d := ts[len(ts)-1].Sub(ts[0]); len(ts) != 4 || d < 15*time.Minute || d > 15*time.Minute+5*time.Second {
		b.t.Errorf("%d starts within %v, want 4 in a quarter of an hour", len(ts), d)
	}
}

func testDeadline(b *bed) {
	b.worker(1, tasks{"echo": echo, "fail": func(context.Context, *engine.Attempt) engine.Outcome {
		return engine.Outcome{Failure: failure(engine.CodeFailed)}
	}})
	past := b.run("echo", "1")
	past.Deadline = time.Now().Add(-time.Second).UnixMilli()
	b.one(past).want(engine.Failed, engine.CodeDeadline)
	if n := b.led.count(past.ID); n != 0 {
		b.t.Errorf("%d starts after the deadline", n)
	}
	again := b.run("fail", "1")
	again.Retry = engine.Retry{Attempts: 9, Base: time.Minute}
	again.Deadline = time.Now().Add(150 * time.Second).UnixMilli()
	b.one(again).want(engine.Failed, engine.CodeDeadline)
	if n := b.led.count(again.ID); n != 2 {
		b.t.Errorf("%d starts, want 2: a third one would come too late", n)
	}
}

func testOverdue(b *bed) {
	gate := make(chan struct{})
	b.worker(1, tasks{"stuck": func(context.Context, *engine.Attempt) engine.Outcome {
		<-gate
		return ok("too late")
	}})
	r := b.run("stuck", "1")
	r.Timeout = time.Minute
	began := time.Now()
	b.one(r).want(engine.Failed, engine.CodeTimeout)
	if d := time.Since(began); d < 70*time.Second || d > 80*time.Second {
		b.t.Errorf("it failed after %v, want after its timeout and 10 s more", d)
	}
	close(gate)
	b.sleep(time.Second)
	if i := b.get(r.ID); i.State != engine.Failed {
		b.t.Errorf("Get = %v, want failed for ever", i.State)
	}
}

func testOverdueDeadline(b *bed) {
	gate := make(chan struct{})
	b.worker(2, tasks{"stuck": func(context.Context, *engine.Attempt) engine.Outcome {
		<-gate
		return ok("too late")
	}})
	at := time.Now().Add(time.Minute)
	free, bound := b.run("stuck", "1"), b.run("stuck", "2")
	free.Deadline, bound.Deadline, bound.Timeout = at.UnixMilli(), at.UnixMilli(), time.Hour
	for _, f := range b.submit(free, bound) {
		f.want(engine.Failed, engine.CodeDeadline)
		if d := time.Since(at); d < 9*time.Second || d > 20*time.Second {
			b.t.Errorf("it failed %v after the deadline, want 10 s", d)
		}
	}
	close(gate)
	b.sleep(time.Second)
	if i := b.get(free.ID); i.State != engine.Failed {
		b.t.Errorf("Get = %v, want failed for ever", i.State)
	}
}

// Each attempt is made, the next one beside the one that has been given up, whose
// words count for nothing any more.
func testOverdueRetry(b *bed) {
	gate := make(chan struct{})
	b.worker(4, tasks{"stuck": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		saved, err := a.Lease.Resume(ctx)
		if err != nil {
			return engine.Outcome{Interrupted: true}
		}
		switch a.Run.Attempt {
		case 0:
			a.Lease.Checkpoint([]byte(`"1"`))
			<-gate
			a.Lease.Checkpoint([]byte(`"too late"`))
			return ok("too late")
		case 1:
			<-gate
			return engine.Outcome{Failure: failure(engine.CodeFailed)}
		default:
			close(gate)
			b.sleep(5 * time.Second)
			again, err := a.Lease.Resume(ctx)
			if err != nil {
				return engine.Outcome{Interrupted: true}
			}
			return ok(string(saved) + string(again))
		}
	}})
	r := b.run("stuck", "1")
	r.Timeout, r.Retry = time.Minute, engine.Retry{Attempts: 3, Base: 100 * time.Millisecond}
	f := b.one(r)
	if got := f.output(); got != `"1""1"` {
		b.t.Errorf("output = %s, want what the first attempt saved in time, twice", got)
	}
	if n, i := b.led.count(r.ID), b.get(r.ID); n != 3 || i.Attempt != 3 {
		b.t.Errorf("%d starts, %d attempts charged, want 3 of each", n, i.Attempt)
	}
	b.sleep(time.Minute)
	if i := b.get(r.ID); i.State != engine.Succeeded {
		b.t.Errorf("Get = %v, want succeeded for ever", i.State)
	}
}

func testDelayedBatch(b *bed) {
	at := time.Now().Add(5 * time.Minute)
	early := []engine.Run{b.run("echo", "1"), b.run("echo", "2"), b.run("echo", "3")}
	for i := range early {
		early[i].At = at.UnixMilli()
	}
	fs := b.batch(early)
	b.scheduled(early, at)
	b.worker(4, tasks{"echo": echo})
	b.sleep(time.Second)
	b.scheduled(early, at)
	for _, f := range fs {
		f.output()
		if d := b.led.times(f.id)[0].Sub(at); d < -time.Millisecond || d > 5*time.Second {
			b.t.Errorf("a run of a small delayed batch began %v after its time", d)
		}
	}
	at = time.Now().Add(5 * time.Minute)
	runs := make([]engine.Run, 500)
	for i := range runs {
		runs[i] = b.run("echo", `"`+string(make([]byte, 1000))+`"`)
		runs[i].At = at.UnixMilli()
	}
	fs = b.batch(runs)
	b.scheduled(runs, at)
	b.sleep(time.Minute)
	b.scheduled(runs, at)
	for _, f := range fs {
		f.output()
		if d := b.led.times(f.id)[0].Sub(at); d < -time.Millisecond || d > 5*time.Second {
			b.t.Errorf("a run of a delayed batch began %v after its time", d)
		}
	}
	small := b.run("echo", "1")
	at = time.Now().Add(5 * time.Minute)
	small.At = at.UnixMilli()
	b.batch([]engine.Run{small})[0].output()
	if d := b.led.times(small.ID)[0].Sub(at); d < -time.Millisecond || d > 5*time.Second {
		b.t.Errorf("a delayed batch of one began %v after its time", d)
	}
}

// scheduled wants runs to be listed as such.
func (b *bed) scheduled(runs []engine.Run, at time.Time) {
	b.t.Helper()
	p, err := b.client.List(b.t.Context(), engine.Query{States: []engine.State{engine.Scheduled}, Limit: 500})
	if err != nil || len(p.Runs) != len(runs) {
		b.t.Fatalf("List of scheduled runs = %d, %v, want %d", len(p.Runs), err, len(runs))
	}
	for _, i := range p.Runs {
		if i.At == nil || i.At.UnixMilli() != at.UnixMilli() {
			b.t.Fatalf("a run of a delayed batch is scheduled for %v, want %v", i.At, at)
		}
	}
}

func testCheckpoint(b *bed) {
	b.worker(1, tasks{"step": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		v, err := a.Lease.Resume(ctx)
		if err != nil {
			return engine.Outcome{Failure: failure(engine.CodeInternal), Permanent: true}
		}
		if len(v) == 3 {
			return ok(string(v))
		}
		for range 10 { // the last of many counts, whenever it comes
			a.Lease.Checkpoint(append(slices.Clip(v), '?'))
		}
		a.Lease.Checkpoint(append(slices.Clip(v), 'x'))
		return engine.Outcome{Failure: failure(engine.CodeFailed)}
	}})
	for _, wait := range []time.Duration{time.Millisecond, 2 * time.Minute} { // here, and as a message
		r := b.run("step", "")
		r.Retry = engine.Retry{Attempts: 9, Base: wait, Cap: wait}
		if got := b.one(r).output(); got != "xxx" {
			b.t.Errorf("after waits of %v it resumed from %q, want xxx", wait, got)
		}
		if n := b.led.count(r.ID); n != 4 {
			b.t.Errorf("%d attempts, want 4", n)
		}
	}
}

func testLongRun(b *bed) {
	b.worker(2, tasks{"echo": echo, "long": func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		t := time.NewTimer(10 * time.Minute)
		defer t.Stop()
		select {
		case <-t.C:
			return ok("long")
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
	}})
	r := b.run("long", "")
	f := b.one(r)
	b.sleep(5 * time.Minute)
	if i := b.get(r.ID); i.State != engine.Running {
		b.t.Errorf("Get = %v, want running", i.State)
	}
	b.one(b.run("echo", "1")).output()
	if got := f.output(); got != "long" {
		b.t.Errorf("output = %s, want long", got)
	}
	if n := b.led.count(r.ID); n != 1 {
		b.t.Errorf("%d starts, want 1", n)
	}
}

func testLongWait(b *bed) {
	b.worker(1, tasks{
		"slow": func(context.Context, *engine.Attempt) engine.Outcome { b.sleep(5 * time.Minute); return ok("slow") },
		"wait": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			r := b.run("slow", "")
			f := b.one(r) //nolint:contextcheck // a client's, not the handler's
			if err := a.Lease.Yield(); err != nil {
				return engine.Outcome{Failure: failure(engine.CodeLimit)}
			}
			<-f.done
			if err := a.Lease.Regain(ctx); err != nil {
				return engine.Outcome{Interrupted: true}
			}
			return ok("waited")
		},
	})
	r := b.run("wait", "")
	f := b.one(r)
	b.untilState(r.ID, engine.Waiting)
	if got := f.output(); got != "waited" {
		b.t.Errorf("output = %s, want waited", got)
	}
	if n := b.led.count(r.ID); n != 1 {
		b.t.Errorf("%d starts, want 1", n)
	}
}

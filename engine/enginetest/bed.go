package enginetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/engine"
)

// patience is how long a test waits for what must come: in real time, and on
// fake time.
const (
	patience     = 30 * time.Second
	fakePatience = 6 * time.Hour
)

// bed is one test's engines and what it has seen of them.
type bed struct {
	t      *testing.T
	s      *Setup
	dir    string
	owner  engine.Engine // has the data directory
	client engine.Engine // submits and asks
	ids    *engine.IDs
	led    *ledger
	faults *Faults // of the owner's engine, or of the client's if that is apart; nil for none
	disk   *disk   // nil unless power may be lost

	mu      sync.Mutex
	lives   map[engine.Engine]*life
	engines []engine.Engine
	workers []engine.Worker
}

// exec is a handler of a task.
type exec func(ctx context.Context, a *engine.Attempt) engine.Outcome

// tasks are a worker's handlers.
type tasks map[string]exec

// newBed opens the engines of one test.
func newBed(t *testing.T, s *Setup, dir string, f *Faults, d *disk) *bed {
	t.Helper()
	b := &bed{t: t, s: s, dir: dir, ids: engine.NewIDs(), led: newLedger(), faults: f, disk: d, lives: map[engine.Engine]*life{}}
	b.open(dir, "boot")
	return b
}

// open opens the owner and the client on a directory.
func (b *bed) open(dir, boot string) {
	b.t.Helper()
	l, o := new(life), Options{Dir: dir, Boot: boot, Sync: func() error { return nil }}
	if b.faults != nil && !b.s.Apart {
		o.Hook = b.faults.hook(l)
	}
	if b.disk != nil {
		o.Sync = func() error { return b.disk.sync(dir, l) }
	}
	e, err := b.s.Open(b.t.Context(), o)
	if err != nil && l.dead.Load() { // it died at once
		b.open(dir, boot)
		return
	}
	if err != nil {
		b.t.Fatalf("Open = %v", err)
	}
	b.dir = dir
	b.adopt(e, l)
	b.owner, b.client = e, e
	if b.s.Apart {
		b.client = b.join(b.faults)
	}
}

// rejoin replaces a client's engine that is dead.
func (b *bed) rejoin() {
	b.t.Helper()
	old := b.client
	b.mu.Lock()
	b.workers = nil
	b.engines = slices.DeleteFunc(b.engines, func(e engine.Engine) bool { return e == old })
	b.mu.Unlock()
	if err := old.Close(); err != nil {
		b.t.Errorf("Close = %v", err)
	}
	b.client = b.join(b.faults)
}

func (b *bed) adopt(e engine.Engine, l *life) {
	b.mu.Lock()
	b.engines = append(b.engines, e)
	b.lives[e] = l
	b.mu.Unlock()
}

func (b *bed) life(e engine.Engine) *life {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lives[e]
}

// join opens the engine of another process, as it were.
func (b *bed) join(f *Faults) engine.Engine {
	b.t.Helper()
	l, hook := new(life), engine.WriteHook(nil)
	if f != nil {
		hook = f.hook(l)
	}
	e, err := b.s.Join(b.t.Context(), b.owner, hook)
	if err != nil {
		b.t.Fatalf("Join = %v", err)
	}
	b.adopt(e, l)
	return e
}

// closeAll stops workers and closes engines, the last opened first.
func (b *bed) closeAll() {
	b.mu.Lock()
	workers, engines := b.workers, b.engines
	b.workers, b.engines = nil, nil
	b.mu.Unlock()
	for _, w := range workers {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := w.Stop(ctx); err != nil {
			b.t.Errorf("Stop = %v", err)
		}
		cancel()
	}
	for _, e := range slices.Backward(engines) {
		if err := e.Close(); err != nil {
			b.t.Errorf("Close = %v", err)
		}
	}
}

// restart closes everything and opens the directory again.
func (b *bed) restart() {
	b.t.Helper()
	b.closeAll()
	b.open(b.dir, "boot")
}

// kill leaves the engines as a killed process would, or a machine without power:
// what had been written to the directory by now, or up to the last sync, is what
// the next one, which kill opens, finds.
func (b *bed) kill(power bool) {
	b.t.Helper()
	if b.s.Bubble != nil {
		synctest.Wait() // no file changes while they are copied
	}
	b.life(b.owner).dead.Store(true)
	dir, boot := b.dir+"+", "boot"
	if power {
		boot = filepath.Base(dir) // another one each time
		if err := b.disk.restore(dir); err != nil {
			b.t.Fatalf("restore what was synced: %v", err)
		}
	} else if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
		b.t.Fatalf("copy the data directory: %v", err)
	}
	b.closeAll()
	b.open(dir, boot)
	b.remembers()
}

// remembers checks, before any worker is there, that what was shown has stayed:
// a run that begins again after its end was shown is then the worker's fault.
func (b *bed) remembers() {
	b.t.Helper()
	for id, want := range b.led.told() {
		i, err := b.client.Get(b.ctx(), id)
		if b.life(b.client).dead.Load() || b.life(b.owner).dead.Load() {
			return
		}
		if err != nil || i.State != want {
			b.t.Errorf("Get(%v) after the process died = %+v, %v, want %v: that was shown before", id, i, err, want)
		}
	}
}

// worker starts one on an engine: by default the client's, if that is apart.
func (b *bed) worker(slots int, h tasks) engine.Worker {
	b.t.Helper()
	return b.workerOn(b.client, engine.WorkOptions{Slots: slots}, h)
}

func (b *bed) workerOn(e engine.Engine, o engine.WorkOptions, h tasks) engine.Worker {
	b.t.Helper()
	l := b.life(e)
	o.Exec = func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		if l.dead.Load() {
			return engine.Outcome{Interrupted: true}
		}
		f := h[a.Run.Task]
		if f == nil {
			return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeInternal, Message: "the worker was given a task it does not know"}, Permanent: true}
		}
		b.led.started(ctx, a, l)
		out := f(ctx, a)
		b.led.ended(a, l)
		return out
	}
	w, err := e.Work(o)
	if err != nil {
		b.t.Fatalf("Work = %v", err)
	}
	b.mu.Lock()
	b.workers = append(b.workers, w)
	b.mu.Unlock()
	for task := range h {
		if err := w.Handle(b.t.Context(), queue, task); err != nil {
			b.t.Fatalf("Handle(%s) = %v", task, err)
		}
	}
	return w
}

// queue is where runs go unless a test says else.
const queue = "work"

// run is a run to be submitted.
func (b *bed) run(task, input string) engine.Run {
	return engine.Run{
		ID: b.ids.New(), Queue: queue, Task: task, Input: engine.Value{Data: []byte(input)},
		Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 7200},
	}
}

// future is a run's end, once it is shown.
type future struct {
	b    *bed
	id   engine.ID
	in   *life
	done chan struct{}
	mu   sync.Mutex
	recs []*engine.Record
}

// watch registers a future for a run about to be submitted.
func (b *bed) watch(e engine.Engine, id engine.ID) *future {
	f := &future{b: b, id: id, in: b.life(e), done: make(chan struct{})}
	e.Watch(id, f)
	return f
}

// attach is a future of a run that was submitted at any time.
func (b *bed) attach(id engine.ID) *future {
	b.t.Helper()
	f := &future{b: b, id: id, in: b.life(b.client), done: make(chan struct{})}
	if err := b.client.Attach(b.ctx(), id, f); err != nil {
		b.t.Fatalf("Attach(%v) = %v", id, err)
	}
	return f
}

// Resolve implements engine.Waiter.
func (f *future) Resolve(r *engine.Record) {
	if f.in.dead.Load() {
		return
	}
	f.b.led.shown(r, f.in)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recs = append(f.recs, r); len(f.recs) == 1 {
		close(f.done)
	}
}

// get waits for the run's end.
func (f *future) get() *engine.Record {
	f.b.t.Helper()
	ctx := f.b.ctx()
	select {
	case <-f.done:
	case <-ctx.Done():
		i, err := f.b.client.Get(f.b.t.Context(), f.id)
		f.b.t.Fatalf("run %v did not end; Get = %+v, %v", f.id, i, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.recs) != 1 {
		f.b.t.Errorf("run %v ended %d times, want once", f.id, len(f.recs))
	}
	return f.recs[0]
}

// ctx ends when a test should have.
func (b *bed) ctx() context.Context {
	d := patience
	if b.s.Bubble != nil {
		d = fakePatience
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	b.t.Cleanup(cancel)
	return ctx
}

// submit submits runs, each for itself, and gives their futures.
func (b *bed) submit(runs ...engine.Run) []*future {
	b.t.Helper()
	out := make([]*future, len(runs))
	for i := range runs {
		out[i] = b.watch(b.client, runs[i].ID)
	}
	if err := b.client.Submit(b.ctx(), runs); err != nil {
		b.t.Fatalf("Submit = %v", err)
	}
	return out
}

// one submits a run and gives its future.
func (b *bed) one(r engine.Run) *future {
	b.t.Helper()
	return b.submit(r)[0]
}

// want waits for a run's end and checks its state and code.
func (f *future) want(s engine.State, code engine.Code) *engine.Record {
	f.b.t.Helper()
	r := f.get()
	got := engine.Code("")
	if r.Failure != nil {
		got = r.Failure.Code
	}
	if r.State != s || got != code {
		f.b.t.Errorf("run %v (%s) ended %v with code %q (%+v), want %v with code %q", f.id, r.Task, r.State, got, r.Failure, s, code)
	}
	return r
}

// output is a succeeded run's result.
func (f *future) output() string {
	f.b.t.Helper()
	r := f.want(engine.Succeeded, "")
	v, err := f.b.client.Output(f.b.ctx(), r)
	if err != nil {
		f.b.t.Errorf("Output(%v) = %v", f.id, err)
	}
	return string(v)
}

// until waits for a condition.
func (b *bed) until(what string, cond func() bool) {
	b.t.Helper()
	ctx := b.ctx()
	step := time.Millisecond
	for !cond() {
		t := time.NewTimer(step)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			b.t.Fatalf("it did not come to that: %s", what)
		}
		step = min(2*step, 20*time.Millisecond)
	}
}

// untilState waits until Get shows a state.
func (b *bed) untilState(id engine.ID, want engine.State) *engine.Info {
	b.t.Helper()
	var i *engine.Info
	b.until(fmt.Sprintf("Get(%v) shows %v", id, want), func() bool {
		i = b.get(id)
		return i.State == want
	})
	return i
}

func (b *bed) get(id engine.ID) *engine.Info {
	b.t.Helper()
	i, err := b.client.Get(b.ctx(), id)
	if err != nil {
		b.t.Fatalf("Get(%v) = %v", id, err)
	}
	return i
}

// sleep passes time.
func (b *bed) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

func ok(out string) engine.Outcome { return engine.Outcome{Output: []byte(out)} }

func failure(code engine.Code) *engine.Failure {
	return &engine.Failure{Code: code, Message: "as the test wants"}
}

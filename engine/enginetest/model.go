package enginetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// RunModel does what chance says with an engine, and lets it die at chance's
// moments, for n seeds and one more; then every run must have ended as a simple model says.
// FAENA_SEED in the environment tries one seed, FAENA_SEEDS so many new ones.
func RunModel(t *testing.T, s Setup, n int) {
	t.Helper()
	var seeds []uint64
	for i := range n {
		seeds = append(seeds, uint64(i)+1)
	}
	seeds = append(seeds, 1670695271) // found a cancel that came second and won with a new index
	if v, err := strconv.ParseUint(os.Getenv("FAENA_SEED"), 10, 64); err == nil {
		seeds = []uint64{v}
	} else if n, err := strconv.Atoi(os.Getenv("FAENA_SEEDS")); err == nil {
		seeds = nil
		for range n {
			seeds = append(seeds, rand.Uint64()>>32)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			s.model(t, seed)
		})
	}
}

// model is what should be true.
type model struct {
	b      *bed
	rng    *rand.Rand
	runs   []*planned
	paused bool
	deaths int      // processes that ended
	kills  int      // those that did not end in order
	log    []string // what was done, for people
}

// planned is a run whose input says how each attempt goes, by its number: o for
// success, f for a failure, p for a permanent one, s and l for a short and a long
// success, c for a child that succeeds, k for one that fails.
type planned struct {
	run     engine.Run
	batch   int
	acked   bool
	asked   bool // to be cancelled
	stopped bool // and said to be
	retried bool
	deaths  int // of processes before it was submitted
	kills   int
	shown   *future
}

func (s *Setup) model(t *testing.T, seed uint64) {
	t.Helper()
	dir := t.TempDir()
	s.Bubble(t, func(t *testing.T) {
		t.Helper()
		m := &model{rng: rand.New(rand.NewPCG(seed, 1))}
		m.b = newBed(t, s, dir+"/data", m.fault(), new(disk))
		defer m.b.closeAll()
		m.work()
		for i := range 40 {
			m.step(i)
		}
		m.finish()
		if t.Failed() {
			t.Logf("seed %d did: %s", seed, strings.Join(m.log, ", "))
		}
	})
}

// fault lets the next engine die at some write, if at all.
func (m *model) fault() *Faults {
	return NewFaults(Point{N: 1 + m.rng.IntN(150), After: m.rng.IntN(2) == 0}, Crash)
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// work starts a worker on the engine that is open.
func (m *model) work() {
	e := m.b.client
	m.b.workerOn(e, engine.WorkOptions{Slots: 1 + m.rng.IntN(4)}, tasks{"plan": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		return m.attempt(ctx, e, a)
	}})
}

// attempt goes as the input says.
func (m *model) attempt(ctx context.Context, e engine.Engine, a *engine.Attempt) engine.Outcome {
	plan := strings.TrimLeft(string(a.Input), " ")
	if int(a.Run.Attempt) >= len(plan) {
		return engine.Outcome{Failure: failure(engine.CodeInternal), Permanent: true}
	}
	switch plan[a.Run.Attempt] {
	case 'f':
		a.Lease.Checkpoint([]byte("f"))
		return engine.Outcome{Failure: failure(engine.CodeFailed)}
	case 'p':
		return engine.Outcome{Failure: failure(engine.CodePermanent), Permanent: true}
	case 's':
		return nap(ctx, 300*time.Millisecond)
	case 'l':
		return nap(ctx, 80*time.Second)
	case 'c':
		return m.parent(ctx, e, a, "so")
	case 'k':
		return m.parent(ctx, e, a, "p")
	}
	return ok(plan)
}

func nap(ctx context.Context, d time.Duration) engine.Outcome {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ok("slept")
	case <-ctx.Done():
		if context.Cause(ctx) == engine.ErrCancelled { //nolint:errorlint // it is a cause
			return engine.Outcome{Failure: failure(engine.CodeCancelled)}
		}
		return engine.Outcome{Interrupted: true}
	}
}

// parent waits for a child, without a slot, and ends as the child does.
func (m *model) parent(ctx context.Context, e engine.Engine, a *engine.Attempt, plan string) engine.Outcome {
	r := engine.Run{
		ID: a.Run.ID.Derive("child"), Queue: queue, Task: "plan", Parent: a.Run.ID, Doubt: true,
		Input: engine.Value{Data: []byte(plan)}, Retry: engine.Retry{Attempts: 1}, Keep: a.Run.Keep,
	}
	done := make(chan engine.State, 1)
	if err := e.Submit(ctx, []engine.Run{r}); err != nil {
		return engine.Outcome{Interrupted: true}
	}
	end := engine.WaiterFunc(func(r *engine.Record) { done <- r.State })
	if err := e.Attach(ctx, r.ID, end); err != nil {
		return engine.Outcome{Interrupted: true}
	}
	defer e.Unwatch(r.ID, end)
	if err := a.Lease.Yield(); err != nil {
		return engine.Outcome{Interrupted: true}
	}
	var state engine.State
	select {
	case state = <-done:
	case <-ctx.Done():
	}
	if err := a.Lease.Regain(ctx); err != nil || ctx.Err() != nil {
		return nap(ctx, time.Hour) // ctx has ended
	}
	if state != engine.Succeeded {
		return engine.Outcome{Failure: failure(engine.CodePermanent), Permanent: true}
	}
	return ok("child")
}

// step does one thing.
func (m *model) step(i int) {
	m.alive()
	switch k := m.rng.IntN(100); {
	case k < 45:
		m.submit(0, 1+m.rng.IntN(3))
	case k < 55:
		m.submit(i+1, 1+m.rng.IntN(20))
	case k < 70:
		m.cancel()
	case k < 75:
		m.retry()
	case k < 80:
		m.pause(!m.paused)
	case k < 84:
		m.note("restart")
		before := m.b.faults
		m.b.faults = m.fault()
		for _, p := range m.runs { // attempts under way are interrupted
			p.shown = nil
		}
		m.deaths++
		m.b.restart()
		if before.Reached() { // it was killed while it ended
			m.kills++
		}
		m.work()
	case k < 87:
		m.die()
	default:
		d := time.Duration(m.rng.IntN(4000)) * time.Millisecond
		if m.rng.IntN(8) == 0 {
			d = 70 * time.Second
		}
		m.note("sleep %v", d)
		m.b.sleep(d)
	}
}

// alive opens the engine again if it has died.
func (m *model) alive() {
	for range 5 {
		if !m.b.life(m.b.client).dead.Load() {
			return
		}
		m.die()
	}
}

// die kills the process, or the machine.
func (m *model) die() {
	power := m.rng.IntN(3) == 0
	m.note("die at %v, power %v", m.b.faults.at, power)
	m.b.life(m.b.owner).dead.Store(true)
	m.deaths++
	m.kills++
	m.b.faults = m.fault()
	m.b.kill(power)
	for _, p := range m.runs {
		p.shown = nil
	}
	m.work()
}

// plan is how a run's attempts go, the last one being the last allowed.
func (m *model) plan() string {
	plans := []string{"o", "o", "s", "p", "fo", "ffo", "ff", "fs", "l", "c", "k", "fc"}
	p := plans[m.rng.IntN(len(plans))]
	if m.rng.IntN(10) == 0 { // a large input
		p = strings.Repeat(" ", 200<<10) + p
	}
	return p
}

func (m *model) submit(batch, n int) {
	b := m.b
	var runs []engine.Run
	var ps []*planned
	for range n {
		plan := m.plan()
		r := b.run("plan", plan)
		r.Retry = engine.Retry{Attempts: uint16(len(strings.TrimLeft(plan, " "))), Base: time.Duration(m.rng.IntN(3000)) * time.Millisecond}
		r.Keep = [2]uint32{86400, 86400}
		if m.rng.IntN(5) == 0 {
			r.At = time.Now().Add(time.Duration(m.rng.IntN(20_000)) * time.Millisecond).UnixMilli()
		}
		runs = append(runs, r)
		ps = append(ps, &planned{run: r, batch: batch, deaths: m.deaths, kills: m.kills, shown: b.watch(b.client, r.ID)})
	}
	m.runs = append(m.runs, ps...)
	var err error
	if batch > 0 {
		err = b.client.SubmitBatch(b.ctx(), runs)
	} else {
		err = b.client.Submit(b.ctx(), runs)
	}
	m.note("submit %d (batch %d): %v", n, batch, err)
	if b.life(b.client).dead.Load() {
		return
	}
	if err != nil {
		b.t.Errorf("Submit = %v", err)
		return
	}
	for _, p := range ps {
		p.acked = true
	}
}

// some run that has been acknowledged.
func (m *model) some() *planned {
	var ps []*planned
	for _, p := range m.runs {
		if p.acked {
			ps = append(ps, p)
		}
	}
	if len(ps) == 0 {
		return nil
	}
	return ps[m.rng.IntN(len(ps))]
}

func (m *model) cancel() {
	p := m.some()
	if p == nil {
		return
	}
	p.asked = true
	states, err := m.b.client.Cancel(m.b.ctx(), []engine.ID{p.run.ID})
	m.note("cancel %v: %v %v", p.run.ID, states, err)
	if m.b.life(m.b.client).dead.Load() {
		return
	}
	if err != nil {
		m.b.t.Errorf("Cancel = %v", err)
		return
	}
	if p.stopped && states[0] != engine.Cancelled {
		m.b.t.Errorf("Cancel again = %v, want cancelled", states[0])
	}
	p.stopped = states[0] == engine.Cancelled
	if !states[0].Terminal() {
		m.b.t.Errorf("Cancel = %v, want an end", states[0])
	}
}

func (m *model) retry() {
	p := m.some()
	if p == nil || p.retried || p.shown == nil || len(m.b.led.ends(p.run.ID)) == 0 {
		return
	}
	end := m.b.led.ends(p.run.ID)[0]
	ids, err := m.b.client.Retry(m.b.ctx(), []engine.ID{p.run.ID})
	m.note("retry %v: %v %v", p.run.ID, ids, err)
	if m.b.life(m.b.client).dead.Load() {
		p.retried = true // perhaps
		return
	}
	if end == engine.Succeeded {
		m.b.wantCode("Retry of a succeeded run", err, engine.CodeConflict)
		return
	}
	if err != nil {
		m.b.t.Errorf("Retry = %v", err)
		return
	}
	p.retried = true
	r := p.run
	r.ID = ids[0]
	m.runs = append(m.runs, &planned{run: r, acked: true, deaths: m.deaths, kills: m.kills})
}

func (m *model) pause(on bool) {
	call := m.b.client.Resume
	if on {
		call = m.b.client.Pause
	}
	err := call(m.b.ctx(), queue)
	m.note("pause %v: %v", on, err)
	if err == nil && !m.b.life(m.b.client).dead.Load() {
		m.paused = on
	}
}

// finish lets everything end and judges it.
func (m *model) finish() {
	b := m.b
	for range 5 {
		m.alive()
		if err := b.client.Resume(b.ctx(), queue); err != nil && !b.life(b.client).dead.Load() {
			b.t.Fatalf("Resume = %v", err)
		}
		b.faults.disarm()
		if !b.life(b.client).dead.Load() {
			break
		}
	}
	batches := map[int][2]int{}
	for _, p := range m.runs {
		there := m.judge(p)
		if p.batch > 0 {
			n := batches[p.batch]
			if there {
				n[0]++
			} else {
				n[1]++
			}
			batches[p.batch] = n
		}
	}
	for n, c := range batches {
		if c[0] > 0 && c[1] > 0 {
			b.t.Errorf("batch %d: %d of its runs are there and %d are not", n, c[0], c[1])
		}
	}
	b.sleep(30 * time.Second)
	for _, w := range b.led.faults() {
		b.t.Error(w)
	}
	b.agree()
}

// judge waits for one run's end and says whether the run is there.
func (m *model) judge(p *planned) bool {
	b := m.b
	f := &future{b: b, id: p.run.ID, in: b.life(b.client), done: make(chan struct{})}
	if err := b.client.Attach(b.ctx(), p.run.ID, f); err != nil {
		if p.acked || engine.CodeOf(err) != engine.CodeNotFound {
			b.t.Errorf("Attach(%v, acknowledged %v) = %v", p.run.ID, p.acked, err)
		}
		return false
	}
	r := f.get()
	plan := strings.TrimLeft(string(p.run.Input.Data), " ")
	want := engine.Succeeded
	if strings.ContainsRune("fpk", rune(plan[len(plan)-1])) {
		want = engine.Failed
	}
	died, kills := m.deaths-p.deaths, m.kills-p.kills
	starts := b.led.count(p.run.ID)
	fine := []engine.State{want}
	if p.stopped {
		fine = []engine.State{engine.Cancelled}
	} else if p.asked {
		fine = append(fine, engine.Cancelled)
	}
	seen := fmt.Sprintf("run %v (%s), asked to cancel %v, said so %v, %d processes ended, %d of them killed, starts %v: ended %v after %d attempts and %d deaths (%+v)",
		p.run.ID, plan, p.asked, p.stopped, died, kills, b.led.times(p.run.ID), r.State, r.Attempt, r.Deaths, r.Failure)
	lost := r.Failure != nil && r.Failure.Code == engine.CodeLost
	// What was in hand when a process died counts as begun, seen or not; and a
	// parent fails with its child.
	unlucky := kills >= engine.MaxDeaths-1 && (lost || plan[len(plan)-1] == 'c' && r.State == engine.Failed)
	switch {
	case unlucky: // a process may die right before the handler begins
	case !slices.Contains(fine, r.State):
		b.t.Errorf("%s, want %v", seen, fine)
	case r.State != engine.Cancelled && int(r.Attempt) != len(plan):
		b.t.Errorf("%s, want %d attempts", seen, len(plan))
	case starts > len(plan)+died:
		b.t.Errorf("%s, want at most %d starts", seen, len(plan)+died)
	case r.State != engine.Cancelled && starts < len(plan):
		b.t.Errorf("%s, want at least %d starts", seen, len(plan))
	}
	return true
}

// disarm lets no more fault happen.
func (f *Faults) disarm() {
	f.mu.Lock()
	f.mode = Record
	f.mu.Unlock()
}

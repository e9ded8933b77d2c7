package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// RunFaults executes a scenario once to list its writes, and then once for each
// mode and each of them, before and after it: whatever the fault, what the engine
// acknowledged must hold. That takes minutes, so by default it tries only the
// first and the last writes of each kind; FAENA_FAULTS=all in the environment
// makes it try them all.
func RunFaults(t *testing.T, s Setup) {
	t.Helper()
	points := listPoints(t, &s)
	if t.Failed() {
		return
	}
	modes := []Mode{Crash, Fail, Power}
	if s.Apart {
		modes = modes[:2] // the machine is the owner's
	}
	for _, mode := range modes {
		for _, p := range s.some(points, mode) {
			t.Run(mode.String()+" "+p.String(), func(t *testing.T) {
				t.Parallel()
				s.play(t, p, mode)
			})
		}
	}
}

// few tells how many points of a kind are tried by default: the first ones and
// the last ones.
func (s *Setup) few(m Mode) (first, last int) {
	switch {
	case m == Power: // it costs a copy of the disk per sync
		return 0, 1
	case s.Apart:
		return 1, 0
	default:
		return 1, 1
	}
}

// some gives the first and last points of each kind, before and after; all if the
// environment says FAENA_FAULTS=all.
func (s *Setup) some(points []Point, m Mode) []Point {
	first, last := s.few(m)
	if os.Getenv("FAENA_FAULTS") == "all" {
		return points
	}
	most := map[Point]int{}
	for _, p := range points {
		most[Point{Write: p.Write, After: p.After}]++
	}
	var out []Point
	for _, p := range points {
		if p.N <= first || p.N > most[Point{Write: p.Write, After: p.After}]-last {
			out = append(out, p)
		}
	}
	return out
}

// listPoints plays without a fault and gives the points to try: all there were.
func listPoints(t *testing.T, s *Setup) []Point {
	t.Helper()
	f := s.play(t, Point{}, Record)
	if t.Failed() {
		return nil
	}
	kinds := map[engine.Write]int{}
	for _, p := range f.Points() {
		kinds[p.Write]++
	}
	for _, w := range engine.Writes() {
		if kinds[w] == 0 && !s.Apart {
			t.Errorf("the scenario makes no write of kind %s", w)
		}
	}
	for _, w := range f.Unknown() {
		t.Errorf("a write of kind %q, which engine.Writes does not list", w)
	}
	t.Logf("writes: %v", kinds)
	return f.Points()
}

// part is one run of the scenario, as its client knows it.
type part struct {
	run     engine.Run
	batch   int  // runs of one batch share a number; 0 for none
	acked   bool // the engine said that it is stored
	cancel  bool // the engine was asked to cancel it
	stopped bool // and said that it is cancelled
	end     []engine.State
	f       *future
}

// play is one execution of the scenario.
type play struct {
	b     *bed
	f     *Faults
	parts []*part
}

// play executes the scenario with a fault and judges what was seen.
func (s *Setup) play(t *testing.T, at Point, mode Mode) (f *Faults) {
	t.Helper()
	dir := t.TempDir()
	s.Bubble(t, func(t *testing.T) {
		t.Helper()
		f = NewFaults(at, mode) // inside: its channel belongs to the bubble
		var d *disk
		if mode == Power {
			d = new(disk)
		}
		b := newBed(t, s, dir+"/data", f, d)
		defer b.closeAll()
		p := &play{b: b, f: f}
		p.work()
		p.script()
		p.settle()
		p.judge()
	})
	return f
}

// work starts the worker of the engine that is open now.
func (p *play) work() {
	b := p.b
	b.workerOn(b.client, engine.WorkOptions{Slots: 3}, tasks{
		"echo": echo,
		"fail": func(context.Context, *engine.Attempt) engine.Outcome {
			return engine.Outcome{Failure: failure(engine.CodePermanent), Permanent: true}
		},
		"twice": func(_ context.Context, a *engine.Attempt) engine.Outcome {
			if a.Run.Attempt == 0 {
				return engine.Outcome{Failure: failure(engine.CodeFailed)}
			}
			return ok("2")
		},
		"long": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			v, err := a.Lease.Resume(ctx)
			if err != nil {
				return engine.Outcome{Interrupted: true}
			}
			a.Lease.Checkpoint(append(v, 'x'))
			if err := a.Lease.Yield(); err != nil {
				return engine.Outcome{Failure: failure(engine.CodeLimit)}
			}
			if p.pause(ctx, 2500*time.Millisecond) != nil {
				return engine.Outcome{Interrupted: true}
			}
			if err := a.Lease.Regain(ctx); err != nil {
				return engine.Outcome{Interrupted: true}
			}
			return ok("long")
		},
		"save": func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			v, err := a.Lease.Resume(ctx)
			if err != nil {
				return engine.Outcome{Interrupted: true}
			}
			for range 2 {
				v = append(v, bytes.Repeat([]byte("s"), large)...)
				a.Lease.Checkpoint(bytes.Clone(v))
				if p.pause(ctx, 1200*time.Millisecond) != nil {
					return engine.Outcome{Interrupted: true}
				}
			}
			if len(v)%large != 0 {
				p.b.t.Errorf("resumed from %d bytes, want whole checkpoints of %d more each", len(v), large)
			}
			return ok("saved")
		},
		"never": func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
			<-ctx.Done()
			if context.Cause(ctx) == engine.ErrCancelled { //nolint:errorlint // it is a cause
				return engine.Outcome{Failure: failure(engine.CodeCancelled)}
			}
			return engine.Outcome{Interrupted: true}
		},
	})
}

// pause is a handler's.
func (p *play) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// large is the size of values that are stored apart.
const large = 200 << 10

// script submits and cancels.
func (p *play) script() {
	b := p.b
	good := []engine.State{engine.Succeeded}
	brief := b.run("echo", "0") // soon forgotten: then the log is purged up to the others
	brief.Keep = [2]uint32{1, 1}
	if err := b.client.Submit(b.ctx(), []engine.Run{brief}); err == nil {
		b.sleep(100 * time.Millisecond)
	}
	p.submit(0, good, b.run("echo", "1"))
	p.submit(0, good, b.run("long", ""))
	twice := b.run("twice", "")
	twice.Retry = engine.Retry{Attempts: 2, Base: 3 * time.Second}
	p.submit(0, good, twice)
	doubt := b.run("echo", "2")
	doubt.Doubt = true
	p.submit(0, good, doubt)
	p.submit(0, good, b.run("echo", strings.Repeat("z", large)))
	p.submit(0, good, b.run("save", ""))
	p.submit(0, []engine.State{engine.Failed}, b.run("fail", strings.Repeat("f", large)))
	again := b.run("fail", "")
	p.submit(0, []engine.State{engine.Failed}, again)
	p.submit(1, good, b.run("echo", "3"), b.run("echo", "4"))
	pad := strings.Repeat("p", 150<<10)
	p.submit(2, good, b.run("echo", pad+"1"), b.run("echo", pad+"2"))
	stop := []engine.State{engine.Cancelled}
	never, unknown, later := b.run("never", strings.Repeat("n", large)), b.run("unknown", ""), b.run("echo", "5")
	later.At = time.Now().Add(time.Minute).UnixMilli()
	p.submit(0, stop, never)
	p.submit(0, stop, unknown)
	p.submit(0, append(stop, engine.Succeeded), later)
	b.sleep(1500 * time.Millisecond)
	for _, r := range []engine.Run{unknown, later, never} {
		p.cancel(r.ID)
	}
	p.retry(again.ID)
}

// alive opens the engine again if it was killed.
func (p *play) alive() {
	select {
	case <-p.f.Crashed():
	default:
		return
	}
	if !p.b.life(p.b.client).dead.Load() {
		return
	}
	if p.b.s.Apart {
		p.b.rejoin()
	} else {
		p.b.kill(p.f.mode == Power)
	}
	for _, q := range p.parts {
		q.f = nil
	}
	p.work()
}

// submit submits runs, as a batch if it has a number. What fails without a crash
// is submitted again, in doubt.
func (p *play) submit(batch int, end []engine.State, runs ...engine.Run) {
	p.alive()
	b := p.b
	var parts []*part
	for i := range runs {
		q := &part{run: runs[i], batch: batch, end: end, f: b.watch(b.client, runs[i].ID)}
		parts = append(parts, q)
	}
	p.parts = append(p.parts, parts...)
	for range 3 {
		var err error
		if batch != 0 {
			err = b.client.SubmitBatch(b.ctx(), runs)
		} else {
			err = b.client.Submit(b.ctx(), runs)
		}
		if b.life(b.client).dead.Load() {
			return // whatever it said, nobody heard it
		}
		if err == nil {
			for _, q := range parts {
				q.acked = true
			}
			return
		}
		for i := range runs {
			runs[i].Doubt = true
		}
	}
	b.t.Errorf("Submit failed three times, want once at most")
}

func (p *play) cancel(id engine.ID) {
	p.alive()
	b := p.b
	q := p.find(id)
	q.cancel = true
	for range 3 {
		states, err := b.client.Cancel(b.ctx(), []engine.ID{id})
		if b.life(b.client).dead.Load() {
			p.alive()
			continue // nobody heard what it said: ask again
		}
		if err == nil {
			q.stopped = states[0] == engine.Cancelled
			if !q.stopped {
				b.t.Errorf("Cancel(%v, %s) = %v, want cancelled", id, q.run.Task, states[0])
			}
			return
		}
		if engine.CodeOf(err) == engine.CodeNotFound && !q.acked {
			return
		}
	}
	b.t.Errorf("Cancel(%v, %s) failed three times, want once at most", id, q.run.Task)
}

// retry retries a run that fails once it has failed.
func (p *play) retry(id engine.ID) {
	b := p.b
	q := p.find(id)
	var err error
	for range 60 {
		p.alive()
		var ids []engine.ID
		ids, err = b.client.Retry(b.ctx(), []engine.ID{id})
		if b.life(b.client).dead.Load() {
			continue // nobody heard what it said: ask again
		}
		if engine.CodeOf(err) == engine.CodeConflict {
			if i, gerr := b.client.Get(b.ctx(), id); gerr == nil && i.RetriedBy != "" {
				ids = make([]engine.ID, 1)
				if ids[0], err = engine.ParseID(i.RetriedBy); err != nil {
					b.t.Fatalf("retried by %q: %v", i.RetriedBy, err)
				}
			}
		}
		if err == nil {
			run := q.run
			run.ID, run.RetryOf = ids[0], id
			p.parts = append(p.parts, &part{run: run, acked: true, end: q.end})
			return
		}
		if engine.CodeOf(err) == engine.CodeNotFound && !q.acked {
			return
		}
		b.sleep(time.Second)
	}
	b.t.Errorf("Retry(%v) = %v for a minute, want that it is retried", id, err)
}

func (p *play) find(id engine.ID) *part {
	for _, q := range p.parts {
		if q.run.ID == id {
			return q
		}
	}
	return nil
}

// settle waits for the ends of all runs that are there.
func (p *play) settle() {
	for range 3 { // a crash may come while it waits
		p.alive()
		if p.waitAll() {
			break
		}
	}
	p.b.sleep(15 * time.Second) // and what happens afterwards
	p.alive()
}

func (p *play) waitAll() bool {
	b := p.b
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	for _, q := range p.parts {
		if q.f == nil && !p.again(ctx, q) {
			continue
		}
		if b.life(b.client).dead.Load() {
			return false
		}
		select {
		case <-q.f.done:
		case <-p.f.Crashed():
			if b.life(b.client).dead.Load() {
				return false
			}
			select { // it was another engine, or has been dealt with
			case <-q.f.done:
			case <-ctx.Done():
				p.lost(q)
			}
		case <-ctx.Done():
			p.lost(q)
		}
	}
	return true
}

// again attaches to a run on a new engine; false if it is not there.
func (p *play) again(ctx context.Context, q *part) bool {
	b := p.b
	f := &future{b: b, id: q.run.ID, in: b.life(b.client), done: make(chan struct{})}
	err := b.client.Attach(ctx, q.run.ID, f)
	switch {
	case f.in.dead.Load():
		q.f = nil
		return false
	case err == nil:
		q.f = f
		return true
	case engine.CodeOf(err) == engine.CodeNotFound && !q.acked:
		return false
	}
	b.t.Errorf("Attach(%v, %s, acknowledged %v) = %v", q.run.ID, q.run.Task, q.acked, err)
	return false
}

func (p *play) lost(q *part) {
	b := p.b
	if !q.acked {
		if _, err := b.client.Get(b.t.Context(), q.run.ID); engine.CodeOf(err) == engine.CodeNotFound {
			return
		}
	}
	i, err := b.client.Get(b.t.Context(), q.run.ID)
	b.t.Errorf("run %v (%s, acknowledged %v) did not end; Get = %+v, %v; starts %v", q.run.ID, q.run.Task, q.acked, i, err, b.led.times(q.run.ID))
}

// judge compares what was seen with what was promised.
func (p *play) judge() {
	b := p.b
	for _, w := range b.led.faults() {
		b.t.Error(w)
	}
	batches := map[int]map[bool]int{}
	for _, q := range p.parts {
		i, err := b.client.Get(b.ctx(), q.run.ID)
		there := err == nil
		if q.batch != 0 {
			if batches[q.batch] == nil {
				batches[q.batch] = map[bool]int{}
			}
			batches[q.batch][there]++
		}
		if !there {
			if q.acked || engine.CodeOf(err) != engine.CodeNotFound {
				b.t.Errorf("Get(%v, %s, acknowledged %v) = %v", q.run.ID, q.run.Task, q.acked, err)
			}
			continue
		}
		if bad := p.verdict(q, i); bad != "" {
			b.t.Errorf("run %v (%s, acknowledged %v, cancel %v): %s; Get = %+v; starts %v", q.run.ID, q.run.Task, q.acked, q.cancel, bad, i, b.led.times(q.run.ID))
		}
	}
	for n, m := range batches {
		if len(m) > 1 {
			b.t.Errorf("batch %d: %d of its runs are there and %d are not", n, m[true], m[false])
		}
	}
	b.agree()
	p.values()
}

// values checks that large values can be read: outputs, and inputs of runs that may
// be retried.
func (p *play) values() {
	b := p.b
	p.f.end()
	for _, q := range p.parts {
		i, err := b.client.Get(b.ctx(), q.run.ID)
		if err != nil || len(q.run.Input.Data) < large {
			continue
		}
		if i.State == engine.Succeeded {
			if got := b.attach(q.run.ID).output(); len(got) != large {
				b.t.Errorf("run %v (%s): an output of %d bytes, want %d", q.run.ID, q.run.Task, len(got), large)
			}
		} else if _, err := b.client.Retry(b.ctx(), []engine.ID{q.run.ID}); err != nil {
			b.t.Errorf("Retry(%v, %s, %v) = %v, want that its input is there", q.run.ID, q.run.Task, i.State, err)
		}
	}
}

// verdict says what is wrong with one run's end.
func (p *play) verdict(q *part, i *engine.Info) string {
	b := p.b
	shown := b.led.ends(q.run.ID)
	starts := b.led.count(q.run.ID)
	if !i.State.Terminal() {
		return "it has not ended"
	}
	if len(shown) > 0 && shown[0] != i.State {
		return fmt.Sprintf("it was shown %v", shown[0])
	}
	fine := false
	for _, s := range q.end {
		fine = fine || s == i.State
	}
	switch {
	case !fine:
		return fmt.Sprintf("want %v", q.end)
	case q.stopped && i.State != engine.Cancelled:
		return "it was said to be cancelled"
	case q.run.Task == "twice" && i.Attempt != 2:
		return "want two attempts charged"
	case q.run.Task != "twice" && i.State != engine.Cancelled && i.Attempt != 1:
		return "want one attempt charged"
	}
	most := 1
	if q.run.Task == "twice" {
		most++
	}
	if p.f.mode != Fail {
		most++
	}
	if starts > most {
		return fmt.Sprintf("it began %d times, want at most %d", starts, most)
	}
	return ""
}

// agree checks that list and counts tell the same.
func (b *bed) agree() {
	b.t.Helper()
	for _, s := range engine.States() {
		if got, want := len(b.listed(engine.Query{States: []engine.State{s}, Retried: true})), b.counted(s); int64(got) != want {
			b.t.Errorf("List(%v) has %d runs, Counts %d", s, got, want)
		}
	}
}

package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// An end may come while the input is fetched: then it may be shown before the
// handler would begin.
func TestNoHandlerBeginsWhenItsContextHasEnded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cause error
		want  int
	}{{nil, 1}, {engine.ErrCancelled, 0}, {engine.ErrLost, 0}} {
		began := 0
		w := &worker{e: &Engine{}, o: engine.WorkOptions{Exec: func(context.Context, *engine.Attempt) engine.Outcome {
			began++
			return engine.Outcome{}
		}}}
		ctx, cancel := context.WithCancelCause(t.Context())
		if c.cause != nil {
			cancel(c.cause)
		}
		out, _ := w.attempt(ctx, &item{w: w})
		cancel(nil)
		if began != c.want || out.Interrupted != (c.want == 0) {
			t.Errorf("attempt, its context ended by %v: %d handlers began, interrupted %v; want %d", c.cause, began, out.Interrupted, c.want)
		}
	}
}

// After a pause of the process another may have executed, and ended, what stands
// ready here, and the log's follower may lag: it is asked about.
func TestRunWhoseLeaseHasEndedIsAskedAbout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		paused  time.Duration
		renewed bool // before the slot goes on
		lost    bool // the connection, meanwhile
		asked   bool
	}{
		{"no pause", 0, true, false, false},
		{"a short pause", 3 * time.Second, true, false, false},
		{"a slot goes on first", ackWait, false, false, true},
		{"the renewal goes on first", ackWait, true, false, true},
		{"the server has started anew", 0, true, true, true},
	} {
		w := &worker{stops: newCancelled(nil), units: map[unitKey]*unit{}}
		w.cond = sync.NewCond(&w.mu)
		w.doubts = &doubts{w: w}
		w.doubts.cond = sync.NewCond(&w.doubts.mu)
		it := &item{w: w, u: &unit{renewed: time.Now().Add(-c.paused)}, taken: true}
		if c.renewed {
			it.u.extend(time.Now())
		}
		w.units[unitKey{seq: 1}] = it.u
		if c.lost {
			w.lapseLocked()
		}
		begins := w.begins(it, &attemptContext{Context: t.Context()})
		if asked := len(w.doubts.in) == 1; begins == c.asked || asked != c.asked || it.again != c.asked {
			t.Errorf("%s: begins %v, asked about %v, its start recorded %v; want it asked about: %v", c.name, begins, asked, it.again, c.asked)
		}
		if !c.asked {
			continue
		}
		it.again = false // as if its start had been recorded
		if !w.begins(it, &attemptContext{Context: t.Context()}) {
			t.Errorf("%s: it is asked about again, want once for each pause", c.name)
		}
	}
}

// The stop may come while the start is recorded, or the input is fetched: the
// handler is called on what has ended elsewhere by then.
func TestNoHandlerBeginsAfterAPauseOfItsProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		paused  time.Duration // since the run was found to begin
		step    uint8         // of the recorded start
		alive   time.Duration // since the process looked at the clock
		noticed bool          // by the tick
		asked   bool
	}{
		{"no pause", 0, 0, 0, false, false},
		{"a long input", time.Second, 0, 0, false, false},
		{"a recorded start", 0, 2, 0, false, false},
		{"a pause before the handler", time.Second, 0, time.Second, false, true},
		{"a pause while the start was recorded", 0, 2, time.Second, false, true},
		{"the tick goes on first", 0, 2, time.Second, true, true},
	} {
		began := 0
		w := &worker{e: &Engine{}, busy: 1, o: engine.WorkOptions{Exec: func(context.Context, *engine.Attempt) engine.Outcome {
			began++
			return engine.Outcome{}
		}}}
		w.doubts = &doubts{w: w}
		w.doubts.cond = sync.NewCond(&w.doubts.mu)
		now := time.Now()
		w.gaps.alive = now.Add(-c.alive)
		if c.noticed {
			w.gaps.look(now)
		}
		it := &item{w: w, u: &unit{renewed: now}, step: c.step, taken: true, running: true, started: now.Add(-c.paused)}
		_, asked := w.attempt(t.Context(), it)
		if asked != c.asked || (began == 0) != c.asked || (len(w.doubts.in) == 1) != c.asked || (w.busy == 0) != c.asked || it.running == c.asked {
			t.Errorf("%s: %d handlers began, asked about %v, %d slots taken; want it asked about: %v", c.name, began, asked, w.busy, c.asked)
		}
		if want := uint8(1); c.asked && c.step > 0 && it.counted != want {
			t.Errorf("%s: %d recorded starts are no deaths, want %d", c.name, it.counted, want)
		}
	}
}

// The same holds for what is handed back: it would start elsewhere.
func TestRunWhoseLeaseHasEndedIsHandedBackInDoubt(t *testing.T) {
	t.Parallel()
	for paused, want := range map[time.Duration]bool{3 * time.Second: false, ackWait: true} {
		w := &worker{runs: map[engine.ID]*item{}}
		w.flush = &flusher{w: w}
		w.flush.cond = sync.NewCond(&w.flush.mu)
		it := &item{w: w, u: &unit{renewed: time.Now().Add(-paused)}}
		w.handBack(it)
		if it.doubt != want {
			t.Errorf("handed back %v after its last renewal: in doubt %v, want %v", paused, it.doubt, want)
		}
	}
}

// Nor may what came while the process was stopped start elsewhere unasked: others
// may have executed it since.
func TestRunThatCameInAPauseIsHandedOnInDoubt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		stop  bool // before it came
		later bool // before it is handed on
		taken bool
		want  bool
	}{
		{"no pause", false, false, false, false},
		{"it came in a pause", true, false, false, true},
		{"a pause since it came", false, true, false, true},
		{"executed here, in a pause", false, true, true, false},
	} {
		for kind, hand := range map[jobKind]func(*flusher, *item){
			jobRequeue: (*flusher).requeue, jobPark: (*flusher).park, jobDelayed: (*flusher).delayed,
		} {
			w := &worker{runs: map[engine.ID]*item{}}
			w.flush = &flusher{w: w}
			w.flush.cond = sync.NewCond(&w.flush.mu)
			now := time.Now()
			if w.gaps.alive = now; c.stop {
				w.gaps.alive = now.Add(-time.Second)
			}
			it := &item{w: w, u: &unit{renewed: now}, gaps: w.gaps.arrival(now), taken: c.taken}
			if c.later {
				w.gaps.alive = now.Add(-time.Second)
			}
			hand(w.flush, it)
			want := c.want || c.later && kind != jobDelayed // an attempt that only waits its turn again is asked about
			if j := w.flush.pending[0]; j.kind != kind || j.doubt != want {
				t.Errorf("%s, kind %d: in doubt %v, want %v", c.name, kind, j.doubt, want)
			}
		}
	}
}

// A worker that stops while nothing can be written must not wait for room.
func TestHandBackOfAnEndingWorkerNeedsNoRoom(t *testing.T) {
	t.Parallel()
	w := &worker{runs: map[engine.ID]*item{}}
	w.flush = &flusher{w: w, pending: make([]job, maxUnwritten)}
	w.flush.cond = sync.NewCond(&w.flush.mu)
	w.flush.end()
	w.handBack(&item{w: w})
	if n := len(w.flush.pending); n != maxUnwritten+1 {
		t.Errorf("%d outcomes wait, want one more than %d", n, maxUnwritten)
	}
}

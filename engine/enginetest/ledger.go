package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena/engine"
)

// ledger is what handlers and clients saw, in order. Nothing in it changes.
type ledger struct {
	mu     sync.Mutex
	starts map[engine.ID][]start
	shows  map[engine.ID][]show
	wrong  []string
}

// life is a process's, as it were: what one does that has died is not seen.
type life struct{ dead atomic.Bool }

type start struct {
	at      time.Time
	attempt int
	in      *life
	ended   bool
}

type show struct {
	at    time.Time
	state engine.State
	code  engine.Code
	out   []byte
}

func newLedger() *ledger {
	return &ledger{starts: map[engine.ID][]start{}, shows: map[engine.ID][]show{}}
}

// started is told by a handler.
func (l *ledger) started(a *engine.Attempt, in *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := a.Run.ID
	for _, s := range l.starts[id] {
		if !s.in.dead.Load() && !s.ended {
			l.wrong = append(l.wrong, fmt.Sprintf("run %v began while it was under way", id))
		}
	}
	if len(l.shows[id]) > 0 {
		l.wrong = append(l.wrong, fmt.Sprintf("run %v began after its end was shown", id))
	}
	l.starts[id] = append(l.starts[id], start{at: time.Now(), attempt: int(a.Run.Attempt), in: in})
}

func (l *ledger) ended(a *engine.Attempt, in *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ss := l.starts[a.Run.ID]
	for i := range ss {
		if ss[i].in == in && !ss[i].ended {
			ss[i].ended = true
			return
		}
	}
}

// shown is told by a future.
func (l *ledger) shown(r *engine.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := show{at: time.Now(), state: r.State, out: bytes.Clone(r.Output.Data)}
	if r.Output.Apart {
		s.out = []byte(r.Output.Name)
	}
	if r.Failure != nil {
		s.code = r.Failure.Code
	}
	for _, o := range l.shows[r.ID] {
		if o.state != s.state || o.code != s.code || !bytes.Equal(o.out, s.out) {
			l.wrong = append(l.wrong, fmt.Sprintf("run %v was shown %v %q %q, and later %v %q %q", r.ID, o.state, o.code, o.out, s.state, s.code, s.out))
		}
	}
	l.shows[r.ID] = append(l.shows[r.ID], s)
}

func (l *ledger) count(id engine.ID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.starts[id])
}

func (l *ledger) times(id engine.ID) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []time.Time
	for _, s := range l.starts[id] {
		out = append(out, s.at)
	}
	return out
}

// faults lists what must not have happened.
func (l *ledger) faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.wrong)
}

// ends are the states that a run was shown in.
func (l *ledger) ends(id engine.ID) []engine.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []engine.State
	for _, s := range l.shows[id] {
		out = append(out, s.state)
	}
	return out
}

package enginetest

import (
	"bytes"
	"context"
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
	in    *life
	state engine.State
	code  engine.Code
	out   []byte
}

func newLedger() *ledger {
	return &ledger{starts: map[engine.ID][]start{}, shows: map[engine.ID][]show{}}
}

// cancelLag is within which every process knows of a cancel that was shown in one
// of them.
const cancelLag = time.Second

// late says what is wrong with a start after an end was shown, if anything is.
// The process that shows an end has told its own worker before, so an attempt
// that was about to begin finds its context ended; to another live process a
// cancel may be news for a moment. No other end comes from anywhere but the
// worker that has the run, or stands before the start that was recorded.
func (s *show) late(ctx context.Context, in *life, now time.Time) bool {
	switch {
	case ctx.Err() != nil:
		return false
	case s.in != in && !s.in.dead.Load() && s.state == engine.Cancelled:
		return now.Sub(s.at) > cancelLag
	default:
		return true
	}
}

// started is told by a handler.
func (l *ledger) started(ctx context.Context, a *engine.Attempt, in *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := a.Run.ID
	for _, s := range l.starts[id] {
		givenUp := a.Run.Timeout > 0 && time.Since(s.at) > a.Run.Timeout+10*time.Second
		if !s.in.dead.Load() && !s.ended && !givenUp {
			l.wrong = append(l.wrong, fmt.Sprintf("run %v began while it was under way", id))
		}
	}
	now := time.Now()
	for _, s := range l.shows[id] {
		if s.late(ctx, in, now) {
			l.wrong = append(l.wrong, fmt.Sprintf("run %v (%s, rev %d, attempt %d, deaths %d, doubt %v) began %v after its end was shown, as %v, in %s; starts before: %s",
				id, a.Run.Task, a.Run.Rev, a.Run.Attempt, a.Run.Deaths, a.Run.Doubt, now.Sub(s.at), s.state, s.in.seenFrom(in), l.startsLocked(id, in, now)))
			break
		}
	}
	l.starts[id] = append(l.starts[id], start{at: now, attempt: int(a.Run.Attempt), in: in})
}

// seenFrom names a process, for people.
func (l *life) seenFrom(in *life) string {
	switch {
	case l == in:
		return "this process"
	case l.dead.Load():
		return "one that died"
	default:
		return "another"
	}
}

func (l *ledger) startsLocked(id engine.ID, in *life, now time.Time) string {
	var out []string
	for _, s := range l.starts[id] {
		out = append(out, fmt.Sprintf("attempt %d %v ago in %s, ended %v", s.attempt, now.Sub(s.at), s.in.seenFrom(in), s.ended))
	}
	return fmt.Sprint(out)
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
func (l *ledger) shown(r *engine.Record, in *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := show{at: time.Now(), in: in, state: r.State, out: bytes.Clone(r.Output.Data)}
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

// told are the runs whose ends were shown.
func (l *ledger) told() map[engine.ID]engine.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[engine.ID]engine.State{}
	for id, s := range l.shows {
		out[id] = s[0].state
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

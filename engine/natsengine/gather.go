package natsengine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// submitter gathers what callers submit at the same time. Who finds nobody before
// it publishes by itself; what comes meanwhile a goroutine publishes together,
// and what comes meanwhile after that. One commit is for all of a submission.
type submitter struct {
	e    *Engine
	mu   sync.Mutex
	next *submission // gathers; nil if nothing has come
	busy bool
}

// submission is what one or more callers submit together.
type submission struct {
	calls int
	msgs  []envelope
	arena []byte
	done  chan struct{}
	err   error
}

// envelope is the message of one run, or of several of a task known to be short.
type envelope struct {
	kind    engine.Write
	subject string
	pos     string // of the index
	header  nats.Header
	data    []byte
	seq     uint64  // once stored
	task    taskKey // of all its runs
	room    int     // for how many more runs
}

// arenaSize is how many bytes of envelopes are allocated at once.
const arenaSize = 8 << 10

// add encodes a run. Up to chunk runs of its task may go as one message.
func (s *submission) add(r *engine.Run, chunk int) {
	key := taskKey{r.Queue, r.Task}
	late := r.At > time.Now().Add(soon).UnixMilli()
	if n := len(s.msgs) - 1; n >= 0 && !late && s.msgs[n].room > 0 && s.msgs[n].task == key && len(s.msgs[n].data)+len(r.Input.Data) < maxMessage-1024 {
		m := &s.msgs[n]
		m.data = engine.AppendRun(m.data, r)
		m.room--
		return
	}
	m := envelope{task: key, room: chunk - 1}
	if chunk > 1 {
		m.data = engine.AppendRun(make([]byte, 0, min(chunk, 8)*(256+len(r.Input.Data))), r)
	} else {
		if free := cap(s.arena) - len(s.arena); free < 512+len(r.Input.Data) {
			s.arena = make([]byte, 0, max(arenaSize, 512+len(r.Input.Data)))
		}
		n := len(s.arena)
		m.data = engine.AppendRun(s.arena[n:n:cap(s.arena)], r)
		if n+len(m.data) <= cap(s.arena) { // else it has grown out of the arena
			s.arena = s.arena[:n+len(m.data)]
		}
	}
	if late {
		m.kind, m.pos, m.room = engine.WriteDelayed, posDelayed, 0
		m.subject, m.header = delayed(r)
	} else {
		m.kind, m.pos, m.subject = engine.WriteEnvelope, posQueue(r.Queue), queueSubject(r.Queue)
	}
	s.msgs = append(s.msgs, m)
}

// do submits runs together with what others submit now. An error that is
// errUnanswered leaves it open whether they are stored.
func (s *submitter) do(ctx context.Context, runs []engine.Run) error {
	if len(runs) == 0 {
		return nil
	}
	e := s.e
	s.mu.Lock()
	if !s.busy {
		s.busy = true
		s.mu.Unlock()
		return s.alone(ctx, runs)
	}
	if s.next == nil {
		s.next = &submission{done: make(chan struct{})}
	}
	sub := s.next
	sub.calls++
	for i := range runs {
		sub.add(&runs[i], e.paces.chunk(runs[i].Queue, runs[i].Task))
	}
	s.mu.Unlock()
	select {
	case <-sub.done:
		return sub.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnanswered, context.Cause(ctx))
	}
}

// alone submits for the caller that finds nobody before it.
func (s *submitter) alone(ctx context.Context, runs []engine.Run) error {
	sub := &submission{}
	for i := range runs {
		sub.add(&runs[i], s.e.paces.chunk(runs[i].Queue, runs[i].Task))
	}
	err := s.e.publish(ctx, sub)
	s.mu.Lock()
	if s.busy = s.next != nil; s.busy {
		go s.run()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err = s.e.commit(ctx); err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return err
}

// run publishes until nothing has come meanwhile.
func (s *submitter) run() {
	for {
		s.mu.Lock()
		sub := s.next
		s.next = nil
		s.busy = sub != nil
		s.mu.Unlock()
		if sub == nil {
			return
		}
		err := s.e.publish(s.e.ctx, sub)
		if err != nil || s.e.cfg.Commit == nil && s.e.cfg.Hook == nil {
			sub.end(err)
			continue
		}
		go func() { sub.end(s.e.commitFor(s.e.ctx, sub.calls)) }()
	}
}

// end tells the callers. Of several nobody knows whose run was not stored: each
// tries again by itself.
func (s *submission) end(err error) {
	if err != nil && s.calls > 1 && !errors.Is(err, errUnanswered) {
		err = fmt.Errorf("%w: %w", errUnanswered, err)
	}
	s.err = err
	close(s.done)
}

// publish stores a submission's messages.
func (e *Engine) publish(ctx context.Context, s *submission) error {
	g := e.pub.group()
	var err error
	for i := range s.msgs {
		m := &s.msgs[i]
		if err = g.addSeq(ctx, m.kind, m.subject, m.header, m.data, &m.seq); err != nil {
			break
		}
	}
	if err = errors.Join(err, g.wait(ctx)); err != nil {
		return err // later answers may still come
	}
	pos, high := "", uint64(0)
	for i := range s.msgs {
		m := &s.msgs[i]
		if m.pos != pos {
			e.wrote.note(pos, high)
			pos, high = m.pos, 0
		}
		high = max(high, m.seq)
	}
	e.wrote.note(pos, high)
	return nil
}

// delayed is where a run that is to start at r.At is published. The subject names
// run and revision, so doing it twice replaces.
func delayed(r *engine.Run) (subject string, h nats.Header) {
	return delayedSubject(r.Queue, r.ID, r.Rev), nats.Header{
		"Nats-Schedule":        {"@at " + time.UnixMilli(r.At).UTC().Format(time.RFC3339Nano)},
		"Nats-Schedule-Target": {dueSubject(r.Queue)},
	}
}

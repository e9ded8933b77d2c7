package natsengine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// submission is what one or more callers submit together.
type submission struct {
	calls int
	*letters

	large  *largeInputs // of its runs; nil if there are none
	server string       // that it was published to
	done   chan struct{}
	err    error
}

// letters are a submission's messages, and the memory that they stand in. They
// are used again once all have been answered.
type letters struct {
	msgs  []envelope
	arena []byte
}

// envelope is the message of one run, or of several of a task that is not known
// to be slow.
type envelope struct {
	kind    engine.Write
	subject string
	pos     string // of the index
	header  nats.Header
	data    []byte
	at      int     // where it begins in the arena
	seq     uint64  // once stored
	task    taskKey // of all its runs
	room    int     // for how many more runs
}

const (
	// arenaSize is how many bytes of envelopes are allocated at once.
	arenaSize = 8 << 10
	// arenaMost and lettersMost bound what is kept to be used again.
	arenaMost   = 64 << 10
	lettersMost = 256
)

// add encodes a run. Up to chunk runs of its task may go as one message.
func (s *letters) add(r *engine.Run, chunk int) {
	key := taskKey{r.Queue, r.Task}
	late := r.At > time.Now().Add(soon).UnixMilli()
	n := len(s.msgs) - 1
	if n < 0 || late || s.msgs[n].room <= 0 || s.msgs[n].task != key || len(s.msgs[n].data)+len(r.Input.Data) >= maxMessage-1024 {
		if cap(s.arena)-len(s.arena) < 512+len(r.Input.Data) {
			s.arena = make([]byte, 0, max(arenaSize, 512+len(r.Input.Data)))
		}
		m := envelope{kind: engine.WriteEnvelope, pos: posQueue(r.Queue), task: key, room: chunk, at: len(s.arena)}
		if late {
			m.kind, m.pos, m.room = engine.WriteDelayed, posDelayed, 1
			m.subject, m.header = delayed(r)
		} else {
			m.subject = queueSubject(r.Queue)
		}
		m.data = s.arena[m.at:m.at:cap(s.arena)]
		s.msgs = append(s.msgs, m)
		n++
	}
	m := &s.msgs[n]
	m.data = engine.AppendRun(m.data, r)
	m.room--
	if end := m.at + len(m.data); end <= cap(s.arena) { // else it has grown out of the arena
		s.arena = s.arena[:end]
	}
}

// letters takes used ones, if there are any.
func (s *submitter) letters() *letters {
	if l, ok := s.spare.Get().(*letters); ok {
		return l
	}
	return new(letters)
}

// recycle keeps letters that have all been answered.
func (s *submitter) recycle(l *letters) {
	if cap(l.arena) > arenaMost || cap(l.msgs) > lettersMost {
		return
	}
	clear(l.msgs)
	l.msgs, l.arena = l.msgs[:0], l.arena[:0]
	s.spare.Put(l)
}

// publish stores a submission's messages.
func (e *Engine) publish(ctx context.Context, s *submission) error {
	g := e.pub.group()
	if s.server = g.server; s.large.gone(e, g.server) {
		return errMoved
	}
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
	e.submit.recycle(s.letters)
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

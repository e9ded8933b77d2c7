package natsengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// follower reads the log in order: it tells the worker and watchers of ends, and
// feeds the index. In strict mode it lets nobody see what is not on disk; only
// the worker knows at once, because what has an end must not begin, and if a
// power cut takes the end it takes the decision's effect too: the message is
// delivered again.
type follower struct {
	e    *Engine
	tail *tail
	dec  engine.Decoder
	seen atomic.Uint64 // sequence handled up to
	ends []end         // of the segment at hand
	rec  engine.Record // the one at hand

	mu     sync.Mutex // of what follows
	cond   *sync.Cond
	server string    // that the log is on
	read   uint64    // sequence that the worker knows up to
	held   []segment // read and not handled yet
}

// segment is one message of the log.
type segment struct {
	data  []byte
	seq   uint64
	nanos int64
}

func startFollower(ctx context.Context, e *Engine) (*follower, error) {
	f := &follower{e: e}
	f.cond = sync.NewCond(&f.mu)
	var from spot
	if e.holder != nil {
		from.seq = e.holder.position(posLog)
	} else {
		s, err := e.js.Stream(ctx, streamLog)
		if err != nil {
			return nil, fmt.Errorf("open the log: %w", unavailable(err))
		}
		i := s.CachedInfo()
		from = spot{i.State.LastSeq, i.State.LastTime.UnixNano()}
	}
	f.read = from.seq
	f.seen.Store(from.seq)
	if e.cfg.Commit != nil {
		if err := f.commitOld(ctx); err != nil {
			return nil, err
		}
		e.wg.Go(f.release)
	}
	t := &tail{e: e, stream: streamLog, subject: subjectLog, take: f.take, moved: f.moved, last: from}
	if e.holder == nil {
		t.back = f.missed()
	}
	if err := t.start(); err != nil {
		return f, err
	}
	f.tail = t
	return f, nil
}

// commitOld syncs once for all that the log holds by now. Else each segment of a
// long log would wait for a sync of its own when the index is built anew.
func (f *follower) commitOld(ctx context.Context) error {
	if f.e.holder == nil {
		return nil
	}
	last, err := f.e.last(ctx, streamLog)
	if err != nil || last == 0 {
		return err
	}
	if err := f.e.cfg.Commit.WaitMark(ctx, last); err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	return nil
}

func (f *follower) stop() {
	if f.tail != nil {
		f.tail.stop()
	}
	f.mu.Lock()
	f.cond.Broadcast()
	f.mu.Unlock()
}

// take tells the worker of one segment and hands it on.
func (f *follower) take(m *nats.Msg, seq uint64, nanos int64) {
	e := f.e
	if err := f.tellWorker(m.Data, seq); err != nil {
		e.fatal(fmt.Errorf("read the log at %d: %w", seq, err))
		return
	}
	s := segment{m.Data, seq, nanos}
	f.mu.Lock()
	f.read = seq
	if e.cfg.Commit != nil {
		f.held = append(f.held, s)
	}
	f.cond.Broadcast()
	f.mu.Unlock()
	if e.cfg.Commit == nil {
		f.handle(s)
	}
}

// moved is told that the log goes on after a sequence on another server, which may
// have lost what was read from there on: that is nobody's end any more. The worker
// is told before the log counts as being there: who asks on, and then who has
// ended, is told of no end that is not on that server.
func (f *follower) moved(server string, seq uint64, same bool) {
	e := f.e
	if !same {
		e.wrote.forget()
		if w := e.worker.Load(); w != nil {
			w.notEnded(seq)
		}
	}
	f.mu.Lock()
	f.server = server
	if !same {
		f.read = seq
		f.held = slices.DeleteFunc(f.held, func(s segment) bool { return s.seq > seq })
	}
	f.cond.Broadcast()
	f.mu.Unlock()
}

// on is the server that the log is known to be on.
func (f *follower) on() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server
}

// tellWorker tells the worker of the ends in a segment.
func (f *follower) tellWorker(data []byte, seq uint64) error {
	w := f.e.worker.Load()
	if w == nil {
		return nil
	}
	f.ends = f.ends[:0]
	err := engine.Frames(data, func(body []byte, _ int) error {
		if len(body) < 17 {
			return fmt.Errorf("record of %d bytes", len(body))
		}
		if state := engine.State(body[16]); state.Terminal() {
			f.ends = append(f.ends, end{engine.ID(body[:16]), state, seq})
		}
		return nil
	})
	w.ended(f.ends)
	return err
}

// end is that a run has a terminal record.
type end struct {
	id    engine.ID
	state engine.State
	seq   uint64 // of the segment
}

// notEnded is told that the log has lost what stood after a sequence: the ends that
// it told of are none.
func (w *worker) notEnded(after uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range w.runs {
		if it.ended && it.endedAt > after {
			it.ended, it.doubt = false, true
		}
	}
}

// release handles segments once they are on disk.
func (f *follower) release() {
	e := f.e
	for e.ctx.Err() == nil {
		seq, server, ok := f.waits()
		if !ok {
			return
		}
		err := e.waitMark(e.ctx, server, seq)
		switch {
		case err == nil:
			if s, ok := f.pop(server, seq); ok {
				f.handle(s)
			}
		case errors.Is(err, errMoved): // so the log will, or its connection comes back
			if sleep(e.ctx, markWait) != nil {
				return
			}
		case e.ctx.Err() == nil:
			e.fatal(fmt.Errorf("wait for the log's commit: %w", err))
			return
		}
	}
}

// waits gives the segment that is to be handled next, and the server that it is
// known to be on; false when the engine closes.
func (f *follower) waits() (seq uint64, server string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.held) == 0 {
		if f.e.ctx.Err() != nil {
			return 0, "", false
		}
		f.cond.Wait()
	}
	return f.held[0].seq, f.server, true
}

// pop takes that segment, unless it turned out not to be on that server meanwhile.
func (f *follower) pop(server string, seq uint64) (s segment, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.held) == 0 || f.held[0].seq != seq || f.server != server {
		return s, false
	}
	s, f.held[0] = f.held[0], segment{}
	f.held = f.held[1:]
	return s, true
}

// handle shows one segment to watchers and the index.
func (f *follower) handle(s segment) {
	e := f.e
	var ch *change
	if e.holder != nil {
		ch = e.holder.change(posLog, s.seq, s.nanos)
	}
	e.wrote.note(posLog, s.seq) // who is told of an end must not read an older state
	err := engine.Frames(s.data, func(body []byte, off int) error {
		return f.record(body, off, s.seq, ch)
	})
	if err != nil {
		e.fatal(fmt.Errorf("read the log at %d: %w", s.seq, err))
		return
	}
	if ch != nil {
		e.holder.feed(ch)
	}
	f.seen.Store(s.seq)
}

func (f *follower) wake() {
	f.mu.Lock()
	f.cond.Broadcast()
	f.mu.Unlock()
}

func (f *follower) record(body []byte, off int, seq uint64, ch *change) error {
	e := f.e
	if len(body) < 17 {
		return fmt.Errorf("record of %d bytes", len(body))
	}
	id := engine.ID(body[:16])
	var told watch
	var held bool
	if engine.State(body[16]).Terminal() {
		told, held = e.watches.take(id)
	}
	watched := told != (watch{})
	if ch == nil && !watched {
		return nil
	}
	f.rec = engine.Record{}
	if err := f.dec.Record(body, &f.rec); err != nil {
		return err
	}
	if ch != nil {
		ch.rows = append(ch.rows, recordRow(&f.rec, seq, off))
	}
	if watched {
		r := f.rec
		r.Output.Data = bytes.Clone(r.Output.Data) // a future must not keep the whole segment
		if held {
			e.watches.hold(&r)
		} else {
			told.tell(&r)
		}
	}
	return nil
}

// passed waits until the worker knows of all ends in the log of a server up to
// seq. at tells which server has the log as far as the caller knows: once that is
// another one, and the follower has not come so far on this, it never will. Who
// waits has to wake it when that may have changed.
func (f *follower) passed(ctx context.Context, at func() string, server string, seq uint64) error {
	stop := context.AfterFunc(ctx, f.wake)
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.read < seq || f.server != server {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := context.Cause(f.e.ctx); err != nil {
			return err
		}
		if at() != server {
			return errMoved
		}
		f.cond.Wait()
	}
	return nil
}

package natsengine

import (
	"bytes"
	"context"
	"fmt"
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
	read atomic.Uint64 // sequence that the worker knows up to
	seen atomic.Uint64 // sequence handled up to
	ends []end         // of the segment at hand
	rec  engine.Record // the one at hand
	held chan segment  // read and not handled yet; nil in fast mode

	mu   sync.Mutex
	cond *sync.Cond
}

// segment is one message of the log.
type segment struct {
	data  []byte
	seq   uint64
	nanos int64
}

// heldMost bounds the segments that wait for their commit.
const heldMost = 64

func startFollower(ctx context.Context, e *Engine) (*follower, error) {
	f := &follower{e: e}
	f.cond = sync.NewCond(&f.mu)
	var from uint64
	if e.holder != nil {
		from = e.holder.position(posLog)
	} else {
		s, err := e.js.Stream(ctx, streamLog)
		if err != nil {
			return nil, fmt.Errorf("open the log: %w", unavailable(err))
		}
		from = s.CachedInfo().State.LastSeq
	}
	f.read.Store(from)
	f.seen.Store(from)
	if e.cfg.Commit != nil {
		if err := f.commitOld(ctx); err != nil {
			return nil, err
		}
		f.held = make(chan segment, heldMost)
		e.wg.Go(f.release)
	}
	t, err := e.tail(subjectLog, from+1, f.take)
	f.tail = t
	return f, err
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
	if err := f.tellWorker(m.Data); err != nil {
		e.fatal(fmt.Errorf("read the log at %d: %w", seq, err))
		return
	}
	f.read.Store(seq)
	f.wake()
	s := segment{m.Data, seq, nanos}
	if f.held == nil {
		f.handle(s)
		return
	}
	select {
	case f.held <- s:
	case <-e.ctx.Done():
	}
}

// tellWorker tells the worker of the ends in a segment.
func (f *follower) tellWorker(data []byte) error {
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
			f.ends = append(f.ends, end{engine.ID(body[:16]), state})
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
}

// release handles segments once they are on disk.
func (f *follower) release() {
	e := f.e
	for {
		select {
		case s := <-f.held:
			if err := e.cfg.Commit.WaitMark(e.ctx, s.seq); err != nil {
				if e.ctx.Err() == nil {
					e.fatal(fmt.Errorf("wait for the log's commit: %w", err))
				}
				return
			}
			f.handle(s)
		case <-e.ctx.Done():
			return
		}
	}
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

// passed waits until the worker knows of all ends in the log up to seq.
func (f *follower) passed(ctx context.Context, seq uint64) error {
	if f.read.Load() >= seq {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		f.cond.Broadcast()
		f.mu.Unlock()
	})
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.read.Load() < seq {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := context.Cause(f.e.ctx); err != nil {
			return err
		}
		f.cond.Wait()
	}
	return nil
}

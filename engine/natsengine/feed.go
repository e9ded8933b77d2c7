package natsengine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// change is what one message means to the index.
type change struct {
	pos  string
	seq  uint64
	time int64
	rows []index.Row

	marks []index.Mark
}

// change makes an empty one, of what has been applied if there is any.
func (h *holder) change(pos string, seq uint64, nanos int64) *change {
	c, ok := h.spare.Get().(*change)
	if !ok {
		c = new(change)
	}
	c.pos, c.seq, c.time = pos, seq, nanos
	return c
}

// recycle keeps applied changes for later, but for large ones.
func (h *holder) recycle(batch []*change) {
	for _, c := range batch {
		if cap(c.rows) > feedRows {
			continue
		}
		c.marks = nil
		clear(c.rows)
		c.rows = c.rows[:0]
		h.spare.Put(c)
	}
}

// Gathering of changes into one transaction of the index.
const (
	feedRows = 8192
	feedWait = 20 * time.Millisecond
)

// takeQueue makes rows of queued runs.
func (h *holder) takeQueue(pos string) func(*nats.Msg, uint64, int64) {
	var dec engine.Decoder
	return func(m *nats.Msg, seq uint64, nanos int64) {
		c := h.change(pos, seq, nanos)
		if mf, ok := parseManifest(m.Header); ok {
			h.addBatch(c, &dec, mf)
		} else {
			h.addRuns(c, &dec, m.Data, srcQueue, seq)
		}
		h.feed(c)
	}
}

// batchFor is for how long it is tried to read a batch: until it is expanded, its
// runs would count as unknown, and a server that starts anew is soon back.
const batchFor = time.Minute

// addBatch adds the runs of a batch that has not been expanded, all or none.
func (h *holder) addBatch(c *change, dec *engine.Decoder, m manifest) {
	c.rows = slices.Grow(c.rows, m.runs)
	for begun := time.Now(); ; {
		err := h.e.staged(h.e.ctx, m, func(part []byte) error {
			h.addRuns(c, dec, part, srcStage, c.seq)
			return nil
		})
		if err == nil {
			return
		}
		c.rows = c.rows[:0]
		if errors.Is(err, errIncomplete) { // it is expanded and gone, or was never whole
			return
		}
		h.e.logError("the index holder", "read a batch", err)
		if time.Since(begun) > batchFor || sleep(h.e.ctx, retryPause) != nil {
			return
		}
	}
}

func (h *holder) addRuns(c *change, dec *engine.Decoder, data []byte, src uint8, seq uint64) {
	var r engine.Run
	err := engine.Frames(data, func(body []byte, off int) error {
		r = engine.Run{}
		if err := dec.Run(body, &r); err != nil {
			return err
		}
		c.rows = append(c.rows, runRow(&r, src, seq, off))
		if r.Deadline != 0 {
			h.deadlines.add(r.ID, r.Deadline)
		}
		return nil
	})
	if err != nil {
		h.e.log.Error("read an envelope for the index", "stream", c.pos, "seq", seq, "error", err)
	}
}

// takeDelayed makes rows of scheduled and retrying runs, and of those whose time
// has come.
func (h *holder) takeDelayed(pos string) func(*nats.Msg, uint64, int64) {
	var dec engine.Decoder
	return func(m *nats.Msg, seq uint64, nanos int64) {
		c := h.change(pos, seq, nanos)
		src := srcParked
		switch {
		case hasPrefix(m.Subject, prefix+".d.at."):
			src = srcDelayed
		case hasPrefix(m.Subject, prefix+".d.due."):
			src = srcDue
		}
		h.addRuns(c, &dec, m.Data, src, seq)
		h.feed(c)
	}
}

// takeHome makes rows of long runs that have left their queues.
func (h *holder) takeHome(pos string) func(*nats.Msg, uint64, int64) {
	var dec engine.Decoder
	return func(m *nats.Msg, seq uint64, nanos int64) {
		c := h.change(pos, seq, nanos)
		if _, err := engine.ParseID(m.Subject[len(subjectHome):]); err == nil { // else it is a note
			h.addRuns(c, &dec, m.Data, srcHome, seq)
		}
		h.feed(c)
	}
}

// feed hands a change to the index's writer. It blocks while the writer is
// behind.
func (h *holder) feed(c *change) {
	pos, seq := c.pos, c.seq // it is the writer's then
	select {
	case h.in <- c:
		h.mu.Lock()
		h.got[pos] = max(h.got[pos], seq)
		h.mu.Unlock()
	case <-h.e.ctx.Done():
	}
}

// run writes the index. It ends with the first changes that it did not write, and
// writes none when the engine has ended, since one before may not have been fed: a
// position that went beyond them would leave them out for ever.
func (h *holder) run() {
	defer close(h.done)
	for {
		select {
		case c := <-h.in:
			batch := h.gather(c)
			if h.e.ctx.Err() != nil || !h.apply(batch) {
				return
			}
		case <-h.e.ctx.Done():
			return
		}
	}
}

// gather takes changes until there are many, or time is up, or somebody waits
// and there is no more.
func (h *holder) gather(c *change) []*change {
	batch, rows := []*change{c}, len(c.rows)
	var timer *time.Timer
	for rows < feedRows {
		select {
		case c := <-h.in:
			batch, rows = append(batch, c), rows+len(c.rows)
			continue
		default:
		}
		if h.hurry.Load() > 0 {
			break
		}
		if timer == nil {
			timer = time.NewTimer(feedWait)
			defer timer.Stop()
		}
		poll := time.NewTimer(feedWait / 10)
		select {
		case c := <-h.in:
			batch, rows = append(batch, c), rows+len(c.rows)
			poll.Stop()
			continue
		case <-poll.C:
			continue
		case <-timer.C:
		case <-h.e.ctx.Done():
		}
		poll.Stop()
		break
	}
	return batch
}

// apply writes changes; false if they cannot be written any more.
func (h *holder) apply(batch []*change) bool {
	if h.e.cfg.Commit != nil && !onlyLog(batch) {
		if err := h.e.cfg.Commit.Wait(h.e.ctx, 0); err != nil { // nobody is shown what is not on disk
			return false
		}
	}
	changes := make([]index.Change, len(batch))
	for i, c := range batch {
		changes[i] = index.Change{Pos: c.pos, Seq: c.seq, Time: c.time, Rows: c.rows, Marks: c.marks}
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		done, err := h.ix.Apply(changes)
		if err == nil {
			h.forgetDeadlines(changes, done.Over)
			break
		}
		h.e.log.Error("write to the index", "error", err)
		if errors.Is(err, index.ErrDamaged) || errors.Is(err, index.ErrTaken) {
			h.damaged(err)
			return false
		}
		if sleep(h.e.ctx, pause) != nil {
			return false
		}
	}
	h.mu.Lock()
	for _, c := range batch {
		h.applied[c.pos] = max(h.applied[c.pos], c.seq)
	}
	h.cond.Broadcast()
	h.mu.Unlock()
	h.recycle(batch)
	return true
}

// damaged ends the engine with an index that is of no use any more. A damaged one
// is removed, so that the next start builds it anew.
func (h *holder) damaged(err error) {
	if errors.Is(err, index.ErrDamaged) {
		if rerr := index.Remove(h.cfg.Path); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}
	h.e.fatal(fmt.Errorf("the index is of no use: %w; start again", err))
}

func onlyLog(batch []*change) bool {
	for _, c := range batch {
		if c.pos != posLog {
			return false
		}
	}
	return true
}

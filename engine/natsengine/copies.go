package natsengine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// A copy of a failed or cancelled run is written before its record, which decides.
// A process that dies between the two leaves an orphan: the run has not ended. Of
// two who end a run at the same time both write a copy, and the copy of the one
// whose record came second does not count, wherever it stands. So nothing of the
// log is purged before its records' copies are resolved: those that do not count
// are deleted. Up to where that is done is noted before the purge.

// subjectResolved is where it is noted. No run has such an id.
const subjectResolved = subjectHome + "copies"

// orphanAge is how old a copy is before it may be taken for an orphan: its record
// follows within moments.
const orphanAge = 10 * time.Minute

// resolveMost bounds the copies looked at in one go.
const resolveMost = 20_000

// copied is a copy's place and time.
type copied struct {
	id    engine.ID
	seq   uint64
	nanos int64
}

// recoverFailed reads the copies of failed and cancelled runs into an index that
// was built anew: their records may be gone from the log. Of copies that are not
// resolved the log has all records, and has been applied.
func (h *holder) recoverFailed(ctx context.Context) error {
	h.mu.Lock()
	_, done := h.applied[posFailed]
	h.mu.Unlock()
	if done { // the log tells of newer ones
		return nil
	}
	if err := h.recoverRetried(ctx); err != nil {
		return err
	}
	upto, err := h.resolvedUpto(ctx)
	if err != nil {
		return err
	}
	var rows []index.Row
	end, err := h.copies(ctx, 1, math.MaxUint64, func(c copied, run *engine.Run, rec *engine.Record) {
		if c.seq > upto {
			return
		}
		rec.CopySeq = c.seq
		row := recordRow(rec, c.seq, 0)
		row.Objects = run != nil && run.Input.Apart
		rows = append(rows, row)
	})
	if err != nil {
		return err
	}
	h.feed(&change{pos: posFailed, seq: end.seq, time: end.nanos, rows: rows})
	for { // the position is the mark that this is done
		h.mu.Lock()
		_, done := h.applied[posFailed]
		h.mu.Unlock()
		if done {
			return nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("read failed runs: %w", err)
		}
		if h.e.ctx.Err() != nil {
			return errClosed
		}
	}
}

// resolvedUpto is up to where copies are known to count.
func (h *holder) resolvedUpto(ctx context.Context) (uint64, error) {
	m, err := h.e.getLast(ctx, streamHome, subjectResolved)
	if err != nil || m == nil {
		return 0, err
	}
	upto, err := strconv.ParseUint(string(m.data), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read up to where the copies of failed runs count: %w", err)
	}
	return upto, nil
}

// copies passes on the copies from one sequence to another that there are now, and
// gives the last one.
func (h *holder) copies(ctx context.Context, from, upto uint64, take func(copied, *engine.Run, *engine.Record)) (end copied, err error) {
	newest, err := h.e.getLast(ctx, streamFailed, subjectFailed)
	if err != nil || newest == nil || newest.seq < from {
		return end, err
	}
	upto = min(upto, newest.seq)
	done := make(chan struct{})
	var mu sync.Mutex // of what follows
	over := false
	t, err := h.e.tail(streamFailed, subjectFailed, from, func(m *nats.Msg, seq uint64, nanos int64) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		if seq >= upto {
			over = true
			defer close(done)
		}
		if seq > upto { // the last ones are gone
			return
		}
		end = copied{seq: seq, nanos: nanos}
		run, rec, err := readCopy(m.Data)
		if err != nil {
			h.e.log.ErrorContext(ctx, "read the copy of a failed run", "seq", seq, "error", err)
		} else {
			take(copied{rec.ID, seq, nanos}, run, rec)
		}
	})
	if err != nil {
		return end, err
	}
	defer t.stop()
	look := time.NewTicker(recheck)
	defer look.Stop()
	for {
		select {
		case <-done:
			return end, nil
		case <-ctx.Done():
			return copied{}, fmt.Errorf("read failed runs: %w", context.Cause(ctx))
		case <-h.e.ctx.Done():
			return copied{}, errClosed
		case <-look.C:
		}
		newest, err := h.e.getLast(ctx, streamFailed, subjectFailed)
		if err != nil {
			return copied{}, err
		}
		mu.Lock()
		if !over && (newest == nil || newest.seq <= end.seq) { // their time was over while they were read
			over = true
			close(done)
		}
		mu.Unlock()
	}
}

// known gives the index's rows of runs.
func (h *holder) known(ids []engine.ID) (map[engine.ID]*index.Row, error) {
	keys := make([]index.ID, len(ids))
	for i, id := range ids {
		keys[i] = index.ID(id)
	}
	rows, err := h.ix.Find(keys)
	if err != nil {
		return nil, fmt.Errorf("ask the index: %w", err)
	}
	out := make(map[engine.ID]*index.Row, len(rows))
	for i := range rows {
		out[engine.ID(rows[i].ID)] = &rows[i]
	}
	return out, nil
}

// resolving is up to where copies have been resolved, and the log may be purged.
type resolving struct {
	done     uint64 // copies up to here count, or are gone
	log      uint64 // records up to here have only such copies
	nextLog  uint64 // so will those up to here have, once copies up to next are resolved
	next     uint64
	underWay bool
}

// resolve goes on with the copies. It gives up to where the log may be purged.
func (k *keeper) resolve(ctx context.Context, now time.Time) (uint64, error) {
	h, r := k.h, &k.resolving
	if !r.underWay {
		r.nextLog = h.position(posLog) // before the copies: those of its records are there
		newest, err := h.e.last(ctx, streamFailed)
		if err != nil {
			return r.log, err
		}
		r.next, r.underWay = newest, true
	}
	if r.done < r.next {
		if err := k.resolveSome(ctx, now); err != nil {
			return r.log, err
		}
	}
	if r.done >= r.next {
		r.log, r.underWay = r.nextLog, false
	}
	return r.log, nil
}

// resolveSome looks at the next copies, until one whose run has not ended yet.
func (k *keeper) resolveSome(ctx context.Context, now time.Time) error {
	h, r := k.h, &k.resolving
	var some []copied
	upto := min(r.next, r.done+resolveMost)
	if _, err := h.copies(ctx, r.done+1, upto, func(c copied, _ *engine.Run, _ *engine.Record) { some = append(some, c) }); err != nil {
		return err
	}
	if len(some) > 0 {
		if err := h.barrierNow(ctx); err != nil { // a run that is not known then is forgotten
			return err
		}
	}
	for part := range slices.Chunk(some, 500) {
		ids := make([]engine.ID, len(part))
		for i, c := range part {
			ids[i] = c.id
		}
		known, err := h.known(ids)
		if err != nil {
			return err
		}
		for _, c := range part {
			row := known[c.id]
			open := row != nil && !engine.State(row.State).Terminal()
			if open && now.Sub(time.Unix(0, c.nanos)) < orphanAge {
				return nil
			}
			if row == nil || row.Stream != srcFailed || row.Seq != c.seq {
				if err := h.e.drop(ctx, streamFailed, c.seq); err != nil {
					return err
				}
			}
			r.done = c.seq
		}
	}
	r.done = upto
	return nil
}

// noteResolved notes up to where copies count, before the log is purged up to where
// they have been resolved for.
func (h *holder) noteResolved(ctx context.Context, upto uint64) error {
	return h.e.hooked(engine.WriteResolved, func() error {
		_, err := h.e.js.PublishMsg(ctx, &nats.Msg{Subject: subjectResolved, Data: strconv.AppendUint(nil, upto, 10)})
		if err != nil {
			return fmt.Errorf("note which copies of failed runs count: %w", unavailable(err))
		}
		return nil
	})
}

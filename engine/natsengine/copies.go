package natsengine

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// A copy of a failed or cancelled run is written before its record, which decides.
// A process that dies between the two leaves an orphan: the run has not ended.

// orphanAge is how old a copy is before it may be taken for an orphan: its record
// follows within moments.
const orphanAge = 10 * time.Minute

// copied is a copy's place and time.
type copied struct {
	id    engine.ID
	seq   uint64
	nanos int64
}

// recoverFailed reads the copies of failed and cancelled runs into an index that
// was built anew: their records may be gone from the log. What the log, as far as
// it goes back, says of a run has been applied before, and decides.
func (h *holder) recoverFailed(ctx context.Context) error {
	h.mu.Lock()
	_, done := h.applied[posFailed]
	h.mu.Unlock()
	if done { // the log tells of newer ones
		return nil
	}
	since, err := h.logSince(ctx)
	if err != nil {
		return err
	}
	// Of several copies of a run the last counts: one before it was written by a
	// process that died before its record.
	last, recent := map[engine.ID]index.Row{}, map[engine.ID]bool{}
	end, err := h.copies(ctx, func(c copied, run *engine.Run, rec *engine.Record) {
		rec.CopySeq = c.seq
		row := recordRow(rec, c.seq, 0)
		row.Objects = run != nil && run.Input.Apart
		last[c.id], recent[c.id] = row, c.nanos >= since
	})
	if err != nil {
		return err
	}
	for ids := range slices.Chunk(slices.Collect(maps.Keys(last)), 500) {
		known, err := h.known(ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if known[id] != nil && recent[id] { // its record would stand in the log
				delete(last, id)
			}
		}
	}
	h.feed(&change{pos: posFailed, seq: end.seq, time: end.nanos, rows: slices.Collect(maps.Values(last))})
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

// logSince is the time from which on the log holds every record.
func (h *holder) logSince(ctx context.Context) (int64, error) {
	s, err := h.queueState(ctx, posLog)
	switch {
	case err != nil:
		return 0, err
	case s.FirstSeq <= 1:
		return 0, nil
	case s.Msgs == 0:
		return math.MaxInt64, nil
	default:
		return s.FirstTime.UnixNano(), nil
	}
}

// copies passes on all copies that there are now, and gives the last one.
func (h *holder) copies(ctx context.Context, take func(copied, *engine.Run, *engine.Record)) (end copied, err error) {
	newest, err := h.e.getLast(ctx, streamFailed, subjectFailed)
	if err != nil || newest == nil {
		return end, err
	}
	done := make(chan struct{})
	t, err := h.e.tail(subjectFailed, 1, func(m *nats.Msg, seq uint64, nanos int64) {
		if end.seq >= newest.seq {
			return
		}
		end = copied{seq: seq, nanos: nanos}
		run, rec, err := readCopy(m.Data)
		if err != nil {
			h.e.log.ErrorContext(ctx, "read the copy of a failed run", "seq", seq, "error", err)
		} else {
			take(copied{rec.ID, seq, nanos}, run, rec)
		}
		if seq >= newest.seq {
			close(done)
		}
	})
	if err != nil {
		return end, err
	}
	defer t.stop()
	select {
	case <-done:
		return end, nil
	case <-ctx.Done():
		return copied{}, fmt.Errorf("read failed runs: %w", context.Cause(ctx))
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

// sweepCopies deletes orphans: once the log is gone, an index built anew would take
// them for ends.
func (h *holder) sweepCopies(ctx context.Context, now time.Time) error {
	var old []copied
	if _, err := h.copies(ctx, func(c copied, _ *engine.Run, _ *engine.Record) {
		if now.Sub(time.Unix(0, c.nanos)) > orphanAge {
			old = append(old, c)
		}
	}); err != nil {
		return err
	}
	if err := h.barrierNow(ctx); err != nil {
		return err
	}
	for part := range slices.Chunk(old, 500) {
		ids := make([]engine.ID, len(part))
		for i, c := range part {
			ids[i] = c.id
		}
		known, err := h.known(ids)
		if err != nil {
			return err
		}
		for _, c := range part {
			if row := known[c.id]; row != nil && row.Stream == srcFailed && row.Seq == c.seq {
				continue
			}
			if err := h.e.drop(ctx, streamFailed, c.seq); err != nil {
				return err
			}
		}
	}
	return nil
}

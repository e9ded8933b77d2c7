package natsengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// Cancel implements engine.Engine.
func (e *Engine) Cancel(ctx context.Context, ids []engine.ID) ([]engine.State, error) {
	a, err := e.call(ctx, opCancel, &request{After: e.wrote.all(), IDs: ids})
	if err != nil {
		return nil, err
	}
	return a.States, nil
}

// Retry implements engine.Engine.
func (e *Engine) Retry(ctx context.Context, ids []engine.ID) ([]engine.ID, error) {
	a, err := e.call(ctx, opRetry, &request{After: e.wrote.all(), IDs: ids})
	if err != nil {
		return nil, err
	}
	return a.IDs, nil
}

// maxAtOnce bounds the ids of one cancel or retry.
const maxAtOnce = 1000

// cancel ends runs. The order of writes: a copy of the envelope, so that the run
// can be retried; the terminal record, whose place in the log decides every
// race; the entry that keeps workers from starting it; the commit.
func (h *holder) cancel(ctx context.Context, ids []engine.ID) ([]engine.State, error) {
	if len(ids) > maxAtOnce {
		return nil, tooMany(len(ids))
	}
	rows := make([]*index.Row, len(ids))
	for i, id := range ids {
		row, err := h.row(ctx, id)
		if err != nil {
			return nil, err
		}
		rows[i] = row
	}
	if err := h.writeEnds(ctx, rows, engine.Cancelled, &engine.Failure{Code: engine.CodeCancelled, Message: engine.ErrCancelled.Error()}); err != nil {
		return nil, &engine.Error{Code: engine.CodeOf(unavailable(err)), Op: "cancel", Err: err}
	}
	out := make([]engine.State, len(ids))
	for i, id := range ids {
		row, err := h.row(ctx, id)
		if err != nil {
			return nil, err
		}
		out[i] = stateOf(row, time.Now())
	}
	return out, nil
}

func tooMany(n int) error {
	return &engine.Error{Code: engine.CodeTooLarge, Err: fmt.Errorf("%d runs at once: want at most %d", n, maxAtOnce)}
}

// envelope reads the envelope of an open run. It moves while the run is open, as when
// its time comes: where it is not found it is looked for again once the index has
// caught up, which is waited for once. It gives what the index has of the run by then.
func (h *holder) envelope(ctx context.Context, row *index.Row, caught *bool) (*index.Row, *engine.Run, error) {
	run, _, err := h.stored(ctx, row)
	if err != nil || run != nil {
		return row, run, err
	}
	if !*caught {
		if err := h.barrierNow(ctx); err != nil {
			return nil, nil, err
		}
		*caught = true
	}
	id := engine.ID(row.ID)
	known, err := h.known([]engine.ID{id})
	if err != nil {
		return nil, nil, err
	}
	if row = known[id]; row == nil || engine.State(row.State).Terminal() {
		return row, nil, nil
	}
	run, _, err = h.stored(ctx, row)
	return row, run, err
}

// writeEnds ends runs from here, whoever has them.
func (h *holder) writeEnds(ctx context.Context, rows []*index.Row, state engine.State, why *engine.Failure) error {
	e := h.e
	now := time.Now().UnixMilli()
	recs := make([]engine.Record, 0, len(rows))
	g := e.pub.group()
	staged, err := h.stagedRuns(ctx, rows)
	if err != nil {
		return err
	}
	looked := false
	for _, row := range rows {
		if engine.State(row.State).Terminal() {
			continue
		}
		run := staged[engine.ID(row.ID)]
		if run == nil {
			if row, run, err = h.envelope(ctx, row, &looked); err != nil {
				return err
			}
			if row == nil || engine.State(row.State).Terminal() {
				continue
			}
		}
		recs = append(recs, endRecord(row, run, now, state, why))
		r := &recs[len(recs)-1]
		h.nodes.begun(r)
		if run != nil {
			if err := e.addCopy(ctx, g, run, r); err != nil {
				return err
			}
		}
	}
	if len(recs) == 0 {
		return nil
	}
	if err := e.written(g.wait(ctx)); err != nil {
		return err
	}
	if err := e.commit(ctx); e.written(err) != nil { // the copies, before what names them: it would be believed without
		return err
	}
	seq, err := h.publishCancels(ctx, recs)
	if err != nil {
		return err
	}
	if err := e.commit(ctx); e.written(err) != nil {
		return err
	}
	h.dropRest(ctx, recs)
	return h.barrier(ctx, map[string]uint64{posLog: seq})
}

// begun adds to the end of a run that is under way which attempt that is, and when
// it began, as far as its node has told.
func (n *nodes) begun(r *engine.Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if live, ok := n.runs[r.ID]; ok {
		r.Attempt, r.Start = max(r.Attempt, uint16(live.Attempt)), live.Started //nolint:gosec // as it is counted
	}
}

// dropRest deletes what would start cancelled runs at their time, and their
// checkpoints: many at once, since each is a request. What is left is found
// cancelled then, or swept.
func (h *holder) dropRest(ctx context.Context, recs []engine.Record) {
	const beside = 16
	if err := h.e.settle(ctx); err != nil {
		h.e.log.WarnContext(ctx, "drop what cancelled runs leave", "error", err)
		return
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(beside, len(recs)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(recs)); i = next.Add(1) - 1 {
				if err := h.dropRestOf(ctx, &recs[i]); err != nil && h.e.written(err) != nil {
					h.e.log.WarnContext(ctx, "drop what a cancelled run leaves", "run", recs[i].ID, "error", err)
				}
			}
		})
	}
	wg.Wait()
}

func (h *holder) dropRestOf(ctx context.Context, r *engine.Record) error {
	var err error
	if r.Src == 0 { // it did not stand in its queue
		err = h.e.discard(ctx, streamDelayed, prefix+".d.at."+token(r.Queue)+"."+r.ID.String()+".*")
	}
	if r.Attempt > 0 {
		err = errors.Join(err, h.unsave(ctx, r.ID))
	}
	return err
}

// publishCancels writes the records, then the entries. It gives the sequence of
// the last record.
func (h *holder) publishCancels(ctx context.Context, recs []engine.Record) (uint64, error) {
	e := h.e
	g := e.pub.group()
	var seg []byte
	for i := range recs {
		if seg = engine.AppendRecord(seg, &recs[i]); len(seg) > maxMessage/2 || i == len(recs)-1 {
			if err := g.add(ctx, engine.WriteRecord, subjectLog, nil, seg); err != nil {
				return 0, err
			}
			seg = nil
		}
	}
	if err := e.written(g.wait(ctx)); err != nil {
		return 0, err
	}
	entries := e.pub.group()
	for i := range recs {
		if err := entries.add(ctx, engine.WriteCancel, subjectCancelled+recs[i].ID.String(), nil, []byte(recs[i].Queue)); err != nil {
			return 0, err
		}
	}
	return g.high, e.written(entries.wait(ctx))
}

func endRecord(row *index.Row, run *engine.Run, now int64, state engine.State, why *engine.Failure) engine.Record {
	r := engine.Record{
		ID: engine.ID(row.ID), State: state, Queue: row.Queue, Task: row.Task, Rev: row.Rev, Attempt: row.Attempt,
		Keep: row.Keep, Start: row.Start, End: now, RetryOf: engine.ID(row.RetryOf),
		Failure: why,
	}
	switch row.Stream {
	case srcQueue, srcDue, srcParked:
		r.Src, r.SrcSeq = row.Stream, row.Seq
	case srcStage:
		r.Src, r.SrcSeq = srcQueue, row.Seq
	}
	for _, t := range row.Tags {
		if t.Key != tagDeadline {
			r.Tags = append(r.Tags, engine.Tag{Key: t.Key, Value: t.Value})
		}
	}
	if run != nil && state == engine.Failed {
		r.Keep = run.Keep[1]
	}
	if run != nil {
		r.Parent, r.Deaths = run.Parent, run.Deaths
	}
	return r
}

// addCopy publishes what a failed or cancelled run is retried from, and sets
// where it stands in the record. The server drops it by itself some time after
// the run's retention.
func (e *Engine) addCopy(ctx context.Context, g *group, run *engine.Run, r *engine.Record) error {
	data := engine.AppendRecord(engine.AppendRun(nil, run), r)
	keep := uint64(r.Keep) + uint64(time.Hour/time.Second)
	h := nats.Header{"Nats-TTL": {strconv.FormatUint(keep, 10) + "s"}}
	return g.addSeq(ctx, engine.WriteFailed, subjectFailed, h, data, &r.CopySeq)
}

// written passes an error on, after acting dead if a test says so.
func (e *Engine) written(err error) error {
	if err != nil {
		e.died(err)
	}
	return err
}

// retry submits ended runs again, as new ones. One at a time: two calls for the
// same run must not both find it not retried yet.
func (h *holder) retry(ctx context.Context, ids []engine.ID) ([]engine.ID, error) {
	if len(ids) > maxAtOnce {
		return nil, tooMany(len(ids))
	}
	h.retryMu.Lock()
	defer h.retryMu.Unlock()
	runs := make([]engine.Run, 0, len(ids))
	var last time.Time // until when one of them may be looked at
	out := make([]engine.ID, 0, len(ids))
	made := make(map[engine.ID]engine.ID, len(ids))
	for _, id := range ids {
		if made[id].IsZero() {
			row, err := h.retriable(ctx, id)
			var run *engine.Run
			if err == nil {
				run, err = h.again(ctx, row)
			}
			if err != nil {
				return nil, &engine.Error{Code: engine.CodeOf(err), Op: "retry", Err: err}
			}
			runs, made[id] = append(runs, *run), run.ID
			if until := time.UnixMilli(row.End).Add(time.Duration(row.Keep) * time.Second); until.After(last) {
				last = until
			}
		}
		out = append(out, made[id])
	}
	if err := h.e.Submit(ctx, runs); err != nil {
		return nil, err
	}
	if err := h.noteRetried(ctx, runs, last); err != nil && h.e.written(err) != nil {
		h.e.log.WarnContext(ctx, "an index that is built anew may not know that these runs were retried", "runs", len(runs), "error", err)
	}
	return out, h.barrier(ctx, h.e.wrote.all())
}

// retriable is the row of a run that can be retried.
func (h *holder) retriable(ctx context.Context, id engine.ID) (*index.Row, error) {
	row, err := h.row(ctx, id)
	if err != nil {
		return nil, err
	}
	state := engine.State(row.State)
	if state != engine.Failed && state != engine.Cancelled {
		return nil, &engine.Error{Code: engine.CodeConflict, Err: fmt.Errorf("run %s is %s: only failed and cancelled runs are retried", id, state)}
	}
	if row.RetriedBy != (index.ID{}) {
		return nil, &engine.Error{Code: engine.CodeConflict, Err: fmt.Errorf("run %s was retried already, by %s", id, engine.ID(row.RetriedBy))}
	}
	return row, nil
}

// again is a new run of an ended one.
func (h *holder) again(ctx context.Context, row *index.Row) (*engine.Run, error) {
	id := engine.ID(row.ID)
	run, _, err := h.stored(ctx, row)
	if err != nil {
		return nil, err
	}
	if run == nil {
		return nil, &engine.Error{Code: engine.CodeNotFound, Err: fmt.Errorf("the input of run %s is gone: submit it anew", id)}
	}
	if run.Input.Apart {
		if run.Input.Data, err = h.e.objects.get(ctx, run.Input.Name); err != nil {
			return nil, err
		}
		run.Input.Apart = false
	}
	run.ID, run.RetryOf = h.e.ids.New(), id
	run.Rev, run.Attempt, run.Deaths, run.Doubt, run.At, run.Failure = 0, 0, 0, false, 0, nil
	run.Detached = true // its parent waits for the run before, and may be cancelled by now
	if run.Deadline != 0 && run.Deadline <= time.Now().UnixMilli() {
		run.Deadline = 0
	}
	return run, nil
}

// forever is until when a queue is paused.
func forever() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }

// Pause implements engine.Engine.
func (e *Engine) Pause(ctx context.Context, queue string) error {
	return e.setPause(ctx, "pause", queue, func(ctx context.Context, stream, consumer string) error {
		_, err := e.js.PauseConsumer(ctx, stream, consumer, forever())
		return err
	})
}

// Resume implements engine.Engine.
func (e *Engine) Resume(ctx context.Context, queue string) error {
	return e.setPause(ctx, "resume", queue, func(ctx context.Context, stream, consumer string) error {
		_, err := e.js.ResumeConsumer(ctx, stream, consumer)
		return err
	})
}

// setPause changes the consumers of a queue. The queue's own is the one that is
// asked later, so it is changed first by a pause and tells the truth when a call
// that was cut short is made again.
func (e *Engine) setPause(ctx context.Context, op, queue string, set func(ctx context.Context, stream, consumer string) error) error {
	if err := e.ready(op); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := set(ctx, queueStream(queue), queueConsumer()); err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDoesNotExist) {
			return &engine.Error{Code: engine.CodeNotFound, Op: op, Err: fmt.Errorf("no queue %q", queue)}
		}
		return &engine.Error{Code: engine.CodeUnavailable, Op: op, Err: err}
	}
	all, err := e.consumers(ctx, streamDelayed)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Name == dueConsumer(queue) || strings.HasPrefix(c.Config.FilterSubject, parkSubjects(queue)) {
			if err := set(ctx, streamDelayed, c.Name); err != nil {
				return &engine.Error{Code: engine.CodeUnavailable, Op: op, Err: err}
			}
		}
	}
	if err := e.nc.Publish(subjectKick, []byte(queue)); err != nil {
		return &engine.Error{Code: engine.CodeUnavailable, Op: op, Err: err}
	}
	return e.commit(ctx)
}

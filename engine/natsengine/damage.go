package natsengine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// The server checks each message of a stream when it reads it. One whose bytes
// the disk has changed it passes over without a word, or, if it meets that when it
// opens the stream, it cuts the block off there. In a queue no message is ever
// deleted but from the front, so what lacks is damaged: here it is told, and runs
// that the index knows from such a message end as lost, rather than wait for ever.

// keepDamaged is how long such a run is kept at least: what its task wants is gone.
const keepDamaged = 30 * 24 * time.Hour

// missing tells of messages of a queue that cannot be read.
func (h *holder) missing(pos string, from, to uint64) {
	h.unread.Add(int64(to - from + 1)) //nolint:gosec // sequences are small
	h.e.log.Error("stored messages cannot be read: the disk has damaged them. Their runs that are not listed as failed are gone; check the disk, and submit again what is missing",
		"queue", pos[len("q."):], "from", from, "to", to)
}

// queueState is the state of a queue's stream.
func (h *holder) queueState(ctx context.Context, pos string) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := h.e.js.Stream(ctx, positionStream(pos))
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("look at %s: %w", positionStream(pos), unavailable(err))
	}
	return s.CachedInfo().State, nil
}

// whole passes a queue's messages on and tells what lacks between them.
func (h *holder) whole(ctx context.Context, take func(pos string) func(*nats.Msg, uint64, int64)) func(pos string) func(*nats.Msg, uint64, int64) {
	return func(pos string) func(*nats.Msg, uint64, int64) {
		on := take(pos)
		last := h.position(pos)
		if s, err := h.queueState(ctx, pos); err == nil { // else it is told only of what lacks further behind
			last = max(last, max(s.FirstSeq, 1)-1)
			h.given(pos, s.Lost)
		}
		return func(m *nats.Msg, seq uint64, nanos int64) {
			if seq > last+1 {
				h.missing(pos, last+1, seq-1)
			}
			last = seq
			on(m, seq, nanos)
		}
	}
}

// given tells what the server itself has given up of a queue when it opened it.
// After a power cut that may be what was never acknowledged.
func (h *holder) given(pos string, lost *jetstream.LostStreamData) {
	if lost != nil && len(lost.Msgs) > 0 && !h.cfg.Unsure {
		h.missing(pos, slices.Min(lost.Msgs), slices.Max(lost.Msgs))
	}
}

// checkStored tells what lacks at the ends of the queues, behind which no message
// comes, and ends the runs that an index given up had and the streams have not.
func (h *holder) checkStored(ctx context.Context) error {
	h.mu.Lock()
	var queues []string
	for pos := range h.tails {
		if hasPrefix(pos, "q.") {
			queues = append(queues, pos)
		}
	}
	h.mu.Unlock()
	for _, pos := range queues {
		if err := h.checkEnd(ctx, pos); err != nil {
			return err
		}
	}
	return h.endForgotten(ctx)
}

func (h *holder) checkEnd(ctx context.Context, pos string) error {
	end := h.opened[positionStream(pos)]
	if h.place(pos) >= end || h.cfg.Unsure {
		return nil
	}
	s, err := h.queueState(ctx, pos)
	if err != nil || s.Msgs == 0 {
		return err
	}
	if err := h.barrier(ctx, map[string]uint64{pos: end}); err != nil {
		return err
	}
	if from := max(h.place(pos)+1, s.FirstSeq); from <= end {
		h.missing(pos, from, end)
	}
	return nil
}

// stuck tells whether a consumer waits for the end of a message that cannot be
// read: the server tries to deliver it again, and what is behind it waits.
func (h *holder) stuck(ctx context.Context, stream string, i *jetstream.ConsumerInfo) (bool, error) {
	if i.NumAckPending == 0 || !hasPrefix(stream, streamQueue) {
		return false, nil
	}
	state, err := h.queueState(ctx, posQueue(untoken(stream[len(streamQueue):])))
	if err != nil {
		return false, err
	}
	// After a kill the consumer's floor may lie below what has been purged since.
	for seq := max(i.AckFloor.Stream+1, state.FirstSeq); seq <= i.Delivered.Stream; seq++ {
		m, err := h.e.get(ctx, stream, seq)
		if err != nil || m == nil {
			return err == nil, err
		}
	}
	return false, nil
}

// unreadable tells whether the index still sends to a message of a queue that was
// not there.
func (h *holder) unreadable(ctx context.Context, row *index.Row) bool {
	if row.Stream != srcQueue || h.barrierNow(ctx, row.Queue) != nil {
		return false
	}
	rows, err := h.ix.Find([]index.ID{row.ID})
	return err == nil && len(rows) == 1 && rows[0].Stream == row.Stream && rows[0].Seq == row.Seq
}

// damagedMost is how many open runs of a queue are looked at in one go: those that
// are lost are among the oldest once what came after them has been worked off.
const damagedMost = 64

// endDamaged ends the runs of a queue whose messages are behind the floor, which
// is up to where the queue has been worked off, although nothing has become of
// them: nobody can have read those messages.
func (h *holder) endDamaged(ctx context.Context, queue string, floor uint64) error {
	for h.counted(queue) {
		ids, err := h.leftBehind(ctx, queue, floor)
		if err != nil || len(ids) == 0 {
			return err
		}
		// What became of a run was stored before its message was acknowledged.
		if err := h.barrierNow(ctx, queue); err != nil {
			return err
		}
		rows, err := h.ix.Find(ids)
		if err != nil {
			return fmt.Errorf("ask the index: %w", err)
		}
		rows = slices.DeleteFunc(rows, func(r index.Row) bool { return engine.State(r.State).Terminal() || !behind(&r, floor) })
		if err := h.endLost(ctx, rows); err != nil {
			return err
		}
		if len(rows) < damagedMost {
			return nil
		}
	}
	return nil
}

// leftBehind are the oldest runs of a queue that seem to be lost.
func (h *holder) leftBehind(ctx context.Context, queue string, floor uint64) ([]index.ID, error) {
	rows, _, err := h.ix.List(index.Query{
		Queue: queue, States: []uint8{uint8(engine.Queued), uint8(engine.Running), stateUntaken}, OldestFirst: true, Limit: damagedMost,
	})
	if err != nil {
		return nil, fmt.Errorf("ask the index: %w", err)
	}
	var ids []index.ID
	for i := range rows {
		id := engine.ID(rows[i].ID)
		if !behind(&rows[i], floor) || h.nodes.executes(id) {
			continue
		}
		// A long run has left its queue; from then on its entry stands for it.
		home, err := h.e.getLast(ctx, streamHome, subjectHome+id.String())
		if err != nil {
			return nil, err
		}
		if home == nil {
			ids = append(ids, rows[i].ID)
		}
	}
	return ids, nil
}

// counted tells whether a queue has runs that may be lost.
func (h *holder) counted(queue string) bool {
	for _, c := range h.ix.Counts() {
		if s := engine.State(c.State); c.Queue == queue && (s == engine.Queued || s == engine.Running || c.State == stateUntaken) {
			return true
		}
	}
	return false
}

func behind(row *index.Row, floor uint64) bool {
	return (row.Stream == srcQueue || row.Stream == srcStage) && row.Seq <= floor
}

// endLost ends runs of which nothing is left but what the index knows.
func (h *holder) endLost(ctx context.Context, rows []index.Row) error {
	if len(rows) == 0 {
		return nil
	}
	now := time.Now().UnixMilli()
	recs := make([]engine.Record, len(rows))
	for i := range rows {
		row := &rows[i]
		recs[i] = endRecord(row, nil, now, engine.Failed, &engine.Failure{
			Code:    engine.CodeLost,
			Message: fmt.Sprintf("what was stored of it is damaged: check the disk, and submit it again (message %d of queue %s cannot be read)", row.Seq, row.Queue),
		})
		recs[i].Keep = max(recs[i].Keep, uint32(keepDamaged/time.Second))
		recs[i].Src, recs[i].SrcSeq = 0, 0 // there is no message to hold on to
	}
	h.unread.Add(int64(len(rows)))
	h.e.log.ErrorContext(ctx, "runs are lost: the disk has damaged what was stored of them, and they are listed as failed; check the disk, and submit them again",
		"runs", len(rows), "first", recs[0].ID, "queue", recs[0].Queue)
	seq, err := h.publishCancels(ctx, recs)
	if err != nil {
		return err
	}
	if err := h.e.commit(ctx); h.e.written(err) != nil {
		return err
	}
	return h.barrier(ctx, map[string]uint64{posLog: seq})
}

// rememberMost bounds the open runs of an index that is given up.
const rememberMost = 100_000

// remember keeps the open runs of an index that does not match the streams: those
// that do not come back when it is built anew are lost.
func (h *holder) remember(ctx context.Context) {
	q := index.Query{Limit: 500}
	for _, s := range engine.States() {
		if !s.Terminal() {
			q.States = append(q.States, uint8(s))
		}
	}
	for {
		rows, next, err := h.ix.List(q)
		h.before = append(h.before, rows...)
		switch {
		case err != nil: // it goes anyway
			h.e.log.ErrorContext(ctx, "look for open runs in the index that is given up", "error", err)
			return
		case next == "":
			return
		case len(h.before) >= rememberMost:
			h.e.log.WarnContext(ctx, "of the open runs in the index that is given up only the newest are looked for in the streams", "runs", len(h.before))
			return
		}
		q.Cursor = next
	}
}

// endForgotten ends the runs that the index had, and the streams have not.
func (h *holder) endForgotten(ctx context.Context) error {
	for part := range slices.Chunk(h.before, maxAtOnce) {
		ids := make([]index.ID, len(part))
		for i := range part {
			ids[i] = part[i].ID
		}
		rows, err := h.ix.Find(ids)
		if err != nil {
			return fmt.Errorf("ask the index: %w", err)
		}
		there := make(map[index.ID]bool, len(rows))
		for i := range rows {
			there[rows[i].ID] = true
		}
		if err := h.endLost(ctx, slices.DeleteFunc(part, func(r index.Row) bool { return there[r.ID] })); err != nil {
			return err
		}
	}
	h.before = nil
	return nil
}

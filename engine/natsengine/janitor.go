package natsengine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// The janitor's pace.
const (
	purgeEvery  = 500 * time.Millisecond
	purgeEnough = 2000 // messages to purge at once, or
	purgeLate   = 5 * time.Second
	expireEvery = time.Second
	expireMost  = 20_000 // rows in one go
	sweepEvery  = 10 * time.Minute
	stageAge    = time.Hour // of staged parts without a manifest
)

// janitor deletes what is not needed any more: messages below the consumers'
// acknowledgement floors, runs past their retention, what crashes left.
func (h *holder) janitor() {
	e := h.e
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	var expired, swept time.Time
	done := map[string]purged{}
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(e.ctx, 6*requestTimeout)
		now := time.Now()
		floors, err := h.purgeAcked(ctx, done, now)
		if err == nil && now.Sub(expired) >= expireEvery {
			expired = now
			err = h.expire(ctx, floors, done)
		}
		if err == nil && now.Sub(swept) >= sweepEvery {
			if !swept.IsZero() { // not at once: what is orphaned now may be taken up
				err = h.sweep(ctx, now)
			}
			swept = now
		}
		cancel()
		if err != nil && e.ctx.Err() == nil && e.written(err) != nil && !e.dead.Load() {
			e.log.Error("janitor", "error", err)
		}
	}
}

// purged is up to where a subject has been purged, and when.
type purged struct {
	seq uint64
	at  time.Time
}

// floors are, by kind of message and queue, sequences up to which all are done
// with.
type floors map[string]uint64

func floorKey(src uint8, queue string) string { return string(rune('0'+src)) + queue }

// purgeAcked deletes messages that every consumer has acknowledged and the index
// has read.
func (h *holder) purgeAcked(ctx context.Context, done map[string]purged, now time.Time) (floors, error) {
	e := h.e
	f := floors{}
	h.mu.Lock()
	var queues []string
	for pos := range h.tails {
		if q, ok := strings.CutPrefix(pos, "q."); ok {
			queues = append(queues, q)
		}
	}
	h.mu.Unlock()
	for _, q := range queues {
		floor, err := h.floor(ctx, queueStream(q), queueConsumer())
		if err != nil {
			return nil, err
		}
		f[floorKey(srcQueue, q)] = floor
		if err := h.purgeTo(ctx, done, queueStream(q), "", min(floor, h.position(posQueue(q))), now); err != nil {
			return nil, err
		}
	}
	last, err := e.last(ctx, streamDelayed)
	if err != nil {
		return nil, err
	}
	consumers, err := e.consumers(ctx, streamDelayed)
	if err != nil {
		return nil, err
	}
	for _, c := range consumers {
		floor := floorOf(c, last)
		src, queue := srcDue, strings.TrimPrefix(c.Config.FilterSubject, prefix+".d.due.")
		if rest, ok := strings.CutPrefix(c.Config.FilterSubject, prefix+".d.park."); ok {
			src = srcParked
			queue, _, _ = strings.Cut(rest, ".")
		}
		k := floorKey(src, untoken(queue))
		if old, ok := f[k]; !ok || floor < old {
			f[k] = floor
		}
		if err := h.purgeTo(ctx, done, streamDelayed, c.Config.FilterSubject, min(floor, h.position(posDelayed)), now); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// floorOf is the sequence up to which a consumer has nothing left to do; last was
// the stream's end before the consumer was asked.
func floorOf(i *jetstream.ConsumerInfo, last uint64) uint64 {
	if i.NumPending == 0 && i.NumAckPending == 0 {
		return last
	}
	return i.AckFloor.Stream
}

// floor is floorOf a queue's consumer.
func (h *holder) floor(ctx context.Context, stream, consumer string) (uint64, error) {
	last, err := h.e.last(ctx, stream) // before the consumer is asked
	if err != nil {
		return 0, err
	}
	c, err := h.e.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return 0, fmt.Errorf("look at consumer %s: %w", consumer, unavailable(err))
	}
	return floorOf(c.CachedInfo(), last), nil
}

// purgeTo purges a subject up to and with seq, when it is worth it. What the
// purge relies on is on disk first, in fast mode too: else a power cut could
// take the results and leave the purge.
func (h *holder) purgeTo(ctx context.Context, done map[string]purged, stream, subject string, seq uint64, now time.Time) error {
	k := stream + " " + subject
	p := done[k]
	if seq <= p.seq || seq < p.seq+purgeEnough && now.Sub(p.at) < purgeLate {
		return nil
	}
	if sync := h.e.cfg.Sync; sync != nil {
		if err := sync(ctx); err != nil {
			return fmt.Errorf("sync before a purge: %w", err)
		}
	}
	err := h.e.hooked(engine.WriteForget, func() error { return h.e.purge(ctx, stream, subject, seq+1) })
	if err != nil {
		return err
	}
	done[k] = purged{seq, now}
	return nil
}

// expire deletes runs past their retention from the index, and the part of the
// log that holds nothing else.
func (h *holder) expire(ctx context.Context, f floors, done map[string]purged) error {
	now := time.Now()
	held := func(src uint8, queue string) uint64 {
		switch src {
		case srcQueue, srcDue, srcParked:
			if v, ok := f[floorKey(src, queue)]; ok {
				return v
			}
			return 0
		default:
			return math.MaxUint64
		}
	}
	if _, _, err := h.ix.Expire(now, held, expireMost); err != nil {
		return fmt.Errorf("expire runs: %w", err)
	}
	floor := h.ix.Floor(posLog, now)
	if floor <= 1 {
		return nil
	}
	return h.purgeTo(ctx, done, streamLog, subjectLog, min(floor-1, h.position(posLog)), now)
}

// sweep deletes what nothing names: large values, checkpoints, cancel entries and
// staged parts that a crash or a lost race left behind.
func (h *holder) sweep(ctx context.Context, now time.Time) error {
	e := h.e
	if err := h.sweepSubjects(ctx, streamCancelled, subjectCancelled, func(known bool, _ engine.State) bool { return !known }); err != nil {
		return err
	}
	if err := h.sweepSubjects(ctx, streamSaved, subjectSaved, func(known bool, s engine.State) bool { return !known || s.Terminal() }); err != nil {
		return err
	}
	s, err := e.stream(ctx, streamStage)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjectStage+"*"))
	if err != nil {
		return fmt.Errorf("list staged batches: %w", unavailable(err))
	}
	for subject := range info.State.Subjects {
		m, err := e.getLast(ctx, streamStage, subject)
		if err != nil {
			return err
		}
		if m != nil && now.Sub(m.time) > stageAge && !h.manifestWaits(ctx) {
			if err := e.forget(ctx, streamStage, subject); err != nil {
				return err
			}
		}
	}
	return h.sweepObjects(ctx, now)
}

// manifestWaits tells whether some queue still holds messages older than a
// staged batch: its manifest may be one of them.
func (h *holder) manifestWaits(ctx context.Context) bool {
	h.mu.Lock()
	var queues []string
	for pos := range h.tails {
		if q, ok := strings.CutPrefix(pos, "q."); ok {
			queues = append(queues, q)
		}
	}
	h.mu.Unlock()
	for _, q := range queues {
		s, err := h.e.js.Stream(ctx, queueStream(q))
		if err != nil || s.CachedInfo().State.Msgs > 0 {
			return true
		}
	}
	return false
}

func (h *holder) sweepSubjects(ctx context.Context, stream, under string, drop func(known bool, s engine.State) bool) error {
	s, err := h.e.stream(ctx, stream)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(under+"*"))
	if err != nil {
		return fmt.Errorf("list %s: %w", stream, unavailable(err))
	}
	for subject := range info.State.Subjects {
		id, err := engine.ParseID(subject[len(under):])
		if err != nil {
			continue
		}
		rows, err := h.ix.Find([]index.ID{index.ID(id)})
		if err != nil {
			return fmt.Errorf("ask the index: %w", err)
		}
		state := engine.State(0)
		if len(rows) > 0 {
			state = engine.State(rows[0].State)
		}
		if drop(len(rows) > 0, state) {
			if err := h.e.forget(ctx, stream, subject); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepObjects deletes large values of runs that the index does not hold.
func (h *holder) sweepObjects(ctx context.Context, now time.Time) error {
	all, err := h.e.objects.bucket().List(ctx)
	if err != nil {
		if strings.Contains(err.Error(), "no objects found") {
			return nil
		}
		return fmt.Errorf("list large values: %w", unavailable(err))
	}
	for part := range slices.Chunk(all, 500) {
		for _, o := range part {
			id, err := engine.ParseID(o.Name[:min(26, len(o.Name))])
			if err != nil || now.Sub(o.ModTime) < stageAge {
				continue
			}
			rows, err := h.ix.Find([]index.ID{index.ID(id)})
			if err != nil {
				return fmt.Errorf("ask the index: %w", err)
			}
			if len(rows) == 0 {
				if err := h.e.hooked(engine.WriteForget, func() error { return h.e.objects.bucket().Delete(ctx, o.Name) }); err != nil {
					return fmt.Errorf("delete a large value: %w", unavailable(err))
				}
			}
		}
	}
	return nil
}

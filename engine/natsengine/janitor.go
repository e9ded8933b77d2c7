package natsengine

import (
	"context"
	"fmt"
	"maps"
	"math"
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
	k := &keeper{h: h, done: map[string]purged{}, floors: floors{}, quiet: map[string]uint64{}}
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(e.ctx, 6*requestTimeout)
		now := time.Now()
		err := h.endLate(ctx, now)
		if err == nil {
			err = k.purgeAcked(ctx, now)
		}
		if err == nil && now.Sub(expired) >= expireEvery {
			expired = now
			err = k.expire(ctx)
		}
		if err == nil && now.Sub(swept) >= sweepEvery {
			if !swept.IsZero() { // not at once: what is orphaned now may be taken up
				err = k.sweep(ctx, now)
			}
			swept = now
		}
		cancel()
		if err != nil && e.ctx.Err() == nil && e.written(err) != nil && !e.dead.Load() {
			e.logError("janitor", "purge, expire and sweep", err)
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

// keeper is what the janitor remembers.
type keeper struct {
	h         *holder
	done      map[string]purged
	floors    floors
	quiet     map[string]uint64 // by position: the follower's place when nothing was left to do
	resolving resolving
}

// still tells whether nothing has come to a stream since nothing was left to do
// there: asking the server again would tell nothing new.
func (k *keeper) still(pos string) bool {
	at, ok := k.quiet[pos]
	return ok && at == k.h.place(pos)
}

// rest notes that nothing is left to do up to a place.
func (k *keeper) rest(pos string, place uint64, nothing bool) {
	if nothing {
		k.quiet[pos] = place
	} else {
		delete(k.quiet, pos)
	}
}

// purgeAcked deletes messages that every consumer has acknowledged and the index
// has read.
func (k *keeper) purgeAcked(ctx context.Context, now time.Time) error {
	h := k.h
	h.mu.Lock()
	var queues []string
	for pos := range h.tails {
		if q, ok := strings.CutPrefix(pos, "q."); ok {
			queues = append(queues, q)
		}
	}
	h.mu.Unlock()
	for _, q := range queues {
		if err := k.purgeQueue(ctx, q, now); err != nil {
			return err
		}
	}
	if k.still(posDelayed) {
		return nil
	}
	return k.purgeDelayed(ctx, now)
}

func (k *keeper) purgeQueue(ctx context.Context, q string, now time.Time) error {
	h, pos := k.h, posQueue(q)
	if k.still(pos) {
		return nil
	}
	place := h.place(pos)
	floor, err := h.floor(ctx, queueStream(q), queueConsumer())
	if err != nil {
		return err
	}
	k.floors[floorKey(srcQueue, q)] = floor
	if err := h.endDamaged(ctx, q, floor); err != nil {
		return err
	}
	to := min(floor, h.position(pos))
	if err := k.purgeTo(ctx, queueStream(q), "", to, now); err != nil {
		return err
	}
	k.rest(pos, place, k.done[queueStream(q)+" "].seq >= place)
	return nil
}

func (k *keeper) purgeDelayed(ctx context.Context, now time.Time) error {
	h := k.h
	place := h.place(posDelayed)
	last, err := h.e.last(ctx, streamDelayed)
	if err != nil {
		return err
	}
	consumers, err := h.e.consumers(ctx, streamDelayed)
	if err != nil {
		return err
	}
	nothing, low := true, floors{}
	for _, c := range consumers {
		floor := floorOf(c, last)
		src, queue := srcDue, strings.TrimPrefix(c.Config.FilterSubject, prefix+".d.due.")
		if rest, ok := strings.CutPrefix(c.Config.FilterSubject, prefix+".d.park."); ok {
			src = srcParked
			queue, _, _ = strings.Cut(rest, ".")
		}
		key := floorKey(src, untoken(queue))
		if old, ok := low[key]; !ok || floor < old {
			low[key] = floor
		}
		if err := k.purgeTo(ctx, streamDelayed, c.Config.FilterSubject, min(floor, h.position(posDelayed)), now); err != nil {
			return err
		}
		nothing = nothing && k.done[streamDelayed+" "+c.Config.FilterSubject].seq >= place
	}
	maps.Copy(k.floors, low)
	k.rest(posDelayed, place, nothing)
	return nil
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
func (k *keeper) purgeTo(ctx context.Context, stream, subject string, seq uint64, now time.Time) error {
	if !k.worth(stream, subject, seq, now) {
		return nil
	}
	h := k.h
	if sync := h.e.cfg.Sync; sync != nil {
		if err := sync(ctx); err != nil {
			return fmt.Errorf("sync before a purge: %w", err)
		}
	}
	err := h.e.hooked(engine.WriteForget, func() error { return h.e.purge(ctx, stream, subject, seq+1) })
	if err != nil {
		return err
	}
	k.done[stream+" "+subject] = purged{seq, now}
	return nil
}

// worth tells whether there is enough to purge, or it has waited for long.
func (k *keeper) worth(stream, subject string, seq uint64, now time.Time) bool {
	p := k.done[stream+" "+subject]
	return seq > p.seq && (seq >= p.seq+purgeEnough || now.Sub(p.at) >= purgeLate || k.h.e.space().Short)
}

// expire deletes runs past their retention from the index, and the part of the
// log that holds nothing else.
func (k *keeper) expire(ctx context.Context) error {
	h, now := k.h, time.Now()
	held := func(src uint8, queue string) uint64 {
		switch src {
		case srcQueue, srcDue, srcParked:
			if v, ok := k.floors[floorKey(src, queue)]; ok {
				return v
			}
			return 0
		default:
			return math.MaxUint64
		}
	}
	gone, _, err := h.ix.Expire(now, held, expireMost)
	if err != nil {
		return fmt.Errorf("expire runs: %w", err)
	}
	if err := h.dropValues(ctx, gone); err != nil {
		return err
	}
	floor, err := h.ix.Floor(posLog, srcLog)
	if err != nil {
		return fmt.Errorf("look for the log's floor: %w", err)
	}
	if floor <= 1 || !k.worth(streamLog, subjectLog, floor-1, now) {
		return nil
	}
	upto, err := k.resolve(ctx, now)
	if upto = min(upto, floor-1, h.position(posLog)); err != nil || !k.worth(streamLog, subjectLog, upto, now) {
		return err
	}
	if err := h.noteResolved(ctx, k.resolving.done); err != nil {
		return err
	}
	return k.purgeTo(ctx, streamLog, subjectLog, upto, now)
}

// sweep deletes what nothing needs: large values, checkpoints, cancel entries,
// copies and staged parts that a crash or a lost race left behind.
func (k *keeper) sweep(ctx context.Context, now time.Time) error {
	h, e := k.h, k.h.e
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
	return h.sweepValues(ctx, now)
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
	if len(info.State.Subjects) == 0 {
		return nil
	}
	if err := h.barrierNow(ctx); err != nil { // runs that began are known then
		return err
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
		state, known := engine.State(0), len(rows) > 0
		if known {
			state = engine.State(rows[0].State)
		} else if known, err = h.atHome(ctx, id); err != nil {
			return err
		}
		if drop(known, state) {
			if err := h.e.forget(ctx, stream, subject); err != nil {
				return err
			}
		}
	}
	return nil
}

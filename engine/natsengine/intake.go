package natsengine

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// Pulls. A pull stays open until it is filled or expires. The client library's
// own loop stalls under load, so demand is counted here.
const (
	pullExpires = 10 * time.Second
	pullMost    = 512
	// ahead is how much work a worker may hold beyond its free slots.
	ahead = 20 * time.Millisecond
	// aheadMost bounds it in runs.
	aheadMost = 2048
)

// twiceWait is how long a newer message of a run waits for an older one that is
// under way here.
const twiceWait = 500 * time.Millisecond

// intake takes a consumer's messages.
type intake struct {
	w        *worker
	queue    string
	src      uint8
	stream   string
	consumer string
	filter   string // of the consumer, if Handle makes it
	inbox    string
	sub      *nats.Subscription
	dec      engine.Decoder

	// Guarded by w.mu.
	open    int       // messages asked for and not delivered yet
	per     float64   // runs in a message, newer ones weigh more
	asked   time.Time // last pull
	marked  uint64    // reconnections of the worker when the bounds were set
	doubtTo uint64    // messages up to here may have been under way before
	beganTo uint64    // and up to here they may have begun
	givenTo uint64    // up to here they had been delivered for certain
}

// openIntake marks what is there already as in doubt, and subscribes.
func (in *intake) openIntake(ctx context.Context) error {
	if err := in.mark(ctx); err != nil {
		return err
	}
	in.inbox = in.w.nc.NewInbox()
	sub, err := in.w.nc.Subscribe(in.inbox, in.take)
	if err != nil {
		return fmt.Errorf("subscribe to queue %s: %w", in.queue, err)
	}
	in.sub = sub
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("subscribe to queue %s: %w", in.queue, err)
	}
	return nil
}

// remake makes an intake's consumer again if another server may have lost it, as in
// a power cut right after it was made.
func (in *intake) remake(ctx context.Context) error {
	if err := in.w.e.queue(ctx, in.queue); err != nil {
		return err
	}
	_, err := in.w.e.createBeside(ctx, in.queue, []*intake{in})
	return err
}

// mark sets the bounds below which messages are in doubt: those older than the
// server's last start may have been under way before it. Those up to the
// consumer's last delivery by then, and some more because that is stored late,
// may have begun. Where nobody knows when the server started, all that is there
// now is in doubt.
func (in *intake) mark(ctx context.Context) error {
	e := in.w.e
	marked := in.w.reconnects() // before anything is asked
	last, err := e.last(ctx, in.stream)
	if err != nil {
		return err
	}
	began, given := uint64(0), uint64(0)
	if a, err := e.call(ctx, opOpened, &request{Queue: in.stream}); err == nil {
		last = min(last, a.Mark)
		given = min(last, e.began(in.stream, in.consumer))
		began = min(last, given+maxPending/4)
	}
	in.w.mu.Lock()
	defer in.w.mu.Unlock()
	in.open, in.marked, in.doubtTo, in.beganTo, in.givenTo = 0, marked, last, began, given
	return nil
}

func (in *intake) close() {
	if in.sub != nil {
		_ = in.sub.Unsubscribe() // what it still delivers comes again after its lease
	}
}

// pump asks for as many messages as this worker can use now.
func (w *worker) pump() {
	type pull struct {
		in *intake
		n  int
	}
	var pulls []pull
	now := time.Now()
	w.mu.Lock()
	if !w.stopping && !w.held && !w.stuckLocked(now) {
		free := w.o.Slots - w.busy - len(w.regain) - w.ready.n - w.doubts.n - len(w.suspects.aside)
		main := 0
		w.ahead, w.moved = 0, 0
		quick := false // the slots are soon free again
		for _, in := range w.intakes {
			if in.src == srcQueue {
				main++
				quick = quick || w.aheadLocked(in.queue) > 0
			}
		}
		for _, in := range w.intakes {
			if in.open > 0 && now.Sub(in.asked) > pullExpires+time.Second {
				in.open = 0 // all have expired, and the server did not say so
			}
			ahead := w.aheadLocked(in.queue)
			w.ahead = max(w.ahead, ahead)
			room := free + ahead
			share := max(room/max(main, 1), ahead/max(main, 1)-w.ready.of(in.queue)-w.doubts.n) // the ready ones of others take turns with its own
			if in.src != srcQueue {
				share /= 8
			}
			if share < 1 && room > 0 {
				share = 1
			}
			if share < 1 && quick && in.open == 0 && w.ready.of(in.queue)+w.doubts.n < w.o.Slots { // else a queue with much to do would keep others waiting
				share = 1
			}
			if in.per > 1 { // messages are asked for, runs are meant
				share = int(math.Ceil(float64(share) / in.per))
			}
			if share = min(share, pullMost); share > 0 && in.open*2 <= share-1 {
				pulls = append(pulls, pull{in, share - in.open})
				in.open, in.asked = share, now
			}
		}
	}
	w.mu.Unlock()
	for _, p := range pulls {
		if err := p.in.pull(p.n); err != nil {
			w.logError("pull", err)
		}
	}
}

func (in *intake) pull(n int) error {
	req, err := json.Marshal(struct {
		Expires time.Duration `json:"expires"`
		Batch   int           `json:"batch"`
	}{pullExpires, n})
	if err != nil {
		return fmt.Errorf("pull from %s: %w", in.consumer, err)
	}
	if err := in.w.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+in.stream+"."+in.consumer, in.inbox, req); err != nil {
		return fmt.Errorf("pull from %s: %w", in.consumer, err)
	}
	return nil
}

// take handles one delivered message.
func (in *intake) take(m *nats.Msg) {
	w := in.w
	if w.e.dead.Load() {
		return
	}
	r, ok := parseReply(m.Reply)
	if !ok {
		in.status(m)
		return
	}
	now, server := time.Now(), w.nc.ConnectedServerId()
	key := unitKey{in, r.seq, r.nanos}
	mf, batch := parseManifest(m.Header)
	w.mu.Lock()
	in.open = max(0, in.open-1)
	if w.stopping {
		w.mu.Unlock()
		_ = w.nc.Publish(m.Reply, []byte("-NAK")) // comes again after its lease otherwise
		return
	}
	if u := w.units[key]; u != nil { // under way here: its lease is renewed, it is not started twice
		u.extend(now)
		u.reply, u.server = m.Reply, server
		w.mu.Unlock()
		return
	}
	u := &unit{in: in, seq: r.seq, nanos: r.nanos, server: server, reply: m.Reply, delivered: r.delivered, renewed: now}
	if batch {
		u.left = 1
	}
	w.units[key] = u
	unmarked := in.marked != w.reconnects() // the bounds are from before the connection was lost
	doubt := unmarked || r.delivered > 1 || r.seq <= in.doubtTo || in.src != srcQueue
	given := r.delivered > 1 || r.seq <= in.givenTo
	again := given || r.seq <= in.beganTo
	w.mu.Unlock()
	if batch {
		go w.expand(u, mf, unmarked || r.delivered > 1 || r.seq <= in.doubtTo, again)
		return
	}
	in.decode(u, m.Data, doubt, again, given)
}

// status handles a message about a pull instead of one from the stream.
func (in *intake) status(m *nats.Msg) {
	left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
	in.w.mu.Lock()
	if err != nil || m.Header.Get("Status") == "503" {
		left = in.open
	}
	in.open = max(0, in.open-left)
	in.w.mu.Unlock()
}

// decode makes items of a message's runs and sends each on its way.
func (in *intake) decode(u *unit, data []byte, doubt, again, given bool) {
	w := in.w
	items, err := w.items(&in.dec, u, data, 1, func(it *item) {
		it.redelivered, it.noted = given, it.run.Doubt
		it.again = again || it.run.Doubt
		it.doubt = doubt || it.again
	})
	if err != nil {
		// A newer version wrote it, or it is damaged: it stays for a worker that
		// can read it.
		w.logError("read a message of "+in.stream, fmt.Errorf("message %d: %w", u.seq, err))
		w.mu.Lock()
		delete(w.units, unitKey{in, u.seq, u.nanos})
		w.mu.Unlock()
		return
	}
	w.mu.Lock()
	in.per += (float64(len(items)) - in.per) / 8
	u.left = len(items)
	w.mu.Unlock()
	if len(items) == 0 {
		w.ackUnit(u)
		return
	}
	w.claim(items)
}

// slabItems are made at a time.
const slabItems = 16

// items makes items of a message's runs from an offset on; init sets what is not the same for all.
func (w *worker) items(dec *engine.Decoder, u *unit, data []byte, from int, init func(*item)) ([]*item, error) {
	n := 0
	_ = engine.FramesFrom(data, from, func([]byte, int) error { n++; return nil }) // told below
	var slab []item                                                                // a few at a time: one that lives long keeps them all
	items := make([]*item, 0, n)
	now := time.Now()
	err := engine.FramesFrom(data, from, func(body []byte, off int) error {
		if len(slab) == 0 {
			slab = make([]item, min(n-len(items), slabItems))
		}
		it := &slab[0]
		slab = slab[1:]
		it.w, it.u, it.off, it.arrived = w, u, off, now
		if err := dec.Run(body, &it.run); err != nil {
			return err
		}
		init(it)
		items = append(items, it)
		return nil
	})
	return items, err
}

// claim registers runs as under way here and sorts them.
func (w *worker) claim(items []*item) {
	var now, ask, park, twice, split []*item
	w.mu.Lock()
	chunk := len(items) > 1 // else it is a message of its own, or has waited
	gaps := w.gaps.arrival(time.Now())
	for _, it := range items {
		it.gaps = gaps
		if other := w.runs[it.run.ID]; other != nil {
			if it.run.Rev > other.run.Rev { // the other may be found superseded by this one
				w.doubles[it] = true
				time.AfterFunc(twiceWait, func() { w.claimLater(it) })
				continue
			}
			if other.u == nil { // it has left its queue: its entry at home stands for it
				twice = append(twice, it)
				continue
			}
			other.twins = append(other.twins, it)
			continue
		}
		w.runs[it.run.ID] = it
		p := w.tasks[taskKey{it.run.Queue, it.run.Task}]
		it.pace = p
		switch {
		case w.stopping:
			it.settled = true
			split = append(split, it)
		case p == nil && !it.again:
			park = append(park, it)
		case chunk && !it.again && p.known && p.slow(len(items), w.o.Slots): // but not to the queue's end what may have begun
			split = append(split, it)
		case it.doubt:
			ask = append(ask, it)
		default:
			now = append(now, it)
		}
	}
	w.mu.Unlock()
	for _, it := range twice {
		w.flush.void(it)
	}
	for _, it := range park {
		w.flush.park(it)
	}
	for _, it := range split {
		w.flush.requeue(it)
	}
	w.doubts.add(ask)
	if len(now) > 0 {
		w.push(now...)
	}
	if len(now)+len(ask) == 0 { // the slots it was asked for are still free
		w.pump()
	}
}

// claimLater claims a newer message of a run once the older one may have ended.
func (w *worker) claimLater(it *item) {
	w.mu.Lock()
	waits := w.doubles[it]
	delete(w.doubles, it)
	it.doubt = true // the older one may have ended the run
	w.mu.Unlock()
	if waits { // else this worker stops and has handed it back
		w.claim([]*item{it})
	}
}

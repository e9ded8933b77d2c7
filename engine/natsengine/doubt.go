package natsengine

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// known is what an index says of a run in doubt.
type known struct {
	State uint8  `json:"state"` // 0: nothing
	Rev   uint32 `json:"rev"`
	Held  uint32 `json:"held,omitempty"` // 1 + the revision that another live node has in hand
}

// ask looks runs up for a node after reading all that is stored now. revs are the
// revisions of the messages that it has.
func (h *holder) ask(ctx context.Context, node, queue string, ids []engine.ID, revs []uint32) ([]known, error) {
	if err := h.barrierNow(ctx, queue); err != nil {
		return nil, err
	}
	want := make([]index.ID, len(ids))
	for i, id := range ids {
		want[i] = index.ID(id)
	}
	rows, err := h.ix.Find(want)
	if err != nil {
		return nil, err
	}
	said := make(map[engine.ID]known, len(rows))
	for i := range rows {
		said[engine.ID(rows[i].ID)] = known{State: rows[i].State, Rev: rows[i].Rev}
	}
	out := make([]known, len(ids))
	settled := h.cfg.Alone || h.nodes.settled()
	for i, id := range ids {
		out[i] = said[id]
		if !settled {
			out[i].Held = math.MaxUint32
			continue
		}
		may := i < len(revs) && !engine.State(out[i].State).Terminal() && out[i].Rev>>8 <= revs[i]
		out[i].Held = h.nodes.heldBy(id, node)
		if may && out[i].Held <= revs[i] {
			out[i].Held = h.nodes.grants(id, node, revs[i])
		}
	}
	return out, nil
}

// doubts asks about runs that may be, or have been, under way elsewhere, many at
// a time, before they may start.
type doubts struct {
	w    *worker
	n    int // runs asked about; guarded by w.mu
	mu   sync.Mutex
	cond *sync.Cond
	in   []*item
	end  bool
	wg   sync.WaitGroup
}

// askMost bounds one question.
const askMost = 2000

func startDoubts(w *worker) *doubts {
	d := &doubts{w: w}
	d.cond = sync.NewCond(&d.mu)
	d.wg.Go(d.loop)
	return d
}

func (d *doubts) add(items []*item) {
	if len(items) == 0 {
		return
	}
	d.w.mu.Lock()
	d.n += len(items)
	for _, it := range items {
		it.asking = true
	}
	d.w.mu.Unlock()
	d.ask(items)
}

func (d *doubts) ask(items []*item) {
	d.mu.Lock()
	d.in = append(d.in, items...)
	d.mu.Unlock()
	d.cond.Signal()
}

// heldPause is after how long it is asked again about runs that another node has
// in hand.
const heldPause = 100 * time.Millisecond

func (d *doubts) stop() {
	d.mu.Lock()
	d.end = true
	d.mu.Unlock()
	d.cond.Broadcast()
	d.wg.Wait()
}

func (d *doubts) loop() {
	for {
		d.mu.Lock()
		for len(d.in) == 0 && !d.end {
			d.cond.Wait()
		}
		if d.end {
			d.mu.Unlock()
			return
		}
		// One question is about one queue.
		q := d.in[0].run.Queue
		var items, rest []*item
		for _, it := range d.in {
			if it.run.Queue == q && len(items) < askMost {
				items = append(items, it)
			} else {
				rest = append(rest, it)
			}
		}
		d.in = rest
		d.mu.Unlock()
		held := d.decide(q, items)
		d.w.mu.Lock()
		d.n -= len(items) - len(held)
		d.w.mu.Unlock()
		if len(held) > 0 {
			time.AfterFunc(heldPause, func() { d.ask(held) })
		}
		d.w.pump()
	}
}

// decide sends each run on: void, failed, or to start, recorded if it may have
// started before. It gives back those that another live node has in hand: its
// death, if it dies, is told by its heartbeat.
func (d *doubts) decide(queue string, items []*item) (held []*item) {
	w := d.w
	said, ok := d.answer(queue, items)
	if !ok {
		return nil
	}
	var void, lost, park, start []*item
	now := time.Now()
	w.mu.Lock()
	for i, it := range items {
		k := said[i]
		rev, step := k.Rev>>8, max(uint8(k.Rev), 1) //nolint:gosec // the low byte is the step
		if k.State == 0 || rev < it.run.Rev {
			step = 1
		}
		began := engine.State(k.State) == engine.Running && rev == it.run.Rev
		switch {
		case it.settled: // handed back, because this worker stops
			continue
		case engine.State(k.State).Terminal(), k.State != 0 && rev > it.run.Rev, k.State == 0 && it.run.Doubt && forgotten(&it.run, now):
			it.settled = true
			void = append(void, it)
			continue
		case k.Held > it.run.Rev:
			held = append(held, it)
			continue
		case it.again, began:
			it.run.Deaths += step - 1 - min(it.counted, step-1) // it may be asked about again
			it.counted = max(it.counted, step-1)
			if int(it.deaths()) >= w.o.Deaths {
				it.settled = true
				lost = append(lost, it)
				continue
			}
			it.again, it.step = true, step+1
			it.run.Doubt = true // whoever executes it looks for what it left
		}
		if !it.again {
			it.run.Doubt = false // it never began
		}
		it.asking = false
		if it.pace == nil { // now that its deaths are counted
			park = append(park, it)
			continue
		}
		start = append(start, it)
	}
	w.mu.Unlock()
	for _, it := range void {
		w.flush.void(it)
	}
	for _, it := range park {
		w.flush.park(it)
	}
	for _, it := range lost {
		d.lost(it)
	}
	if len(start) > 0 {
		w.push(start...)
	}
	return held
}

// forgotten tells whether a run that the index does not know, although it has read
// the run's message, may have ended so long ago that it has left the index: nothing
// else takes a run out of it.
func forgotten(r *engine.Run, now time.Time) bool {
	born := r.ID.Time()
	if at := time.UnixMilli(r.At); at.After(born) {
		born = at
	}
	return now.Sub(born) > time.Duration(min(r.Keep[0], r.Keep[1]))*time.Second
}

// deaths counts the recorded ones, and one for a message that was delivered
// before without an end: its first start is not recorded, unless it was in doubt.
func (it *item) deaths() uint8 {
	if it.redelivered && !it.noted {
		return it.run.Deaths + 1
	}
	return it.run.Deaths
}

// answer repeats the question until it is answered; meanwhile the runs wait under
// their lease.
func (d *doubts) answer(queue string, items []*item) ([]known, bool) {
	ids, revs := make([]engine.ID, len(items)), make([]uint32, len(items))
	for i, it := range items {
		ids[i], revs[i] = it.run.ID, it.run.Rev
	}
	for {
		a, err := d.w.e.call(d.w.ctx, opAsk, &request{Node: d.w.e.id, Queue: queue, IDs: ids, Revs: revs, After: d.w.e.wrote.all()})
		if err == nil && len(a.Known) == len(ids) {
			return a.Known, true
		}
		if d.w.ctx.Err() != nil || d.w.e.dead.Load() {
			return nil, false
		}
		d.w.logError("ask about runs in doubt", err)
		if sleep(d.w.ctx, retryPause) != nil {
			return nil, false
		}
	}
}

// lost fails a run that has killed too many workers.
func (d *doubts) lost(it *item) {
	rec := d.w.record(it, engine.Next{State: engine.Failed, Failure: &engine.Failure{
		Code:    engine.CodeLost,
		Message: fmt.Sprintf("%d workers died that had it in hand: look for what exhausts memory or ends the process", it.deaths()),
	}}, time.Now())
	rec.Deaths = it.deaths()
	d.w.flush.record(it, rec)
}

// begin records the start of a run that may have started before: one that is not
// followed by an end counts as a death. If a terminal record stands before it in
// the log, the run does not start; ended has been told so when begin returns.
func (w *worker) begin(it *item) bool {
	e, r := w.e, &it.run
	now := time.Now().UnixMilli()
	rec := engine.Record{
		ID: r.ID, State: engine.Running, Queue: r.Queue, Task: r.Task, Rev: rank(r.Rev, it.step), Attempt: r.Attempt, Deaths: r.Deaths,
		Keep: r.Keep[0], Start: now, End: now, Parent: r.Parent, RetryOf: r.RetryOf, Tags: r.Tags,
	}
	if it.u != nil { // where the envelope stands
		rec.Src, rec.SrcSeq, rec.CopySeq = it.u.in.src, it.u.seq, uint64(it.off) //nolint:gosec // an offset
		if it.u.batch != "" {
			rec.Src = srcStage
		}
	}
	data := engine.AppendRecord(nil, &rec)
	for {
		g := w.pub.group()
		err := g.add(w.ctx, engine.WriteStarted, subjectLog, nil, data)
		if err == nil {
			err = g.wait(w.ctx)
		}
		if err == nil {
			err = e.follow.passed(w.ctx, w.nc.ConnectedServerId, g.server, g.high)
		}
		if err == nil {
			return true
		}
		if e.died(err) || w.ctx.Err() != nil {
			return false
		}
		w.logError("record a start", err)
		if sleep(w.ctx, retryPause) != nil {
			return false
		}
	}
}

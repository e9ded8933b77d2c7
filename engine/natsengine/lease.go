package natsengine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

const (
	// homeAfter is how long an attempt runs, and homeWaiting how long it waits
	// for others, before the run leaves its queue: its message would pin all
	// later ones, and many would need many renewals.
	homeAfter   = time.Minute
	homeWaiting = time.Second
	// progressEvery and savedEvery throttle reports and checkpoints.
	progressEvery = 250 * time.Millisecond
	savedEvery    = time.Second
	// overdue is how long after its timeout, or the run's deadline, an attempt that
	// does not return is taken for lost: its outcome is decided without it.
	overdue = 10 * time.Second
)

// regainer is an attempt that waits for a slot to go on in.
type regainer struct{ ok chan struct{} }

// saver holds an attempt's newest checkpoint until it is stored, and the names of
// the large ones that are there.
type saver struct {
	data  []byte
	dirty bool
	last  time.Time
	busy  bool
	over  bool // the run has ended: nothing is to be stored any more
	read  bool // what an earlier attempt stored is among apart
	apart []string
}

var errWaiting = &engine.Error{Code: engine.CodeLimit, Op: "wait for runs", Err: errors.New("too many runs wait for others on this node: raise the bound on waiting runs, or submit fewer at a time")}

// Yield implements engine.Lease.
func (it *item) Yield() error {
	w := it.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if it.yielded || !it.running {
		return nil
	}
	if w.waiting >= w.o.Waiting {
		return errWaiting
	}
	it.yielded, it.waits = true, time.Now()
	w.clearLocked(it) // those that it waits for may be suspects
	w.busy--
	w.waiting++
	w.moved++ // so that the slot that is free asks for runs at once
	go w.slot()
	return nil
}

// Regain implements engine.Lease.
func (it *item) Regain(ctx context.Context) error {
	w := it.w
	r := &regainer{make(chan struct{})}
	w.mu.Lock()
	if !it.yielded {
		w.mu.Unlock()
		return nil
	}
	w.regain = append(w.regain, r)
	w.cond.Broadcast()
	w.mu.Unlock()
	select {
	case <-r.ok:
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		if i := slices.Index(w.regain, r); i >= 0 { // it goes on without a slot, to end
			w.regain = slices.Delete(w.regain, i, i+1)
			return context.Cause(ctx)
		}
		it.regained()
		return context.Cause(ctx)
	}
	w.mu.Lock()
	it.regained()
	w.mu.Unlock()
	return nil
}

// regained: next has counted the slot as busy already.
func (it *item) regained() {
	it.yielded, it.waits = false, time.Time{}
	if it.w.waiting--; it.w.waiting == 0 && it.w.stopping {
		it.w.cond.Broadcast() // slots that stood by for it may end
	}
}

// Progress implements engine.Lease.
func (it *item) Progress(p engine.Progress) {
	it.w.mu.Lock()
	defer it.w.mu.Unlock()
	if it.running && it.settled { // it has been given up
		return
	}
	it.progress, it.told = &p, false
}

// Checkpoint implements engine.Lease.
func (it *item) Checkpoint(v []byte) {
	w := it.w
	w.mu.Lock()
	if it.running && it.settled || it.save.over { // it has been given up
		w.mu.Unlock()
		return
	}
	it.save.data, it.save.dirty, it.saved = v, true, true
	now := !it.save.busy && time.Since(it.save.last) >= savedEvery
	if now {
		it.save.busy = true
	}
	w.mu.Unlock()
	if now {
		go it.store()
	}
}

// store writes the newest checkpoint. One at a time runs for an attempt.
func (it *item) store() {
	w := it.w
	for {
		w.mu.Lock()
		data := it.save.data
		it.save.dirty, it.save.last = false, time.Now()
		w.mu.Unlock()
		if err := it.saveCheckpoint(w.e.ctx, data); err != nil && w.e.written(err) != nil {
			w.logError("save a checkpoint", err)
		}
		w.mu.Lock()
		over := it.save.over
		if over || !it.save.dirty || !it.settled || w.e.ctx.Err() != nil {
			it.save.busy = false
			w.mu.Unlock()
			if over { // the run has ended meanwhile
				it.unsave()
			}
			return
		}
		w.mu.Unlock()
	}
}

// saveNow stores the newest checkpoint before the next attempt can ask for it.
func (it *item) saveNow() {
	w := it.w
	for {
		w.mu.Lock()
		busy, dirty := it.save.busy, it.save.dirty
		if !busy && dirty {
			it.save.busy = true
		}
		w.mu.Unlock()
		switch {
		case busy:
			if sleep(w.writes, time.Millisecond) != nil {
				return
			}
		case dirty:
			it.store()
		default:
			return
		}
	}
}

// tick renews leases, sends heartbeats, progress and checkpoints, and moves long
// runs out of their queues.
func (w *worker) tick() {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	var beat, progress time.Time
	pruned, checked := time.Now(), time.Now()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		w.mu.Lock()
		w.gaps.look(now)
		if held := w.e.space().Hold; held != w.held {
			w.held = held
			w.cond.Broadcast()
		}
		w.mu.Unlock()
		w.renew(now)
		if now.Sub(beat) >= renewEvery {
			beat = now
			w.beat(false)
			w.tellPaces(now)
		}
		if now.Sub(progress) >= progressEvery {
			progress = now
			w.tellProgress()
		}
		if now.Sub(checked) >= pauseChecked {
			checked = now
			w.wg.Go(func() { w.checkPauses(false) })
		}
		if now.Sub(pruned) >= pruneEvery {
			pruned = now
			w.wg.Go(w.stops.prune)
		}
		w.saveDirty(now)
		w.moveHome(now)
		w.watchSuspects(now)
		w.surplus(now)
		w.pump()
	}
}

// renew prolongs the leases of messages under way, unless all their attempts
// should have ended: a renewal must not keep dead work alive.
func (w *worker) renew(now time.Time) {
	var replies []string
	var dead []*item
	w.mu.Lock()
	for _, it := range w.runs {
		if it.running && !it.settled && it.overdue(now) != nil {
			it.settled = true
			dead = append(dead, it)
		}
	}
	for _, u := range w.units {
		if u.left > 0 && now.Sub(u.renewed) >= renewEvery {
			u.extend(now)
			replies = append(replies, u.reply)
		}
	}
	w.mu.Unlock()
	for _, r := range replies {
		if err := w.nc.Publish(r, []byte("+WPI")); err != nil {
			w.logError("renew a lease", err)
		}
	}
	for _, it := range dead {
		why := it.overdue(now)
		w.e.log.Error("an attempt did not end in time; its slot stays taken until it does", "run", it.run.ID, "task", it.run.Task, "error", why.Message)
		w.wg.Go(func() { w.finish(w.giveUp(it), engine.Outcome{Failure: why}, now) }) // to save what it has may take its time
	}
}

// overdue is the failure of an attempt that should have ended a while ago; nil if
// it is in time.
func (it *item) overdue(now time.Time) *engine.Failure {
	r := &it.run
	f := &engine.Failure{Code: engine.CodeDeadline, Message: engine.ErrDeadline.Error()}
	switch {
	case r.Deadline != 0 && now.Add(-overdue).UnixMilli() > r.Deadline:
	case r.Timeout > 0 && now.Sub(it.started) > r.Timeout+overdue:
		f.Code, f.Message = engine.CodeTimeout, engine.ErrTimeout.Error()
	default:
		return nil
	}
	f.Message += fmt.Sprintf("; the handler ignored that for %v more", overdue)
	return f
}

// giveUp takes a run from an attempt that does not end, with all that is saved by
// now: what that still does or says is its own affair.
func (w *worker) giveUp(it *item) *item {
	it.saveNow()
	w.mu.Lock()
	defer w.mu.Unlock()
	next := &item{
		w: w, u: it.u, off: it.off, step: it.step, counted: it.counted, run: it.run, doubt: it.doubt, again: it.again, noted: it.noted, lapses: it.lapses, gaps: it.gaps,
		redelivered: it.redelivered, arrived: it.arrived, pace: it.pace, started: it.started, taken: true,
		stopped: it.stopped, homed: it.homed, entry: it.entry, entryAt: it.entryAt, settled: true, ended: it.ended, endedAt: it.endedAt, saved: it.saved, twins: it.twins,
		save: saver{read: it.save.read, apart: slices.Clone(it.save.apart)},
	}
	it.u, it.twins = nil, nil
	w.clearLocked(it)
	if w.runs[it.run.ID] == it {
		w.runs[it.run.ID] = next
	}
	return next
}

// extend begins a message's lease anew.
func (u *unit) extend(now time.Time) {
	u.lapses, u.renewed = u.ended(now), now
}

// ended counts how often the lease has ended, by this process's clock.
func (u *unit) ended(now time.Time) int {
	if now.Sub(u.renewed) >= ackWait {
		return u.lapses + 1
	}
	return u.lapses
}

// lapsedLocked tells whether the lease on a run has ended since the run came or
// was asked about, as in a pause of this process: another may have begun and ended
// it, and the log's follower may not have come so far.
func (it *item) lapsedLocked(now time.Time) bool {
	return it.u != nil && it.lapses != it.u.ended(now)
}

// heldTold is how long a run must have been here for heartbeats to tell of it
// although it does not run: most pass sooner.
const heldTold = 100 * time.Millisecond

// beat tells holders what this node has and does.
func (w *worker) beat(end bool) {
	w.beats.Lock()
	defer w.beats.Unlock()
	b := beat{End: end, Node: engine.NodeInfo{ID: w.e.id, Name: w.o.Name, Version: w.o.Version, Since: w.e.since, Slots: w.o.Slots}}
	w.mu.Lock()
	b.Node.Busy, b.Node.Waiting = w.busy, w.waiting
	for k := range w.tasks {
		if !slices.Contains(b.Node.Queues, k.queue) {
			b.Node.Queues = append(b.Node.Queues, k.queue)
		}
		b.Node.Tasks = append(b.Node.Tasks, k.task)
		b.Node.Routes = append(b.Node.Routes, engine.Route{Queue: k.queue, Task: k.task})
	}
	var runs []liveRun
	now := time.Now()
	for _, it := range w.runs {
		switch {
		case it.running && !it.settled:
			it.told = true
			runs = append(runs, it.live())
		case !it.asking && now.Sub(it.arrived) > heldTold: // it waits to begin, or for its end to be written
			runs = append(runs, liveRun{ID: it.run.ID, Rev: it.run.Rev, Held: true})
		}
	}
	w.mu.Unlock()
	slices.Sort(b.Node.Queues)
	slices.Sort(b.Node.Tasks)
	b.Node.Tasks = slices.Compact(b.Node.Tasks)
	slices.SortFunc(b.Node.Routes, func(x, y engine.Route) int {
		return cmp.Or(cmp.Compare(x.Queue, y.Queue), cmp.Compare(x.Task, y.Task))
	})
	w.send(b, runs)
}

// live is the run as heartbeats tell it.
func (it *item) live() liveRun {
	return liveRun{ID: it.run.ID, Rev: it.run.Rev, Waiting: it.yielded, Attempt: int(it.run.Attempt) + 1, Started: it.started.UnixMilli(), Progress: it.progress}
}

func (w *worker) tellProgress() {
	w.beats.Lock()
	defer w.beats.Unlock()
	var runs []liveRun
	w.mu.Lock()
	for _, it := range w.runs {
		if it.running && !it.settled && it.progress != nil && !it.told {
			it.told = true
			runs = append(runs, it.live())
		}
	}
	w.mu.Unlock()
	if len(runs) > 0 {
		w.send(beat{Part: true, More: true, Node: engine.NodeInfo{ID: w.e.id, Name: w.o.Name}}, runs)
	}
}

// beatPart bounds a part of a heartbeat: a quarter of what a message may have.
const beatPart = 1 << 20

// size is what a run takes of that, at most, as JSON.
func (r *liveRun) size() int {
	n := 1 << 10
	if r.Progress != nil {
		n += 6 * len(r.Progress.Text)
	}
	return n
}

// fitting is how many of the first runs fit in a part. The lease of each is to be
// told, whatever it has to say.
func fitting(runs []liveRun) int {
	n, size := 0, 0
	for ; n < len(runs); n++ {
		r := &runs[n]
		if r.size() > beatPart {
			r.Progress = &engine.Progress{Done: r.Progress.Done}
		}
		if size += r.size(); size > beatPart {
			break
		}
	}
	return n
}

// send publishes a heartbeat, in parts that fit in a message.
func (w *worker) send(b beat, runs []liveRun) {
	between := b.More
	for {
		b.Runs = runs[:fitting(runs)]
		runs = runs[len(b.Runs):]
		b.More = len(runs) > 0 || between
		data, err := json.Marshal(b)
		if err == nil {
			err = w.nc.Publish(subjectBeat, data)
		}
		if err != nil {
			w.logError("send a heartbeat", err)
			return
		}
		if len(runs) == 0 {
			return
		}
		b.Part = true
	}
}

// saveDirty stores checkpoints that the throttle held back.
func (w *worker) saveDirty(now time.Time) {
	var items []*item
	w.mu.Lock()
	for _, it := range w.runs {
		if it.save.dirty && !it.save.busy && now.Sub(it.save.last) >= savedEvery {
			it.save.busy = true
			items = append(items, it)
		}
	}
	w.mu.Unlock()
	for _, it := range items {
		go it.store()
	}
}

// moveHome writes long runs under a key of their own, and then acknowledges
// their messages: from then on this node's heartbeat is their lease.
func (w *worker) moveHome(now time.Time) {
	var items []*item
	w.mu.Lock()
	for _, it := range w.runs {
		long := it.running && now.Sub(it.started) > homeAfter || it.yielded && now.Sub(it.waits) > homeWaiting
		if long && !it.settled && !it.homed && !it.homing && it.u != nil {
			it.homing = true
			items = append(items, it)
		}
	}
	w.mu.Unlock()
	if len(items) > 0 {
		w.wg.Go(func() { w.writeHomes(items) })
	}
}

func (w *worker) writeHomes(items []*item) {
	e := w.e
	g := w.pub.group()
	var err error
	at := make([]uint64, len(items))
	for i, it := range items {
		r := it.run
		r.Rev++
		if err = g.addSeq(w.ctx, engine.WriteHome, subjectHome+r.ID.String(), nats.Header{headerNode: {e.id}}, engine.AppendRun(nil, &r), &at[i]); err != nil {
			break
		}
	}
	if err == nil {
		err = g.wait(w.ctx)
	}
	if err == nil {
		err = e.commitOn(w.ctx, g.server, 1)
	}
	if err != nil && e.written(err) != nil {
		w.logError("move long runs out of their queues", err)
	}
	var acks []*unit
	gone := map[engine.ID]uint64{}
	w.mu.Lock()
	for i, it := range items {
		it.homing = false
		seq := uint64(0) // whether it is stored is open
		if err == nil {
			seq = at[i]
		}
		if it.settled { // it ended meanwhile, and tidied up before this was written
			gone[it.run.ID] = seq
			continue
		}
		if it.entry, it.entryAt = true, seq; err != nil {
			continue
		}
		it.homed = true
		it.run.Rev++
		acks = it.leaveLocked(acks)
	}
	w.mu.Unlock()
	for _, u := range acks {
		w.ackUnit(u)
	}
	for id, at := range gone {
		err := e.settle(w.writes)
		if err == nil {
			err = e.discardHome(w.writes, id, at)
		}
		if err != nil && e.written(err) != nil {
			w.logError("drop a home entry", err)
		}
	}
}

// held is how long a run may stand ready here while no slot is free before it
// goes back to where another worker can take it.
const held = 100 * time.Millisecond

// againHeld is how long a run that may have begun elsewhere waits for slots that long
// ones seem to hold.
const againHeld = 2 * time.Second

// surplus hands back what came although all slots are taken: pulls stand open on
// several queues, and a chunk may turn out slower than expected.
func (w *worker) surplus(now time.Time) {
	var back []*item
	w.mu.Lock()
	if w.turns != w.seen || w.turned.IsZero() {
		w.turned, w.seen = now, w.turns
	}
	for _, l := range slices.Clone(w.ready.turns) {
		for l.n > 0 && w.surplusLocked(l, now) {
			it := w.ready.take(l)
			it.settled = true // the worker may stop meanwhile
			back = append(back, it)
		}
	}
	w.mu.Unlock()
	for _, it := range back {
		w.handBack(it)
	}
}

// stuckAfter is after how long without a run that begins or ends all slots are
// taken to be held by long ones, whatever is known of those that wait.
const stuckAfter = 300 * time.Millisecond

// stuckLocked tells whether that is so now.
func (w *worker) stuckLocked(now time.Time) bool {
	return w.busy >= w.o.Slots && w.turns == w.seen && now.Sub(w.turned) > stuckAfter
}

// surplusLocked tells whether the first ready run of a queue should go back.
func (w *worker) surplusLocked(l *lane, now time.Time) bool {
	it := l.first()
	before := min(w.ready.n, l.n*len(w.ready.turns)) // what is taken until the queue's last one is
	if w.busy < w.o.Slots {
		return false
	}
	if it.again { // behind all that waits it would start much later than it could here
		return w.stuckLocked(now) && now.Sub(w.turned) >= againHeld && now.Sub(it.arrived) >= againHeld
	}
	if !w.stuckLocked(now) {
		if before <= w.aheadLocked(it.run.Queue) {
			return false
		}
		if p := w.tasks[taskKey{it.run.Queue, it.run.Task}]; p != nil && !p.slow(before, w.o.Slots) {
			return false // it only waits for a stall to end
		}
	}
	return now.Sub(it.arrived) >= held<<min(it.run.Rev, 6) // longer each time: it may have nowhere to go
}

package natsengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// worker takes runs from queues and executes them in slots. A slot is a
// goroutine that takes one ready run after the other; an attempt that waits for
// other runs starts another such goroutine in its place, and ends one when it
// goes on, so that their number stays.
type worker struct {
	e      *Engine
	o      engine.WorkOptions
	nc     *nats.Conn // pulls, messages, acknowledgements
	pub    *publisher
	flush  *flusher
	doubts *doubts
	stops  *cancelled
	ctx    context.Context //nolint:containedctx // ends attempts
	cancel context.CancelCauseFunc
	writes context.Context //nolint:containedctx // ends what is written after attempts
	endAll context.CancelCauseFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	cond     *sync.Cond
	ready    ready
	regain   []*regainer
	busy     int // attempts that hold a slot
	waiting  int // attempts that gave theirs back
	idle     int // slots that wait for a run
	late     int // runs that wait for a time close by
	stopping bool
	held     bool // no run is started, for want of space
	units    map[unitKey]*unit
	runs     map[engine.ID]*item
	tasks    map[taskKey]*pace
	queues   map[string][]*pace // of a queue's tasks
	ahead    int                // how many ready runs the slots will finish within a moment
	doubles  map[*item]bool     // newer messages of runs under way here
	moved    int                // runs that slots took or ended since the last pump
	turned   time.Time          // when a tick last found that some had
	turns    uint64             // runs that slots took or ended
	seen     uint64             // of them by then
	expands  int                // batches that are made messages or fed
	feeding  int                // batches that wait for few runs to be left
	low      chan struct{}      // tells one of them
	waking   bool               // a slot that waited has been told of runs, and has not come yet
	intakes  []*intake
	suspects suspects
	gaps     gaps
	handling chan struct{}   // of one Handle at a time
	beats    sync.Mutex      // of telling what is under way, before mu: an older heartbeat must not come after, or amid, a newer one
	paused   map[string]bool // queues
	pauses   sync.Mutex      // of asking about them, before mu
	done     chan struct{}
	once     atomic.Bool
	started  atomic.Bool // it can be stopped
}

type taskKey struct{ queue, task string }

// unitKey names a message: its consumer's intake, stream sequence and time. After a
// power cut another message may have the sequence.
type unitKey struct {
	in    *intake
	seq   uint64
	nanos int64
}

// unit is a queue's message whose runs are under way here.
type unit struct {
	in        *intake
	seq       uint64
	nanos     int64  // when it was stored
	server    string // that delivered it last
	reply     string
	delivered uint64
	left      int       // runs of it that have not been settled
	renewed   time.Time // when its lease began last
	lapses    int       // how often it had ended before it was renewed
	batch     string    // the batch whose manifest it is, if its runs are executed from there
}

// item is a run under way here, from delivery until its end is on disk.
type item struct {
	w           *worker
	u           *unit
	off         int   // of its frame in the message
	step        uint8 // of this start, if it is recorded
	counted     uint8 // recorded deaths that its run has been charged with
	run         engine.Run
	doubt       bool // ask before it starts
	again       bool // it may have started before: record this start
	noted       bool // all starts from this message are recorded
	lapses      int  // of its message's lease when it was asked about
	gaps        int  // of this process by then
	redelivered bool // its message was delivered before
	arrived     time.Time
	pace        *pace // of its task

	// The rest is guarded by w.mu.
	started  time.Time
	ctx      *attemptContext // of the attempt under way
	taken    bool            // by a slot
	running  bool
	asking   bool // whether it may start; another node may have it in hand
	stopped  bool // an entry says that it is cancelled, and it has been asked whether it is
	yielded  bool
	waits    time.Time // since when it has no slot
	twins    []*item   // of other messages of the run: the index may name one of those
	homed    bool
	homing   bool
	entry    bool   // it may have one at home
	entryAt  uint64 // its sequence; 0 if it was not answered
	settled  bool   // its outcome is decided; a later one is dropped
	ended    bool   // a terminal record stands in the log
	endedAt  uint64
	saved    bool // it may have a checkpoint
	suspect  bool // one death more, and it fails: it may kill this process
	progress *engine.Progress
	told     bool // progress has been sent
	save     saver
}

// Work implements engine.Engine.
func (e *Engine) Work(o engine.WorkOptions) (engine.Worker, error) {
	if err := e.ready("work"); err != nil {
		return nil, err
	}
	if o.Exec == nil || o.Slots < 0 || o.Waiting < 0 || o.Deaths < 0 || o.Deaths > 200 {
		return nil, &engine.Error{Code: engine.CodeInvalid, Op: "work", Err: errors.New("want Exec, Slots and Waiting not negative, and Deaths from 0 to 200")}
	}
	if o.Deaths == 0 {
		o.Deaths = engine.MaxDeaths
	}
	if o.Slots == 0 {
		o.Slots = runtime.GOMAXPROCS(0)
	}
	if o.Waiting == 0 {
		o.Waiting = 10_000
	}
	if o.Name == "" {
		host, _ := os.Hostname()
		o.Name = host + "-" + strconv.Itoa(os.Getpid())
	}
	w := &worker{
		e: e, o: o, units: map[unitKey]*unit{}, runs: map[engine.ID]*item{}, tasks: map[taskKey]*pace{}, queues: map[string][]*pace{},
		doubles: map[*item]bool{}, paused: map[string]bool{}, low: make(chan struct{}, 1), done: make(chan struct{}),
		handling: make(chan struct{}, 1),
	}
	w.cond = sync.NewCond(&w.mu)
	w.stops = newCancelled(w) // the log is followed already, and tells of cancelled runs at once
	w.writes, w.endAll = context.WithCancelCause(e.ctx)
	w.ctx, w.cancel = context.WithCancelCause(w.writes)
	if !e.worker.CompareAndSwap(nil, w) {
		return nil, &engine.Error{Code: engine.CodeConflict, Op: "work", Err: errors.New("this engine has a worker already")}
	}
	if err := w.start(); err != nil {
		w.endAll(err)
		e.worker.Store(nil)
		return nil, err
	}
	w.started.Store(true)
	if e.closed.Load() { // meanwhile
		w.Stop(e.ctx) //nolint:errcheck,gosec // ends at once
		return nil, e.ready("work")
	}
	return w, nil
}

func (w *worker) start() error {
	var err error
	if w.nc, err = w.e.cfg.Dial(); err != nil {
		return err
	}
	if w.pub, err = newPublisher(w.nc, w.e.cfg.Hook); err != nil {
		w.nc.Close()
		return err
	}
	if _, err = w.nc.Subscribe(subjectKick, func(m *nats.Msg) { w.kicked(string(m.Data)) }); err != nil {
		w.nc.Close()
		return fmt.Errorf("subscribe to news of queues: %w", err)
	}
	if err = w.stops.follow(); err != nil {
		w.nc.Close()
		return err
	}
	w.flush = startFlusher(w)
	w.doubts = startDoubts(w)
	// Only now: they need all of the above, and a loss before this is none of a
	// worker that has asked for nothing yet.
	w.nc.SetDisconnectErrHandler(func(*nats.Conn, error) { w.disconnected() })
	w.nc.SetReconnectHandler(func(*nats.Conn) { w.reconnected() })
	w.wg.Go(w.tick)
	for range w.o.Slots {
		go w.slot()
	}
	return nil
}

// slot executes ready runs until it has to give way or the worker stops.
func (w *worker) slot() {
	// Attempts' contexts are children of the slot's: to be added to one that all
	// share they would wait for each other.
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	for {
		it := w.next()
		if it == nil {
			return
		}
		if !w.execute(ctx, it) {
			return
		}
	}
}

// next waits for a run. It is nil when this slot's goroutine has to end.
func (w *worker) next() *item {
	asked := false
	w.mu.Lock()
	for {
		if len(w.regain) > 0 { // an attempt goes on in this slot
			r := w.regain[0]
			w.regain = w.regain[1:]
			w.busy++
			close(r.ok)
			w.mu.Unlock()
			return nil
		}
		if w.ready.n > 0 && !w.stopping && !w.held {
			it := w.ready.pop()
			it.taken = true
			w.busy++
			w.moved++
			w.turns++
			low := w.moved > w.ahead/32 || w.ready.n == 0 && w.moved > w.ahead/256
			w.feedLocked()
			w.wakeLocked()
			w.mu.Unlock()
			if low {
				w.pump()
			}
			return it
		}
		if w.stopping && w.waiting == 0 {
			w.mu.Unlock()
			return nil
		}
		if !asked && w.moved > 0 { // this slot is free now
			asked = true
			w.mu.Unlock()
			w.pump()
			w.mu.Lock()
			continue
		}
		w.idle++
		w.cond.Wait()
		w.idle--
		w.waking = false
	}
}

// wakeLocked tells a slot that waits of ready runs. It will tell the next one, if
// there is more than it and those that are at work have taken by then: to wake
// all at once for runs that are over in a moment costs more than these.
func (w *worker) wakeLocked() {
	if w.ready.n > 0 && w.idle > 0 && !w.waking && !w.held {
		w.waking = true
		w.cond.Signal()
	}
}

// execute makes one attempt. It tells whether the goroutine still has its slot.
func (w *worker) execute(slotCtx context.Context, it *item) (slot bool) {
	ctx := &attemptContext{Context: slotCtx}
	defer ctx.close()
	if !w.begins(it, ctx) {
		return true
	}
	out := engine.Outcome{Failure: &engine.Failure{Code: engine.CodePanic, Message: "the handler ended its goroutine with runtime.Goexit"}}
	returned, asked := false, false
	defer func() {
		if asked {
			slot = true
			return
		}
		slot = w.attempted(it, out)
		if !returned && slot { // this goroutine ends; another takes its slot
			go w.slot()
		}
	}()
	switch {
	case !it.run.Parent.IsZero() && !it.run.Detached && w.stops.has(it.run.Parent):
		out.Failure = &engine.Failure{Code: engine.CodeCancelled, Message: "the run that submitted it was cancelled"}
	case it.run.Deadline != 0 && it.started.UnixMilli() >= it.run.Deadline:
		out.Failure = &engine.Failure{Code: engine.CodeDeadline, Message: engine.ErrDeadline.Error()}
	default:
		out, asked = w.attempt(ctx, it)
	}
	returned = true
	return slot
}

// begins tells whether a run may start, and makes it a running one. Otherwise its
// slot is free again.
func (w *worker) begins(it *item, ctx *attemptContext) bool {
	void := func() bool {
		ended := it.ended
		it.settled = true
		w.busy--
		w.mu.Unlock()
		if ended { // as of now: should a power cut take that end, the run goes on
			w.flush.requeue(it)
		} else {
			w.flush.void(it)
		}
		return false
	}
	w.mu.Lock()
	if it.ended || it.settled {
		return void()
	}
	if !it.stopped && w.stops.has(it.run.ID) { // a power cut may have taken the record that stands before the entry
		it.stopped, it.taken = true, false
		w.busy--
		w.mu.Unlock()
		w.doubts.add([]*item{it})
		return false
	}
	now := time.Now()
	if w.pausedLocked(it, now) {
		w.mu.Unlock()
		w.doubts.add([]*item{it})
		return false
	}
	if !w.suspectLocked(it) {
		it.taken = false
		w.busy--
		w.moved++
		w.mu.Unlock()
		return false
	}
	if it.again {
		w.mu.Unlock()
		ok := w.begin(it)
		it.again = false
		if !ok {
			w.notBegun(it)
			return false
		}
		w.mu.Lock()
		if it.ended {
			return void()
		}
		now = time.Now()
	}
	it.started, it.ctx, it.running = now, ctx, true
	if it.pace != nil {
		it.pace.running++
	}
	w.mu.Unlock()
	return true
}

// pausedLocked tells whether a run has to be asked about since this process was
// stopped, or the lease has ended, after it came or was asked about last. Then its
// slot is free again.
func (w *worker) pausedLocked(it *item, now time.Time) bool {
	lapsed, gaps := it.lapsedLocked(now), w.gaps.look(now)
	if !lapsed && it.gaps == gaps {
		return false
	}
	it.doubt, it.taken = true, false
	it.again = it.again || lapsed
	if it.gaps = gaps; lapsed {
		it.lapses = it.u.ended(now)
	}
	w.busy--
	return true
}

// takesBack asks about a run again that was about to begin when this process was
// stopped. It is looked at last before the handler is called. The clock tells of
// most that nothing was; where the start was recorded, that took its time.
func (w *worker) takesBack(it *item) bool {
	now := time.Now()
	if it.step == 0 && now.Sub(it.started) <= gapMost {
		return false
	}
	w.mu.Lock()
	if it.settled || it.homing || it.homed || !w.pausedLocked(it, now) {
		w.mu.Unlock()
		return false
	}
	it.running, it.ctx = false, nil
	if it.pace != nil {
		it.pace.running--
	}
	if it.step > 0 { // no handler saw that start: it is no death
		it.counted = max(it.counted, it.step-1)
	}
	w.clearLocked(it)
	w.mu.Unlock()
	w.doubts.add([]*item{it})
	return true
}

// notBegun hands a run back whose start may stand in the log, because this worker
// stops: without a message that follows it would count as a death.
func (w *worker) notBegun(it *item) {
	if !w.e.dead.Load() {
		w.handBack(it)
	}
	w.mu.Lock()
	w.busy--
	w.moved++
	w.mu.Unlock()
}

// attempted ends an attempt's bookkeeping and writes what follows from it. It
// tells whether the attempt still had its slot.
func (w *worker) attempted(it *item, out engine.Outcome) (slot bool) {
	now := time.Now()
	w.mu.Lock()
	slot = !it.yielded
	it.running, it.yielded = false, false
	drop := it.settled
	it.settled = true
	if p := it.pace; p != nil {
		p.running--
		p.add(now.Sub(it.started))
	}
	w.mu.Unlock()
	if !drop {
		w.finish(it, out, now)
	}
	w.mu.Lock() // not before: a worker that stops waits for those that are busy
	defer w.mu.Unlock()
	if slot {
		w.busy--
	} else {
		w.waiting--
	}
	w.moved++
	w.turns++
	if !slot && w.stopping {
		w.cond.Broadcast()
	}
	return slot
}

// attempt fetches the input and executes the handler. A store that does not
// answer charges nothing: the run waits for it. A run that has ended meanwhile
// does not start: ended has its context end before anybody here is shown the end.
// Nor does one before which this process was stopped: it is asked about again.
func (w *worker) attempt(ctx context.Context, it *item) (out engine.Outcome, asked bool) {
	in, err := w.e.objects.value(ctx, it.run.Input)
	for ; err != nil; in, err = w.e.objects.value(ctx, it.run.Input) {
		if engine.CodeOf(err) == engine.CodeNotFound {
			return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeNotFound, Message: err.Error()}, Permanent: true}, false
		}
		if ctx.Err() == nil {
			w.logError("read an input", err)
		}
		if sleep(ctx, retryPause) != nil {
			return engine.Outcome{Interrupted: true}, false
		}
	}
	if w.takesBack(it) {
		return engine.Outcome{}, true
	}
	if ctx.Err() != nil {
		return engine.Outcome{Interrupted: true}, false
	}
	return w.o.Exec(ctx, &engine.Attempt{Run: &it.run, Input: in, Started: it.started, Lease: it}), false
}

// ended is told by the log's follower which runs have a terminal record.
func (w *worker) ended(ends []end) {
	for _, e := range ends {
		if e.state == engine.Cancelled { // before its slot is free for a child of it
			w.stops.add(e.id, 0)
		}
	}
	var stop []func()
	w.mu.Lock()
	for _, e := range ends {
		it := w.runs[e.id]
		if it == nil {
			continue
		}
		if !it.ended {
			it.ended, it.endedAt = true, e.seq
		}
		if it.settled || !it.running {
			continue
		}
		cause, ctx := engine.ErrLost, it.ctx
		if e.state == engine.Cancelled {
			cause = engine.ErrCancelled
		}
		stop = append(stop, func() { ctx.cancel(cause) })
	}
	w.mu.Unlock()
	for _, f := range stop {
		f()
	}
}

// reconnects counts the times that the connection which delivers was made again.
func (w *worker) reconnects() uint64 { return w.nc.Stats().Reconnects }

// lapseLocked takes all leases here for ended.
func (w *worker) lapseLocked() {
	for _, u := range w.units {
		u.lapses++
	}
}

// disconnected: a server that starts anew may know nothing of what it delivered
// last, and deliver it to others. What has not begun here is asked about first, as
// after the end of its lease.
func (w *worker) disconnected() {
	w.pub.disconnected()
	w.e.follow.wake() // of starts that were recorded there
	w.mu.Lock()
	w.lapseLocked()
	for _, in := range w.intakes {
		in.open = 0
	}
	w.mu.Unlock()
}

// reconnected: what is delivered from here on may have been under way before
// the server went away.
func (w *worker) reconnected() {
	w.mu.Lock()
	ins := append([]*intake(nil), w.intakes...)
	w.mu.Unlock()
	go w.mark(ins)
	w.beat(false) // an owner that has started anew knows of nobody
}

// mark sets the bounds of intakes, whose consumers may have been lost, for as long as
// it takes.
func (w *worker) mark(ins []*intake) {
	for _, in := range ins {
		for in.remake(w.ctx) != nil || in.mark(w.ctx) != nil {
			if sleep(w.ctx, retryPause) != nil {
				return
			}
		}
	}
	w.pump()
}

func (w *worker) logError(what string, err error) {
	w.e.logError("worker", what, err)
}

package natsengine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/faena-dev/faena/engine"
)

// flusher writes what follows attempts, for many runs at once: while one group
// is on its way to disk the next gathers, so groups grow with load by
// themselves. The order for each run: what it needs later (the copy of a failed
// one, its next attempt), then its terminal record, then the commit, then the
// acknowledgement of its message.
type flusher struct {
	w       *worker
	mu      sync.Mutex
	cond    *sync.Cond
	pending []job
	spare   [][]job // written
	writing int
	given   int  // outcomes that have been given up
	ending  bool // no more runs are taken
	closed  bool
	wg      sync.WaitGroup
}

// job is one run's writes.
type job struct {
	it    *item
	kind  jobKind
	doubt bool // of the message in its place
	rec   engine.Record
	void  bool // as of the last try: the run has ended

	large largeOutput // of the record; none for the owner of the disk
}

type jobKind uint8

const (
	jobVoid    jobKind = iota // nothing to write: it has ended, or another message stands for it
	jobRecord                 // a terminal record
	jobDelayed                // its next attempt, later
	jobRequeue                // back into its queue, as a message of its own
	jobPark                   // to workers that know its task
)

// maxUnwritten bounds the outcomes that wait to be written; finishing attempts
// blocks above it.
const maxUnwritten = 20_000

// maxSpare bounds the memory kept for later outcomes.
const maxSpare = 4096

// flushers write at a time, so that one gathers the disk's answer while another
// publishes.
const flushers = 2

func startFlusher(w *worker) *flusher {
	f := &flusher{w: w}
	f.cond = sync.NewCond(&f.mu)
	for range flushers {
		f.wg.Go(f.loop)
	}
	return f
}

func (f *flusher) void(it *item)                      { f.add(job{it: it, kind: jobVoid}) }
func (f *flusher) record(it *item, rec engine.Record) { f.add(job{it: it, kind: jobRecord, rec: rec}) }
func (f *flusher) delayed(it *item)                   { f.leave(it, jobDelayed) }
func (f *flusher) requeue(it *item)                   { f.leave(it, jobRequeue) }
func (f *flusher) park(it *item)                      { f.leave(it, jobPark) }

// leave is for runs that go on as another message: that one may be delivered
// here before this one is acknowledged, and must not be taken for a double. What
// has ended does not, and stays: it is to be told if that end turns out to be lost.
func (f *flusher) leave(it *item, kind jobKind) {
	f.w.mu.Lock()
	if f.w.runs[it.run.ID] == it && !it.ended {
		delete(f.w.runs, it.run.ID)
	}
	now := time.Now()
	gap := it.gaps != f.w.gaps.look(now) // it may have been delivered before: what others made of it since is not known here
	it.doubt = it.doubt || gap || it.lapsedLocked(now)
	doubt := it.doubt
	switch kind {
	case jobPark:
		doubt = gap || it.again // it may have begun
	case jobDelayed:
		doubt = gap && !it.taken // else it was executed here
	case jobVoid, jobRecord, jobRequeue:
	}
	f.w.mu.Unlock()
	f.add(job{it: it, kind: kind, doubt: doubt})
}

func (f *flusher) add(j job) {
	f.mu.Lock()
	for len(f.pending) >= maxUnwritten && !f.ending {
		f.cond.Wait()
	}
	f.pending = append(f.pending, j)
	first := len(f.pending) == 1
	f.mu.Unlock()
	if first {
		f.cond.Broadcast()
	}
}

// drain waits until all is written, or ctx ends.
func (f *flusher) drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		f.cond.Broadcast()
		f.mu.Unlock()
	})
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for (len(f.pending) > 0 || f.writing > 0) && ctx.Err() == nil {
		f.cond.Wait()
	}
}

// end makes room for all that is left: it must not wait for what may never be
// written.
func (f *flusher) end() {
	f.mu.Lock()
	f.ending = true
	f.cond.Broadcast()
	f.mu.Unlock()
}

// stop gives up what is not written by now, as a crash would: it is delivered
// again when its lease has ended, and asked about.
func (f *flusher) stop() {
	f.w.endAll(engine.ErrShutdown)
	f.mu.Lock()
	f.ending, f.closed = true, true
	f.cond.Broadcast()
	f.mu.Unlock()
	f.wg.Wait()
	f.mu.Lock()
	left := f.given + len(f.pending)
	f.mu.Unlock()
	if left > 0 && !f.w.e.dead.Load() {
		f.w.e.log.Warn("the store did not answer in time: these runs are executed again", "runs", left)
	}
}

// beside does what may take its time and belongs to what is written: a worker that
// stops waits for it.
func (f *flusher) beside(do func()) {
	f.mu.Lock()
	f.writing++
	f.mu.Unlock()
	f.w.wg.Go(func() {
		do()
		f.mu.Lock()
		f.writing--
		f.mu.Unlock()
		f.cond.Broadcast()
	})
}

func (f *flusher) giveUp(n int) {
	f.mu.Lock()
	f.given += n
	f.mu.Unlock()
}

func (f *flusher) loop() {
	var buf []byte
	for {
		f.mu.Lock()
		for len(f.pending) == 0 && !f.closed {
			f.cond.Wait()
		}
		if f.closed {
			f.mu.Unlock()
			return
		}
		jobs := f.pending
		f.pending = nil
		if n := len(f.spare) - 1; n >= 0 {
			f.pending, f.spare = f.spare[n], f.spare[:n]
		}
		f.writing++
		f.mu.Unlock()
		f.write(jobs, &buf)
		clear(jobs)
		f.mu.Lock()
		f.writing--
		if cap(jobs) <= maxSpare {
			f.spare = append(f.spare, jobs[:0])
		}
		f.mu.Unlock()
		f.cond.Broadcast()
	}
}

// write does it all for some runs; buf is used again and again. What is not answered is written again: all of
// it may stand twice.
func (f *flusher) write(jobs []job, buf *[]byte) {
	w := f.w
	for {
		err := f.try(jobs, buf)
		if err == nil {
			break
		}
		if w.e.died(err) || w.writes.Err() != nil {
			f.giveUp(len(jobs))
			return
		}
		w.mu.Lock()
		for i := range jobs { // messages that go on may stand twice now
			jobs[i].it.doubt = true
		}
		w.mu.Unlock()
		w.logError("write outcomes", err)
		if sleep(w.writes, retryPause) != nil {
			f.giveUp(len(jobs))
			return
		}
	}
	f.tidy(jobs)
	w.releaseAll(jobs)
}

// tidy deletes what ended runs do not need any more. What a crash leaves, or
// cannot be deleted now, is swept or found ended later.
func (f *flusher) tidy(jobs []job) {
	for i := range jobs {
		f.w.tidy(&jobs[i])
	}
}

// try writes what is to be written. For a run that has ended that is nothing, but
// its end has to be on disk: the follower tells of ends that a power cut may still
// take, also of those that were written here and answered.
func (f *flusher) try(jobs []job, buf *[]byte) error {
	w := f.w
	e, ctx := w.e, w.writes
	on := e.follow.on() // before it is looked who has ended
	ended, homed, writes := uint64(0), false, false
	w.mu.Lock()
	for i := range jobs {
		j := &jobs[i]
		if j.void = j.kind == jobVoid || j.it.ended; j.it.ended { // a record would be void, and any other message would start what has ended
			ended = max(ended, j.it.endedAt)
		}
		homed = homed || j.it.entry
		writes = writes || !j.void
	}
	w.mu.Unlock()
	if ended > 0 && e.still(on) != nil { // the follower soon tells who has ended there
		return errMoved
	}
	at := ""
	if writes {
		var err error
		if at, err = f.put(ctx, jobs, buf); err != nil {
			return err
		}
	}
	if ended > 0 {
		if err := e.commitLog(ctx, on, ended); err != nil {
			return err
		}
	}
	if !homed {
		return nil
	}
	for { // before their entries go; what has been written is not written again for that
		err := e.settle(ctx)
		if err == nil {
			break
		}
		if e.died(err) || ctx.Err() != nil || !writes || e.still(at) != nil {
			return err
		}
		w.logError("sync before home entries are dropped", err)
		if sleep(ctx, retryPause) != nil {
			return err
		}
	}
	if ended > 0 && e.still(on) != nil || writes && e.still(at) != nil {
		return errMoved
	}
	return nil
}

// put writes the jobs that are not void, on one server.
func (f *flusher) put(ctx context.Context, jobs []job, buf *[]byte) (server string, err error) {
	w := f.w
	for i := range jobs {
		if err := f.store(ctx, &jobs[i]); err != nil {
			return "", err
		}
	}
	first := w.pub.group()
	for i := range jobs {
		if l := &jobs[i].large; l.data != nil && !jobs[i].void && l.server != first.server {
			return "", errMoved
		}
	}
	copies := false
	for i := range jobs {
		j := &jobs[i]
		copies = copies || j.kind == jobRecord && !j.void && j.rec.State != engine.Succeeded
		if err := f.before(ctx, first, j); err != nil {
			return "", err
		}
	}
	if err := first.wait(ctx); err != nil {
		return "", err
	}
	if copies { // on disk before what names them: it would be believed without
		if err := w.e.commitOn(ctx, first.server, 1); err != nil {
			return "", err
		}
	}
	g := w.pub.group()
	seg := (*buf)[:0]
	for i := range jobs {
		if jobs[i].kind != jobRecord || jobs[i].void {
			continue
		}
		r := &jobs[i].rec
		if len(seg) > 0 && len(seg)+len(r.Output.Data)+1024 > maxMessage {
			if err := g.add(ctx, engine.WriteRecord, subjectLog, nil, seg); err != nil {
				return "", err
			}
			seg = seg[:0] // the client has copied it
		}
		seg = engine.AppendRecord(seg, r)
	}
	if len(seg) > 0 {
		if err := g.add(ctx, engine.WriteRecord, subjectLog, nil, seg); err != nil {
			return "", err
		}
	}
	*buf = seg
	if cap(seg) > 2*maxMessage {
		*buf = nil
	}
	if err := g.wait(ctx); err != nil {
		return "", err
	}
	w.e.wrote.note(posLog, g.high)
	if first.server != g.server {
		return "", errMoved
	}
	return g.server, w.e.commitLog(ctx, g.server, g.high)
}

// store stores a large output again, unless the server that is connected to has it.
func (f *flusher) store(ctx context.Context, j *job) error {
	e := f.w.e
	if j.large.data == nil || j.void || e.still(j.large.server) == nil {
		return nil
	}
	server := e.server()
	v, err := e.objects.put(ctx, e.objectName(j.it.run.ID, "out"), j.large.data)
	if err != nil {
		return err
	}
	j.rec.Output, j.large.server = v, server
	return nil
}

// before publishes what has to be there before the terminal record or instead
// of one.
func (f *flusher) before(ctx context.Context, g *group, j *job) error {
	e := f.w.e
	if j.void {
		return nil
	}
	switch j.kind {
	case jobVoid:
		return nil
	case jobRecord:
		if j.rec.State == engine.Succeeded {
			return nil
		}
		return e.addCopy(ctx, g, &j.it.run, &j.rec)
	case jobDelayed:
		next := j.it.run
		next.Rev++
		next.Doubt = j.doubt
		return e.addDelayed(ctx, g, &next)
	case jobRequeue:
		next := j.it.run
		next.Rev++
		next.Doubt = next.Doubt || j.doubt || j.it.doubt // what it was asked about may end meanwhile
		next.Deaths = j.it.deaths()
		return g.add(ctx, engine.WriteEnvelope, queueSubject(next.Queue), nil, engine.AppendRun(nil, &next))
	case jobPark:
		next := j.it.run
		next.Rev++
		next.Doubt = next.Doubt || j.doubt
		next.Deaths = j.it.deaths()
		return g.add(ctx, engine.WriteParked, parkSubject(next.Queue, next.Task), nil, engine.AppendRun(nil, &next))
	}
	return errors.New("unknown job")
}

// tidy deletes what an ended run does not need any more. What a crash leaves is
// swept later.
func (w *worker) tidy(j *job) {
	it := j.it
	w.mu.Lock()
	entry, entryAt := it.entry, it.entryAt
	ended := j.kind == jobRecord && !j.void || it.ended && it.saved
	saved := it.saved || it.run.Attempt > 1 || it.run.Deaths > 0
	w.mu.Unlock()
	if entry {
		if err := w.e.discardHome(w.writes, it.run.ID, entryAt); err != nil && w.e.written(err) != nil {
			w.logError("drop a home entry", err)
		}
	}
	if ended && saved {
		it.unsave()
	}
	if in := &it.run.Input; j.kind == jobRecord && !j.void && j.rec.State == engine.Succeeded && in.Apart {
		w.e.objects.spend(input{it.run.ID, in.Name})
	}
}

// releaseAll ends the leases of runs that are settled on disk.
func (w *worker) releaseAll(jobs []job) {
	if w.e.dead.Load() {
		return
	}
	w.mu.Lock()
	var acks []*unit
	for i := range jobs {
		it := jobs[i].it
		w.clearLocked(it)
		if w.runs[it.run.ID] == it {
			delete(w.runs, it.run.ID)
		}
		acks = it.leaveLocked(acks)
	}
	w.mu.Unlock()
	for _, u := range acks {
		w.ackUnit(u)
	}
}

// leaveLocked takes a run from its messages, since what follows from them is on
// disk, and adds those that are done with. Not one of them goes before: the index
// names one, whichever, and what it names must not look as if it was worked off.
func (it *item) leaveLocked(done []*unit) []*unit {
	for _, t := range it.twins {
		done = t.leaveLocked(done)
	}
	it.twins = nil
	u := it.u
	if u == nil {
		return done
	}
	it.u = nil
	if u.left--; u.left == 0 {
		done = append(done, u)
	}
	return done
}

// ackUnit acknowledges a message and forgets it. The parts of a batch whose runs
// were executed from there go before its manifest.
func (w *worker) ackUnit(u *unit) {
	if u.batch != "" {
		w.flush.beside(func() { w.dropBatch(u) })
		return
	}
	w.ack(u)
}

func (w *worker) ack(u *unit) {
	w.mu.Lock()
	reply, server := u.reply, u.server
	delete(w.units, unitKey{u.in, u.seq, u.nanos})
	w.mu.Unlock()
	if server != w.nc.ConnectedServerId() {
		return // which may have another message there since a power cut: else it comes again, and its runs have ended
	}
	err := w.e.hooked(engine.WriteAck, func() error { return w.nc.Publish(reply, []byte("+ACK")) })
	if err != nil && w.e.written(err) != nil {
		w.logError("acknowledge", err)
	}
}

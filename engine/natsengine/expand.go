package natsengine

import (
	"errors"
	"math"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Expansion of a batch. The first runs go singly, to learn how long they take;
// the rest in chunks of no more work than a worker may hold ahead.
const (
	singles   = 64
	lookEvery = 4096
	learnFor  = 300 * time.Millisecond
	chunkMost = 64
)

// expand makes a batch's staged runs messages of their own, or executes them as
// they are, and acknowledges the manifest once that is done. Doing it twice is
// harmless: the second time they are in doubt. If they may have begun before, they
// count one death: that start, if there was one, is not recorded.
func (w *worker) expand(u *unit, m manifest, doubt, began bool) {
	e := w.e
	w.mu.Lock()
	u.batch = m.batch
	w.expands++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.expands--
		w.mu.Unlock()
	}()

	for ; ; doubt = true {
		err := w.tryExpand(u, m, doubt, began)
		if err == nil || errors.Is(err, errIncomplete) {
			break // incomplete: expanded before, or never acknowledged
		}
		if e.died(err) || w.ctx.Err() != nil {
			return
		}
		w.logError("expand a batch", err)
		if sleep(w.ctx, retryPause) != nil {
			return
		}
	}
	w.mu.Lock()
	u.left--
	last := u.left == 0
	w.mu.Unlock()
	if last {
		w.dropBatch(u)
	}
}

// dropBatch drops a batch's parts once none of its runs is left here, and then its
// manifest.
func (w *worker) dropBatch(u *unit) {
	e := w.e
	if err := e.forget(w.writes, streamStage, subjectStage+u.batch); err != nil && e.written(err) != nil {
		w.logError("drop a staged batch", err)
	}
	if !e.dead.Load() {
		w.ack(u)
	}
}

func (w *worker) tryExpand(u *unit, m manifest, doubt, began bool) error {
	x := &expansion{w: w, u: u, runs: m.runs, doubt: doubt, began: began, chunk: 1, look: singles, since: time.Now()}
	server := w.nc.ConnectedServerId()
	if err := w.e.staged(w.e.ctx, m, x.part); err != nil {
		return err
	}
	if err := x.answered(); err != nil {
		return err
	}
	return w.e.commitOn(w.e.ctx, server, 1)
}

// expansion is one go at a batch.
type expansion struct {
	w     *worker
	u     *unit // the manifest's
	runs  int
	doubt bool
	began bool // they may have begun before
	dec   engine.Decoder
	g     *group     // of the part at hand
	buf   []byte     // of runs that go together
	held  int        // how many they are
	first engine.Run // tells where they all go
	late  bool       // they are to be started later
	n     int        // runs taken
	chunk int        // how many go together
	look  int        // at which n to choose that anew
	since time.Time
}

// errFed ends the publishing of a part whose rest is executed as it is.
var errFed = errors.New("the rest is executed as it is")

// part publishes the runs of one staged part and waits for the answers to the one
// before, so that the server sets the pace. From where they may be they are fed.
func (x *expansion) part(data []byte) error {
	x.w.mu.Lock()
	x.doubt = x.doubt || x.u.ended(time.Now()) > 0 // after a pause another may have expanded it
	x.w.mu.Unlock()
	if err := x.open(data); err != nil {
		return err
	}
	if x.feeds() {
		return x.feed(data, 1)
	}
	before := x.g
	x.g = x.w.pub.group()
	rest := 0
	err := engine.Frames(data, func(body []byte, off int) error {
		if x.n >= x.look && !x.late {
			if err := x.learn(); err != nil {
				return err
			}
			if x.feeds() {
				rest = off
				return errFed
			}
		}
		return x.add(body)
	})
	fed := errors.Is(err, errFed)
	if fed {
		err = nil
	} else if err == nil {
		err = x.flush()
	}
	if before != nil {
		err = errors.Join(err, before.wait(x.w.e.ctx))
	}
	if fed && err == nil {
		return x.feed(data, rest)
	}
	return err
}

// open looks at the batch's first run.
func (x *expansion) open(data []byte) error {
	if x.first.Task != "" {
		return nil
	}
	body, err := engine.FrameAt(data, 1)
	if err != nil {
		return err
	}
	if err := x.dec.Run(body, &x.first); err != nil {
		return err
	}
	x.late = x.first.At > time.Now().Add(soon).UnixMilli()
	x.doubt = x.doubt || x.first.Doubt // so are all of them, most likely: to be asked about they need messages
	return nil
}

// feeds tells whether what follows may be executed as it is.
func (x *expansion) feeds() bool {
	return !x.doubt && !x.late && x.w.mayFeed(&x.first, x.runs-x.n)
}

// add takes one run. Its frame goes on as it is, but for what makes it a message
// of its own.
func (x *expansion) add(body []byte) error {
	if x.late {
		x.n++
		return x.delay(body)
	}
	var err error
	if x.buf, err = engine.AppendNext(x.buf, body, x.doubt, x.began); err != nil {
		return err
	}
	x.n++
	if x.held++; x.held < x.chunk {
		return nil
	}
	return x.flush()
}

// delay publishes a run to be started later.
func (x *expansion) delay(body []byte) error {
	var r engine.Run
	if err := x.dec.Run(body, &r); err != nil {
		return err
	}
	r.Rev++
	r.Doubt = r.Doubt || x.doubt
	if x.began && r.Deaths < math.MaxUint8 {
		r.Deaths++
	}
	return x.w.e.addDelayed(x.w.e.ctx, x.g, &r)
}

// learn chooses how many runs go together from here on.
func (x *expansion) learn() error {
	w := x.w
	if err := x.flush(); err != nil {
		return err
	}
	if err := x.g.wait(w.e.ctx); err != nil { // they have to be there to be learned from
		return err
	}
	x.g = w.pub.group()
	if x.chunk = w.chunk(&x.first, x.since); x.chunk == 0 {
		return engine.ErrShutdown
	}
	x.look = x.n + lookEvery
	return nil
}

// flush publishes the runs that go together.
func (x *expansion) flush() error {
	if x.held == 0 {
		return nil
	}
	err := x.g.add(x.w.e.ctx, engine.WriteEnvelope, queueSubject(x.first.Queue), nil, x.buf)
	x.buf, x.held = x.buf[:0], 0
	return err
}

// chunk is how many runs like r may go together, once that is known or some time
// has passed; 0 when the worker stops.
func (w *worker) chunk(r *engine.Run, since time.Time) int {
	for {
		w.mu.Lock()
		p := w.tasks[taskKey{r.Queue, r.Task}]
		n := 1
		known := p != nil && p.known
		if known {
			n = most(p.avg)
		}
		w.mu.Unlock()
		if known || p == nil || time.Since(since) > learnFor {
			return n
		}
		if sleep(w.ctx, 2*time.Millisecond) != nil {
			return 0
		}
	}
}

// answered waits until all that was published is stored.
func (x *expansion) answered() error {
	if x.g == nil {
		return nil
	}
	g := x.g
	x.g = nil
	return g.wait(x.w.e.ctx)
}

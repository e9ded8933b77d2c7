package embedded

import (
	"errors"
	"fmt"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/natsengine"
	"github.com/faena-dev/faena/internal/remedy"
)

const (
	minFree     = 64 << 20
	smallDisk   = 10 * minFree
	spaceEvery  = time.Second
	shortEvery  = 50 * time.Millisecond // while it could be written full before the next look
	closeEvery  = 5 * time.Millisecond  // near the margin: a fast disk takes 16 MiB in 50 ms
	ample       = 4 << 30               // bytes that nobody writes in spaceEvery
	brokenBelow = 4 << 20               // free bytes below which the server may have failed a write
	holdBelow   = brokenBelow * 3 / 2   // or a quarter of the margin: no run is started
	fewFiles    = 64                    // more files, under which a disk counts as full: the server makes new ones
)

func (e *Engine) setMinFree() error {
	if e.o.MinFree < 0 {
		return invalid("a margin of %d bytes: want 0 for the default, or more", e.o.MinFree)
	}
	free, size, err := e.dir.space()
	if err != nil {
		return err
	}
	if e.o.MinFree == 0 {
		e.o.MinFree = minFree
		if size < smallDisk {
			e.o.MinFree = size / 10
		}
	}
	e.low.Store(free < e.o.MinFree)
	e.hold.Store(e.holds(free))
	return nil
}

// holds tells that too little is free for the results of more runs.
func (e *Engine) holds(free int64) bool {
	return free < min(e.o.MinFree, max(e.o.MinFree/4, holdBelow))
}

// noSpace is what the server's log says when a write failed for want of space.
const noSpace = "no space left on device"

// accepting refuses new runs while space is short: what is left is for the
// results of those accepted.
func (e *Engine) accepting() error {
	if !e.low.Load() && !e.full.Load() {
		return nil
	}
	return &engine.Error{
		Code: engine.CodeFull, Op: "submit",
		Err: fmt.Errorf("less than %d MiB, or %d inodes, are free on the disk of %s: free some; nothing that was accepted is lost", e.o.MinFree>>20, fewFiles, e.o.Dir),
	}
}

// tellLow says that runs are accepted no more, or again.
func (e *Engine) tellLow(low bool, free int64) {
	if low {
		e.log.Warn("disk space is short: no run is accepted until some is free", "free_bytes", free)
		return
	}
	e.log.Info("there is disk space again: runs are accepted", "free_bytes", free)
}

// tellHeld says that runs are started no more, or again.
func (e *Engine) tellHeld(held bool, free int64) {
	if held {
		e.log.Warn("runs are held back until there is space for their results", "free_bytes", free)
		return
	}
	e.log.Info("there is space for results again: runs are started", "free_bytes", free)
}

// writable refuses what must not meet a full disk: a server that deletes while a
// write fails waits for itself for ever.
func (e *Engine) writable() error {
	free, _, err := e.dir.space()
	if err != nil {
		return err
	}
	if e.full.Load() || free < brokenBelow {
		return &engine.Error{Code: engine.CodeFull, Op: "delete what is done with", Err: errors.New("the disk is full: free some space")}
	}
	return nil
}

// advise says what to do about an error of opening that is for the disk. The
// server's own errors do not tell that it is full.
func (e *Engine) advise(err error) error {
	switch engine.CodeOf(err) {
	case engine.CodeConflict, engine.CodeInvalid, engine.CodeVersion:
		return err
	default:
	}
	if _, weak := errors.AsType[*NotDurableError](err); weak {
		return err
	}
	full := remedy.Full(err)
	if e.dir != nil && !full {
		free, _, serr := e.dir.space()
		full = serr == nil && free < brokenBelow
	}
	if full {
		return &engine.Error{Code: engine.CodeFull, Op: "open engine", Err: fmt.Errorf("%w: the disk of %s is full: free some space, or choose another directory", err, e.o.Dir)}
	}
	return remedy.Disk(err)
}

// watchSpace stops accepting below the margin; deletes at once what is done with;
// holds what is accepted back while results might fill the disk; and starts the
// server again when there is space after it ran out: a stream that met a full disk
// stays broken until then.
func (e *Engine) watchSpace() {
	t := time.NewTimer(shortEvery)
	defer t.Stop()
	var told time.Time
	for {
		select {
		case <-e.stop:
			return
		case <-t.C:
		}
		free, _, err := e.dir.space()
		if err != nil {
			e.log.Error("look at free space", "error", err)
			t.Reset(spaceEvery)
			continue
		}
		if free < brokenBelow {
			e.full.Store(true)
		}
		low := free < e.o.MinFree
		if low != e.low.Swap(low) {
			e.tellLow(low, free)
		}
		hold := e.holds(free)
		news := hold != e.hold.Swap(hold)
		if news {
			e.tellHeld(hold, free)
		}
		if e.full.Load() && free >= min(e.o.MinFree, 2*brokenBelow) && !e.restart() {
			return
		}
		if now := time.Now(); news || now.Sub(told) >= spaceEvery {
			told = now
			select {
			case e.tell <- struct{}{}:
			default: // it is to be told already
			}
		}
		switch {
		case free < 8*e.o.MinFree:
			t.Reset(closeEvery)
		case free < ample:
			t.Reset(shortEvery)
		default:
			t.Reset(spaceEvery)
		}
	}
}

// tellSpace tells other processes, beside watchSpace: a server that hangs takes
// nothing, and has to be found out.
func (e *Engine) tellSpace() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.tell:
			e.TellSpace(e.accepting(), e.hold.Load())
		}
	}
}

// space tells how much of it there is, to the engine in this process.
func (e *Engine) space() natsengine.Space {
	return natsengine.Space{Short: e.low.Load(), Hold: e.hold.Load()}
}

// restartMost bounds how often a start is tried: the disk may be full again.
const restartMost = 5

// restart stops the server and starts it again; connections come back by
// themselves.
func (e *Engine) restart() bool {
	e.log.Warn("there is space again: the embedded server starts anew")
	e.Restarts()
	e.anew.Store(true)
	err := stopServer(e.srv.Swap(nil), hangTime)
	if err == nil {
		e.full.Store(false)
		err = e.startServer()
	}
	switch {
	case err == nil:
		e.failed = 0
		return true
	case e.failed < restartMost && !errors.Is(err, ErrHung):
		e.failed++
		e.full.Store(true)
		e.log.Error("start the embedded server again: it is tried again", "error", err)
		return true
	default:
		e.Fail(fmt.Errorf("start the embedded server again: %w", err))
		return false
	}
}

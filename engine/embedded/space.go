package embedded

import (
	"fmt"
	"time"

	"github.com/faena-dev/faena/engine"
)

const (
	minFree     = 64 << 20
	smallDisk   = 20 * minFree
	spaceEvery  = time.Second
	brokenBelow = 4 << 20 // free bytes below which the server may have failed a write
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
			e.o.MinFree = size / 20
		}
	}
	e.low.Store(free < e.o.MinFree)
	return nil
}

// accepting refuses new runs while space is short: what is left is for the
// results of those accepted.
func (e *Engine) accepting() error {
	if !e.low.Load() {
		return nil
	}
	return &engine.Error{
		Code: engine.CodeLimit, Op: "submit",
		Err: fmt.Errorf("less than %d MiB are free on the disk of %s: free some; nothing that was accepted is lost", e.o.MinFree>>20, e.o.Dir),
	}
}

// watchSpace stops accepting below the margin, and starts the server again when
// there is space after it ran out: a stream that met a full disk stays broken
// until then.
func (e *Engine) watchSpace() {
	t := time.NewTicker(spaceEvery)
	defer t.Stop()
	broken := false
	for {
		select {
		case <-e.stop:
			return
		case <-t.C:
		}
		free, _, err := e.dir.space()
		if err != nil {
			e.log.Error("look at free space", "error", err)
			continue
		}
		broken = broken || free < brokenBelow
		low := free < e.o.MinFree
		if low != e.low.Swap(low) {
			e.log.Warn("free space", "low", low, "free_bytes", free)
		}
		if broken && !low {
			broken = false
			e.restart()
		}
	}
}

// restart stops the server and starts it again; connections come back by
// themselves.
func (e *Engine) restart() {
	e.log.Warn("there is space again: the embedded server starts anew")
	if s := e.srv.Swap(nil); s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
	if err := e.startServer(); err != nil {
		e.log.Error("start the embedded server again", "error", err)
		if e.o.Fatal != nil {
			e.o.Fatal(err)
		}
	}
}

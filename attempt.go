package faena

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/faena-dev/faena/engine"
)

// attempt is the state of one try of a run on this node.
type attempt struct {
	node    *Node
	run     *engine.Run
	input   []byte
	started time.Time
	lease   engine.Lease
	call    Call
	ctx     context.Context //nolint:containedctx // waits end with the attempt, whatever context they were given

	slot slot
	kids children

	saveMu sync.Mutex
	next   time.Time // before which checkpoints are left out
}

func (a *attempt) progress(done float64, text string) {
	a.lease.Progress(engine.Progress{Done: min(max(done, 0), 1), Text: text})
}

func (a *attempt) checkpoint(v any) error {
	a.saveMu.Lock()
	defer a.saveMu.Unlock()
	begun := time.Now()
	if begun.Before(a.next) {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode checkpoint of run %s: %w", a.run.ID, err)
	}
	if int64(len(b)) > a.node.opts.MaxInput {
		return tooLarge("checkpoint of run "+a.run.ID.String(), len(b), a.node.opts.MaxInput, "MaxInput")
	}
	a.lease.Checkpoint(b)
	now := time.Now()
	a.next = now.Add(min(max(20*now.Sub(begun), time.Millisecond), time.Second))
	return nil
}

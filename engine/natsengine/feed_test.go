package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// stuck is a commit that never comes.
type stuck struct{ Committer }

func (stuck) Wait(ctx context.Context, _ int) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// An engine that ended while its index could not be written, on a full disk above
// all, left those changes out and wrote the next ones: the position said that they
// were there, and runs that had succeeded were taken for lost after the next start.
func TestFeedLeavesNothingOut(t *testing.T) {
	t.Parallel()
	for range 40 { // a select chooses by chance
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index.db")
			o := index.Options{Path: path, Terminal: func(s uint8) bool { return engine.State(s).Terminal() }}
			ix, err := index.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			e := &Engine{ctx: ctx, cancel: cancel, log: slog.New(slog.DiscardHandler), cfg: Config{Commit: stuck{}}}
			h := &holder{e: e, ix: ix, in: make(chan *change, 9), done: make(chan struct{}), applied: map[string]uint64{}, got: map[string]uint64{}}
			h.cond = sync.NewCond(&h.mu)
			go h.run()
			ids := engine.NewIDs()
			row := func() []index.Row {
				return []index.Row{{ID: index.ID(ids.New()), State: uint8(engine.Queued), Queue: "q", Task: "t"}}
			}
			h.feed(&change{pos: posQueue("q"), seq: 1, rows: row()})
			time.Sleep(time.Second)                           // it is being written
			h.feed(&change{pos: posLog, seq: 1, rows: row()}) // of the log alone no commit is waited for
			cancel(errors.New("closed"))
			<-h.done
			if n := len(ix.Positions()); n != 0 {
				t.Errorf("%d streams have been read, want none: a change before was not written", n)
			}
			if err := ix.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

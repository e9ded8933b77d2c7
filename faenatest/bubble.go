// Package faenatest lets programs test what they do with faena on the real
// engine and on fake time: a delay of ten minutes takes a second or two, and
// nothing has to be replaced by a fake.
package faenatest

import (
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats-server/v2/server/ats"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// Bubble runs fn in a bubble of testing/synctest with an embedded engine that
// is empty, listens nowhere and syncs no disk. Time in it goes on only when all
// goroutines wait, and then at once. What it costs is the engine's own periodic
// work, some seconds for an hour; so test with minutes rather than days. Bubble closes the engine when fn returns; fn closes its nodes
// before, by defer and not by t.Cleanup, and leaves no goroutine behind.
//
// In a bubble there are no sockets (net.Pipe serves), and t.Run and t.Parallel
// are called outside of it.
func Bubble(t *testing.T, fn func(t *testing.T, eng engine.Engine)) {
	t.Helper()
	// The server's clock for access times is shared by the process: begun inside
	// it would belong to one bubble and hang the next.
	ats.Register()
	defer ats.Unregister()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		eng, err := embedded.Open(t.Context(), embedded.Options{
			Dir: dir, Durability: embedded.Fast, Sync: func() error { return nil },
		})
		if err != nil {
			t.Fatalf("open the engine: %v", err)
		}
		defer func() {
			if err := eng.Close(); err != nil {
				t.Errorf("close the engine: %v", err)
			}
		}()
		fn(t, eng)
	})
}

package embedded_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/enginetest"
)

// bubble runs fn on fake time. The server's clock for access times is shared by
// the process and must not begin inside.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	ats.Register()
	defer ats.Unregister()
	synctest.Test(t, fn)
}

// streams reaches an engine's streams, past it.
func streams(t *testing.T, e *embedded.Engine) (js jetstream.JetStream, done func()) {
	t.Helper()
	nc, err := e.Conn()
	if err != nil {
		t.Fatalf("Conn = %v", err)
	}
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return js, nc.Close
}

func open(ctx context.Context, o enginetest.Options) (engine.Engine, error) {
	e, err := embedded.Open(ctx, embedded.Options{Dir: o.Dir, Hook: o.Hook, Boot: o.Boot, Sync: o.Sync, Name: "owner"})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func join(ctx context.Context, owner engine.Engine, hook engine.WriteHook) (engine.Engine, error) {
	e, err := owner.(*embedded.Engine).Join(ctx, "joined", hook)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func index(dir string) string { return filepath.Join(dir, "index.db") }

func TestEngine(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Setup{Bubble: bubble, Open: open, Join: join, Index: index})
}

func TestEngineApart(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Setup{Bubble: bubble, Open: open, Join: join, Apart: true})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	enginetest.RunFaults(t, enginetest.Setup{Bubble: bubble, Open: open, Join: join})
}

func TestFaultsApart(t *testing.T) {
	t.Parallel()
	enginetest.RunFaults(t, enginetest.Setup{Bubble: bubble, Open: open, Join: join, Apart: true})
}

func TestModel(t *testing.T) {
	t.Parallel()
	enginetest.RunModel(t, enginetest.Setup{Bubble: bubble, Open: open, Join: join}, 3)
}

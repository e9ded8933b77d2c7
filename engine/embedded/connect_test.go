package embedded_test

import (
	"context"
	"testing"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/enginetest"
	"github.com/faena-dev/faena/engine/natsengine"
)

// listen opens an engine that others reach over TCP.
func listen(ctx context.Context, o enginetest.Options) (engine.Engine, error) {
	e, err := embedded.Open(ctx, embedded.Options{
		Dir: o.Dir, Hook: o.Hook, Boot: o.Boot, Sync: o.Sync, Name: "owner", Listen: "127.0.0.1:0",
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// connect opens the engine of another process, as it were, over TCP.
func connect(ctx context.Context, owner engine.Engine, hook engine.WriteHook) (engine.Engine, error) {
	o := owner.(*embedded.Engine)
	e, err := natsengine.Connect(ctx, o.URL(), natsengine.Options{Token: o.Secret(), Name: "joined", Hook: hook})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Clients and workers that reach the owner of the disk over TCP, in real time.
func TestEngineOverTCP(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Setup{Open: listen, Join: connect, Apart: true})
}

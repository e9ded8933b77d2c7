package embedded_test

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

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

// A client that has just connected knows that the disk has too little space: it
// is not told by the first run that it loses.
func TestNewClientOfAFullDiskIsRefused(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
		owner, err := embedded.Open(t.Context(), embedded.Options{
			Dir: filepath.Join(t.TempDir(), "data"), MinFree: math.MaxInt64, Sync: func() error { return nil },
		})
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		defer owner.Close() //nolint:errcheck // the test is over
		e, err := owner.Join(t.Context(), "joined", nil)
		if err != nil {
			t.Fatalf("Join = %v", err)
		}
		defer e.Close() //nolint:errcheck // the test is over
		r := engine.Run{ID: engine.NewIDs().New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}}
		for who, eng := range map[string]engine.Engine{"the owner": owner, "a new client": e} {
			if err := eng.Submit(t.Context(), []engine.Run{r}); engine.CodeOf(err) != engine.CodeFull {
				t.Errorf("Submit by %s = %v, want code full", who, err)
			}
		}
	})
}

// Clients and workers that reach the owner of the disk over TCP, in real time.
func TestEngineOverTCP(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Setup{Open: listen, Join: connect, Apart: true})
}

// A server that no process of ours owns would accept runs that nobody starts.
func TestConnectToForeignServer(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	_, err = natsengine.Connect(t.Context(), s.ClientURL(), natsengine.Options{})
	if engine.CodeOf(err) != engine.CodeUnavailable || !strings.Contains(err.Error(), "no faena process owns this NATS server") {
		t.Errorf("Connect to a server of nobody = %v, want unavailable and why", err)
	}
}

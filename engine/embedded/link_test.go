package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
)

// cutter dials connections that break when a request of some kind is sent, or
// keep it to themselves.
type cutter struct {
	at   []byte
	mute bool
}

func (c *cutter) Dial(network, address string) (net.Conn, error) {
	nc, err := net.Dial(network, address) //nolint:noctx // the client's interface has none
	return &cutConn{nc, c}, err
}

type cutConn struct {
	net.Conn

	c *cutter
}

func (c *cutConn) Write(b []byte) (int, error) {
	if !bytes.Contains(b, c.c.at) {
		return c.Conn.Write(b)
	}
	if c.c.mute {
		return len(b), nil
	}
	c.Close() //nolint:errcheck // it is to break
	return 0, net.ErrClosed
}

// cut connects to an engine of its own, by connections that c breaks.
func cut(t *testing.T, c *cutter) *natsengine.Engine {
	t.Helper()
	owner, err := embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Durability: embedded.Fast, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { owner.Close() }) //nolint:errcheck // the test is over
	e, err := natsengine.Connect(t.Context(), owner.URL(), natsengine.Options{Token: owner.Secret(), Nats: []nats.Option{nats.SetCustomDialer(c)}})
	if err != nil {
		t.Fatalf("Connect = %v", err)
	}
	t.Cleanup(func() { e.Close() }) //nolint:errcheck // the test is over
	return e
}

// A lost connection is no context that has ended.
func TestLostConnectionIsToldAsThat(t *testing.T) {
	t.Parallel()
	e := cut(t, &cutter{at: []byte("faena.holder.cancel")})
	_, err := e.Cancel(context.Background(), []engine.ID{{1}})
	if engine.CodeOf(err) != engine.CodeUnavailable || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "connection to the server was lost") {
		t.Errorf("Cancel over a connection that breaks = %v (code %q), want unavailable and that", err, engine.CodeOf(err))
	}
}

// Who stops waiting for an answer is told its own reason.
func TestEndedContextIsToldAsThat(t *testing.T) {
	t.Parallel()
	e := cut(t, &cutter{at: []byte("faena.holder.get"), mute: true})
	why := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, why)
	defer cancel()
	_, err := e.Get(ctx, engine.ID{1})
	if _, ok := errors.AsType[*engine.Error](err); ok || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, why) {
		t.Errorf("Get until a deadline = %v, want the deadline and its cause, and no code", err)
	}
}

// The same where this process holds the index, which the end of the context finds
// behind what was written.
func TestEndedContextOfTheOwnerIsToldAsThat(t *testing.T) {
	t.Parallel()
	owner, err := embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	defer owner.Close() //nolint:errcheck // the test is over
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ids := engine.NewIDs()
	for range 50 {
		r := engine.Run{ID: ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}}
		if err := owner.Submit(t.Context(), []engine.Run{r}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		_, err := owner.Get(ctx, r.ID)
		if _, ok := errors.AsType[*engine.Error](err); err != nil && (ok || !errors.Is(err, context.Canceled)) {
			t.Fatalf("Get with a context that has ended = %v, want just that", err)
		}
	}
}

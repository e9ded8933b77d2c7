package embedded

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/natsengine"
)

// Join opens the engine of another process, as it were, on e's server: it
// connects as one would, without a socket.
func (e *Engine) Join(ctx context.Context, name string, hook engine.WriteHook) (*natsengine.Engine, error) {
	return e.join(ctx, name, hook, inProcess{e})
}

// JoinOver is Join over connections that over makes of those there are.
func (e *Engine) JoinOver(ctx context.Context, name string, over func(net.Conn) net.Conn) (*natsengine.Engine, error) {
	return e.join(ctx, name, nil, through{inProcess{e}, over})
}

func (e *Engine) join(ctx context.Context, name string, hook engine.WriteHook, p nats.InProcessConnProvider) (*natsengine.Engine, error) {
	return natsengine.Connect(ctx, "nats://in-process", natsengine.Options{
		Token: e.secret, Name: name, Hook: hook,
		Nats: []nats.Option{nats.InProcessServer(p), nats.ReconnectJitter(0, 0)},
	})
}

// through gives connections that over has made.
type through struct {
	inProcess

	over func(net.Conn) net.Conn
}

func (t through) InProcessConn() (net.Conn, error) {
	c, err := t.inProcess.InProcessConn()
	if err != nil {
		return nil, err
	}
	return t.over(c), nil
}

// JoinAny is Join on whichever engine's server can be reached; none while at is nil.
func JoinAny(ctx context.Context, at *atomic.Pointer[Engine], secret string) (*natsengine.Engine, error) {
	return JoinBy(ctx, at.Load, secret)
}

// JoinBy is Join on the engine's server that at gives for each connection.
func JoinBy(ctx context.Context, at func() *Engine, secret string) (*natsengine.Engine, error) {
	return natsengine.Connect(ctx, "nats://in-process", natsengine.Options{
		Token: secret, Name: "joined", Nats: []nats.Option{nats.InProcessServer(anyServer{at}), nats.ReconnectJitter(0, 0)},
	})
}

type anyServer struct{ at func() *Engine }

func (s anyServer) InProcessConn() (net.Conn, error) {
	e := s.at()
	if e == nil {
		return nil, errors.New("the machine is down")
	}
	return inProcess{e}.InProcessConn()
}

// Conn is a connection to e's server, to write what another process would.
func (e *Engine) Conn() (*nats.Conn, error) { return e.dial() }

// Hang makes the server wait for ever when it is told to end, until the function
// that it gives is called.
func (e *Engine) Hang() func() {
	ended := make(chan struct{})
	e.srv.Load().SetLoggerV2(hanging{serverLog{e.log, e}, ended}, false, false, false)
	return sync.OnceFunc(func() { close(ended) })
}

// hanging holds up what it is told of: the server's end begins with a notice.
type hanging struct {
	serverLog
	ended chan struct{}
}

func (h hanging) Noticef(string, ...any) { <-h.ended }

// Restart stops the server and starts it again, as after a full disk.
func (e *Engine) Restart() { e.restart() }

// Tell logs that space became short, held back what there is, and that both have
// ended.
func Tell(log *slog.Logger) {
	e := &Engine{log: log}
	e.tellLow(true, 1)
	e.tellHeld(true, 1)
	e.tellHeld(false, 2)
	e.tellLow(false, 2)
}

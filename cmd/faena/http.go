package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/gateway"
)

// web is a node's HTTP server.
type web struct {
	gateway *gateway.Gateway
	server  *http.Server
	addr    string
	ended   chan struct{} // closed when it no longer accepts
}

// listenHTTP finds out whether an address can be had, before anything that costs.
func listenHTTP(ctx context.Context, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, refused("listen for HTTP: %w: choose another address by --listen, or end what has this one", err)
	}
	return l, nil
}

// startHTTP serves a node. An end that nobody asked for is told to fatal.
func startHTTP(node *faena.Node, l net.Listener, s *serving, log *slog.Logger, fatal func(error)) (*web, error) {
	g, err := gateway.New(node, gateway.Options{
		Version: programVersion(), Addr: l.Addr().String(), Insecure: s.insecure, AllowedHosts: s.hosts, Logger: log,
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	w := &web{gateway: g, server: gateway.Server(g, log), addr: "http://" + l.Addr().String(), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fatal(fmt.Errorf("serve HTTP: %w", err))
		}
	}()
	return w, nil
}

// httpGrace is what requests under way are given to end; those that wait for runs
// end at once.
const httpGrace = 5 * time.Second

// leave takes no more runs, and answers all else.
func (w *web) leave() { w.gateway.Leave() }

// stop takes no more requests and waits for those under way.
func (w *web) stop() error {
	err := w.gateway.Close()
	ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
	defer cancel()
	if serr := w.server.Shutdown(ctx); serr != nil {
		err = errors.Join(err, w.server.Close())
	}
	<-w.ended
	return err
}

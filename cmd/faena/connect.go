package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
	"github.com/faena-dev/faena/tasks/scrape/link"
)

// remote is how a command finds its server.
type remote struct {
	server, tokenFile, data string
	flags                   *pflag.FlagSet
}

// serverFlags adds the flags that say which server.
func serverFlags(flags *pflag.FlagSet) *remote {
	r := &remote{flags: flags}
	flags.StringVar(&r.server, "server", "", "NATS `URL` of the server; default the local faena serve")
	flags.StringVar(&r.tokenFile, "token-file", "", "`FILE` with the server's secret; FAENA_TOKEN can hold the secret itself")
	flags.StringVar(&r.data, "data", "", "data `DIR` of the local faena serve")
	env(flags, "server", "token-file", "data")
	return r
}

func (r *remote) dataDir() (string, error) {
	if r.data != "" {
		return r.data, nil
	}
	return stateDir("serve")
}

// address is where to connect, and with which secret.
func (r *remote) address() (embedded.Address, error) {
	token, err := r.token()
	if err != nil {
		return embedded.Address{}, err
	}
	dir, err := r.dataDir()
	if err != nil && r.server == "" {
		return embedded.Address{}, err
	}
	local, lerr := embedded.Find(dir)
	if r.server == "" {
		if lerr != nil {
			return local, lerr
		}
		if token != "" {
			local.Secret = token
		}
		return local, nil
	}
	server, err := serverURL(said(r.flags, "server"), r.server)
	if err != nil {
		return embedded.Address{}, err
	}
	if token == "" && lerr == nil && samePlace(server, local.URL) {
		token = local.Secret
	}
	return embedded.Address{URL: server, Secret: token}, nil
}

// token is the secret as configured: by a flag, else by the environment.
func (r *remote) token() (string, error) {
	v := strings.TrimSpace(os.Getenv("FAENA_TOKEN"))
	if r.tokenFile == "" || v != "" && !r.flags.Changed("token-file") {
		return v, nil
	}
	b, err := os.ReadFile(r.tokenFile)
	if err != nil {
		return "", usage("read the secret: %w", err)
	}
	if v = strings.TrimSpace(string(b)); v == "" {
		return "", usage("read the secret: %s is empty", r.tokenFile)
	}
	return v, nil
}

// serverURL checks the addresses of servers, and lets their scheme be left out; as
// is how they were said.
func serverURL(as, s string) (string, error) {
	all := strings.Split(s, ",")
	for i, one := range all {
		one = strings.TrimSpace(one)
		shown := link.Shown(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" || strings.Count(u.Host, ":") > 1 && u.Host[0] != '[' {
			return "", usage("%s%q is no address: want nats://host:port, and an IPv6 address in brackets", as, shown)
		}
		if _, err := strconv.ParseUint(cmp.Or(u.Port(), "0"), 10, 16); err != nil {
			return "", usage("%s%q: want a port up to 65535", as, shown)
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return "", usage("%s%q: want a NATS address, nats://host:port, as faena serve prints it", as, shown)
		}
		all[i] = one
	}
	return strings.Join(all, ","), nil
}

// samePlace tells whether two addresses are one server of this machine, which
// may be sent its own secret.
func samePlace(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	if err != nil || err2 != nil || u.User != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = "4222"
	}
	return port == v.Port() && isLoopback(u.Hostname()) && isLoopback(v.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// session is an open node with what it stands on.
type session struct {
	*faena.Node
	engine interface {
		io.Closer
		Done() <-chan struct{}
		Err() error
	}
	where string
	web   *web // nil but for a server
}

// Close ends the node, then the web server, which answers for as long as there is
// work, then the engine.
func (s *session) Close() error {
	if s.web != nil {
		s.web.leave()
	}
	err := s.Node.Close()
	if s.web != nil {
		err = errors.Join(err, s.web.stop())
	}
	return errors.Join(err, s.engine.Close())
}

// closeWithin closes what may hang, as on a full disk, and tells whether it ended
// in time. What did not goes on until the process ends, which may be at once.
func closeWithin(c io.Closer, limit time.Duration) (bool, error) {
	ended := make(chan error, 1)
	go func() { ended <- c.Close() }()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case err := <-ended:
		return true, err
	case <-t.C:
		return false, nil
	}
}

// closeSoon closes a client's session; one that was interrupted does not wait for a
// server that does not answer.
func closeSoon(ctx context.Context, c io.Closer) error {
	if ctx.Err() == nil {
		return c.Close()
	}
	_, err := closeWithin(c, slowToEnd)
	return err
}

// connect opens a node on the server that r names.
func (a *app) connect(ctx context.Context, r *remote, opts faena.Options) (*session, error) {
	return a.connectAs(ctx, r, opts, func(e *natsengine.Engine) engine.Engine { return e })
}

// connectAs is connect with what the node has for an engine.
func (a *app) connectAs(ctx context.Context, r *remote, opts faena.Options, as func(*natsengine.Engine) engine.Engine) (*session, error) {
	at, err := r.address()
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(away{a})
	}
	opts.Version = programVersion()
	eng, err := natsengine.Connect(ctx, at.URL, natsengine.Options{
		Token: at.Secret, Name: opts.Name, Version: opts.Version, Logger: opts.Logger,
	})
	if err != nil {
		if err = unreached(err); r.server == "" && !errors.Is(err, errSecret) {
			return nil, fmt.Errorf("the faena serve of this data directory does not answer (start it again, or say where one is by --server): %w", err)
		}
		return nil, err
	}
	node, err := faena.Open(ctx, as(eng), opts)
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	return &session{Node: node, engine: eng, where: at.URL}, nil
}

var errSecret = errors.New("the server refuses the secret: give the one in the file secret of its data directory, by --token-file or FAENA_TOKEN")

// unreached says why there is no connection, and which flags to look at. What is
// wrong with a secret only the engine's text tells: its client is not known here.
func unreached(err error) error {
	e, ok := errors.AsType[*faena.Error](err)
	if !ok || e.Code != faena.CodeUnavailable || e.Err == nil || !strings.HasPrefix(e.Op, "connect to ") {
		return err
	}
	switch why := e.Err.Error(); {
	case strings.Contains(why, "pass the secret"):
		return &fault{exitRefused, &faena.Error{Code: e.Code, Op: e.Op, Err: errSecret}} // not unavailable: trying again is of no use
	case strings.Contains(why, "no servers available"):
		err = errors.New("nothing answers there: start faena serve, with --nats-listen, or say by --server where one is")
	default:
		return err
	}
	return &faena.Error{Code: e.Code, Op: e.Op, Err: err}
}

// away is the log of a client. Its engine tries again whatever goes wrong while the
// server is away, and of that people need to know but that it is.
type away struct{ app *app }

func (away) Enabled(_ context.Context, level slog.Level) bool { return level == slog.LevelWarn }

func (h away) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "disconnected") { // as the engine has it: its client is not known here
		h.app.aside("the server does not answer; waiting for it")
	}
	return nil
}

func (h away) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h away) WithGroup(string) slog.Handler      { return h }

// quiet logs nothing but what went wrong.
func (a *app) quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelError}))
}

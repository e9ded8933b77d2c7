package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

// defaultGrace is what attempts have if nothing else is said.
const defaultGrace = 30 * time.Second

// pool is how a process executes runs.
type pool struct {
	flags  *pflag.FlagSet
	slots  int
	grace  time.Duration
	name   string
	level  level
	format string
}

func poolFlags(flags *pflag.FlagSet) *pool {
	p := &pool{flags: flags}
	flags.IntVar(&p.slots, "slots", 0, "attempts executed at a time (default one per CPU)")
	flags.DurationVar(&p.grace, "grace", defaultGrace, "what attempts under way are given to end at shutdown")
	flags.StringVar(&p.name, "name", "", "name of this process, for people (default host and pid)")
	flags.Var(&p.level, "log-level", "log from this `LEVEL`: debug, info, warn, error")
	flags.StringVar(&p.format, "log-format", "text", "log as `text|json`")
	env(flags, "slots", "grace", "name", "log-level", "log-format")
	return p
}

// options are a node's, checked.
func (p *pool) options(a *app) (faena.Options, error) {
	o := faena.Options{Name: p.name, Version: programVersion(), Slots: p.slots, Grace: p.grace}
	if as := said(p.flags, "slots"); as != "" && p.slots < 1 {
		return o, usage("%s%d: want at least 1", as, p.slots)
	}
	if p.grace < 0 {
		return o, usage("%s%v: want nothing negative", said(p.flags, "grace"), p.grace)
	}
	if p.grace == 0 {
		o.Grace = -1
	}
	h := &slog.HandlerOptions{Level: slog.Level(p.level)}
	switch p.format {
	case "text":
		o.Logger = slog.New(slog.NewTextHandler(a.err, h))
	case "json":
		o.Logger = slog.New(slog.NewJSONHandler(a.err, h))
	default:
		return o, usage("%s%q: want text or json", said(p.flags, "log-format"), p.format)
	}
	return o, nil
}

// serving is what faena serve is told.
type serving struct {
	*pool
	http, nats, data, durability string
	hosts                        []string
	insecure, force              bool
}

// Where faena serve listens if nothing else is said.
const (
	defaultHTTP = "127.0.0.1:8420"
	defaultNATS = "127.0.0.1:4222"
)

func (a *app) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", GroupID: groupServe, Args: cobra.NoArgs,
		Short: "Run a server: storage, HTTP, NATS and a worker for the built-in tasks",
		Long: `Run a server in the foreground, until Ctrl-C or SIGTERM: it keeps runs in its
data directory, executes those of the built-in tasks, shows them on web pages and
by an HTTP API, and lets other processes submit and execute more by NATS.

Others need the secret that it writes, for this user alone, to DIR/secret;
commands on this machine find it by themselves. At shutdown it takes no more
work, hands back what has not begun, and gives the rest --grace to end; what
does not is executed after the next start. A second Ctrl-C ends it at once.`,
		Example: `  faena serve
  faena serve --data /var/lib/faena --slots 8
  FAENA_DURABILITY=fast faena serve`,
	}
	s := &serving{pool: poolFlags(cmd.Flags())}
	f := cmd.Flags()
	f.StringVar(&s.http, "listen", defaultHTTP, "`ADDR` for HTTP; port 0 chooses one")
	f.StringSliceVar(&s.hosts, "allowed-hosts", nil, "further `NAMES` that HTTP requests may call this server by")
	f.StringVar(&s.nats, "nats-listen", defaultNATS, "`ADDR` for NATS; port 0 chooses one")
	f.StringVar(&s.data, "data", "", "data `DIR` (default faena/serve in the user's state directory)")
	f.StringVar(&s.durability, "durability", embedded.Strict, "`strict|fast`: acknowledged survives a power cut, or a crash of faena only")
	f.BoolVar(&s.force, "force", false, "accept strict on a file system that may not keep it")
	f.BoolVar(&s.insecure, "insecure", false, "accept an address that is not this machine's own, without encryption")
	env(f, "listen", "allowed-hosts", "nats-listen", "data", "durability", "force", "insecure")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.serving(cmd.Context(), s) }
	return cmd
}

func (a *app) serving(ctx context.Context, s *serving) error {
	opts, err := s.options(a)
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, err := listenHTTP(ctx, s.http)
	if err != nil {
		return err
	}
	on, err := a.openServer(ctx, s, opts, cancel)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	on.web, err = startHTTP(on.Node, l, s, opts.Logger, cancel)
	if err != nil {
		return errors.Join(err, on.Close())
	}
	status, err := on.Status(ctx)
	if err != nil {
		return errors.Join(err, on.Close())
	}
	opts.Logger.InfoContext(ctx, "ready", "http", on.web.addr, "nats", on.where, "data", s.data,
		"durability", status.Durability, "verified", status.Verified, "version", opts.Version)
	return a.until(ctx, on, opts)
}

// openServer opens the engine, and a node that executes the built-in tasks.
func (a *app) openServer(ctx context.Context, s *serving, opts faena.Options, fatal func(error)) (*session, error) {
	eng, err := embedded.Open(ctx, embedded.Options{
		Dir: s.data, Durability: s.durability, Force: s.force, Listen: s.nats, Name: s.name,
		Version: opts.Version, Logger: opts.Logger, Fatal: fatal,
	})
	if err != nil {
		return nil, s.explain(err)
	}
	node, err := faena.Open(ctx, eng, opts)
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	on := &session{Node: node, engine: eng, where: eng.URL()}
	if err := node.Handle(a.handlers()...); err != nil {
		return nil, errors.Join(err, on.Close())
	}
	return on, nil
}

// check finds what is wrong before anything is opened.
func (s *serving) check() (err error) {
	if s.durability != embedded.Strict && s.durability != embedded.Fast {
		return usage("%s%q: want strict or fast", said(s.flags, "durability"), s.durability)
	}
	if err := listenable(said(s.flags, "listen"), s.http, defaultHTTP, s.insecure); err != nil {
		return err
	}
	if err := listenable(said(s.flags, "nats-listen"), s.nats, defaultNATS, s.insecure); err != nil {
		return err
	}
	if s.data == "" {
		if s.data, err = stateDir("serve"); err != nil {
			return err
		}
	}
	return ownDir(s.data)
}

// ownDir refuses a directory that holds what no server has put there: it is
// probably named by mistake. What cannot be read is told by opening it.
func ownDir(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil //nolint:nilerr // it is made, or opening it says more
	}
	other := ""
	for _, n := range names {
		switch name := n.Name(); {
		case name == "format.json", name == "lock":
			return nil
		case name != "lost+found" && name[0] != '.':
			other = name
		}
	}
	if other == "" {
		return nil
	}
	return refused("the directory %s holds %s, and no data of a server: choose one that is empty or not there", dir, other)
}

// listenable refuses to be reached from elsewhere unless that is spelled out.
func listenable(as, addr, example string, insecure bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return usage("%s%q: want host:port, such as %s, with a port from 0 to 65535", as, addr, example)
	}
	if isLoopback(host) || insecure {
		return nil
	}
	return refused("%s%s can be reached from other machines, and what is sent there is not encrypted: choose 127.0.0.1, or say --insecure", as, addr)
}

// explain adds what to do about an error of opening.
func (s *serving) explain(err error) error {
	if _, ok := errors.AsType[*embedded.NotDurableError](err); ok {
		return fmt.Errorf("%w (--data, --durability)", err)
	}
	if e, ok := errors.AsType[*faena.Error](err); ok && strings.HasPrefix(e.Op, "listen for NATS") {
		return fmt.Errorf("%w by --nats-listen, or end what has this one", err) // behind "choose another address"
	}
	return err
}

// until serves until ctx ends, then closes in order. It is no error to have been
// asked to end by a signal. A process whose server hangs starts itself again.
func (a *app) until(ctx context.Context, s *session, opts faena.Options) error {
	<-ctx.Done()
	cause := context.Cause(ctx)
	if errors.Is(cause, embedded.ErrHung) { // nothing in this process ends it
		opts.Logger.WarnContext(ctx, "this process starts itself again, as after a crash", "error", cause)
		return errors.Join(cause, again())
	}
	sig := signalled(ctx)
	asked := sig != nil
	if asked {
		opts.Logger.InfoContext(ctx, "shutting down; once more ends at once", "signal", sig.sig.String(), "grace", max(opts.Grace, 0).String())
	}
	ended, err := closeWithin(s, max(opts.Grace, 0)+afterGrace)
	if !ended {
		opts.Logger.ErrorContext(ctx, "ended before all was put away, as after a crash: what was accepted goes on at the next start")
	}
	if asked {
		return err
	}
	return errors.Join(cause, err)
}

// afterGrace is what all the rest of a shutdown may take: an engine whose disk is
// full, or an attempt that does not listen, must not keep the process.
const afterGrace = 15 * time.Second

func (a *app) worker() *cobra.Command {
	cmd := &cobra.Command{
		Use: "worker", GroupID: groupServe, Args: cobra.NoArgs,
		Short: "Execute runs of the built-in tasks for a server",
		Long: `Execute runs of the built-in tasks for a server, in the foreground, until Ctrl-C
or SIGTERM. A connection that is lost is made again; runs of a worker that is
gone start elsewhere within seconds. It shuts down as faena serve does.`,
		Example: `  faena worker --server nats://10.0.0.5:4222 --token-file secret
  faena worker --slots 16`,
	}
	r := serverFlags(cmd.Flags())
	p := poolFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := p.options(a)
		if err != nil {
			return err
		}
		s, err := a.connect(cmd.Context(), r, opts)
		if err != nil {
			return err
		}
		if err := s.Handle(a.handlers()...); err != nil {
			return errors.Join(err, s.Close())
		}
		opts.Logger.InfoContext(cmd.Context(), "ready", "server", s.where, "version", programVersion())
		ctx, cancel := context.WithCancelCause(cmd.Context())
		defer cancel(nil)
		go func() {
			select {
			case <-s.engine.Done():
				cancel(s.engine.Err())
			case <-ctx.Done():
			}
		}()
		return a.until(ctx, s, opts)
	}
	return cmd
}

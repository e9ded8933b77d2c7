package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/internal/remedy"
	"github.com/faena-dev/faena/internal/screen"
	"github.com/faena-dev/faena/internal/workdir"
)

// direct is a command that does one piece of work: on a server, or without one
// by an engine of its own, in a directory from which it can be resumed.
type direct struct {
	use, short, long, example string
	// slots is how many attempts go at a time in this process; default one per CPU.
	slots int
	// handlers execute the work's tasks.
	handlers func() []faena.Handler
	// parts are those tasks that only the others submit; nil if there are none.
	parts []string
	// first are what the first argument may be, for completion; nil if they are many.
	first []string
	// refused tells that a run of one of the tasks failed because its input asks for
	// what cannot be done; nil if a failure never says so.
	refused func(task string, err error) bool
	// full tells that there is no room for results; default by the disk.
	full func() bool
	// setup adds the command's flags, and gives what checks its arguments and
	// makes the job of them. Nothing has been stored by then, so that is where bad
	// input is to be found.
	setup func(flags *pflag.FlagSet) func(args []string) (job, error)
}

// builtin are the direct commands of the program.
func builtin() []direct { return []direct{factorials(), images(), scrapes()} }

// job is one call of a direct command; see work. Its methods are called in this
// order, submit or attach only one of them.
type job interface {
	submit(ctx context.Context, node *faena.Node, opts ...faena.Option) error
	attach(ctx context.Context, node *faena.Node, ids []faena.ID) error
	ids() []faena.ID
	// wait returns when all runs have ended, however they did.
	wait(ctx context.Context, out console) error
	// finish delivers the result. A fault says that the work itself failed; any
	// other error is one of the delivery, which can be made again.
	finish(out console) error

	pieces() string // what the runs are called, if there are several
	done() int      // runs that have ended; called concurrently
}

// console is where a job writes; lines may be written while a bar is shown.
type console struct{ out, err io.Writer }

// Times after which a command that is still at work says how to resume it.
const (
	slowOnTerminal = 300 * time.Millisecond
	slowElsewhere  = 3 * time.Second
)

// slowToEnd is how long a command may take to end before it says so, and endFor
// before it ends all the same, as if it had been killed.
const (
	slowToEnd = time.Second
	endFor    = 10 * time.Second
)

// keepWork is how long runs are kept in a directory that is there to be resumed.
const keepWork = 10 * 365 * 24 * time.Hour

const jobTag = "faena.job"

func (d *direct) name() string {
	name, _, _ := strings.Cut(d.use, " ")
	return name
}

func (a *app) direct(d direct) *cobra.Command {
	cmd := &cobra.Command{Use: d.use, Short: d.short, Long: d.long, Example: d.example, GroupID: groupDirect}
	r := &remote{flags: cmd.Flags()}
	cmd.Flags().StringVar(&r.server, "server", "", "NATS `URL` of the server that does the work; default this process")
	cmd.Flags().StringVar(&r.tokenFile, "token-file", "", "`FILE` with the server's secret; FAENA_TOKEN can hold the secret itself")
	env(cmd.Flags(), "server", "token-file")
	prepare := d.setup(cmd.Flags())
	if d.first != nil {
		cmd.ValidArgsFunction = firstOf(d.first)
	}
	cmd.Args = cobra.ArbitraryArgs // prepare knows better what to say
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		for _, arg := range a.args {
			if _, nerr := strconv.Atoi(arg); nerr == nil && arg[0] == '-' { // a negative number, no flag
				if _, perr := prepare([]string{arg}); perr != nil {
					return perr
				}
			}
		}
		return misused(err)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if a.resumed != nil { // before prepare, which looks at where the work is done
			r.at(&a.resumed.Job)
		}
		j, err := prepare(args)
		if err != nil {
			return err
		}
		if r.server != "" {
			return a.there(cmd.Context(), &d, r, j)
		}
		return a.here(cmd.Context(), &d, j)
	}
	return cmd
}

// here does the work in this process.
func (a *app) here(ctx context.Context, d *direct, j job) error {
	dir := a.resumed
	if dir == nil {
		root, err := stateDir("work")
		if err != nil {
			return err
		}
		if dir, err = workdir.Create(root, d.name(), workdir.Job{Args: a.args}); err != nil {
			return unwritable(noPlace(err))
		}
	}
	defer dir.Close() //nolint:errcheck // nothing is written by it
	onEnd(ctx, "; resume by: faena resume "+dir.ID)
	room := d.whileRoom(ctx, dir.Data())
	defer room.stop()
	ctx = room.ctx
	s, err := a.start(ctx, d, dir, room)
	if err == nil {
		err = nameless(a.work(ctx, s.Node, j, dir, inThisProcess(dir)))
		if f, ok := errors.AsType[*fault](context.Cause(ctx)); ok && err != nil {
			err = f
		}
		err = errors.Join(err, a.endDirect(s, dir.ID, room.stuck))
	}
	f, failed := errors.AsType[*fault](err)
	failed = failed && (f.exit == exitFailed || f.exit == exitUsage)
	switch {
	case err == nil, failed && ctx.Err() == nil, a.resumed == nil && len(dir.Runs) == 0:
		onEnd(ctx, "") // nothing to resume
		return errors.Join(err, dir.Remove())
	case unread(err):
		a.note("the output was not read to its end; nothing is lost: faena resume %s has it, faena resume --remove %s gives it up", dir.ID, dir.ID)
		return err
	default:
		a.note("resume by: faena resume %s", dir.ID)
		return err
	}
}

// nameless is an error of work without the id of its run, which nobody can look up
// once it has failed here.
func nameless(err error) error {
	f, ok := errors.AsType[*fault](err)
	if !ok {
		return err
	}
	e, ok := errors.AsType[*faena.Error](f.err)
	if !ok || e.Err == nil || !strings.HasPrefix(e.Op, "run ") || e.Error() != f.Error() {
		return err
	}
	return &fault{f.exit, &faena.Error{Code: e.Code, Err: e.Err, Stack: e.Stack}}
}

// noPlace says what to do where the work cannot be kept.
func noPlace(err error) error {
	if remedy.Full(err) {
		return fmt.Errorf("%w (XDG_STATE_HOME chooses it)", remedy.Disk(err))
	}
	return fmt.Errorf("%w: set XDG_STATE_HOME to a directory that can be written", err)
}

// endDirect closes a session. Work that does not listen keeps it, and a person
// who waits is told what else there is to do. After endFor, and sooner on a full
// disk, it is left as it is, as by a crash.
func (a *app) endDirect(s *session, id string, stuck <-chan struct{}) error {
	late := time.AfterFunc(slowToEnd, func() {
		a.note("waiting for work under way to end; Ctrl-C ends it at once, and faena resume %s goes on", id)
	})
	defer late.Stop()
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	limit := time.NewTimer(endFor)
	defer limit.Stop()
	for {
		select {
		case err := <-closed:
			return err
		case <-limit.C:
			return nil
		case <-stuck:
			stuck = nil
			limit.Reset(slowToEnd / 2)
		}
	}
}

// start starts an engine of the command's own.
func (a *app) start(ctx context.Context, d *direct, dir *workdir.Dir, r *room) (*session, error) {
	log := slog.New(hushed{a.quiet().Handler(), r})
	o := embedded.Options{Dir: dir.Data(), Version: programVersion(), Logger: log}
	eng, err := embedded.Open(ctx, o)
	if weak, ok := errors.AsType[*embedded.NotDurableError](err); ok {
		a.note("%s is on %s: a power cut may lose what is done (XDG_STATE_HOME chooses another disk)", filepath.Dir(weak.Dir), weak.FileSystem)
		o.Durability = embedded.Fast
		eng, err = embedded.Open(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	// No grace: what is interrupted goes on from its checkpoint.
	// That people kill it is no sign that the work kills its worker.
	node, err := faena.Open(ctx, eng, faena.Options{
		Slots: d.slots, Grace: -1, MaxDeaths: 200, Version: o.Version, Logger: o.Logger, MaxInput: 1 << 30,
	})
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	s := &session{Node: node, engine: eng, where: dir.ID}
	node.Use(r.outputs)
	if err := node.Handle(d.handlers()...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// submitFor is how long a submission may go on after its command was interrupted:
// what is executed already must be known, to be resumed.
const submitFor = 2 * time.Second

// lingering is a context that ends some time after another.
func lingering(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(context.Cause(ctx))
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel(nil) }
}

// terms are how a job is submitted, and what is said once it takes long.
type terms struct {
	opts []faena.Option
	slow func(ids []faena.ID) string
}

// inThisProcess are the terms of work that is done here.
func inThisProcess(dir *workdir.Dir) terms {
	return terms{
		opts: []faena.Option{faena.Tags(jobTag, dir.ID), faena.Keep(keepWork, keepWork)},
		slow: func([]faena.ID) string { return "if this is cut short, faena resume " + dir.ID + " goes on" },
	}
}

// work submits the job's runs, or finds those that an earlier process submitted,
// and attends to them.
func (a *app) work(ctx context.Context, node *faena.Node, j job, dir *workdir.Dir, t terms) error {
	if err := a.begin(ctx, node, j, dir, t.opts); err != nil {
		return err
	}
	if len(dir.Runs) == 0 {
		names := make([]string, 0, len(j.ids()))
		for _, id := range j.ids() {
			names = append(names, id.String())
		}
		if err := dir.SetRuns(names); err != nil {
			return err
		}
	}
	return a.attend(ctx, node, j, t.slow(j.ids()))
}

// begin gives the job its runs: new ones, or those of an earlier process.
func (a *app) begin(ctx context.Context, node *faena.Node, j job, dir *workdir.Dir, opts []faena.Option) error {
	if a.resumed != nil {
		ids, err := earlier(ctx, node, dir)
		if err != nil {
			return err
		}
		if len(ids) > 0 {
			err = j.attach(ctx, node, ids)
			if faena.CodeOf(err) == faena.CodeNotFound {
				return fmt.Errorf("%w: the time it was kept for has passed, or it was another server's; faena resume --remove %s gives it up", err, dir.ID)
			}
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, stop := lingering(ctx, submitFor)
	defer stop()
	return j.submit(ctx, node, opts...)
}

// earlier are the job's runs that an earlier process submitted: as it noted them,
// or as they are found if it died before that.
func earlier(ctx context.Context, node *faena.Node, dir *workdir.Dir) ([]faena.ID, error) {
	var ids []faena.ID
	for _, name := range dir.Runs {
		id, err := faena.ParseID(name)
		if err != nil {
			return nil, fmt.Errorf("read the runs of %s: %w", dir.ID, err)
		}
		ids = append(ids, id)
	}
	if len(ids) > 0 {
		return ids, nil
	}
	q := faena.Query{Tags: []faena.Tag{{Key: jobTag, Value: dir.ID}}, Retried: true, Limit: 500}
	for in, err := range node.List(ctx, q) {
		if err != nil {
			return nil, err
		}
		if in.Tags[jobTag] == dir.ID {
			ids = append(ids, in.ID)
		}
	}
	sortIDs(ids) // one batch's ids order as its inputs
	return ids, nil
}

// attend waits for a job's runs, shows how they go on, and delivers the result.
func (a *app) attend(ctx context.Context, node *faena.Node, j job, slow string) error {
	bars := screen.NewBars(a.err)
	err := a.watched(ctx, node, j, bars, slow)
	if err != nil {
		return err
	}
	return j.finish(console{output{ctx, a.out}, a.err})
}

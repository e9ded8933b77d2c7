package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/natsengine"
	"github.com/faena-dev/faena/internal/workdir"
)

// sent are the runs that an engine was given to store: known before they are, so
// that they can be told of when it stays open whether they were.
type sent struct{ ids []faena.ID }

// by is an engine that notes what it is given.
func (s *sent) by(e *natsengine.Engine) noting { return noting{e, s} }

// doubt tells whether an error of a submission leaves open whether its runs are
// stored.
func (s *sent) doubt(ctx context.Context, err error) bool {
	if err == nil || len(s.ids) == 0 {
		return false
	}
	code := faena.CodeOf(err)
	return ctx.Err() != nil || code == faena.CodeUnavailable || code == faena.CodeClosed
}

// noting is an engine that notes what it is given.
type noting struct {
	*natsengine.Engine
	sent *sent
}

func (e noting) note(runs []engine.Run) {
	e.sent.ids = make([]faena.ID, len(runs))
	for i := range runs {
		e.sent.ids[i] = runs[i].ID
	}
}

// Submit is that of the engine.
func (e noting) Submit(ctx context.Context, runs []engine.Run) error {
	e.note(runs)
	return e.Engine.Submit(ctx, runs)
}

// SubmitBatch is that of the engine.
func (e noting) SubmitBatch(ctx context.Context, runs []engine.Run) error {
	e.note(runs)
	return e.Engine.SubmitBatch(ctx, runs)
}

// open says what is to be done about a submission in doubt.
func (a *app) open(id faena.ID) {
	a.note("whether it is stored is open: faena runs get %s tells, and faena runs cancel %s ends it", id, id)
}

// there lets a server do the work. What it was given is noted in a directory, from
// which the result can be taken when this process has ended before.
func (a *app) there(ctx context.Context, d *direct, r *remote, j job) error {
	var out sent
	s, err := a.connectAs(ctx, r, faena.Options{}, func(e *natsengine.Engine) engine.Engine { return out.by(e) })
	if err != nil {
		if a.resumed != nil {
			a.note("resume by: faena resume %s", a.resumed.ID)
		}
		return err
	}
	defer closeSoon(ctx, s) //nolint:errcheck // it only submitted
	dir := a.noted(d, r, s.where)
	defer dir.Close() //nolint:errcheck // nothing is written by it
	if dir.ID != "" {
		onEnd(ctx, "; resume by: faena resume "+dir.ID)
	}
	err = a.work(ctx, s.Node, j, dir, atServer(dir))
	return a.leave(ctx, dir, &out, err)
}

// noted is the directory of work at a server. Where none can be made the work goes
// on without.
func (a *app) noted(d *direct, r *remote, where string) *workdir.Dir {
	if a.resumed != nil {
		return a.resumed
	}
	root, err := stateDir("work")
	var dir *workdir.Dir
	if err == nil {
		at := withoutSecret(where)
		dir, err = workdir.Create(root, d.name(), workdir.Job{Args: unsecret(a.args, r.server, at), Server: at, TokenFile: r.tokenFile})
	}
	if err != nil {
		a.note("if this is cut short it cannot be resumed: %v", noPlace(err))
		return new(workdir.Dir)
	}
	return dir
}

// atServer is how a server is given work.
func atServer(dir *workdir.Dir) terms {
	t := terms{slow: func(ids []faena.ID) string {
		text := fmt.Sprintf("%s at the server: faena runs watch %s", count(len(ids), "run"), ids[0])
		if dir.ID != "" {
			text += "; if this is cut short, faena resume " + dir.ID + " has the result"
		}
		return text
	}}
	if dir.ID != "" {
		t.opts = []faena.Option{faena.Tags(jobTag, dir.ID)}
	}
	return t
}

// leave ends the work's directory, or says what there is to do about work that goes
// on at its server.
func (a *app) leave(ctx context.Context, dir *workdir.Dir, out *sent, err error) error {
	f, failed := errors.AsType[*fault](err)
	failed = failed && (f.exit == exitFailed || f.exit == exitUsage) && ctx.Err() == nil
	doubt := len(dir.Runs) == 0 && out.doubt(ctx, err)
	if err == nil || failed || a.resumed == nil && len(dir.Runs) == 0 && !doubt {
		onEnd(ctx, "") // nothing to resume
		return errors.Join(err, dir.Remove())
	}
	switch {
	case doubt:
		a.open(out.ids[0])
	case ctx.Err() != nil && len(dir.Runs) > 0:
		a.note("the work goes on at the server: faena runs watch %s shows it, faena runs cancel %s ends it", dir.Runs[0], dir.Runs[0])
	}
	if dir.ID != "" {
		a.note("resume by: faena resume %s", dir.ID)
	}
	return err
}

// at makes a command that is resumed use the server, and the file with its secret,
// that it had. A secret that stood in the address is not kept: it is taken from
// $FAENA_SERVER, if that is the same but for it.
func (r *remote) at(job *workdir.Job) {
	now := os.Getenv(variable("server"))
	r.server = job.Server
	if r.tokenFile == "" {
		r.tokenFile = job.TokenFile
	}
	if whole, err := serverURL("", now); job.Server != "" && err == nil && withoutSecret(whole) == job.Server {
		r.server = whole
	}
}

// withoutSecret is the address of a server without what a URL has for a name and a
// password.
func withoutSecret(server string) string {
	all := strings.Split(server, ",")
	for i, one := range all {
		if u, err := url.Parse(one); err == nil && u.User != nil {
			u.User = nil
			all[i] = u.String()
		}
	}
	return strings.Join(all, ",")
}

// unsecret are arguments with the address of a server as it is kept.
func unsecret(args []string, server, kept string) []string {
	args = slices.Clone(args)
	if !strings.Contains(server, "@") {
		return args
	}
	for i, arg := range args {
		switch arg {
		case server:
			args[i] = kept
		case "--server=" + server:
			args[i] = "--server=" + kept
		}
	}
	return args
}

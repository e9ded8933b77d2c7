//go:build (e2e || powercut) && linux

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
	"github.com/faena-dev/faena/internal/e2e/ledger"
)

// roleEnv holds the role that this binary plays when a test starts it again.
const roleEnv = "FAENA_E2E_ROLE"

// ledgerFD is where a role finds its ledger open.
const ledgerFD = 3

// role is what a process is to do.
type role struct {
	Name       string // of the process, in ledgers
	Dir        string // data directory
	Serve      bool   // own the data directory, and listen
	Port       int
	Durability string
	Boot       string
	Work       bool // execute runs
	Slots      int
	Client     *load // make load
	Attach     []string
}

// load is what a client does until it is told to stop.
type load struct {
	Callers int
	Rate    float64 // submissions per second of each caller; 0: as many as go
	Runs    int     // in all; 0: no bound
	Plain   bool    // only short runs that succeed, one at a time
	Big     bool    // batches that are staged, too
}

func TestMain(m *testing.M) {
	if env := os.Getenv(roleEnv); env != "" {
		if err := play(env); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// play is a role's main. It ends when its standard input does.
func play(env string) error {
	var r role
	if err := json.Unmarshal([]byte(env), &r); err != nil {
		return fmt.Errorf("read the role: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the sign
		stop()
	}()
	a := &actor{r: r, began: time.Now().UnixNano(), log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})), book: ledger.New(os.NewFile(ledgerFD, "ledger"), r.Name, nil)}
	return a.run(ctx)
}

// actor plays a role.
type actor struct {
	r    role
	log  *slog.Logger
	book *ledger.Writer
	node *faena.Node

	began int64 // nanoseconds
	n     atomic.Int64
}

func (a *actor) run(ctx context.Context) error {
	eng, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer eng.Close() //nolint:errcheck // gives none
	if a.node, err = faena.Open(ctx, eng, faena.Options{Name: a.r.Name, Slots: a.r.Slots, Grace: time.Second, Logger: a.log}); err != nil {
		return fmt.Errorf("open the node: %w", err)
	}
	defer a.node.Close() //nolint:errcheck,contextcheck // the process ends
	if a.r.Work {
		hs := []faena.Handler{jobTask.With(a.job), slowTask.With(a.job), parentTask.With(a.parent)}
		if err := a.retry(ctx, "handle", func() error { return a.node.Handle(hs...) }); err != nil { //nolint:contextcheck // its own
			return err
		}
	}
	a.say("ready")
	var wg sync.WaitGroup
	if len(a.r.Attach) > 0 {
		wg.Go(func() { a.attach(ctx, a.r.Attach) })
	}
	if l := a.r.Client; l != nil {
		var left atomic.Int64
		left.Store(int64(l.Runs))
		for range l.Callers {
			wg.Go(func() { a.call(ctx, l, &left) })
		}
	}
	wg.Wait()
	if a.r.Client != nil || len(a.r.Attach) > 0 {
		a.say("done")
	}
	<-ctx.Done()
	return nil
}

// say tells the test what it waits for.
func (a *actor) say(word string) {
	if _, err := os.Stdout.WriteString(word + "\n"); err != nil {
		os.Exit(4)
	}
}

// open opens the engine: one that owns the data directory, or one that finds the
// owner's address there and tries until it answers.
func (a *actor) open(ctx context.Context) (engine.Engine, error) {
	if a.r.Serve {
		eng, err := embedded.Open(ctx, embedded.Options{
			Dir: a.r.Dir, Durability: a.r.Durability, Listen: "127.0.0.1:" + strconv.Itoa(a.r.Port), Name: a.r.Name, Logger: a.log, Boot: a.r.Boot,
			Fatal: func(err error) {
				a.log.ErrorContext(ctx, "fatal", "error", err)
				if errors.Is(err, embedded.ErrHung) { // as faena serve does
					a.log.ErrorContext(ctx, "exec", "error", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
				}
				os.Exit(3)
			},
		})
		if err != nil {
			return nil, fmt.Errorf("serve: %w", err)
		}
		return eng, nil
	}
	var eng *natsengine.Engine
	err := a.retry(ctx, "connect", func() error {
		at, err := embedded.Find(a.r.Dir)
		if err != nil {
			return err
		}
		eng, err = natsengine.Connect(ctx, at.URL, natsengine.Options{Token: at.Secret, Name: a.r.Name, Logger: a.log})
		return err
	})
	return eng, err
}

// retry tries until it works or the role ends.
func (a *actor) retry(ctx context.Context, what string, fn func() error) error {
	for {
		err := fn()
		if err == nil {
			return nil
		}
		a.log.WarnContext(ctx, "trying again", "what", what, "error", err)
		if !pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// pause waits, and tells whether ctx still stands.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// job is the input of runs: what the handler is to do.
type job struct {
	Plan string        `json:"plan"`
	For  time.Duration `json:"for"`
	Pad  string        `json:"pad,omitempty"`
}

// Plans, besides ledger.Doomed.
const (
	planOK     = "ok"
	planFlaky  = "flaky"  // fails in its first attempt
	planWait   = "wait"   // a parent
	planCancel = "cancel" // somebody will cancel it
)

var (
	jobTask    = faena.Define[job, string]("job", faena.Retry(4, 50*time.Millisecond))
	slowTask   = faena.Define[job, string]("slow", faena.Queue("slow"), faena.Retry(4, 1200*time.Millisecond))
	parentTask = faena.Define[job, string]("parent", faena.Queue("slow"), faena.Retry(4, 50*time.Millisecond))
)

var errPlanned = errors.New("as planned")

func (a *actor) job(ctx context.Context, j job) (string, error) {
	return a.attempt(ctx, j, func() error {
		if !pause(ctx, j.For) {
			return ctx.Err()
		}
		return nil
	})
}

// parent waits for a child that takes as long as it is told.
func (a *actor) parent(ctx context.Context, j job) (string, error) {
	return a.attempt(ctx, j, func() error {
		_, err := jobTask.Run(ctx, a.node, job{Plan: planOK, For: j.For})
		return err
	})
}

// attempt writes down the start and the end of one. Its result is unlike any
// other's, so that a run that ends twice is found out.
func (a *actor) attempt(ctx context.Context, j job, do func() error) (string, error) {
	e := ledger.Entry{Kind: ledger.Started, IDs: []string{faena.RunID(ctx).String()}, Attempt: faena.Attempt(ctx), Plan: j.Plan}
	a.write(e)
	err := do()
	e.Kind = ledger.Ended
	switch {
	case ctx.Err() != nil:
		e.State = "interrupted"
	case err != nil:
	case j.Plan == ledger.Doomed, j.Plan == planFlaky && e.Attempt == 1:
		e.State, err = "failed", errPlanned
	default:
		e.State, e.Value = "succeeded", a.unique()
	}
	a.write(e)
	return e.Value, err
}

// unique is a text that no other call gives, in no process; one that starts itself
// again keeps its name and pid.
func (a *actor) unique() string {
	return fmt.Sprintf("%s.%x.%d", a.r.Name, a.began, a.n.Add(1))
}

func (a *actor) write(e ledger.Entry) {
	if err := a.book.Add(e); err != nil {
		a.log.Error("ledger", "error", err)
		os.Exit(4)
	}
}

// call is one caller of a client.
func (a *actor) call(ctx context.Context, l *load, left *atomic.Int64) {
	var wg sync.WaitGroup
	defer wg.Wait()
	open := make(chan struct{}, 256) // runs waited for at a time
	for ctx.Err() == nil && (l.Runs == 0 || left.Load() > 0) {
		if l.Rate > 0 && !pause(ctx, time.Duration(rand.ExpFloat64()/l.Rate*float64(time.Second))) {
			return
		}
		fs := a.submit(ctx, l)
		left.Add(-int64(len(fs)))
		for _, f := range fs {
			select {
			case open <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-open }()
				a.await(ctx, f)
			})
		}
	}
}

// submit makes one submission of a kind chosen by chance.
func (a *actor) submit(ctx context.Context, l *load) []*faena.Future[string] {
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	j := job{Plan: planOK, For: rand.N(4 * time.Millisecond)}
	var opts []faena.Option
	e := ledger.Entry{Kind: ledger.Acked}
	n := 0
	if !l.Plain {
		switch k := rand.IntN(100); {
		case k < 4:
			n = 2 + rand.IntN(60)
		case k < 5 && l.Big:
			n, j.Pad = 40, strings.Repeat("x", 16<<10)
		case k < 12:
			d := 100*time.Millisecond + rand.N(3*time.Second)
			opts = append(opts, faena.In(d))
			e.NotTill = ledger.Now() + int64(d)
		case k < 20:
			j.Plan = planFlaky
		case k < 23:
			j.Plan = ledger.Doomed
		case k < 28:
			j.Plan, j.For = planCancel, 200*time.Millisecond
			if rand.IntN(2) == 0 {
				opts = append(opts, faena.In(time.Second+rand.N(time.Second)))
			}
		case k < 30:
			j.For = rand.N(300 * time.Millisecond)
		}
	}
	e.Plan = j.Plan
	var fs []*faena.Future[string]
	var err error
	switch {
	case n > 0:
		e.Batch = a.unique()
		in := make([]job, n)
		for i := range in {
			in[i] = j
		}
		fs, err = jobTask.Batch(within, a.node, in, append(opts, faena.Tags("batch", e.Batch, "size", strconv.Itoa(n)))...)
	default:
		task := jobTask
		if rand.IntN(5) == 0 && !l.Plain {
			task = slowTask
		}
		var f *faena.Future[string]
		if f, err = task.Go(within, a.node, j, opts...); err == nil {
			fs = append(fs, f)
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "submit", "error", err)
			a.write(ledger.Entry{Kind: ledger.Refused, Value: string(faena.CodeOf(err)), Batch: e.Batch})
			pause(ctx, 20*time.Millisecond)
		}
		return nil
	}
	for _, f := range fs {
		e.IDs = append(e.IDs, f.ID().String())
	}
	a.write(e)
	if j.Plan == planCancel {
		go a.cancel(ctx, fs[0].ID())
	}
	return fs
}

// cancel cancels a run after a moment, again if it was not answered.
func (a *actor) cancel(ctx context.Context, id faena.ID) {
	if !pause(ctx, rand.N(400*time.Millisecond)) {
		return
	}
	for ctx.Err() == nil {
		states, err := a.node.Cancel(ctx, id)
		if err == nil {
			a.write(ledger.Entry{Kind: ledger.Cancelled, IDs: []string{id.String()}, State: states[0].String()})
			return
		}
		a.log.WarnContext(ctx, "cancel", "error", err)
		pause(ctx, 100*time.Millisecond)
	}
}

// await waits for a run's end and writes down what it is shown.
func (a *actor) await(ctx context.Context, f *faena.Future[string]) {
	v, err := f.Get(ctx)
	e := ledger.Entry{Kind: ledger.Shown, IDs: []string{f.ID().String()}, State: "succeeded", Value: v}
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		e.State, e.Value = "failed", string(faena.CodeOf(err))
		switch faena.CodeOf(err) {
		case faena.CodeCancelled:
			e.State = "cancelled"
		case faena.CodeClosed, faena.CodeUnavailable, faena.CodeInternal:
			a.log.ErrorContext(ctx, "read a result", "run", f.ID(), "error", err)
			return
		default:
		}
	}
	a.write(e)
}

// attach waits for runs that others submitted.
func (a *actor) attach(ctx context.Context, ids []string) {
	open := make(chan struct{}, 32)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range ids {
		id, err := faena.ParseID(s)
		if err != nil {
			a.log.ErrorContext(ctx, "attach", "error", err)
			continue
		}
		select {
		case open <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-open }()
			var f *faena.Future[string]
			if a.retry(ctx, "attach to "+s, func() (err error) {
				f, err = faena.Attach[string](ctx, a.node, id)
				if faena.CodeOf(err) == faena.CodeNotFound {
					a.log.ErrorContext(ctx, "an acknowledged run is not found", "run", s)
				}
				return err
			}) == nil {
				wg.Go(func() { a.await(ctx, f) })
			}
		})
	}
}

// ledgerPath is where a process's ledger lies.
func ledgerPath(dir, who string) string { return filepath.Join(dir, who+".ledger") }

//go:build (e2e || powercut) && linux

package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
	"github.com/faena-dev/faena/internal/e2e/ledger"
)

// cluster is the processes of one test and where they write.
type cluster struct {
	t      *testing.T
	dir    string // data directory
	books  string // ledgers
	logs   string
	port   int
	mu     sync.Mutex
	number int
	all    []*process
}

// process is one role under way.
type process struct {
	role
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan struct{} // closed when it says so
	done  chan struct{} // closed when its work is done
	ended chan struct{} // closed when it is gone
	err   error
}

// newCluster makes directories; an empty dir is one of the test's own.
func newCluster(t *testing.T, dir string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: dir, books: t.TempDir(), logs: t.TempDir(), port: freePort(t)}
	if dir == "" {
		c.dir = filepath.Join(t.TempDir(), "data")
	}
	t.Cleanup(func() {
		c.mu.Lock()
		all := c.all
		c.mu.Unlock()
		for _, p := range all {
			if t.Failed() { // goroutines into the log
				_ = p.cmd.Process.Signal(syscall.SIGQUIT)
				_ = p.cmd.Process.Signal(syscall.SIGCONT)
				select {
				case <-p.ended:
				case <-time.NewTimer(2 * time.Second).C:
				}
			}
			p.kill()
		}
		c.showLogs()
	})
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only its number is wanted
	return l.Addr().(*net.TCPAddr).Port
}

// showLogs prints the ends of the processes' logs if the test failed, and keeps
// all where FAENA_E2E_KEEP says.
func (c *cluster) showLogs() {
	names, _ := filepath.Glob(filepath.Join(c.logs, "*"))
	if dir := os.Getenv("FAENA_E2E_KEEP"); dir != "" {
		for _, from := range []string{c.logs, c.books} {
			_ = os.CopyFS(filepath.Join(dir, c.t.Name()), os.DirFS(from))
		}
	}
	if !c.t.Failed() {
		return
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil || len(b) == 0 {
			continue
		}
		c.t.Logf("%s:\n%s", filepath.Base(name), b[max(0, len(b)-1500):])
	}
}

// start starts a role with a ledger of its own. It does not wait.
func (c *cluster) start(r role) *process {
	c.t.Helper()
	c.mu.Lock()
	c.number++
	who := fmt.Sprintf("%s-%d", r.Name, c.number)
	c.mu.Unlock()
	f, err := os.OpenFile(ledgerPath(c.books, who), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // the process has its own
	return c.startWith(r, who, f)
}

// startWith starts a role that writes its ledger to f.
func (c *cluster) startWith(r role, who string, f *os.File) *process {
	c.t.Helper()
	r.Name, r.Dir, r.Port = who, c.dir, c.port
	env, err := json.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(c.logs, who+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the process has its own
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+string(env))
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = log
	p := &process{role: r, cmd: cmd, ready: make(chan struct{}), done: make(chan struct{}), ended: make(chan struct{})}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.all = append(c.all, p)
	c.mu.Unlock()
	go p.watch(out)
	return p
}

// watch reads what the process says until its end.
func (p *process) watch(out io.Reader) {
	ready := sync.OnceFunc(func() { close(p.ready) }) // twice if it starts itself again
	done := sync.OnceFunc(func() { close(p.done) })
	s := bufio.NewScanner(out)
	for s.Scan() {
		switch s.Text() {
		case "ready":
			ready()
		case "done":
			done()
		}
	}
	p.err = p.cmd.Wait()
	close(p.ended)
}

// kill ends the process with no warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop asks the process to end and waits for it.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.stdin.Close() // it may have ended
	wait(t, p.ended, 30*time.Second, p.Name+" to end")
	if p.err != nil {
		t.Errorf("%s ended with %v, want nil", p.Name, p.err)
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// up starts a role and waits until it is ready.
func (c *cluster) up(r role) *process {
	c.t.Helper()
	p := c.start(r)
	p.await(c.t)
	return p
}

// await waits until the process is ready.
func (p *process) await(t *testing.T) {
	t.Helper()
	select {
	case <-p.ready:
	case <-p.ended:
		t.Fatalf("%s ended before it was ready: %v", p.Name, p.err)
	case <-time.NewTimer(30 * time.Second).C:
		t.Fatalf("%s is not ready after 30 s", p.Name)
	}
}

func wait(t *testing.T, ch <-chan struct{}, d time.Duration, what string) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
	case <-timer.C:
		t.Fatalf("waited %v for %s", d, what)
	}
}

// connect opens a node of the test's own.
func (c *cluster) connect() *faena.Node {
	c.t.Helper()
	at, err := embedded.Find(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	eng, err := natsengine.Connect(c.t.Context(), at.URL, natsengine.Options{Token: at.Secret, Name: "test"})
	if err != nil {
		c.t.Fatal(err)
	}
	node, err := faena.Open(c.t.Context(), eng, faena.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = node.Close()
		_ = eng.Close()
	})
	return node
}

// entries reads all ledgers.
func (c *cluster) entries() []ledger.Entry {
	c.t.Helper()
	es, err := ledger.ReadAll(c.books)
	if err != nil {
		c.t.Fatal(err)
	}
	return es
}

// until waits until f is true.
func (c *cluster) until(d time.Duration, what string, f func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	for !f() {
		if !pause(ctx, 50*time.Millisecond) {
			c.t.Fatalf("waited %v for %s", d, what)
		}
	}
}

// drained waits until every run has ended.
func (c *cluster) drained(node *faena.Node, d time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	for {
		counts, err := node.Counts(ctx)
		open := fmt.Sprint(err)
		if err == nil {
			open = ""
			for _, n := range counts {
				if !n.State.Terminal() {
					open += fmt.Sprintf(" %s/%s %s %d", n.Queue, n.Task, n.State, n.N)
				}
			}
			if open == "" {
				return
			}
		}
		if !pause(ctx, 200*time.Millisecond) {
			c.t.Errorf("after %v not all runs have ended:%s", d, open)
			c.showOpen(node)
			return
		}
	}
}

// showOpen tells of some runs that have not ended.
func (c *cluster) showOpen(node *faena.Node) {
	n := 0
	for in, err := range node.List(c.t.Context(), faena.Query{States: []faena.State{faena.Scheduled, faena.Queued, faena.Retrying}}) {
		if err != nil {
			c.t.Log(err)
			return
		}
		if n++; n > 5 {
			return
		}
		if full, err := node.Get(c.t.Context(), in.ID); err == nil {
			in = full
		}
		c.t.Logf("open: %s %s %s attempt %d deaths %d waits %q", in.ID, in.Task, in.State, in.Attempt, in.Deaths, in.Waits)
	}
}

// record reads every run that the lists or the ledgers know, with its result.
func (c *cluster) record(node *faena.Node) []ledger.Final {
	c.t.Helper()
	known := map[string]bool{}
	for in, err := range node.List(c.t.Context(), faena.Query{Limit: 500, Retried: true}) {
		if err != nil {
			c.t.Fatal(err)
		}
		known[in.ID.String()] = true
	}
	for _, e := range c.entries() {
		for _, id := range e.IDs {
			known[id] = true
		}
	}
	var mu sync.Mutex
	var out []ledger.Final
	var wg sync.WaitGroup
	next := make(chan string)
	for range 16 {
		wg.Go(func() {
			for id := range next {
				f, err := final(c.t.Context(), node, id)
				if faena.CodeOf(err) == faena.CodeNotFound {
					continue
				}
				if err != nil {
					c.t.Errorf("Get(%s) = %v, want its state", id, err)
				}
				mu.Lock()
				out = append(out, f)
				mu.Unlock()
			}
		})
	}
	for id := range known {
		next <- id
	}
	close(next)
	wg.Wait()
	return out
}

func final(ctx context.Context, node *faena.Node, name string) (ledger.Final, error) {
	f := ledger.Final{ID: name, State: "unreadable"}
	id, err := faena.ParseID(name)
	if err != nil {
		return f, err
	}
	in, err := node.Get(ctx, id)
	if err != nil {
		return f, err
	}
	f = ledger.Final{ID: name, State: in.State.String(), Batch: in.Tags["batch"]}
	if n := in.Tags["size"]; n != "" {
		if f.Size, err = strconv.Atoi(n); err != nil {
			return f, fmt.Errorf("read the tag size: %w", err)
		}
	}
	switch {
	case in.State == faena.Succeeded:
		err = json.Unmarshal(in.Output, &f.Value)
	case in.Error != nil:
		f.Value = string(in.Error.Code)
	}
	return f, err
}

// number reads a size from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s=%q: want a number", name, s)
	}
	return n
}

// fewestDeaths is how many starts a run that was given up must have had at least.
// One less than deaths count: a delivery that nobody acknowledged counts as one,
// although it may not have begun.
const fewestDeaths = engine.MaxDeaths - 1

// report prints a report and fails on what is wrong.
func report(t *testing.T, p *ledger.Report) {
	t.Helper()
	t.Logf("runs %d, acknowledged %d (batches %d), not acknowledged %d submissions", p.Runs, p.Acked, p.Batches, p.Refused)
	t.Logf("ends %v, given up %d, ends shown %d, cancels answered %d", p.Ends, p.Lost, p.Shown, p.Cancels)
	t.Logf("handler starts %d, attempts beyond one %d", p.Starts, p.Beyond)
	t.Logf("starts after an end was shown %d (at most %v), after a cancel at most %v, excused by power cuts %d", p.Late, p.LateMost, p.CancelMost, p.Excused)
	for _, b := range p.Bad {
		t.Error(b)
	}
}

// acked counts acknowledged runs.
func acked(es []ledger.Entry) int {
	n := 0
	for i := range es {
		if es[i].Kind == ledger.Acked {
			n += len(es[i].IDs)
		}
	}
	return n
}

// open lists acknowledged runs whose end nobody was shown.
func (c *cluster) open(most int) []string {
	c.t.Helper()
	es := c.entries()
	shown := map[string]bool{}
	for i := range es {
		if es[i].Kind == ledger.Shown {
			shown[es[i].IDs[0]] = true
		}
	}
	var out []string
	for i := range es {
		if es[i].Kind != ledger.Acked {
			continue
		}
		for _, id := range es[i].IDs {
			if !shown[id] && len(out) < most {
				out = append(out, id)
			}
		}
	}
	return out
}

package embedded_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
)

// machine is a server's, which may lose power while others that are connected go on.
type machine struct {
	t      *testing.T
	dir    string
	disk   string // what was on disk when syncs began to hang; empty while they do not
	boots  int
	owner  *embedded.Engine
	client *natsengine.Engine
	now    atomic.Pointer[embedded.Engine] // that can be reached
	thaw   chan struct{}
	hang   atomic.Bool
	ids    *engine.IDs
	began  chan<- struct{} // told of each start of a slow run; none if nil
	yields bool            // slow runs wait without a slot, as for others
	listen string          // where other processes would reach it, so that what they have in hand stays theirs
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	return newMachineAt(t, "")
}

func newMachineAt(t *testing.T, listen string) *machine {
	t.Helper()
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "data"), thaw: make(chan struct{}), ids: engine.NewIDs(), listen: listen}
	m.boot()
	m.now.Store(m.owner)
	var err error
	if m.client, err = embedded.JoinAny(t.Context(), &m.now, m.owner.Secret()); err != nil {
		t.Fatalf("Join = %v", err)
	}
	return m
}

func (m *machine) boot() {
	m.t.Helper()
	m.boots++
	var err error
	m.owner, err = embedded.Open(m.t.Context(), embedded.Options{Dir: m.dir, Boot: strconv.Itoa(m.boots), Sync: m.sync, Listen: m.listen})
	if err != nil {
		m.t.Fatalf("Open = %v", err)
	}
}

func (m *machine) sync() error {
	if m.hang.Load() {
		<-m.thaw
		return errors.New("no power")
	}
	return nil
}

// freeze makes the disk keep nothing from now on.
func (m *machine) freeze() {
	m.t.Helper()
	m.hang.Store(true)
	for n := 0; ; n++ {
		m.disk = m.dir + strings.Repeat("+", n+1)
		err := os.CopyFS(m.disk, os.DirFS(m.dir))
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrNotExist) || n > 20 { // else a file went meanwhile
			m.t.Fatal(err)
		}
	}
}

// cut takes the power away and lets the machine boot again.
func (m *machine) cut() {
	m.t.Helper()
	m.now.Store(nil)
	close(m.thaw)
	select {
	case <-m.owner.Done(): // the sync failed
	case <-m.after(100 * time.Millisecond): // none was under way
	}
	m.owner.Close() //nolint:errcheck // it is dead
	m.hang.Store(false)
	m.dir = m.disk
	m.boot()
	m.now.Store(m.owner)
}

// reads gives the client the time to read what is stored and not committed.
func (m *machine) reads() {
	select {
	case <-m.after(300 * time.Millisecond):
	case <-m.t.Context().Done():
	}
}

// untilGone waits until a run and all that stood beside it has left the log.
func (m *machine) untilGone(id engine.ID) {
	m.t.Helper()
	js, done := streams(m.t, m.owner)
	defer done()
	end := make(chan *engine.Record, 1)
	if err := m.owner.Attach(m.t.Context(), id, engine.WaiterFunc(func(r *engine.Record) { end <- r })); err != nil {
		m.t.Fatalf("Attach = %v", err)
	}
	<-end
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for stood := uint64(0); ; <-tick.C {
		r := m.run("quick")
		r.Keep = [2]uint32{1, 1}
		if err := m.owner.Submit(m.t.Context(), []engine.Run{r}); err != nil {
			m.t.Fatalf("Submit = %v", err)
		}
		l, err := js.Stream(m.t.Context(), "FAENA_LOG")
		if err != nil {
			m.t.Fatal(err)
		}
		s := l.CachedInfo().State
		if stood == 0 {
			stood = s.LastSeq
		}
		if s.FirstSeq > stood {
			return
		}
	}
}

// untilHome waits until all that was delivered has left its queue, or is done with.
func (m *machine) untilHome() {
	m.t.Helper()
	js, done := streams(m.t, m.owner)
	defer done()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		c, err := js.Consumer(m.t.Context(), "FAENA_Q_q", "work")
		if err != nil {
			m.t.Fatal(err)
		}
		if i := c.CachedInfo(); i.Delivered.Stream > 0 && i.NumAckPending == 0 {
			return
		}
	}
}

// after is closed when some time has passed.
func (m *machine) after(d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(m.t.Context(), d)
	m.t.Cleanup(cancel)
	return ctx.Done()
}

func (m *machine) close() {
	m.client.Close() //nolint:errcheck // the test is over
	m.owner.Close()  //nolint:errcheck // the test is over
}

// worker executes runs on an engine: each gives its word, those of task slow once go is closed.
func (m *machine) worker(e engine.Engine, word string, slow <-chan struct{}) {
	m.t.Helper()
	w, err := e.Work(engine.WorkOptions{Slots: 4, Exec: func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		if a.Run.Task == "slow" && slow != nil {
			if m.began != nil {
				m.began <- struct{}{}
			}
			if m.yields {
				if err := a.Lease.Yield(); err != nil {
					m.t.Errorf("Yield = %v", err)
				}
			}
			select {
			case <-slow:
			case <-ctx.Done():
				return engine.Outcome{Interrupted: true}
			}
			if err := a.Lease.Regain(ctx); err != nil {
				return engine.Outcome{Interrupted: true}
			}
		}
		return engine.Outcome{Output: []byte(word)}
	}})
	if err != nil {
		m.t.Fatalf("Work = %v", err)
	}
	for _, task := range []string{"quick", "slow"} {
		if err := w.Handle(m.t.Context(), "q", task); err != nil {
			m.t.Fatalf("Handle = %v", err)
		}
	}
}

func (m *machine) run(task string) engine.Run {
	return engine.Run{ID: m.ids.New(), Queue: "q", Task: task, Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
}

// submit submits a run by the client and watches it there.
func (m *machine) submit(ctx context.Context, task string) (engine.ID, <-chan *engine.Record, error) {
	r, end := m.run(task), make(chan *engine.Record, 2)
	m.client.Watch(r.ID, engine.WaiterFunc(func(r *engine.Record) { end <- r }))
	return r.ID, end, m.client.Submit(ctx, []engine.Run{r})
}

// underWay submits a run to a worker of the client's, which ends it when slow is
// closed.
func (m *machine) underWay() (slow chan struct{}, id engine.ID, end <-chan *engine.Record) {
	m.t.Helper()
	slow = make(chan struct{})
	m.worker(m.client, `"worker's"`, slow)
	id, end, err := m.submit(m.t.Context(), "slow")
	if err != nil {
		m.t.Fatalf("Submit = %v", err)
	}
	return slow, id, end
}

// want waits for the end of a run at the client, which is to be that of the record.
func (m *machine) want(id engine.ID, end <-chan *engine.Record, word string) {
	m.t.Helper()
	var got string
	select {
	case r := <-end:
		got = string(r.Output.Data)
	case <-m.after(time.Minute):
		m.t.Errorf("the client is not told of the end of %v", id)
	}
	if got != "" && got != word {
		m.t.Errorf("the client is shown %s, want %s", got, word)
	}
	i, err := m.owner.Get(m.t.Context(), id)
	if err != nil || i.State != engine.Succeeded || string(i.Output) != word {
		m.t.Errorf("Get(%v) = %+v, %v, want succeeded with %s", id, i, err, word)
	}
}

// A client that lives on when the server's machine loses power had read an end
// that was not on disk. It was shown that, when the disk had another by then; and
// it passed over what the server stored in its place.
func TestConnectedThroughAPowerCut(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	slow := make(chan struct{})
	m.worker(m.owner, `"first"`, slow)
	for range 3 {
		id, end, err := m.submit(t.Context(), "quick")
		if err != nil {
			t.Fatalf("Submit = %v", err)
		}
		m.want(id, end, `"first"`)
	}
	id, end, err := m.submit(t.Context(), "slow")
	if err != nil {
		t.Fatalf("Submit = %v", err)
	}
	m.freeze()
	close(slow)
	for range 30 { // never acknowledged; their ends make the log longer than it will be
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, _, err := m.submit(ctx, "quick"); err == nil {
			t.Error("Submit = nil although no sync ends")
		}
		cancel()
	}
	m.reads()
	m.cut()
	m.worker(m.owner, `"second"`, nil)
	m.want(id, end, `"second"`)
	for range 5 {
		id, end, err := m.submit(t.Context(), "quick")
		if err != nil {
			t.Fatalf("Submit = %v", err)
		}
		m.want(id, end, `"second"`)
	}
}

// Runs that a server had stored before it lost power were taken for accepted when
// the next one committed.
func TestSubmitThroughAPowerCut(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	m.freeze()
	type result struct {
		id  engine.ID
		end <-chan *engine.Record
		err error
	}
	done := make(chan result, 1)
	go func() {
		id, end, err := m.submit(t.Context(), "quick")
		done <- result{id, end, err}
	}()
	m.reads()
	m.cut()
	r := <-done
	if r.err != nil {
		t.Fatalf("Submit = %v", r.err)
	}
	m.worker(m.owner, `"second"`, nil)
	m.want(r.id, r.end, `"second"`)
}

// The same for what a worker had written.
func TestWorkThroughAPowerCut(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	slow, id, end := m.underWay()
	m.freeze()
	close(slow)
	m.reads()
	m.cut()
	m.want(id, end, `"worker's"`)
}

// A run that waits for others has left its queue. Its worker had read its own record
// when the power cut took that: it took the run for ended, and forgot it.
func TestWorkAwayFromItsQueueThroughAPowerCut(t *testing.T) {
	t.Parallel()
	m := newMachineAt(t, "127.0.0.1:0")
	defer m.close()
	m.yields = true
	slow, id, end := m.underWay()
	m.untilHome()
	m.freeze()
	close(slow)
	m.reads()
	m.cut()
	m.want(id, end, `"worker's"`)
}

// apart is a value so large that it is stored apart.
func apart() string { return `"` + strings.Repeat("x", 300<<10) + `"` }

// An input that one server had stored was taken for stored when the next one, which
// had lost it, committed the run.
func TestLargeInputThroughAPowerCut(t *testing.T) {
	t.Parallel()
	for name, submit := range map[string]func(engine.Engine, context.Context, []engine.Run) error{
		"alone": engine.Engine.Submit, "in a batch": engine.Engine.SubmitBatch,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			defer m.close()
			r, end, done := m.run("quick"), make(chan *engine.Record, 2), make(chan error, 1)
			r.Input.Data = []byte(apart())
			m.client.Watch(r.ID, engine.WaiterFunc(func(r *engine.Record) { end <- r }))
			m.freeze()
			go func() { done <- submit(m.client, t.Context(), []engine.Run{r}) }()
			m.reads()
			m.cut()
			if err := <-done; err != nil {
				t.Fatalf("Submit = %v", err)
			}
			m.worker(m.owner, `"second"`, nil)
			m.want(r.ID, end, `"second"`)
		})
	}
}

// The same for an output: the run succeeded, and nobody had its result.
func TestLargeOutputThroughAPowerCut(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	slow := make(chan struct{})
	m.worker(m.client, apart(), slow)
	_, end, err := m.submit(t.Context(), "slow")
	if err != nil {
		t.Fatalf("Submit = %v", err)
	}
	m.freeze()
	close(slow)
	m.reads()
	m.cut()
	select {
	case r := <-end:
		if out, err := m.client.Output(t.Context(), r); err != nil || string(out) != apart() {
			t.Errorf("Output = %d bytes, %v, want %d", len(out), err, len(apart()))
		}
	case <-m.after(time.Minute):
		t.Error("the client is not told of the end")
	}
}

// A run of a message that a power cut took is under way at a worker that lives on.
// When it ended the worker acknowledged the message that had taken the place of
// that: of a run which was stored, and never executed.
func TestAMessageThatIsLostIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	slow, began := make(chan struct{}), make(chan struct{}, 9)
	m.began = began
	m.worker(m.client, `"worker's"`, slow)
	m.freeze()
	owner, ended := m.owner, make(chan struct{})
	go func() {
		defer close(ended)
		_ = owner.Submit(t.Context(), []engine.Run{m.run("slow")}) // it waits for a sync that does not come
	}()
	<-began
	m.cut()
	<-ended
	r, end := m.run("quick"), make(chan *engine.Record, 2)
	m.client.Watch(r.ID, engine.WaiterFunc(func(r *engine.Record) { end <- r }))
	if err := m.owner.Submit(t.Context(), []engine.Run{r}); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	m.reads()
	close(slow)
	m.want(r.ID, end, `"worker's"`)
}

// A client that began when the server's machine lost power had asked where the log
// ends, and followed it from there on, although it had become shorter: it was told of
// no end until the log was as long again. The power cut comes at each connection that
// it makes.
func TestConnectThroughAPowerCut(t *testing.T) {
	t.Parallel()
	for at := range int64(3) { // for questions before, for all that follows, and for the log
		t.Run(strconv.FormatInt(at, 10), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			defer m.close()
			slow := make(chan struct{})
			m.worker(m.owner, `"first"`, slow)
			for range 5 {
				if _, _, err := m.submit(t.Context(), "slow"); err != nil {
					t.Fatalf("Submit = %v", err)
				}
			}
			m.freeze()
			close(slow)
			m.reads()
			m.client.Close() //nolint:errcheck // another takes its place
			var n atomic.Int64
			client, err := embedded.JoinBy(t.Context(), func() *embedded.Engine {
				if n.Add(1) == at+1 {
					m.cut()
				}
				return m.now.Load()
			}, m.owner.Secret())
			if err != nil {
				t.Fatalf("JoinBy = %v", err)
			}
			if m.client = client; n.Load() <= at {
				t.Fatalf("%d connections: no power cut", n.Load())
			}
			r, end := m.run("quick"), make(chan *engine.Record, 2)
			m.client.Watch(r.ID, engine.WaiterFunc(func(r *engine.Record) { end <- r }))
			if err := m.client.Submit(t.Context(), []engine.Run{r}); err != nil {
				t.Fatalf("Submit = %v", err)
			}
			m.worker(m.owner, `"second"`, nil)
			m.want(r.ID, end, `"second"`)
		})
	}
}

// A worker had asked for what it needs of the server right before the power cut took
// that. It lived on, and was given no run whose time had come.
func TestWorkerWhoseConsumersAreLost(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	m.freeze()
	m.worker(m.client, `"worker's"`, nil)
	m.cut()
	for _, wait := range []time.Duration{0, 2 * time.Second} {
		r, end := m.run("quick"), make(chan *engine.Record, 2)
		if wait > 0 {
			r.At = time.Now().Add(wait).UnixMilli()
		}
		m.client.Watch(r.ID, engine.WaiterFunc(func(r *engine.Record) { end <- r }))
		if err := m.owner.Submit(t.Context(), []engine.Run{r}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		m.want(r.ID, end, `"worker's"`)
	}
}

// A server that is started anew and has lost nothing costs nobody anything.
func TestConnectedThroughARestart(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	slow, id, end := m.underWay()
	for range 3 {
		m.now.Store(nil)
		m.owner.Close() //nolint:errcheck // it starts again
		m.boot()
		m.now.Store(m.owner)
		id, end, err := m.submit(t.Context(), "quick")
		if err != nil {
			t.Fatalf("Submit = %v", err)
		}
		m.want(id, end, `"worker's"`)
	}
	close(slow)
	m.want(id, end, `"worker's"`)
}

// waiter waits for a run that may be forgotten.
type waiter struct {
	stored    bool
	end       chan *engine.Record
	forgotten chan struct{}
}

func newWaiter(stored bool) *waiter {
	return &waiter{stored, make(chan *engine.Record, 2), make(chan struct{}, 2)}
}

// Resolve implements engine.Waiter.
func (w *waiter) Resolve(r *engine.Record) { w.end <- r }

// Stored implements engine.Forgetter.
func (w *waiter) Stored() bool { return w.stored }

// Forgotten implements engine.Forgetter.
func (w *waiter) Forgotten() { w.forgotten <- struct{}{} }

// Whose connection was lost for longer than the run that it waits for was kept
// waited for ever: the run's record had left the log.
func TestRunThatIsForgottenWhileTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	gone, next := newWaiter(true), newWaiter(false)
	runs := []engine.Run{m.run("quick"), m.run("quick")}
	runs[0].Keep = [2]uint32{1, 1}
	for i, w := range []*waiter{gone, next} {
		m.client.Watch(runs[i].ID, w)
	}
	if err := m.client.Submit(t.Context(), runs[:1]); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	m.now.Store(nil)
	m.owner.Close() //nolint:errcheck // it starts again
	m.boot()
	m.worker(m.owner, `"first"`, nil)
	m.untilGone(runs[0].ID)
	m.now.Store(m.owner)
	select {
	case <-gone.forgotten:
	case r := <-gone.end:
		t.Errorf("a run past its retention ended as %+v, want it forgotten", r)
	case <-m.after(time.Minute):
		t.Error("nobody is told of a run past its retention")
	}
	if err := m.client.Submit(t.Context(), runs[1:]); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	select {
	case <-next.end:
	case <-m.after(time.Minute):
		t.Error("nobody is told of a run that was submitted later")
	}
}

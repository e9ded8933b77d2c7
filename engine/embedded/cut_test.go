package embedded_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
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
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "data"), thaw: make(chan struct{}), ids: engine.NewIDs()}
	m.boot()
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
	m.owner, err = embedded.Open(m.t.Context(), embedded.Options{Dir: m.dir, Boot: strconv.Itoa(m.boots), Sync: m.sync})
	if err != nil {
		m.t.Fatalf("Open = %v", err)
	}
	m.now.Store(m.owner)
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
	time.Sleep(time.Second) // all is settled
	m.hang.Store(true)
	m.disk = m.dir + "+"
	if err := os.CopyFS(m.disk, os.DirFS(m.dir)); err != nil {
		m.t.Fatal(err)
	}
}

// cut takes the power away and lets the machine boot again.
func (m *machine) cut() {
	m.t.Helper()
	m.now.Store(nil)
	close(m.thaw)
	select {
	case <-m.owner.Done(): // the sync failed
	case <-time.After(time.Second): // none was under way
	}
	m.owner.Close() //nolint:errcheck // it is dead
	m.hang.Store(false)
	m.dir = m.disk
	time.Sleep(10 * time.Second)
	m.boot()
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
			select {
			case <-slow:
			case <-ctx.Done():
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

// want waits for the end of a run at the client, which is to be that of the record.
func (m *machine) want(id engine.ID, end <-chan *engine.Record, word string) {
	m.t.Helper()
	var got string
	select {
	case r := <-end:
		got = string(r.Output.Data)
	case <-time.After(time.Minute):
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
	bubble(t, func(t *testing.T) {
		t.Helper()
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
		time.Sleep(time.Second)
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
	})
}

// Runs that a server had stored before it lost power were taken for accepted when
// the next one committed.
func TestSubmitThroughAPowerCut(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
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
		time.Sleep(time.Second)
		m.cut()
		r := <-done
		if r.err != nil {
			t.Fatalf("Submit = %v", r.err)
		}
		m.worker(m.owner, `"second"`, nil)
		m.want(r.id, r.end, `"second"`)
	})
}

// The same for what a worker had written.
func TestWorkThroughAPowerCut(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
		m := newMachine(t)
		defer m.close()
		slow := make(chan struct{})
		m.worker(m.client, `"worker's"`, slow)
		id, end, err := m.submit(t.Context(), "slow")
		if err != nil {
			t.Fatalf("Submit = %v", err)
		}
		m.freeze()
		close(slow)
		time.Sleep(time.Second)
		m.cut()
		m.want(id, end, `"worker's"`)
	})
}

// A server that is started anew and has lost nothing costs nobody anything.
func TestConnectedThroughARestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
		m := newMachine(t)
		defer m.close()
		slow := make(chan struct{})
		m.worker(m.client, `"worker's"`, slow)
		id, end, err := m.submit(t.Context(), "slow")
		if err != nil {
			t.Fatalf("Submit = %v", err)
		}
		for range 3 {
			m.now.Store(nil)
			m.owner.Close() //nolint:errcheck // it starts again
			time.Sleep(time.Second)
			m.boot()
			id, end, err := m.submit(t.Context(), "quick")
			if err != nil {
				t.Fatalf("Submit = %v", err)
			}
			m.want(id, end, `"worker's"`)
		}
		close(slow)
		m.want(id, end, `"worker's"`)
	})
}

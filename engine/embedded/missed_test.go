package embedded_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// gate is what a client's connections pass: it can break them, and hold back the
// answer to the first question that has some text in it.
type gate struct {
	mu    sync.Mutex
	conns []net.Conn
	text  []byte        // none if empty
	held  chan struct{} // closed when the answer is there
	let   chan struct{} // closed when it may pass
}

func (g *gate) wrap(c net.Conn) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c)
	return &gated{Conn: c, g: g}
}

// cut breaks all connections, and holds the answer to what is asked on the next.
func (g *gate) cut(text string) {
	g.mu.Lock()
	g.text = []byte(text)
	conns := slices.Clone(g.conns)
	g.mu.Unlock()
	for _, c := range conns {
		c.Close() //nolint:errcheck // it is to break
	}
}

type gated struct {
	net.Conn

	g     *gate
	asked atomic.Bool
}

func (c *gated) Write(b []byte) (int, error) {
	c.g.mu.Lock()
	if len(c.g.text) > 0 && bytes.Contains(b, c.g.text) {
		c.g.text = nil
		c.asked.Store(true)
	}
	c.g.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *gated) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bytes.Contains(b[:n], []byte("MSG _INBOX.")) && c.asked.Swap(false) {
		close(c.g.held)
		<-c.g.let
	}
	return n, err
}

// later waits for a run that is stored while it waits.
type later struct {
	stored    atomic.Bool
	end       chan *engine.Record
	forgotten chan struct{}
}

// Resolve implements engine.Waiter.
func (w *later) Resolve(r *engine.Record) { w.end <- r }

// Stored implements engine.Forgetter.
func (w *later) Stored() bool { return w.stored.Load() }

// Forgotten implements engine.Forgetter.
func (w *later) Forgotten() { w.forgotten <- struct{}{} }

// A run was stored just after the index had said that it knew nothing of it: who
// waited for it was told that it is forgotten.
func TestRunThatIsStoredWhileItIsAskedAboutIsNotForgotten(t *testing.T) {
	t.Parallel()
	owner, err := embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	defer owner.Close() //nolint:errcheck // the test is over
	g := &gate{held: make(chan struct{}), let: make(chan struct{})}
	client, err := owner.JoinOver(t.Context(), "client", g.wrap)
	if err != nil {
		t.Fatalf("Join = %v", err)
	}
	defer client.Close() //nolint:errcheck // the test is over
	late, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := engine.Run{ID: engine.NewIDs().New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}}
	who := &later{end: make(chan *engine.Record, 1), forgotten: make(chan struct{}, 1)}
	client.Watch(run.ID, who)
	g.cut(run.ID.String())
	select {
	case <-g.held:
	case <-late.Done():
		t.Fatal("nobody asks about what is waited for")
	}
	err = owner.Submit(t.Context(), []engine.Run{run})
	who.stored.Store(true)
	close(g.let)
	if err != nil {
		t.Fatalf("Submit = %v", err)
	}
	w, err := owner.Work(engine.WorkOptions{Slots: 1, Exec: nothing})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	select {
	case r := <-who.end:
		if r.State != engine.Succeeded {
			t.Errorf("it ended %v, want succeeded", r.State)
		}
	case <-who.forgotten:
		t.Error("a run that is there is forgotten")
	case <-late.Done():
		t.Error("nobody is told of its end")
	}
}

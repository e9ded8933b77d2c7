package embedded_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
)

// recordAt is where a message begins in a block of the server's, and how long it
// is.
func recordAt(t *testing.T, block []byte, seq uint64) (at, length int) {
	t.Helper()
	for at < len(block) {
		length = int(binary.LittleEndian.Uint32(block[at:]) &^ (1 << 31))
		if binary.LittleEndian.Uint64(block[at+4:]) == seq {
			return at, length
		}
		at += length
	}
	t.Fatalf("message %d is not in the block", seq)
	return 0, 0
}

// damage changes bytes of a message in queue q; length spoils its length too, so
// that the server cannot find those behind it.
func damage(t *testing.T, dir string, seq uint64, length bool) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "store/jetstream/*/streams/FAENA_Q_q/msgs/1.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("the block of the queue is not where it was expected: %v, %v", blocks, err)
	}
	b, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	at, n := recordAt(t, b, seq)
	b[at+n/2] ^= 0xff
	if length {
		b[at] ^= 0xff
		b[at+1] ^= 0xff
	}
	if err := os.WriteFile(blocks[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// house is an engine on a directory that is opened and closed.
type house struct {
	t    *testing.T
	o    embedded.Options
	eng  *embedded.Engine
	said bytes.Buffer // to be read when it is closed
	ids  *engine.IDs

	begun int // attempts, of the one slot
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, ids: engine.NewIDs()}
	h.o = embedded.Options{
		Dir: filepath.Join(t.TempDir(), "data"), Durability: embedded.Fast, Logger: slog.New(slog.NewTextHandler(&h.said, nil)),
	}
	return h
}

func (h *house) open() {
	h.t.Helper()
	var err error
	if h.eng, err = embedded.Open(h.t.Context(), h.o); err != nil {
		h.t.Fatalf("Open = %v", err)
	}
}

func (h *house) close() {
	h.t.Helper()
	if err := h.eng.Close(); err != nil {
		h.t.Fatalf("Close = %v", err)
	}
}

// submit stores runs, each as a message of its own, and waits until they are in
// the index.
func (h *house) submit(n int) []engine.ID {
	h.t.Helper()
	ids := make([]engine.ID, n)
	for i := range ids {
		ids[i] = h.ids.New()
		r := engine.Run{ID: ids[i], Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}}
		if err := h.eng.Submit(h.t.Context(), []engine.Run{r}); err != nil {
			h.t.Fatalf("Submit = %v", err)
		}
	}
	if found, err := h.eng.Find(h.t.Context(), ids); err != nil || len(found) != n {
		h.t.Fatalf("Find = %d runs, %v, want %d", len(found), err, n)
	}
	return ids
}

// work executes runs until all of these have ended, and gives their ends.
func (h *house) work(ids []engine.ID) map[engine.ID]*engine.Record {
	h.t.Helper()
	w, err := h.eng.Work(engine.WorkOptions{Slots: 1, Waiting: 1, Deaths: 3, Exec: func(context.Context, *engine.Attempt) engine.Outcome {
		h.begun++
		return engine.Outcome{Output: []byte("1")}
	}})
	if err != nil {
		h.t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(h.t.Context(), "q", "task"); err != nil {
		h.t.Fatalf("Handle = %v", err)
	}
	ends := map[engine.ID]*engine.Record{}
	ended := make(chan *engine.Record, len(ids))
	for _, id := range ids {
		if err := h.eng.Attach(h.t.Context(), id, engine.WaiterFunc(func(r *engine.Record) { c := *r; ended <- &c })); err != nil {
			h.t.Fatalf("Attach(%s) = %v", id, err)
		}
	}
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for len(ends) < len(ids) {
		select {
		case r := <-ended:
			ends[r.ID] = r
		case <-late.C:
			h.t.Fatalf("%d of %d runs have ended: the others wait for ever", len(ends), len(ids))
		}
	}
	if err := w.Stop(h.t.Context()); err != nil {
		h.t.Errorf("Stop = %v", err)
	}
	return ends
}

// check compares the ends: the runs at these places are lost, no others.
func (h *house) check(ids []engine.ID, ends map[engine.ID]*engine.Record, lost ...int) {
	h.t.Helper()
	want := map[engine.ID]bool{}
	for _, i := range lost {
		want[ids[i]] = true
	}
	for i, id := range ids {
		r := ends[id]
		if !want[id] {
			if r.State != engine.Succeeded {
				h.t.Errorf("run %d is %s (%v), want succeeded", i, r.State, r.Failure)
			}
			continue
		}
		if r.State != engine.Failed || r.Failure == nil || r.Failure.Code != engine.CodeLost || !strings.Contains(r.Failure.Message, "damaged: check the disk") {
			h.t.Errorf("run %d is %s (%v), want failed with code lost, and why", i, r.State, r.Failure)
		}
	}
	s, err := h.eng.Status(h.t.Context())
	if err != nil || s.Damaged == 0 {
		h.t.Errorf("Status = %d damaged, %v, want some", s.Damaged, err)
	}
	if _, err := h.eng.Retry(h.t.Context(), []engine.ID{ids[lost[0]]}); engine.CodeOf(err) != engine.CodeNotFound || !strings.Contains(err.Error(), "submit it anew") {
		h.t.Errorf("Retry of a lost run = %v, want that its input is gone", err)
	}
}

// A message that the disk has damaged while the process was down left its run
// queued for ever: the server passes over it without a word.
func TestDamagedMessageEndsItsRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seq    uint64
		length bool
		lost   []int
	}{
		"the first":             {seq: 1, lost: []int{0}},
		"one of several":        {seq: 3, lost: []int{2}},
		"the last":              {seq: 5, lost: []int{4}},
		"with all that follows": {seq: 3, length: true, lost: []int{2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.open()
			ids := h.submit(5)
			h.close()
			damage(t, h.o.Dir, c.seq, c.length)
			h.open()
			in, err := h.eng.Get(t.Context(), ids[c.lost[0]])
			if err != nil || in.State == engine.Queued && !strings.Contains(in.Waits, "damaged") {
				t.Errorf("Get of the run in the damaged message = %+v, %v, want why it waits", in, err)
			}
			h.check(ids, h.work(ids), c.lost...)
			h.close()
			if !strings.Contains(h.said.String(), "damaged") {
				t.Errorf("nothing is logged of the damage: %s", h.said.String())
			}
			if c.length {
				return // the server gives the same up again until the next message comes
			}
			h.said.Reset()
			h.open() // it is told once
			h.close()
			if strings.Contains(h.said.String(), "damaged") {
				t.Errorf("the next start tells of it again: %s", h.said.String())
			}
		})
	}
}

// Without an index nobody can say which run it was.
func TestDamagedMessageIsLoggedWithoutIndex(t *testing.T) {
	t.Parallel()
	for name, seq := range map[string]uint64{"the first": 1, "one of several": 3, "the last": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.open()
			ids := h.submit(5)
			h.close()
			damage(t, h.o.Dir, seq, false)
			for _, f := range []string{"index.db", "index.db-wal", "index.db-shm"} {
				os.Remove(filepath.Join(h.o.Dir, f)) //nolint:errcheck // it may not be there
			}
			h.open()
			i := seq - 1
			if _, err := h.eng.Get(t.Context(), ids[i]); engine.CodeOf(err) != engine.CodeNotFound {
				t.Errorf("Get of the run in the damaged message = %v, want not_found", err)
			}
			h.work(append(ids[:i:i], ids[i+1:]...))
			h.close()
			if want := "queue=q from=" + string('0'+byte(seq)) + " to=" + string('0'+byte(seq)); !strings.Contains(h.said.String(), want) {
				t.Errorf("the log does not say %q: %s", want, h.said.String())
			}
		})
	}
}

// A message that a worker had in hand was to be delivered again, which never went,
// and held up what was behind it.
func TestDamagedMessageInHandHoldsUpNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.o.Listen = "127.0.0.1:0"
	h.open()
	crashed := make(chan struct{})
	var once sync.Once
	other, err := natsengine.Connect(t.Context(), h.eng.URL(), natsengine.Options{
		Token: h.eng.Secret(),
		Hook: func(w engine.Write, _ bool) error {
			if w == engine.WriteRecord {
				once.Do(func() { close(crashed) })
				return engine.ErrCrashed
			}
			return nil
		},
	})
	if err != nil {
		t.Fatalf("Connect = %v", err)
	}
	began, end := make(chan struct{}, 4), make(chan struct{})
	w, err := other.Work(engine.WorkOptions{Slots: 4, Waiting: 1, Exec: func(context.Context, *engine.Attempt) engine.Outcome {
		began <- struct{}{}
		<-end
		return engine.Outcome{}
	}})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	ids := h.submit(4)
	for range 4 {
		<-began
	}
	close(end)
	<-crashed
	other.Close() //nolint:errcheck // it is dead
	h.close()
	damage(t, h.o.Dir, 1, false)
	h.open()
	h.check(ids, h.work(ids), 0)
	h.close()
}

// What is whole is not called damaged, however a queue was left.
func TestWholeQueueIsNotDamaged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 3 {
		h.open()
		ids := h.submit(3)
		h.close()
		h.open()
		h.work(ids)
		s, err := h.eng.Status(t.Context())
		if err != nil || s.Damaged != 0 {
			t.Errorf("Status = %d damaged, %v, want none", s.Damaged, err)
		}
		h.submit(2) // stays
		h.close()
	}
	if strings.Contains(h.said.String(), "damaged") {
		t.Errorf("the log tells of damage: %s", h.said.String())
	}
}

// An index whose pages are well but not what is in them is found damaged when it
// is read: the engine ends, and the next start builds it anew.
func TestIndexDamagedInside(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	failed := make(chan error, 8)
	h.o.Fatal = func(err error) { failed <- err }
	h.open()
	ids := h.submit(300)
	h.close()
	path := filepath.Join(h.o.Dir, "index.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page, leaf = 4096, 0x0d
	spoiled := 0
	for at := page; at < len(b); at += page {
		if b[at] == leaf && binary.BigEndian.Uint16(b[at+5:]) < page/2 { // it is well filled
			b[at+page-200] ^= 0xff
			spoiled++
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil || spoiled == 0 {
		t.Fatalf("spoil %d pages: %v", spoiled, err)
	}
	h.open()
	if _, err := h.eng.List(t.Context(), engine.Query{}); err == nil || !strings.Contains(err.Error(), "index is damaged") {
		t.Errorf("List of a damaged index = %v, want that it is damaged", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case err := <-failed:
		if !strings.Contains(err.Error(), "start again") {
			t.Errorf("Fatal(%v), want what to do", err)
		}
	case <-ctx.Done():
		t.Error("the engine goes on with a damaged index")
	}
	h.close()
	h.open()
	defer h.close()
	if found, err := h.eng.Find(t.Context(), ids); err != nil || len(found) != len(ids) {
		t.Errorf("Find after another start = %d runs, %v, want %d", len(found), err, len(ids))
	}
}

// Damaged notes of deliveries kept the engine from opening, or from taking tasks,
// without a word on what to do.
func TestDamagedNotesOfDeliveriesAreDropped(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]byte) []byte{
		"cut":   func(b []byte) []byte { return b[:len(b)/2] },
		"noise": func(b []byte) []byte { b[0] ^= 0xff; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.open()
			done := h.submit(3)
			h.work(done) // there are the other consumers, too
			ids := h.submit(3)
			h.close()
			notes, err := filepath.Glob(filepath.Join(h.o.Dir, "store/jetstream/*/streams/*/obs/*/o.dat"))
			if err != nil || len(notes) < 3 {
				t.Fatalf("notes of deliveries are not where they were expected: %v, %v", notes, err)
			}
			for _, f := range notes {
				b, err := os.ReadFile(f)
				if err == nil {
					err = os.WriteFile(f, spoil(b), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			h.open()
			for _, id := range done {
				if i, err := h.eng.Get(t.Context(), id); err != nil || i.State != engine.Succeeded {
					t.Errorf("Get of a run that had ended = %+v, %v, want succeeded", i, err)
				}
			}
			h.begun = 0
			h.work(ids)
			h.close()
			if h.begun != len(ids) {
				t.Errorf("%d runs began, want the %d that had not ended", h.begun, len(ids))
			}
			if n := strings.Count(h.said.String(), "what was noted of deliveries is damaged"); n != 1 {
				t.Errorf("the log tells of damaged notes %d times, want once: %s", n, h.said.String())
			}
			h.said.Reset()
			h.open() // it is mended
			h.close()
			if strings.Contains(h.said.String(), "damaged") {
				t.Errorf("the next start tells of it again: %s", h.said.String())
			}
		})
	}
}

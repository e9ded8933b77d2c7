package index_test

import (
	"bytes"
	stdcmp "cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/internal/index"
)

// States of runs in these tests.
const (
	scheduled = iota + 1
	queued
	running
	retrying
	succeeded
	failed
	cancelled
)

func terminal(state uint8) bool { return state >= succeeded }

func options(path string) index.Options {
	return index.Options{Path: path, Version: "1", Boot: "b", Terminal: terminal}
}

func open(t *testing.T, path string) *index.Index {
	t.Helper()
	x, err := index.Open(options(path))
	if err != nil {
		t.Fatalf("Open(%s) = %v", path, err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return x
}

func id(ms int64, n uint64) (id index.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(ms)<<16)
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func made(id index.ID) int64 { return int64(binary.BigEndian.Uint64(id[:]) >> 16) }

// model does what an index does, in the simplest way.
type model struct {
	rows  map[index.ID]index.Row
	pos   map[string]index.Position
	links map[index.ID]index.ID
	ended map[index.Count]int64 // since the index was opened
}

func newModel() *model {
	return &model{map[index.ID]index.Row{}, map[string]index.Position{}, map[index.ID]index.ID{}, map[index.Count]int64{}}
}

func (m *model) apply(changes []index.Change) (a index.Applied) {
	var marks [][2]index.ID
	for _, c := range changes {
		if at, ok := m.pos[c.Pos]; ok && c.Seq <= at.Seq {
			a.Skipped++
			continue
		}
		m.pos[c.Pos] = index.Position{Pos: c.Pos, Seq: c.Seq, Time: c.Time}
		for _, r := range c.Rows {
			a.Rows++
			if r.RetryOf != (index.ID{}) {
				marks = append(marks, [2]index.ID{r.RetryOf, r.ID})
			}
			old, there := m.rows[r.ID]
			objects := r.Objects || old.Objects
			switch {
			case there && terminal(old.State) && terminal(r.State):
				a.Void++
				r = old
			case there && (terminal(old.State) || !terminal(r.State) && r.Rev <= old.Rev):
				a.Late++
				if terminal(old.State) {
					a.Over = append(a.Over, r.ID)
				}
				r = old
			case terminal(r.State):
				m.ended[index.Count{State: r.State, Queue: r.Queue, Task: r.Task}]++
			}
			r.Objects = objects
			m.rows[r.ID] = r
		}
	}
	for _, mark := range marks {
		if _, ok := m.links[mark[0]]; !ok {
			m.links[mark[0]] = mark[1]
		}
	}
	for old, by := range m.links {
		if r, ok := m.rows[old]; ok && terminal(r.State) {
			if r.RetriedBy == (index.ID{}) {
				r.RetriedBy = by
				m.rows[old] = r
			}
			delete(m.links, old)
		}
	}
	return a
}

func (m *model) drop(id index.ID) {
	delete(m.links, m.rows[id].RetryOf)
	delete(m.rows, id)
}

func (m *model) list(q index.Query) []index.Row {
	var out []index.Row
	for _, r := range m.rows {
		if matches(r, q) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b index.Row) int {
		c := bytes.Compare(a.ID[:], b.ID[:])
		if !q.OldestFirst {
			c = -c
		}
		return c
	})
	return out
}

func matches(r index.Row, q index.Query) bool {
	for _, t := range q.Tags {
		if !slices.Contains(r.Tags, t) {
			return false
		}
	}
	return (len(q.States) == 0 || slices.Contains(q.States, r.State)) &&
		(q.Queue == "" || q.Queue == r.Queue) && (q.Task == "" || q.Task == r.Task) &&
		(q.Retried || r.RetriedBy == (index.ID{})) &&
		(q.From.IsZero() || made(r.ID) >= q.From.UnixMilli()) && (q.To.IsZero() || made(r.ID) < q.To.UnixMilli())
}

func (m *model) counts() map[index.Count]int64 {
	out := map[index.Count]int64{}
	for _, r := range m.rows {
		out[index.Count{State: r.State, Queue: r.Queue, Task: r.Task, Retried: r.RetriedBy != index.ID{}}]++
	}
	return out
}

func (m *model) floor(pos string, stream uint8) uint64 {
	low := m.pos[pos].Seq + 1
	for _, r := range m.rows {
		if terminal(r.State) && r.Stream == stream {
			low = min(low, r.Seq)
		}
	}
	return low
}

const epoch = 1_700_000_000_000

// world makes random changes and questions.
type world struct {
	*rand.Rand
	seq map[string]uint64
	now int64
	ids []index.ID
}

func pick[T any](w *world, of ...T) T { return of[w.IntN(len(of))] }

func (w *world) id() index.ID {
	if len(w.ids) > 0 && w.IntN(3) > 0 {
		return w.ids[w.IntN(len(w.ids))]
	}
	v := id(w.now+w.Int64N(2000)-1000, w.Uint64N(1<<20))
	if w.IntN(50) == 0 {
		v = pick(w, index.ID{}, id(0, 1), id(1<<48-1, math.MaxUint64))
	}
	w.ids = append(w.ids, v)
	return v
}

func (w *world) tags() (tags []index.Tag) {
	for range pick(w, 0, 0, 1, 2) {
		tags = append(tags, index.Tag{Key: pick(w, "user", "zone", ""), Value: pick(w, "", "1", "2", "ü", fmt.Sprint(w.IntN(1000)))})
	}
	return tags
}

func (w *world) row(pos string) index.Row {
	r := index.Row{
		ID: w.id(), State: uint8(1 + w.IntN(7)), Queue: pick(w, "q1", "q2"), Task: pick(w, "a", "b", "b", "b", "rare"+fmt.Sprint(w.IntN(60))),
		Keep: uint32(w.IntN(4)), Rev: uint32(w.IntN(6)), Attempt: uint16(w.IntN(3)),
		Stream: pos[0], Seq: w.seq[pos], Off: w.Uint32N(300), Tags: w.tags(),
	}
	if w.IntN(20) == 0 {
		r.Seq, r.Off, r.Keep, r.Rev, r.Attempt = math.MaxInt64, math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint16
	}
	if r.State == scheduled || r.State == retrying {
		r.At = w.now + w.Int64N(10_000)
	}
	if terminal(r.State) {
		r.Src, r.SrcSeq, r.End, r.Start = uint8(w.IntN(2)), w.Uint64N(2000), w.now+w.Int64N(3000)-1500, pick(w, 0, w.now-100, 1)
	}
	if w.IntN(8) == 0 {
		r.Note = pick(w, "boom", "ünd", string(bytes.Repeat([]byte("x"), 512)))
	}
	r.Objects = w.IntN(8) == 0
	if w.IntN(10) == 0 {
		r.RetryOf = w.id()
	}
	return r
}

func (w *world) changes() (out []index.Change) {
	for range 1 + w.IntN(4) {
		pos := pick(w, "log", "queue", "failed")
		if w.IntN(6) > 0 { // else it is there again
			w.seq[pos] += 1 + w.Uint64N(3)
		}
		c := index.Change{Pos: pos, Seq: w.seq[pos], Time: w.now * 1e6}
		for range w.IntN(pick(w, 2, 20, 200)) {
			c.Rows = append(c.Rows, w.row(pos))
		}
		out = append(out, c)
	}
	w.now += w.Int64N(300)
	return out
}

func (w *world) query() index.Query {
	q := index.Query{
		Queue: pick(w, "", "", "q1", "q2", "none"), Task: pick(w, "", "", "a", "b", "rare1", "rare2"),
		Retried: w.IntN(2) == 0, OldestFirst: w.IntN(2) == 0, Limit: pick(w, 0, 1, 7, 100, 1000),
	}
	for range pick(w, 0, 1, 2, 3) {
		q.States = append(q.States, uint8(1+w.IntN(7)))
	}
	if w.IntN(3) == 0 {
		q.Tags = w.tags()
	}
	if w.IntN(3) == 0 {
		q.From = time.UnixMilli(epoch + w.Int64N(w.now-epoch+1000))
	}
	if w.IntN(3) == 0 {
		q.To = time.UnixMilli(epoch + w.Int64N(w.now-epoch+1000))
	}
	return q
}

// TestModel does random things to an index and to a model of it, among them
// leaving it as a kill would and opening it again.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), seq: map[string]uint64{}, now: epoch}
			m, dir := newModel(), t.TempDir()
			path := filepath.Join(dir, "index")
			x := open(t, path)
			most := 0
			for i := range 120 {
				switch k := w.IntN(20); {
				case k < 10:
					changes := w.changes()
					want := m.apply(changes)
					got, err := x.Apply(changes)
					slices.SortFunc(got.Over, func(a, b index.ID) int { return bytes.Compare(a[:], b[:]) })
					slices.SortFunc(want.Over, func(a, b index.ID) int { return bytes.Compare(a[:], b[:]) })
					if d := cmp.Diff(want, got); err != nil || d != "" {
						t.Fatalf("Apply: %v, and gives (-want +got)\n%s", err, d)
					}
				case k < 13:
					expire(t, w, x, m)
				case k < 14:
					ids := []index.ID{w.id(), w.id(), w.id()}
					for _, id := range ids {
						m.drop(id)
					}
					if err := x.Delete(ids); err != nil {
						t.Fatal(err)
					}
				case k < 15:
					if err := x.Close(); err != nil {
						t.Fatal(err)
					}
					x, m.ended = open(t, path), map[index.Count]int64{}
				case k < 16:
					x, m.ended = open(t, path), map[index.Count]int64{} // the other one is left as it is
				case k < 17:
					path = copyFiles(t, path, filepath.Join(dir, fmt.Sprint("copy", i)))
					x, m.ended = open(t, path), map[index.Count]int64{}
				case k < 18:
					checkFull(t, w, x)
				default:
					checkLists(t, w, x, m)
				}
				check(t, w, x, m)
				n, err := x.Verify()
				if err != nil {
					t.Fatal(err)
				}
				most = max(most, n)
			}
			t.Logf("%d rows, at most %d chunks", len(m.rows), most)
			if most < 5 {
				t.Errorf("at most %d chunks: too few to mean much", most)
			}
		})
	}
}

func copyFiles(t *testing.T, from, to string) string {
	t.Helper()
	for _, s := range []string{"", "-wal", "-shm"} {
		b, err := os.ReadFile(from + s)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+s, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func expire(t *testing.T, w *world, x *index.Index, m *model) {
	t.Helper()
	now := time.UnixMilli(w.now + w.Int64N(2000))
	held := func(src uint8, queue string) uint64 {
		if queue == "q1" || src == 1 {
			return 1000
		}
		return math.MaxUint64
	}
	due := map[index.ID]bool{}
	for _, r := range m.rows {
		end := r.End
		if end == 0 {
			end = made(r.ID)
		}
		if terminal(r.State) && end+int64(r.Keep)*1000 <= now.UnixMilli() && r.SrcSeq <= held(r.Src, r.Queue) {
			due[r.ID] = true
		}
	}
	limit := 1 + w.IntN(100)
	large, n, err := x.Expire(now, held, limit)
	if err != nil || n > limit {
		t.Fatalf("Expire(limit %d) = %d, %v", limit, n, err)
	}
	var objects []index.ID
	for _, r := range large {
		objects = append(objects, r.ID)
	}
	var ids []index.ID
	for id := range m.rows {
		ids = append(ids, id)
	}
	rows, err := x.Find(ids)
	if err != nil {
		t.Fatal(err)
	}
	left := map[index.ID]bool{}
	for _, r := range rows {
		left[r.ID] = true
	}
	gone := 0
	for _, id := range ids {
		if left[id] {
			continue
		}
		gone++
		if !due[id] {
			t.Errorf("Expire took %+v", m.rows[id])
		}
		if m.rows[id].Objects != slices.Contains(objects, id) {
			t.Errorf("Expire named %x among those with objects: %t, want %t", id, !m.rows[id].Objects, m.rows[id].Objects)
		}
		m.drop(id)
	}
	if gone != n {
		t.Errorf("Expire = %d, but %d are gone", n, gone)
	}
}

// checkFull sees that a full disk changes nothing.
func checkFull(t *testing.T, w *world, x *index.Index) {
	t.Helper()
	pages, err := x.Pages()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.LimitPages(pages + 1); err != nil {
		t.Fatal(err)
	}
	c := index.Change{Pos: "log", Seq: math.MaxInt64}
	for i := range 3000 {
		c.Rows = append(c.Rows, index.Row{ID: id(w.now, uint64(i)), State: failed, Queue: "full", Task: fmt.Sprint(i % 7), Tags: w.tags()})
	}
	if a, err := x.Apply([]index.Change{c}); err == nil {
		t.Errorf("Apply on a full disk = %+v, want an error", a)
	}
	if err := x.LimitPages(0); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, w *world, x *index.Index, m *model) {
	t.Helper()
	got, ended := map[index.Count]int64{}, map[index.Count]int64{}
	for _, c := range x.Counts() {
		if c.N != 0 {
			got[index.Count{State: c.State, Queue: c.Queue, Task: c.Task, Retried: c.Retried}] += c.N
		}
		if c.Ended != 0 {
			ended[index.Count{State: c.State, Queue: c.Queue, Task: c.Task}] += c.Ended
		}
	}
	if d := cmp.Diff(m.counts(), got); d != "" {
		t.Fatalf("Counts() differs:\n%s", d)
	}
	if d := cmp.Diff(m.ended, ended); d != "" {
		t.Fatalf("Counts() differs in what has ended:\n%s", d)
	}
	pos := map[string]index.Position{}
	for _, p := range x.Positions() {
		pos[p.Pos] = p
	}
	if d := cmp.Diff(m.pos, pos); d != "" {
		t.Fatalf("Positions() differs:\n%s", d)
	}
	p := pick(w, "log", "queue", "failed")
	if got, err := x.Floor(p, p[0]); err != nil || got != m.floor(p, p[0]) {
		t.Fatalf("Floor(%s) = %d, %v, want %d", p, got, err, m.floor(p, p[0]))
	}
	var ids []index.ID
	var want []index.Row
	for range w.IntN(20) {
		id := w.id()
		ids = append(ids, id)
		if r, ok := m.rows[id]; ok {
			want = append(want, r)
		}
	}
	rows, err := x.Find(ids)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, rows); d != "" && len(want)+len(rows) > 0 {
		t.Fatalf("Find differs:\n%s", d)
	}
}

// checkOrder compares a list by time.
func checkOrder(t *testing.T, w *world, x *index.Index, m *model, q index.Query) {
	t.Helper()
	q.Order, q.Cursor = index.ByAt, ""
	at := func(r index.Row) int64 { return r.At }
	if w.IntN(2) == 0 {
		q.Order = index.ByEnd
		at = func(r index.Row) int64 { return -stdcmp.Or(r.End, made(r.ID)) }
	}
	if w.IntN(2) == 0 {
		q.Keep = func(r *index.Row) bool { return r.Attempt%2 == 0 }
	}
	q.OldestFirst = true // ties
	want := slices.DeleteFunc(m.list(q), func(r index.Row) bool {
		return q.Order == index.ByAt && r.At == 0 || q.Keep != nil && !q.Keep(&r)
	})
	slices.SortStableFunc(want, func(a, b index.Row) int { return stdcmp.Compare(at(a), at(b)) })
	want = want[:min(len(want), stdcmp.Or(min(q.Limit, 500), 50))]
	q.OldestFirst = w.IntN(2) == 0
	rows, next, err := x.List(q)
	if err != nil || next != "" {
		t.Fatalf("List(%+v) gives the cursor %q, %v, want none", q, next, err)
	}
	if d := cmp.Diff(want, rows); d != "" && len(want)+len(rows) > 0 {
		t.Fatalf("List(%+v) differs:\n%s", q, d)
	}
}

func checkLists(t *testing.T, w *world, x *index.Index, m *model) {
	t.Helper()
	for range 20 {
		q := w.query()
		checkOrder(t, w, x, m, q)
		want := m.list(q)
		if w.IntN(4) == 0 {
			q.Keep = func(r *index.Row) bool { return r.Attempt%2 == 0 }
			want = slices.DeleteFunc(want, func(r index.Row) bool { return !q.Keep(&r) })
		}
		limit := min(q.Limit, 500)
		if limit == 0 {
			limit = 50
		}
		for page := 0; ; page++ {
			rows, next, err := x.List(q)
			if err != nil {
				t.Fatal(err)
			}
			n := min(limit, len(want))
			if d := cmp.Diff(want[:n], rows); d != "" && n+len(rows) > 0 {
				t.Fatalf("List(%+v) differs:\n%s", q, d)
			}
			if want = want[n:]; (next == "") != (len(want) == 0) {
				t.Fatalf("List(%+v): cursor %q, with %d rows to come", q, next, len(want))
			}
			if next == "" || page > 20 {
				break
			}
			q.Cursor = next
		}
	}
}

package index_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/internal/index"
)

// TestPagesDuringWrites turns pages while rows come and go around them.
func TestPagesDuringWrites(t *testing.T) {
	t.Parallel()
	for _, oldest := range []bool{false, true} {
		t.Run(fmt.Sprint(oldest), func(t *testing.T) {
			t.Parallel()
			x := open(t, filepath.Join(t.TempDir(), "index"))
			var want []index.ID
			for _, r := range fill(t, x, 1000) {
				if r.Task == "t1" {
					want = append(want, r.ID)
				}
			}
			if !oldest {
				slices.Reverse(want)
			}
			ours := map[index.ID]bool{}
			for _, id := range want {
				ours[id] = true
			}
			q := index.Query{Task: "t1", Limit: 7, OldestFirst: oldest}
			var got []index.ID
			for seq := uint64(100); ; seq++ {
				rows, next, err := x.List(q)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					if ours[r.ID] {
						got = append(got, r.ID)
					}
				}
				if q.Cursor = next; next == "" {
					break
				}
				c := index.Change{Pos: "log", Seq: seq}
				for i := range 4 {
					c.Rows = append(c.Rows, index.Row{ID: id(epoch+int64(i*250), seq<<32), State: queued, Queue: "q", Task: "t1"})
				}
				if _, err := x.Apply([]index.Change{c}); err != nil {
					t.Fatal(err)
				}
				if err := x.Delete([]index.ID{id(epoch, (seq-3)<<32), id(epoch+750, (seq-5)<<32)}); err != nil {
					t.Fatal(err)
				}
				if seq > 1000 {
					t.Fatal("the list has no end")
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("the pages differ from what was there at first:\n%s", d)
			}
		})
	}
}

func TestCursorThatIsNone(t *testing.T) {
	t.Parallel()
	x := open(t, filepath.Join(t.TempDir(), "index"))
	for _, c := range []string{"x", "00", "zz000000000000000000000000000000", "000000000000000000000000000000000000"} {
		if rows, _, err := x.List(index.Query{Cursor: c}); err == nil {
			t.Errorf("List with the cursor %q = %v, want an error", c, rows)
		}
	}
}

// TestConcurrentReads reads while rows are written ten at a time: each page is
// of one moment.
func TestConcurrentReads(t *testing.T) {
	t.Parallel()
	x := open(t, filepath.Join(t.TempDir(), "index"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			for {
				rows, _, err := x.List(index.Query{States: []uint8{uint8(queued + 3*(n%2))}, Limit: 500})
				if err != nil {
					t.Error(err)
					return
				}
				if len(rows)%10 != 0 {
					t.Errorf("List gave %d rows, want tens", len(rows))
				}
				var ids []index.ID
				for _, r := range rows {
					ids = append(ids, r.ID)
				}
				if found, err := x.Find(ids); err != nil || len(found) != len(ids) {
					t.Errorf("Find gave %d of %d, %v", len(found), len(ids), err)
				}
				x.Counts()
				x.Positions()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for seq := uint64(1); seq <= 300; seq++ {
		c := index.Change{Pos: "log", Seq: seq}
		for i := range 10 {
			c.Rows = append(c.Rows, index.Row{ID: id(epoch+int64(i*100), seq), State: queued, Queue: "q", Task: fmt.Sprint("t", seq)})
			if seq > 20 {
				c.Rows = append(c.Rows, index.Row{ID: id(epoch+int64(i*100), seq-20), State: succeeded, Queue: "q", Task: fmt.Sprint("t", seq-20)})
			}
		}
		if _, err := x.Apply([]index.Change{c}); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}

// TestFirstEndCounts applies two ends of a run, and its queued row, in all orders.
func TestFirstEndCounts(t *testing.T) {
	t.Parallel()
	row := func(state uint8, task string) index.Row {
		return index.Row{ID: id(epoch, 1), State: state, Queue: "q", Task: task, Rev: 1, Objects: state == queued}
	}
	q, s, f := row(queued, "a"), row(succeeded, "a"), row(failed, "a")
	for i, order := range [][]index.Row{{q, s, f}, {s, q, f}, {s, f, q}, {q, f, s}, {f, q, s}, {f, s, q}} {
		for _, together := range []bool{true, false} {
			x := open(t, filepath.Join(t.TempDir(), "index"))
			var total index.Applied
			var changes []index.Change
			for j, r := range order {
				changes = append(changes, index.Change{Pos: fmt.Sprint(j), Seq: 1, Rows: []index.Row{r}})
			}
			for len(changes) > 0 {
				n := 1
				if together {
					n = len(changes)
				}
				a, err := x.Apply(changes[:n])
				if err != nil {
					t.Fatal(err)
				}
				total.Void += a.Void
				changes = changes[n:]
			}
			want := order[0]
			if want.State == queued {
				want = order[1]
			}
			want.Objects = true
			rows, err := x.Find([]index.ID{want.ID})
			if d := cmp.Diff([]index.Row{want}, rows); d != "" || err != nil || total.Void != 1 {
				t.Errorf("order %d: %d void, want 1; %v; the row differs:\n%s", i, total.Void, err, d)
			}
			if c := x.Counts(); len(c) != 1 || c[0].N != 1 || c[0].State != want.State {
				t.Errorf("order %d: Counts() = %+v, want one in state %d", i, c, want.State)
			}
		}
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	x := open(t, filepath.Join(t.TempDir(), "index"))
	c := index.Change{Pos: "log", Seq: 5000}
	for i := range 1000 {
		c.Rows = append(c.Rows, index.Row{
			ID: id(epoch, uint64(i)), State: succeeded, Queue: "q", Task: "t", Keep: 60, End: epoch + 1000,
			Stream: 1, Seq: uint64(100 + i), Src: 3, SrcSeq: uint64(i), Objects: i == 3 || i == 800,
		})
	}
	if _, err := x.Apply([]index.Change{c}); err != nil {
		t.Fatal(err)
	}
	held := func(to uint64) func(uint8, string) uint64 {
		return func(src uint8, queue string) uint64 {
			if src != 3 || queue != "q" {
				t.Errorf("held(%d, %q), want 3 and q", src, queue)
			}
			return to
		}
	}
	all := func(now int64, to uint64, limit int) (objects []index.ID, n int) {
		for {
			o, m, err := x.Expire(time.UnixMilli(now), held(to), limit)
			if err != nil || m > limit {
				t.Fatalf("Expire with limit %d = %d, %v", limit, m, err)
			}
			if m == 0 {
				return objects, n
			}
			for _, r := range o {
				if !r.Objects || r.Stream != 1 || r.Seq == 0 {
					t.Errorf("Expire gave %+v, want where its record stands", r)
				}
				objects = append(objects, r.ID)
			}
			n += m
		}
	}
	const due = epoch + 61_000
	if o, n := all(due-1, math.MaxUint64, 100); n != 0 {
		t.Errorf("a millisecond early: Expire took %d, %v, want none", n, o)
	}
	if o, n := all(due, 499, 70); n != 500 || !slices.Equal(o, []index.ID{id(epoch, 3)}) {
		t.Errorf("with half held: Expire took %d, %x, want 500 and the third", n, o)
	}
	if f, err := x.Floor("log", 1); f != 600 || err != nil {
		t.Errorf("Floor = %d, %v, want 600", f, err)
	}
	if o, n := all(due+20_000, math.MaxUint64, 1000); n != 500 || !slices.Equal(o, []index.ID{id(epoch, 800)}) {
		t.Errorf("with none held: Expire took %d, %x, want 500 and number 800", n, o)
	}
	if f, err := x.Floor("log", 1); f != 5001 || err != nil {
		t.Errorf("Floor = %d, %v, want 5001", f, err)
	}
	if chunks, err := x.Verify(); chunks != 0 || err != nil {
		t.Errorf("Verify() = %d chunks, %v, want none", chunks, err)
	}
}

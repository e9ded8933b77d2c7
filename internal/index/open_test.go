package index_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/faena-dev/faena/internal/index"
)

// fill applies n ended runs in one change.
func fill(t *testing.T, x *index.Index, n int) []index.Row {
	t.Helper()
	rows := make([]index.Row, n)
	for i := range rows {
		rows[i] = index.Row{
			ID: id(epoch+int64(i), uint64(i)), State: succeeded, Queue: "q", Task: fmt.Sprint("t", i%3),
			End: epoch + int64(i), Stream: 1, Seq: uint64(i), Note: "note",
		}
	}
	if _, err := x.Apply([]index.Change{{Pos: "log", Seq: 9, Time: 10, Rows: rows}}); err != nil {
		t.Fatal(err)
	}
	return rows
}

func size(x *index.Index) (n int64) {
	for _, c := range x.Counts() {
		n += c.N
	}
	return n
}

// TestOpenDropsWhatItCannotUse opens an index after something happened to its
// files, and sees whether it is empty, and works.
func TestOpenDropsWhatItCannotUse(t *testing.T) {
	t.Parallel()
	same := func(index.Options) index.Options { return options("") }
	for _, c := range []struct {
		name   string
		closed bool // before
		harm   func(t *testing.T, path string)
		with   func(index.Options) index.Options
		kept   bool
	}{
		{name: "nothing", closed: true, kept: true},
		{name: "nothing, not closed", kept: true},
		{name: "missing", closed: true, harm: remove("")},
		{name: "missing, not closed", harm: remove("")},
		{name: "log missing, not closed", harm: remove("-wal")},
		{name: "log empty, not closed", harm: truncate("-wal", 0)},
		{name: "shared memory missing, not closed", harm: remove("-shm"), kept: true},
		{name: "empty", closed: true, harm: truncate("", 0)},
		{name: "truncated to a half", closed: true, harm: truncate("", 0.5)},
		{name: "truncated by a little", closed: true, harm: truncate("", 0.99)},
		{name: "truncated within the header", closed: true, harm: truncate("", 0.0001)},
		{name: "garbage", closed: true, harm: garbage("")},
		{name: "other database", closed: true, harm: other},
		{name: "other version", closed: true, with: func(o index.Options) index.Options { o.Version = "2"; return o }},
		{name: "other boot", closed: true, kept: true, with: func(o index.Options) index.Options { o.Boot = "c"; return o }},
		{name: "other boot, not closed", with: func(o index.Options) index.Options { o.Boot = "c"; return o }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "index")
			x := open(t, path)
			rows := fill(t, x, 3000)
			if c.closed {
				if err := x.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				path = copyFiles(t, path, filepath.Join(dir, "copy"))
			}
			if c.harm != nil {
				c.harm(t, path)
			}
			if c.with == nil {
				c.with = same
			}
			o := c.with(options(""))
			o.Path = path
			y, err := index.Open(o)
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			defer y.Close() //nolint:errcheck // checked elsewhere
			if got := size(y) > 0; got != c.kept {
				t.Errorf("Open found %d runs, want some: %t", size(y), c.kept)
			}
			if got := len(y.Positions()) > 0; got != c.kept {
				t.Errorf("Open found positions %v, want some: %t", y.Positions(), c.kept)
			}
			if _, err := y.Apply([]index.Change{{Pos: "log", Seq: 10, Rows: rows}}); err != nil {
				t.Error(err)
			}
			if _, err := y.Verify(); err != nil {
				t.Error(err)
			}
			if size(y) != 3000 {
				t.Errorf("after the rows came again there are %d, want 3000", size(y))
			}
		})
	}
}

func remove(suffix string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.Remove(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
}

func truncate(suffix string, part float64) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		i, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path+suffix, int64(float64(i.Size())*part)); err != nil {
			t.Fatal(err)
		}
	}
}

func garbage(suffix string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path+suffix, bytes.Repeat([]byte("garbage"), 10_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func other(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's
	if err := sqlitex.ExecuteScript(c, "create table meta(version text); insert into meta values('1');", nil); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsNoticed spoils one page after the other. What an index then still
// gives is true, and else it says that it is damaged.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index")
	x := open(t, path)
	want := map[index.ID]index.Row{}
	var ids []index.ID
	for _, r := range fill(t, x, 1500) {
		want[r.ID] = r
		ids = append(ids, r.ID)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, damaged := rand.New(rand.NewPCG(7, 8)), 0
	for at := 0; at < len(good); at += 4096 {
		bad := bytes.Clone(good)
		for i := at + r.IntN(3500); i < at+4096; i++ {
			bad[i] = byte(r.Uint32())
		}
		if err := index.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := index.Open(options(path))
		if err != nil {
			t.Fatalf("page at %d: Open = %v", at, err)
		}
		_, applied := x.Apply([]index.Change{{Pos: "log", Seq: 11, Rows: []index.Row{{ID: id(epoch+700, 1), State: failed}}}})
		found, finding := x.Find(ids)
		listed, _, listing := x.List(index.Query{States: []uint8{succeeded}, Limit: 500})
		for _, err := range []error{applied, finding, listing} {
			if err == nil {
				continue
			}
			damaged++
			if !errors.Is(err, index.ErrDamaged) {
				t.Errorf("page at %d: %v, want ErrDamaged", at, err)
			}
		}
		for _, r := range append(found, listed...) {
			if d := cmp.Diff(want[r.ID], r); d != "" {
				t.Errorf("page at %d: a row differs:\n%s", at, d)
			}
		}
		_ = x.Close() // it may say that it is damaged, too
	}
	if damaged == 0 {
		t.Error("no damage was noticed")
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	open(t, locked)
	c, err := sqlite.OpenConn(locked, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's
	if err := sqlitex.ExecuteTransient(c, "begin immediate", nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		locked:                            "stop that one, or use another path",
		dir:                               "name a file in it",
		filepath.Join(dir, "none", "two"): "in a directory that exists",
	} {
		if x, err := index.Open(options(path)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s) = %v, %v, want an error with %q", path, x, err, want)
		}
	}
	if _, err := index.Open(index.Options{Path: filepath.Join(dir, "x")}); err == nil {
		t.Error("Open without Terminal worked")
	}
}

func TestLaterOpenerTakesOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index")
	x := open(t, path)
	fill(t, x, 10)
	y := open(t, path)
	if _, err := x.Apply([]index.Change{{Pos: "log", Seq: 20}}); !errors.Is(err, index.ErrTaken) {
		t.Errorf("Apply of the first = %v, want ErrTaken", err)
	}
	if _, err := y.Apply([]index.Change{{Pos: "log", Seq: 20}}); err != nil || size(y) != 10 {
		t.Errorf("Apply of the second = %v, with %d runs, want 10", err, size(y))
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index")
	x := open(t, path)
	fill(t, x, 10)
	for range 2 {
		if err := x.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	_, apply := x.Apply(nil)
	_, find := x.Find(nil)
	_, _, list := x.List(index.Query{})
	_, _, expire := x.Expire(time.Now(), nil, 1)
	_, floor := x.Floor("log", 1)
	for i, err := range []error{apply, find, list, expire, floor, x.Delete(nil)} {
		if !errors.Is(err, index.ErrClosed) {
			t.Errorf("call %d after Close = %v, want ErrClosed", i, err)
		}
	}
	left, err := filepath.Glob(path + "*")
	if d := cmp.Diff([]string{path}, left); d != "" || err != nil {
		t.Errorf("Close left other files: %s %v", d, err)
	}
	if err := errors.Join(index.Remove(path), index.Remove(path)); err != nil {
		t.Errorf("Remove = %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat after Remove = %v", err)
	}
}

// TestFullDisk sees that a failed Apply changes nothing, that reading goes on,
// and that the same changes can be applied when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index")
	x := open(t, path)
	fill(t, x, 1000)
	state := func() string {
		t.Helper()
		rows, _, err := x.List(index.Query{Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Verify(); err != nil {
			t.Fatal(err)
		}
		counts := x.Counts()
		for i := range counts {
			counts[i].Ended = 0 // counted anew by each opening
		}
		return fmt.Sprintf("%x %v %v", sha256.Sum256(fmt.Append(nil, rows)), counts, x.Positions())
	}
	before := state()
	pages, err := x.Pages()
	if err != nil {
		t.Fatal(err)
	}
	var changes []index.Change
	for i := range 40 {
		c := index.Change{Pos: fmt.Sprint("p", i), Seq: 1}
		for j := range 100 {
			c.Rows = append(c.Rows, index.Row{ID: id(epoch+int64(j*7), uint64(1000+i)), State: queued, Queue: "new", Task: fmt.Sprint(i), Tags: []index.Tag{{Key: "a", Value: "b"}}})
		}
		changes = append(changes, c)
	}
	for _, room := range []int{0, 1, 5, 20} {
		if err := x.LimitPages(pages + room); err != nil {
			t.Fatal(err)
		}
		_, err := x.Apply(changes)
		if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultFull {
			t.Errorf("with room for %d pages: Apply = %v, want that it is full", room, err)
		}
		if got := state(); got != before {
			t.Errorf("with room for %d pages: the index is\n%s, want\n%s", room, got, before)
		}
	}
	if err := x.LimitPages(0); err != nil {
		t.Fatal(err)
	}
	if a, err := x.Apply(changes); err != nil || a.Rows != 4000 || size(x) != 5000 {
		t.Errorf("with room: Apply = %+v, %v, with %d runs, want 5000", a, err, size(x))
	}
	after := state()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, path)
	if got := state(); got != after {
		t.Errorf("opened again the index is\n%s, want\n%s", got, after)
	}
}

// TestBubble sees that an index works on fake time and leaves no goroutine.
func TestBubble(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index")
	synctest.Test(t, func(t *testing.T) {
		x := open(t, path)
		fill(t, x, 100)
		if rows, _, err := x.List(index.Query{Limit: 500}); err != nil || len(rows) != 100 {
			t.Errorf("List = %d rows, %v, want 100", len(rows), err)
		}
	})
}

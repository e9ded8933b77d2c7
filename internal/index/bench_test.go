package index_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/faena-dev/faena/internal/index"
)

// spent is the CPU time used so far.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// runs makes queued rows and their ended ones: n runs of some tasks, 1 % failed,
// made at 50 a millisecond by two processes.
func runs(n int, tags func(i int) []index.Tag) (open, ended []index.Row) {
	r := rand.New(rand.NewPCG(1, 2))
	open, ended = make([]index.Row, n), make([]index.Row, n)
	for i := range n {
		v := id(epoch+int64(i/50), uint64(i)<<32|uint64(0xabcdef01+i&1))
		o := index.Row{
			ID: v, State: queued, Queue: "default", Task: fmt.Sprint("task", r.IntN(6)), Keep: 86400, Rev: 1,
			Stream: 1, Seq: uint64(i), Off: 0,
		}
		if tags != nil {
			o.Tags = tags(i)
		}
		e := o
		e.State, e.Rev, e.Attempt, e.Stream, e.Seq, e.Off = succeeded, 2, 1, 2, uint64(i/100), uint32(i%100*180)
		e.Start, e.End, e.Src, e.SrcSeq = made(v)+r.Int64N(3000), made(v)+3000+r.Int64N(1000), 1, uint64(i)
		if r.IntN(100) == 0 {
			e.State, e.Note, e.Keep = failed, "failed: connection refused by peer", 7*86400
		}
		open[i], ended[i] = o, e
	}
	return open, ended
}

// feed applies rows in batches, a message each 100.
func feed(tb testing.TB, x *index.Index, pos string, rows []index.Row, batch int, seq uint64) {
	tb.Helper()
	var changes []index.Change
	for len(rows) > 0 {
		changes = changes[:0]
		for n := 0; n < batch && len(rows) > 0; {
			m := min(100, len(rows), batch-n)
			seq++
			changes = append(changes, index.Change{Pos: pos, Seq: seq, Rows: rows[:m]})
			rows, n = rows[m:], n+m
		}
		if _, err := x.Apply(changes); err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	const n = 100_000
	shuffled := func(rows []index.Row) {
		rand.New(rand.NewPCG(3, 4)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	zone := func(i int) []index.Tag { return []index.Tag{{Key: "zone", Value: fmt.Sprint(i % 10)}} }
	user := func(i int) []index.Tag { return []index.Tag{{Key: "user", Value: fmt.Sprint(i)}} }
	tasks := func(open, ended []index.Row) {
		for i := range open {
			open[i].Task = fmt.Sprint("task", i%500)
			ended[i].Task = open[i].Task
		}
	}
	for _, c := range []struct {
		name   string
		tags   func(int) []index.Tag
		first  bool // the queued ones, too
		change func(open, ended []index.Row)
		batch  int
		n      int
	}{
		{"both", nil, true, nil, 8192, n},
		{"ended", nil, false, nil, 8192, n},
		{"both tag few values", zone, true, nil, 8192, n},
		{"both tag many values", user, true, nil, 8192, n},
		{"both 500 tasks", nil, true, tasks, 8192, n},
		{"both by 64", nil, true, nil, 64, n},
		{"both by 1", nil, true, nil, 1, n / 10},
		{"both ended in random order", nil, true, func(_, e []index.Row) { shuffled(e) }, 8192, n},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			open, ended := runs(c.n, c.tags)
			if c.change != nil {
				c.change(open, ended)
			}
			b.ResetTimer()
			from := spent(b)
			for range b.N {
				dir := b.TempDir()
				x, err := index.Open(options(filepath.Join(dir, "index")))
				if err != nil {
					b.Fatal(err)
				}
				if c.first {
					feed(b, x, "queue", open, c.batch, 0)
				}
				feed(b, x, "log", ended, c.batch, 0)
				if err := x.Close(); err != nil {
					b.Fatal(err)
				}
				i, err := os.Stat(filepath.Join(dir, "index"))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(i.Size())/float64(c.n), "B/run")
			}
			b.ReportMetric(float64(spent(b)-from)/1e3/float64(c.n*b.N), "cpu-µs/run")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1e3/float64(c.n*b.N), "µs/run")
		})
	}
}

// A million runs. One failed among those tagged all=1, of which one at the old
// end; a rare task at the old end; two tags that never meet in a run.
func million(b *testing.B, path string) *index.Index {
	b.Helper()
	const n = 1_000_000
	_, ended := runs(n, func(i int) []index.Tag {
		return []index.Tag{{Key: "all", Value: "1"}, {Key: "odd", Value: fmt.Sprint(i % 2)}}
	})
	for i := range ended {
		ended[i].State, ended[i].Note = succeeded, ""
		ended[i].Queue = fmt.Sprint("q", i%3)
	}
	ended[1000].State, ended[2000].Task, ended[3000].Queue = failed, "rare", "rare"
	ended[4000].Tags = append(ended[4000].Tags, index.Tag{Key: "user", Value: "1"})
	x, err := index.Open(options(path))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := x.Close(); err != nil {
			b.Error(err)
		}
	})
	feed(b, x, "log", ended, 8192, 0)
	return x
}

func BenchmarkMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "index")
	x := million(b, path)
	reopen := func(b *testing.B) {
		b.Helper()
		for b.Loop() {
			if err := x.Close(); err != nil {
				b.Fatal(err)
			}
			var err error
			if x, err = index.Open(options(path)); err != nil {
				b.Fatal(err)
			}
		}
		if n := len(x.Counts()); n == 0 {
			b.Fatal("it is empty")
		}
	}
	b.Run("reopen", reopen)
	all, odd, even := index.Tag{Key: "all", Value: "1"}, index.Tag{Key: "odd", Value: "1"}, index.Tag{Key: "odd", Value: "0"}
	for name, q := range map[string]index.Query{
		"no filter":               {},
		"oldest":                  {OldestFirst: true},
		"state":                   {States: []uint8{succeeded}},
		"rare state":              {States: []uint8{failed}},
		"no such state":           {States: []uint8{queued}},
		"rare state with tag":     {States: []uint8{failed}, Tags: []index.Tag{all}},
		"rare task":               {Task: "rare"},
		"rare task with tag":      {Task: "rare", Tags: []index.Tag{all}},
		"rare task and state":     {Task: "rare", States: []uint8{succeeded}},
		"rare task, wrong state":  {Task: "rare", States: []uint8{failed}},
		"rare queue":              {Queue: "rare"},
		"rare tag":                {Tags: []index.Tag{{Key: "user", Value: "1"}}},
		"tag":                     {Tags: []index.Tag{all}},
		"two tags":                {Tags: []index.Tag{all, odd}},
		"two tags that never met": {Tags: []index.Tag{even, odd}},
		"old time":                {To: time.UnixMilli(epoch + 100)},
		"old time, rare state":    {From: time.UnixMilli(epoch), To: time.UnixMilli(epoch + 100), States: []uint8{failed}},
	} {
		q.Limit = 50
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			var used float64
			for b.Loop() {
				from := spent(b)
				if _, _, err := x.List(q); err != nil {
					b.Fatal(err)
				}
				used, n = used+float64(spent(b)-from), n+1
			}
			b.ReportMetric(used/1e3/float64(n), "cpu-µs/op")
		})
	}
	for _, n := range []int{1, 2000} {
		b.Run(fmt.Sprint("find ", n), func(b *testing.B) {
			b.ReportAllocs()
			r := rand.New(rand.NewPCG(5, 6))
			ids := make([]index.ID, n)
			from := spent(b)
			for b.Loop() {
				for j := range ids {
					i := r.IntN(1_000_000)
					ids[j] = id(epoch+int64(i/50), uint64(i)<<32|uint64(0xabcdef01+i&1))
				}
				if rows, err := x.Find(ids); err != nil || len(rows) != n {
					b.Fatal(len(rows), err)
				}
			}
			b.ReportMetric(float64(spent(b)-from)/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}

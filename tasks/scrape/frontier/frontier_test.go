package frontier_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/scrape/frontier"
)

func item(url string, depth int) frontier.Item { return frontier.Item{URL: url, Depth: depth} }

func urls(items []frontier.Item) []string {
	out := make([]string, 0, len(items))
	for _, it := range items {
		out = append(out, it.URL)
	}
	slices.Sort(out)
	return out
}

func TestAddressIsClaimedOnce(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{})
	for i, want := range []bool{true, false} {
		if got := f.Add(item("http://a/1", i)); got != want {
			t.Errorf("Add number %d = %v, want %v", i, got, want)
		}
	}
	it, ok := f.Pop("a")
	if !ok || it.URL != "http://a/1" {
		t.Fatalf("Pop = %v, %v, want the address", it, ok)
	}
	if f.Add(it) {
		t.Error("Add of a taken address = true")
	}
	f.Finish(it.URL)
	if f.Add(it) || !f.Idle() {
		t.Errorf("Add of a finished address, Idle = true, %v, want false, true", f.Idle())
	}
}

func TestFirstInFirstOutPerHost(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{})
	const n = 5000
	for i := range n {
		f.Add(item(fmt.Sprintf("http://a/%d", i), 0))
	}
	f.Add(item("http://b/", 0))
	for i := range n {
		want := fmt.Sprintf("http://a/%d", i)
		if it, ok := f.Pop("a"); !ok || it.URL != want {
			t.Fatalf("Pop(a) = %q, %v, want %q", it.URL, ok, want)
		}
	}
	if _, ok := f.Pop("a"); ok {
		t.Error("Pop of an empty host = true")
	}
	if got := slices.Collect(f.Hosts()); !cmp.Equal(got, []string{"b"}) {
		t.Errorf("Hosts = %q, want b", got)
	}
}

// Whether a link or a redirect named an address first must not decide its level.
func TestAddressMovesUp(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{Depth: 3})
	f.Add(item("http://a/0", 0))
	for _, it := range f.Next(9) {
		f.Finish(it.URL)
	}
	for _, u := range []string{"http://a/1", "http://a/2", "http://a/3"} {
		f.Add(item(u, 2))
	}
	for _, c := range []struct {
		it   frontier.Item
		want bool
	}{{item("http://a/1", 2), false}, {item("http://a/1", 1), true}, {item("http://a/1", 1), false}, {item("http://a/2", 0), true}, {item("http://a/2", 0), false}} {
		if got := f.Add(c.it); got != c.want {
			t.Errorf("Add(%s, depth %d) = %v, want %v", c.it.URL, c.it.Depth, got, c.want)
		}
	}
	if f.Pending() != 3 || f.Claimed() != 4 {
		t.Errorf("%d pending, %d claimed, want 3 and 4", f.Pending(), f.Claimed())
	}
	for _, want := range []frontier.Item{item("http://a/2", 0), item("http://a/1", 1), item("http://a/3", 2)} {
		got := f.Next(9)
		if !cmp.Equal(got, []frontier.Item{want}) {
			t.Fatalf("Next = %+v, want %+v", got, want)
		}
		f.Finish(want.URL)
	}
}

func TestTrim(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{Depth: 1, Pages: 4})
	for _, it := range []frontier.Item{item("http://a/1", 0), item("http://b/2", 0), item("http://a/3", 1), item("http://a/4", 1)} {
		f.Add(it)
	}
	f.Finish("http://a/fetched") // before it was found again
	f.Take(item("http://a/open", 0))
	f.Trim()
	if f.Claimed() != 4 || f.Pending() != 2 || !f.Full() {
		t.Errorf("%d claimed, %d pending, full %v, want 4, 2, true", f.Claimed(), f.Pending(), f.Full())
	}
	f.Finish("http://a/open")
	if got := urls(drain(f)); !cmp.Equal(got, []string{"http://a/1", "http://b/2"}) || !f.Idle() {
		t.Errorf("left over %q, want those found first", got)
	}
}

func TestTakeOutOfTurn(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{Depth: 1})
	for _, it := range []frontier.Item{item("http://a/1", 0), item("http://a/2", 0), item("http://a/3", 0), item("http://a/deep", 1)} {
		f.Add(it)
	}
	for _, c := range []struct {
		it   frontier.Item
		want bool
	}{{item("http://a/2", 0), true}, {item("http://a/2", 0), false}, {item("http://a/new", 0), true}, {item("http://a/deep", 1), true}} {
		if got := f.Take(c.it); got != c.want {
			t.Errorf("Take(%s) = %v, want %v", c.it.URL, got, c.want)
		}
	}
	if f.Pending() != 2 || f.Taken() != 3 {
		t.Errorf("%d pending, %d taken, want 2 and 3", f.Pending(), f.Taken())
	}
	if got := urls(f.Next(9)); !cmp.Equal(got, []string{"http://a/1", "http://a/3"}) {
		t.Errorf("Next = %q, want what was not taken", got)
	}
	f.Finish("http://a/2")
	f.Finish("http://a/1")
	back, err := frontier.Restore(f.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	f.Release()
	want := []string{"http://a/3", "http://a/deep", "http://a/new"}
	for name, f := range map[string]*frontier.Frontier{"released": f, "restored": back} {
		if got := urls(drain(f)); !cmp.Equal(got, want) || !f.Idle() {
			t.Errorf("%s: left over %q, idle %v, want %q, each once", name, got, f.Idle(), want)
		}
	}
	f.Finish("http://a/other")
	if f.Take(item("http://a/other", 0)) {
		t.Error("Take of a finished address = true")
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{Depth: -1, Pages: 2})
	if f.Add(item("http://a/deep", 1)) {
		t.Error("Add below the start pages = true")
	}
	f.Add(item("http://a/1", 0))
	f.Add(item("http://a/2", 0))
	if f.Full() || f.Add(item("http://a/3", 0)) || !f.Full() || f.Claimed() != 2 {
		t.Errorf("Full, Claimed = %v, %d after one page too many, want true, 2", f.Full(), f.Claimed())
	}
}

// A page on the fast way must not be dealt out, at too great a depth, before
// the slow way was walked.
func TestLevelsWithLimitOfDepth(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{Depth: 2})
	f.Add(item("http://a/slow", 0))
	f.Add(item("http://a/fast", 0))
	if got := f.Next(9); len(got) != 2 {
		t.Fatalf("Next = %v, want both", got)
	}
	f.Add(item("http://a/1", 1))
	f.Finish("http://a/fast")
	if got := f.Next(9); len(got) != 0 {
		t.Errorf("Next before the level ended = %v, want none", got)
	}
	f.Add(item("http://a/redirected", 0))
	if got := urls(f.Next(9)); !cmp.Equal(got, []string{"http://a/redirected"}) {
		t.Errorf("Next = %q, want the page of this level", got)
	}
	f.Finish("http://a/slow")
	f.Finish("http://a/redirected")
	if got := urls(f.Next(9)); !cmp.Equal(got, []string{"http://a/1"}) {
		t.Errorf("Next = %q, want the next level", got)
	}
	if f.Add(item("http://a/3", 3)) {
		t.Error("Add below the limit = true")
	}
}

// One random history is applied in full to one frontier; to others from a log
// or a snapshot at a random point. All must agree.
func TestRestoreAgreesWithHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		limit := frontier.Limit{Depth: rng.IntN(4), Pages: 50 + rng.IntN(100)}
		live, logged := frontier.New(limit), frontier.New(limit)
		cut := rng.IntN(200)
		var out []frontier.Item
		for step := range 200 {
			if rng.IntN(2) == 0 {
				it := frontier.Item{URL: fmt.Sprintf("http://h%d/%d", rng.IntN(3), rng.IntN(60)), Depth: rng.IntN(4), Hops: rng.IntN(2), Referrer: "http://r/"}
				if live.Add(it) {
					logged.Add(it)
				}
			} else {
				out = append(out, live.Next(1+rng.IntN(3))...)
				if len(out) > 0 {
					i := rng.IntN(len(out))
					live.Finish(out[i].URL)
					logged.Finish(out[i].URL)
					out = slices.Delete(out, i, i+1)
				}
			}
			if step == cut {
				back, err := frontier.Restore(live.Snapshot())
				if err != nil {
					t.Fatalf("seed %d: Restore: %v", seed, err)
				}
				if back.Claimed() != live.Claimed() || back.Pending() != live.Pending()+live.Taken() {
					t.Fatalf("seed %d: restored %d claimed, %d pending, want %d, %d", seed, back.Claimed(), back.Pending(), live.Claimed(), live.Pending()+live.Taken())
				}
				live, out = back, nil
			}
		}
		again, err := frontier.Restore(logged.Snapshot())
		if err != nil {
			t.Fatalf("seed %d: Restore: %v", seed, err)
		}
		want := append(drain(live), out...)
		for name, f := range map[string]*frontier.Frontier{"log": logged, "snapshot of log": again} {
			if d := cmp.Diff(urls(want), urls(drain(f))); d != "" {
				t.Errorf("seed %d, %s: left over (-history +restored):\n%s", seed, name, d)
			}
			if !f.Idle() {
				t.Errorf("seed %d, %s: not idle after all", seed, name)
			}
		}
	}
}

func drain(f *frontier.Frontier) []frontier.Item {
	var all []frontier.Item
	for items := f.Next(7); len(items) > 0; items = f.Next(7) {
		all = append(all, items...)
		for _, it := range items {
			f.Finish(it.URL)
		}
	}
	return all
}

func TestRestoreKeepsLimits(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{Depth: 1, Pages: 1})
	f.Add(item("http://a/1", 0))
	f.Add(item("http://a/2", 0))
	back, err := frontier.Restore(f.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if !back.Full() || back.Add(item("http://a/3", 0)) || back.Add(item("http://a/4", 2)) {
		t.Error("a restored frontier lost its limits")
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	t.Parallel()
	f := frontier.New(frontier.Limit{})
	for i := range 20 {
		f.Add(item(fmt.Sprintf("http://a/%d", i), 0))
		if i%2 == 0 {
			f.Finish(fmt.Sprintf("http://a/%d", i))
		}
	}
	good := f.Snapshot()
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x40
		if _, err := frontier.Restore(bad); err == nil {
			t.Errorf("Restore with octet %d changed = nil error", i)
		}
		if _, err := frontier.Restore(good[:i]); err == nil {
			t.Errorf("Restore of the first %d octets = nil error", i)
		}
	}
}

func FuzzRestore(f *testing.F) {
	front := frontier.New(frontier.Limit{Pages: 9})
	front.Add(item("http://a/1", 0))
	whole := front.Snapshot()
	f.Add(whole[:len(whole)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		// With a right checksum, so that the decoder sees it.
		got, err := frontier.Restore(binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
		if err == nil && got.Pending() > got.Claimed() {
			t.Errorf("%d pending of %d claimed", got.Pending(), got.Claimed())
		}
	})
}

func BenchmarkAddFinish(b *testing.B) {
	f := frontier.New(frontier.Limit{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.Add(item(fmt.Sprintf("http://example.com/docs/api/page-%d.html", i), 0))
		it, _ := f.Pop("example.com")
		f.Finish(it.URL)
	}
}

func BenchmarkAddSeen(b *testing.B) {
	f := frontier.New(frontier.Limit{})
	it := item("http://example.com/docs/api/java/util/concurrent/ConcurrentHashMap.html", 0)
	b.ReportAllocs()
	for b.Loop() {
		f.Add(it)
	}
}

package ledger_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/internal/e2e/ledger"
)

const ms = int64(time.Millisecond)

// story is a ledger in which nothing is wrong, and the record that fits it.
type story struct {
	entries      []ledger.Entry
	first, again []ledger.Final
	rules        ledger.Rules
}

func good() *story {
	s := &story{
		entries: []ledger.Entry{
			{At: 10 * ms, Who: "client", Kind: ledger.Acked, IDs: []string{"a"}, Plan: "ok"},
			{At: 11 * ms, Who: "worker", Kind: ledger.Started, IDs: []string{"a"}, Attempt: 1},
			{At: 12 * ms, Who: "worker", Kind: ledger.Ended, IDs: []string{"a"}, State: "succeeded", Value: "1"},
			{At: 13 * ms, Who: "client", Kind: ledger.Shown, IDs: []string{"a"}, State: "succeeded", Value: "1"},

			{At: 20 * ms, Who: "client", Kind: ledger.Acked, IDs: []string{"b1", "b2"}, Plan: "ok", Batch: "b"},
			{At: 21 * ms, Who: "worker", Kind: ledger.Started, IDs: []string{"b1"}, Attempt: 1},
			{At: 22 * ms, Who: "worker", Kind: ledger.Started, IDs: []string{"b2"}, Attempt: 1},
			{At: 23 * ms, Who: "other", Kind: ledger.Started, IDs: []string{"b2"}, Attempt: 1}, // the worker died
			{At: 24 * ms, Who: "worker", Kind: ledger.Ended, IDs: []string{"b1"}, State: "succeeded", Value: "2"},
			{At: 25 * ms, Who: "other", Kind: ledger.Ended, IDs: []string{"b2"}, State: "succeeded", Value: "3"},

			{At: 30 * ms, Who: "client", Kind: ledger.Acked, IDs: []string{"c"}, Plan: ledger.Doomed, NotTill: 40 * ms},
			{At: 41 * ms, Who: "worker", Kind: ledger.Started, IDs: []string{"c"}, Attempt: 1},
			{At: 42 * ms, Who: "worker", Kind: ledger.Ended, IDs: []string{"c"}, State: "failed"},

			{At: 50 * ms, Who: "client", Kind: ledger.Acked, IDs: []string{"d"}, Plan: "cancel"},
			{At: 60 * ms, Who: "client", Kind: ledger.Cancelled, IDs: []string{"d"}, State: "cancelled"},
			{At: 61 * ms, Who: "client", Kind: ledger.Refused, Value: "limit"},
		},
		first: []ledger.Final{
			{ID: "a", State: "succeeded", Value: "1"},
			{ID: "b1", State: "succeeded", Value: "2", Batch: "b", Size: 2},
			{ID: "b2", State: "succeeded", Value: "3", Batch: "b", Size: 2},
			{ID: "c", State: "failed", Value: "failed"},
			{ID: "d", State: "cancelled", Value: "cancelled"},
		},
		rules: ledger.Rules{Lag: 5 * time.Millisecond, CancelLag: time.Second, Deaths: 3},
	}
	s.again = slices.Clone(s.first)
	return s
}

func (s *story) check() *ledger.Report { return ledger.Check(s.entries, s.first, s.again, s.rules) }

func TestCheckFindsNothingWrong(t *testing.T) {
	t.Parallel()
	p := good().check()
	if len(p.Bad) > 0 {
		t.Errorf("Check() = %v, want nothing", p.Bad)
	}
	got := []int{p.Acked, p.Batches, p.Runs, p.Shown, p.Cancels, p.Refused, p.Starts, p.Beyond, p.Lost, p.Excused}
	if diff := cmp.Diff([]int{5, 1, 5, 1, 1, 1, 5, 1, 0, 0}, got); diff != "" {
		t.Errorf("counts differ (-want +got):\n%s", diff)
	}
}

// both changes a run in both answers.
func (s *story) both(id string, change func(*ledger.Final)) {
	for _, fs := range [][]ledger.Final{s.first, s.again} {
		for i := range fs {
			if fs[i].ID == id {
				change(&fs[i])
			}
		}
	}
}

func (s *story) drop(id string) {
	is := func(f ledger.Final) bool { return f.ID == id }
	s.first, s.again = slices.DeleteFunc(s.first, is), slices.DeleteFunc(s.again, is)
}

func (s *story) add(e ledger.Entry) { s.entries = append(s.entries, e) }

// TestCheckFinds breaks the good story in one way each.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(*story)
		want  string
	}{
		"an acknowledged run that is gone": {func(s *story) { s.drop("d"); s.entries = s.entries[:14] }, "d was acknowledged and is not in the record"},
		"a shown run that is gone":         {func(s *story) { s.drop("a") }, "a was shown as succeeded to client and is not in the record"},
		"another result than was shown":    {func(s *story) { s.both("a", func(f *ledger.Final) { f.Value = "9" }) }, `record says succeeded "9"`},
		"another state than was shown":     {func(s *story) { s.both("a", func(f *ledger.Final) { f.State, f.Value = "failed", "lost" }) }, "a was shown as succeeded"},
		"a result that no handler gave":    {func(s *story) { s.both("b1", func(f *ledger.Final) { f.Value = "9" }) }, "no handler gave"},
		"a run in limbo":                   {func(s *story) { s.both("b1", func(f *ledger.Final) { f.State, f.Value = "queued", "" }) }, "b1 is queued"},
		"a record that changes":            {func(s *story) { s.again[1].Value = "9" }, "b1 changed"},
		"a record that goes":               {func(s *story) { s.again = s.again[1:] }, "a left the record"},
		"a record that comes late":         {func(s *story) { s.again = append(s.again, ledger.Final{ID: "x", State: "failed"}) }, "x came into the record"},
		"a run that stands twice":          {func(s *story) { s.first = append(s.first, s.first[0]) }, "a stands twice"},
		"half a batch": {func(s *story) {
			s.drop("b1")
			s.entries = slices.DeleteFunc(s.entries, func(e ledger.Entry) bool { return e.IDs != nil && e.IDs[0] == "b1" })
		}, "batch b: 1 of its 2 runs"},
		"a start after the end": {func(s *story) { s.add(ledger.Entry{At: 19 * ms, Who: "w", Kind: ledger.Started, IDs: []string{"a"}}) }, "a started at w 6ms after it was shown"},
		"a start after the cancel": {func(s *story) {
			s.add(ledger.Entry{At: 1061 * ms, Who: "w", Kind: ledger.Started, IDs: []string{"d"}})
		}, "d started at w 1.001s after its cancel"},
		"a cancelled run that succeeded": {func(s *story) { s.both("d", func(f *ledger.Final) { f.State = "succeeded" }) }, "d was shown as cancelled"},
		"a start before its time":        {func(s *story) { s.add(ledger.Entry{At: 35 * ms, Kind: ledger.Started, IDs: []string{"c"}}) }, "c started 5ms before its time"},
		"a doomed run that succeeded":    {func(s *story) { s.both("c", func(f *ledger.Final) { f.State = "succeeded" }) }, "its handler always fails"},
		"a failure nobody planned":       {func(s *story) { s.both("b1", func(f *ledger.Final) { f.State, f.Value = "failed", "panic" }) }, `b1 failed with "panic"`},
		"a run given up too soon":        {func(s *story) { s.both("b2", func(f *ledger.Final) { f.State, f.Value = "failed", "lost" }) }, "given up after 2 starts"},
		"an entry of no known kind":      {func(s *story) { s.add(ledger.Entry{Kind: "huh"}) }, `unknown kind "huh"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := good()
			tt.spoil(s)
			if bad := s.check().Bad; !strings.Contains(strings.Join(bad, "\n"), tt.want) {
				t.Errorf("Check() = %q, want something with %q", bad, tt.want)
			}
		})
	}
}

// TestCheckExcuses: what was told in the window before a power cut may be gone
// or different, and nothing else.
func TestCheckExcuses(t *testing.T) {
	t.Parallel()
	s := good()
	s.drop("a")
	s.drop("d")
	s.rules.Cuts, s.rules.Window = []int64{14 * ms, 70 * ms}, 30*time.Millisecond
	if p := s.check(); len(p.Bad) > 0 || p.Excused != 2 {
		t.Errorf("Check() = %v with %d excused, want nothing and 2", p.Bad, p.Excused)
	}
	s.rules.Window = 10 * time.Millisecond
	if p := s.check(); len(p.Bad) == 0 {
		t.Error("Check() found nothing, want d missing: it was acknowledged 20 ms before the cut")
	}
}

func TestReadLeavesOutATornLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	at := int64(0)
	w := ledger.New(&b, "me", func() int64 { at++; return at })
	want := []ledger.Entry{{At: 1, Who: "me", Kind: ledger.Acked, IDs: []string{"a"}}, {At: 2, Who: "me", Kind: ledger.Shown, IDs: []string{"a"}, State: "failed"}}
	for _, e := range want {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	whole := b.String()
	got, err := ledger.Read(strings.NewReader(whole + whole[:10]))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Read() = %v (-want +got):\n%s", err, diff)
	}
	if _, err := ledger.Read(strings.NewReader("{\n" + whole)); err == nil {
		t.Error("Read(a broken line in the middle) = nil, want an error")
	}
}

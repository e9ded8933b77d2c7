package engine_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/engine"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := engine.NewIDs(), engine.NewIDs()
		var ids []engine.ID
		var texts []string
		seen := map[engine.ID]bool{}
		for range 100 {
			now := time.Now()
			for _, id := range []engine.ID{a.New(), b.New()} {
				if seen[id] {
					t.Fatalf("New = %s twice", id)
				}
				seen[id] = true
				if !id.Time().Equal(now) {
					t.Errorf("%s.Time() = %s, want %s", id, id.Time(), now)
				}
			}
			id := a.New()
			ids, texts = append(ids, id), append(texts, id.String())
			time.Sleep(time.Millisecond)
		}
		if !slices.IsSortedFunc(ids, func(x, y engine.ID) int { return slices.Compare(x[:], y[:]) }) || !slices.IsSorted(texts) {
			t.Errorf("ids of later times do not sort after earlier ones: %v", texts)
		}
	})
}

func TestParseID(t *testing.T) {
	t.Parallel()
	id := engine.NewIDs().New()
	for _, s := range []string{id.String(), strings.ToUpper(id.String())} {
		if got, err := engine.ParseID(s); got != id || err != nil {
			t.Errorf("ParseID(%q) = %s, %v, want %s", s, got, err, id)
		}
	}
	for _, s := range []string{"", "x", id.String() + "0", strings.Repeat("u", 26), strings.Repeat("ä", 13)} {
		got, err := engine.ParseID(s)
		if engine.CodeOf(err) != engine.CodeInvalid || !got.IsZero() {
			t.Errorf("ParseID(%q) = %s, %v, want the zero id and code invalid", s, got, err)
		}
	}
	b, err := json.Marshal(map[engine.ID]engine.ID{id: {}})
	if err != nil {
		t.Fatal(err)
	}
	var m map[engine.ID]engine.ID
	if err := json.Unmarshal(b, &m); err != nil {
		t.Errorf("Unmarshal(%s) = %v", b, err)
	}
	if v, ok := m[id]; !ok || !v.IsZero() {
		t.Errorf("Unmarshal(%s) = %v, want the same", b, m)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("01hzzzzzzzzzzzzzzzzzzzzzzz")
	f.Add(strings.Repeat("z", 26))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := engine.ParseID(s)
		if err != nil {
			return
		}
		if again, err := engine.ParseID(id.String()); again != id || err != nil {
			t.Errorf("ParseID(%q) = %s, which reads as %s, %v", s, id, again, err)
		}
	})
}

func TestDerive(t *testing.T) {
	t.Parallel()
	p := engine.NewIDs().New()
	seen := map[engine.ID][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"", "ab"}} {
		id := p.Derive(parts...)
		if other, ok := seen[id]; ok {
			t.Errorf("Derive(%q) = Derive(%q)", parts, other)
		}
		seen[id] = parts
		if id != p.Derive(parts...) || !id.Time().Equal(p.Time()) || [8]byte(id[:8]) != [8]byte(p[:8]) {
			t.Errorf("Derive(%q) = %s, want the same again and the parent's time and shard", parts, id)
		}
	}
	if q := engine.NewIDs().New(); q.Derive("a") == p.Derive("a") {
		t.Error("two parents derive the same child")
	}
}

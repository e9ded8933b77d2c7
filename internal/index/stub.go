// Package index keeps the list of runs in memory, until it is kept in SQLite.
package index

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

type ID = [16]byte
type Tag struct{ Key, Value string }
type Row struct {
	ID                 ID
	State              uint8
	Queue, Task        string
	Keep               uint32
	Rev                uint32
	Attempt            uint16
	At, Start, End     int64
	Stream             uint8
	Seq                uint64
	Off                uint32
	Src                uint8
	SrcSeq             uint64
	Note               string
	Tags               []Tag
	RetryOf, RetriedBy ID
}
type Change struct {
	Pos  string
	Seq  uint64
	Time int64
	Rows []Row
}
type Applied struct{ Void int }
type Options struct {
	Path, Version string
	Terminal      func(uint8) bool
}
type Position struct {
	Pos  string
	Seq  uint64
	Time int64
}
type Query struct {
	States      []uint8
	Queue, Task string
	Tags        []Tag
	From, To    time.Time
	Cursor      string
	Limit       int
	Retried     bool
}
type Count struct {
	State       uint8
	Queue, Task string
	N           int64
}
type Index struct {
	mu sync.Mutex
	m  map[ID]*Row
	o  Options
}

func Open(o Options) (*Index, error)        { return &Index{m: map[ID]*Row{}, o: o}, nil }
func (x *Index) Positions() []Position      { return nil }
func (x *Index) Close() error               { return nil }
func Remove(string) error                   { return nil }
func (x *Index) Floor(string, time.Time) uint64 { return 0 }
func (x *Index) Expire(time.Time, func(uint8, string) uint64, int) ([]ID, int, error) {
	return nil, 0, nil
}
func (x *Index) Apply(cs []Change) (Applied, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range cs {
		for _, r := range c.Rows {
			o := x.m[r.ID]
			switch {
			case o == nil:
			case x.o.Terminal(o.State):
				continue
			case !x.o.Terminal(r.State) && r.Rev <= o.Rev:
				continue
			}
			r := r
			x.m[r.ID] = &r
			if r.RetryOf != (ID{}) && x.m[r.RetryOf] != nil {
				x.m[r.RetryOf].RetriedBy = r.ID
			}
		}
	}
	return Applied{}, nil
}
func (x *Index) Find(ids []ID) (out []Row, _ error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		if r := x.m[id]; r != nil {
			out = append(out, *r)
		}
	}
	return out, nil
}
func (x *Index) List(q Query) (out []Row, _ string, _ error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.m {
		if len(q.States) == 0 || slices.Contains(q.States, r.State) {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(a, b Row) int { return bytes.Compare(b.ID[:], a.ID[:]) })
	return out[:min(len(out), q.Limit)], "", nil
}
func (x *Index) Counts() (out []Count) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := map[Count]int64{}
	for _, r := range x.m {
		m[Count{r.State, r.Queue, r.Task, 0}]++
	}
	for k, n := range m {
		k.N = n
		out = append(out, k)
	}
	return
}

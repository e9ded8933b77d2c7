package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/faena-dev/faena/engine"
)

// Mode is what happens at a point.
type Mode uint8

// The modes.
const (
	Record Mode = iota // nothing: points are only listed
	Fail               // the write fails once
	Crash              // the process dies
	Power              // the machine loses power: what was not synced is gone
)

func (m Mode) String() string { return [...]string{"record", "fail", "crash", "power cut"}[m] }

// Point is before or after the nth write of a kind.
type Point struct {
	Write engine.Write // empty for any kind
	N     int          // from 1
	After bool
}

func (p Point) String() string {
	when := "before"
	if p.After {
		when = "after"
	}
	return fmt.Sprintf("%s %s %d", when, p.Write, p.N)
}

// Faults fails or kills one engine at one point, or lists its points. Hook is its
// write hook. It is safe for concurrent use.
type Faults struct {
	at   Point
	mode Mode

	mu      sync.Mutex
	n       map[Point]int // calls so far, under N 0
	seen    []Point
	unknown []engine.Write
	reached bool
	over    bool
	crashed chan struct{}
}

// NewFaults makes one that does what mode says at a point.
func NewFaults(at Point, mode Mode) *Faults {
	return &Faults{at: at, mode: mode, n: map[Point]int{}, crashed: make(chan struct{})}
}

var errFault = errors.New("a fault that the test made")

// Hook is an engine.WriteHook.
func (f *Faults) Hook(w engine.Write, after bool) error { return f.call(w, after, nil) }

// hook is Hook of an engine whose life a crash ends.
func (f *Faults) hook(l *life) engine.WriteHook {
	return func(w engine.Write, after bool) error {
		if l.dead.Load() {
			return engine.ErrCrashed
		}
		return f.call(w, after, l)
	}
}

func (f *Faults) call(w engine.Write, after bool, l *life) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return nil
	}
	k := Point{Write: w, After: after}
	f.n[k]++
	p := Point{w, f.n[k], after}
	if !slices.Contains(engine.Writes(), w) {
		f.unknown = append(f.unknown, w)
	}
	f.seen = append(f.seen, p)
	every := Point{After: after}
	f.n[every]++
	every.N = f.n[every]
	if f.reached || p != f.at && every != f.at || f.mode == Record {
		return nil
	}
	f.reached = true
	if f.mode == Fail {
		return errFault
	}
	if l != nil {
		l.dead.Store(true)
	}
	close(f.crashed)
	return engine.ErrCrashed
}

// Reached tells whether the point has been met.
func (f *Faults) Reached() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reached
}

// Crashed is closed when the engine has been killed.
func (f *Faults) Crashed() <-chan struct{} { return f.crashed }

// end lets all writes be from here on.
func (f *Faults) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
}

// Points lists the points met, in order.
func (f *Faults) Points() []Point {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// Unknown lists writes that engine.Writes does not name.
func (f *Faults) Unknown() []engine.Write {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.unknown)
}

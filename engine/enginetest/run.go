package enginetest

import (
	"testing"
)

// need is what a case asks of a setup.
type need uint8

const (
	long   need = 1 << iota // fake time
	joined                  // engines that join
	owned                   // everything on the owner's engine
)

type testCase struct {
	name string
	need need
	fn   func(b *bed)
}

// Run runs the suite: each case on engines of its own.
func Run(t *testing.T, s Setup) {
	t.Helper()
	var all []testCase
	for _, part := range [][]testCase{lifeCases(), timeCases(), controlCases(), crashCases()} {
		all = append(all, part...)
	}
	for _, c := range all {
		if c.need&long != 0 && s.Bubble == nil || c.need&joined != 0 && s.Join == nil || c.need&owned != 0 && s.Apart {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.test(t, c.fn)
		})
	}
}

// test runs one case on fresh engines.
func (s *Setup) test(t *testing.T, fn func(b *bed)) {
	t.Helper()
	dir := t.TempDir()
	in := s.Bubble
	if in == nil {
		in = func(t *testing.T, fn func(t *testing.T)) { t.Helper(); fn(t) }
	}
	in(t, func(t *testing.T) {
		t.Helper()
		b := newBed(t, s, dir+"/data", nil, nil)
		defer b.closeAll()
		fn(b)
		for _, w := range b.led.faults() {
			t.Error(w)
		}
	})
}

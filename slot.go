package faena

import (
	"context"
	"fmt"
	"sync"

	"github.com/faena-dev/faena/engine"
)

// slot is an attempt's hold on its node's slot. It is given back while at least
// one goroutine of the handler waits for runs. It cannot be kept for those that
// compute meanwhile: whether they do, or wait for the waiting one, is not to be
// seen, and in the second case to keep it would be a deadlock.
type slot struct {
	mu     sync.Mutex
	waits  int
	free   bool          // given back
	regain chan struct{} // closed when the regaining under way is over; nil if none is
	over   bool          // the attempt has ended: leave the lease alone
}

// waiting calls fn, which waits for other runs until ctx ends, without the slot
// of ctx's attempt, if it belongs to one.
func waiting(ctx context.Context, fn func() error) error {
	a := attemptOf(ctx)
	if a == nil || ctx.Err() != nil {
		return fn()
	}
	if err := a.slot.enter(a.lease); err != nil {
		return &Error{Code: engine.CodeOf(err), Op: fmt.Sprintf("wait in run %s", a.run.ID), Err: err}
	}
	err := fn()
	if lerr := a.slot.leave(a); lerr != nil && err == nil { //nolint:contextcheck // an attempt is a context, the one that ends it
		err = fmt.Errorf("take a slot again for run %s: %w", a.run.ID, lerr)
	}
	return err
}

// enter counts a wait and gives the slot back if it is the first.
func (s *slot) enter(l engine.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over && !s.free {
		if err := l.Yield(); err != nil {
			return err
		}
		s.free = true
	}
	s.waits++
	return nil
}

// leave ends a wait. The last one takes a slot again; whoever leaves while that
// is under way waits for it too, and if another wait has begun by then the slot
// goes back at once.
func (s *slot) leave(a *attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits--
	for s.waits == 0 && s.free && !s.over {
		if c := s.regain; c != nil {
			s.mu.Unlock()
			<-c
			s.mu.Lock()
			continue
		}
		c := make(chan struct{})
		s.regain = c
		s.mu.Unlock()
		err := a.lease.Regain(a)
		s.mu.Lock()
		s.regain = nil
		close(c)
		if err != nil {
			return err
		}
		s.free = false
		if s.waits > 0 && !s.over {
			s.free = a.lease.Yield() == nil // else others wait with the slot: rather slow than failed
		}
	}
	return nil
}

// end says that the attempt is over, and leaves the lease as it is.
func (s *slot) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// settle waits for a goroutine that the handler has left behind and that is
// just taking the slot again: whether it did must be clear when the attempt
// returns. Its context has ended.
func (s *slot) settle() {
	s.mu.Lock()
	c := s.regain
	s.mu.Unlock()
	if c != nil {
		<-c
	}
}

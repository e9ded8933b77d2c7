package natsengine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena/engine"
)

// submitter gathers what callers submit at the same time. Who finds nobody before
// it makes way for those that come at the same moment, and publishes by itself if
// none does; else a goroutine publishes for all, and what comes meanwhile after
// that. One commit is for all of a submission.
type submitter struct {
	e *Engine

	coming  atomic.Int32 // callers that have been answered a moment ago, and may come again
	syncing atomic.Int32 // submissions that are stored and wait for their sync
	lingers atomic.Bool  // for the last of those that are coming
	all     chan struct{}
	spare   sync.Pool // of *letters

	mu     sync.Mutex
	next   *submission // gathers; nil if nothing has come
	busy   bool
	ended  time.Time // when callers were answered last
	misses int       // times in a row that those who were answered did not come again
	skip   int       // times not to wait for them
}

func (s *submitter) init(e *Engine) { s.e, s.all = e, make(chan struct{}, 1) }

// do submits runs together with what others submit now. An error that is
// errUnanswered leaves it open whether they are stored.
func (s *submitter) do(ctx context.Context, runs []engine.Run) error {
	if len(runs) == 0 {
		return nil
	}
	e := s.e
	s.mu.Lock()
	first := !s.busy
	s.busy = true
	if s.next == nil {
		s.next = &submission{letters: s.letters(), done: make(chan struct{})}
	}
	sub := s.next
	sub.calls++
	for i := range runs {
		sub.add(&runs[i], e.paces.chunk(runs[i].Queue, runs[i].Task))
	}
	s.mu.Unlock()
	s.came()
	if first {
		if s.makeWay(); s.alone(sub) {
			return s.publish(ctx, sub)
		}
		go s.run()
	}
	select {
	case <-sub.done:
		return sub.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnanswered, context.Cause(ctx))
	}
}

// Making way for callers that may come again.
const (
	// yields are tried before a timer is made. To yield takes some 0.2 µs when
	// there is nothing else to do.
	yields = 64
	// lingerPer is how long to wait for each of them.
	lingerPer = 10 * time.Microsecond
	lingerMax = 300 * time.Microsecond
	// missesMost bounds, as a power of two, how many times it is left out after it
	// was in vain.
	missesMost = 10
	// goneAfter is when those who have not come by then are not expected any more.
	goneAfter = time.Millisecond
)

// makeWay lets those callers submit first that have been answered a moment ago:
// most come again at once, and one message and one sync are then for all.
func (s *submitter) makeWay() {
	for range yields / 4 {
		if s.coming.Load() > 0 || s.syncing.Load() == 0 {
			break
		}
		runtime.Gosched() // others were on the same sync, and are about to be told
	}
	coming := s.coming.Load()
	if coming <= 0 || !s.worthwhile() {
		return
	}
	for n := 0; n < yields && s.coming.Load() > 0; n++ {
		runtime.Gosched()
	}
	if s.coming.Load() > 0 {
		s.linger(min(time.Duration(coming)*lingerPer, lingerMax))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if 2*s.coming.Swap(0) > coming {
		s.misses = min(s.misses+1, missesMost)
		s.skip = 1 << s.misses
	} else {
		s.misses = 0
	}
}

// worthwhile tells whether those who were answered are to be expected.
func (s *submitter) worthwhile() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skip == 0 && time.Since(s.ended) < goneAfter {
		return true
	}
	s.skip = max(s.skip-1, 0)
	s.coming.Store(0)
	return false
}

// linger waits until all have come, or d has passed.
func (s *submitter) linger(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	s.lingers.Store(true)
	if s.coming.Load() > 0 {
		select {
		case <-s.all:
			return // who sent has ended the lingering
		case <-t.C:
		}
	}
	if !s.lingers.Swap(false) { // all came in this very moment
		<-s.all
	}
}

// answered counts callers that are about to be answered.
func (s *submitter) answered(calls int) {
	s.mu.Lock()
	s.ended = time.Now()
	s.mu.Unlock()
	s.coming.Add(int32(calls)) //nolint:gosec // callers that wait
}

// came counts a caller that submits.
func (s *submitter) came() {
	for n := s.coming.Load(); n > 0; n = s.coming.Load() {
		if !s.coming.CompareAndSwap(n, n-1) {
			continue
		}
		if n == 1 && s.lingers.Swap(false) {
			s.all <- struct{}{}
		}
		return
	}
}

// alone tells whether nobody has come beside the one caller of a submission,
// which is then that caller's to publish.
func (s *submitter) alone(sub *submission) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.calls > 1 {
		return false
	}
	s.next = nil
	return true
}

// publish submits for one caller.
func (s *submitter) publish(ctx context.Context, sub *submission) error {
	err := s.e.publish(ctx, sub)
	s.mu.Lock()
	if s.busy = s.next != nil; s.busy {
		go s.run()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err = s.e.commitOn(ctx, sub.server, 1); err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	s.answered(1)
	return err
}

// run publishes until nothing has come meanwhile.
func (s *submitter) run() {
	for {
		s.makeWay()
		s.mu.Lock()
		sub := s.next
		s.next = nil
		s.busy = sub != nil
		s.mu.Unlock()
		if sub == nil {
			return
		}
		err := s.e.publish(s.e.ctx, sub)
		if err != nil || s.e.cfg.Commit == nil && s.e.cfg.Hook == nil {
			s.end(sub, err)
			continue
		}
		s.syncing.Add(1)
		go func() {
			err := s.e.commitOn(s.e.ctx, sub.server, sub.calls)
			s.end(sub, err)
			s.syncing.Add(-1)
		}()
	}
}

// end tells the callers. Of several nobody knows whose run was not stored: each
// tries again by itself.
func (s *submitter) end(sub *submission, err error) {
	if err != nil && sub.calls > 1 && !errors.Is(err, errUnanswered) {
		err = fmt.Errorf("%w: %w", errUnanswered, err)
	}
	sub.err = err
	s.answered(sub.calls)
	close(sub.done)
}

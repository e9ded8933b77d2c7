package commit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/internal/commit"
)

// disk is what a group syncs: each sync takes some time, and holds what was
// written when it began.
type disk struct {
	took    time.Duration
	fail    atomic.Pointer[error]
	written atomic.Int64

	mu    sync.Mutex
	kept  int64
	began []time.Time
}

func (d *disk) sync() error {
	has := d.written.Load()
	d.mu.Lock()
	d.began = append(d.began, time.Now())
	d.mu.Unlock()
	if d.took > 0 {
		time.Sleep(d.took)
	}
	if err := d.fail.Load(); err != nil {
		return *err
	}
	d.mu.Lock()
	d.kept = max(d.kept, has)
	d.mu.Unlock()
	return nil
}

// syncs are the times at which syncs began, since a time.
func (d *disk) syncs(since time.Time) []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []time.Duration
	for _, at := range d.began {
		out = append(out, at.Sub(since))
	}
	return out
}

func (d *disk) holds() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept
}

func wait(t *testing.T, g *commit.Group, callers int) {
	t.Helper()
	if err := g.Wait(t.Context(), callers); err != nil {
		t.Errorf("Wait = %v", err)
	}
}

func waitMark(t *testing.T, g *commit.Group, mark uint64) {
	t.Helper()
	if err := g.WaitMark(t.Context(), mark); err != nil {
		t.Errorf("WaitMark(%d) = %v", mark, err)
	}
}

// crowd leaves a group just after a cycle that so many callers shared, and gives
// the time at which it ended.
func crowd(t *testing.T, g *commit.Group, callers int) time.Time {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { wait(t, g, 0) }) // while it is served the others gather
	synctest.Wait()
	for range callers {
		wg.Go(func() { wait(t, g, 1) })
	}
	wg.Wait()
	return time.Now()
}

func TestLoneCallerWaitsForNoTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		g := commit.New(d.sync, nil)
		start := time.Now()
		for range 100 {
			wait(t, g, 1)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("100 calls one after the other took %v besides their syncs, want nothing", took)
		}
		if n := g.Cycles(); n != 100 {
			t.Errorf("Cycles = %d, want 100: each call began after the sync before it", n)
		}
	})
}

func TestCallersShareTheNextSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		g := commit.New(d.sync, nil)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { wait(t, g, 1) })
		synctest.Wait() // the first sync is under way
		for i := range 50 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				wait(t, g, 1)
				if at := time.Since(start); at != 2*time.Second {
					t.Errorf("a call that came during the first sync returned after %v, want 2 s: the second one covers it", at)
				}
			})
		}
		wg.Wait()
		if n := g.Cycles(); n != 2 {
			t.Errorf("Cycles = %d for 51 callers, want 2", n)
		}
	})
}

// Whenever a caller comes, what it wrote before is on disk when Wait returns.
func TestWhatWasWrittenBeforeIsOnDisk(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: 300 * time.Microsecond}
		g := commit.New(d.sync, nil)
		var wg sync.WaitGroup
		for i := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, i))
			wg.Go(func() {
				for range 50 {
					time.Sleep(time.Duration(r.IntN(900)) * time.Microsecond)
					mine := d.written.Add(1)
					wait(t, g, r.IntN(3))
					if has := d.holds(); has < mine {
						t.Errorf("seed %d: after Wait the disk holds what was written up to %d, want %d", seed, has, mine)
					}
				}
			})
		}
		wg.Wait()
		if n := g.Cycles(); n >= 1000 {
			t.Errorf("seed %d: Cycles = %d for 2000 calls of 40 callers, want that they share", seed, n)
		}
	})
}

func TestLingeringEndsWhenAllAreThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		g := commit.New(d.sync, nil)
		end := crowd(t, g, 50)
		const late = 100 * time.Microsecond
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if i > 0 {
					time.Sleep(late)
				}
				wait(t, g, 1)
			})
		}
		wg.Wait()
		if s := d.syncs(end); len(s) != 3 || s[2] != late {
			t.Errorf("syncs began at %v, want the last, and only one, after %v, when all 50 were there", s, late)
		}
	})
}

// One caller may stand for several: it alone is all that was expected.
func TestOneThatStandsForAllEndsLingering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		g := commit.New(d.sync, nil)
		wait(t, g, 50)
		end := time.Now()
		wait(t, g, 50)
		if s := d.syncs(end); len(s) != 2 || s[1] != 0 {
			t.Errorf("syncs began at %v, want the second at once", s)
		}
	})
}

func TestLingeringEndsInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		callers int
		want    time.Duration
	}{
		{1, 0}, // too few to wait for
		{2, 0},
		{5, 50 * time.Microsecond},
		{50, 500 * time.Microsecond},
		{1000, commit.LingerMax},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &disk{took: time.Second}
			g := commit.New(d.sync, nil)
			end := crowd(t, g, c.callers)
			wait(t, g, 1)
			if s := d.syncs(end); len(s) != 3 || s[2] != c.want {
				t.Errorf("after a cycle of %d one came again, and syncs began at %v, want the last after %v", c.callers, s, c.want)
			}
		})
	}
}

func TestNobodyIsExpectedLongAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		g := commit.New(d.sync, nil)
		crowd(t, g, 50)
		time.Sleep(commit.LingerMax + 1)
		now := time.Now()
		wait(t, g, 1)
		if s := d.syncs(now); len(s) != 3 || s[2] != 0 {
			t.Errorf("syncs began at %v, want the last at once", s)
		}
	})
}

func TestZeroCallersAreExpectedByNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		g := commit.New(d.sync, nil)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { wait(t, g, 0) })
		}
		wg.Wait()
		now := time.Now()
		before := g.Cycles()
		wait(t, g, 1)
		if s := d.syncs(now); s[len(s)-1] != 0 || g.Cycles() != before+1 {
			t.Errorf("syncs began at %v, want the last at once", s)
		}
	})
}

func TestWaitMarkJoinsTheSyncThatCoversIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		g := commit.New(d.sync, nil)
		start := time.Now()
		g.Stored(5)
		var wg sync.WaitGroup
		wg.Go(func() { wait(t, g, 1) })
		synctest.Wait() // a sync is under way that covers 5
		g.Stored(6)
		for mark, want := range map[uint64]time.Duration{1: time.Second, 5: time.Second, 6: 2 * time.Second, 7: 2 * time.Second} {
			wg.Go(func() {
				waitMark(t, g, mark)
				if at := time.Since(start); at != want {
					t.Errorf("WaitMark(%d) returned after %v, want %v", mark, at, want)
				}
				if got := g.Committed(); got < mark {
					t.Errorf("Committed = %d after WaitMark(%d)", got, mark)
				}
			})
		}
		wg.Wait()
		waitMark(t, g, 7)
		if at, n := time.Since(start), g.Cycles(); at != 2*time.Second || n != 2 {
			t.Errorf("WaitMark of a mark on disk returned after %v and %d syncs, want no further one", at, n)
		}
	})
}

func TestMarksOnlyRise(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: 200 * time.Microsecond}
		var told []uint64 // by one goroutine at a time
		var last atomic.Uint64
		g := commit.New(d.sync, func(mark uint64) {
			told = append(told, mark)
			last.Store(mark)
		})
		var next atomic.Uint64
		var wg sync.WaitGroup
		for i := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, i))
			wg.Go(func() {
				for range 20 {
					time.Sleep(time.Duration(r.IntN(500)) * time.Microsecond)
					mark := next.Add(1)
					if r.IntN(3) == 0 {
						g.Stored(mark)
						wait(t, g, 1)
					} else {
						waitMark(t, g, mark)
					}
					if got := last.Load(); got < mark {
						t.Errorf("seed %d: told of marks up to %d when %d was on disk", seed, got, mark)
					}
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if !slices.IsSorted(told) || len(slices.Compact(slices.Clone(told))) != len(told) {
			t.Errorf("seed %d: told of marks %v, want that they rise", seed, told)
		}
		if got := g.Committed(); got != 400 || last.Load() != 400 {
			t.Errorf("seed %d: Committed = %d and told of %d, want 400", seed, got, last.Load())
		}
	})
}

func TestAfterAFailedSyncAllFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		var told atomic.Uint64
		g := commit.New(d.sync, told.Store)
		waitMark(t, g, 3)
		broken := errors.New("the disk is broken")
		d.fail.Store(&broken)
		var wg sync.WaitGroup
		check := func(what string, fn func() error) {
			if err := fn(); !errors.Is(err, broken) {
				t.Errorf("%s = %v, want what the sync said", what, err)
			}
		}
		ctx := t.Context()
		wg.Go(func() { check("Wait for the sync that fails", func() error { return g.Wait(ctx, 1) }) })
		synctest.Wait()
		if err := g.Err(); err != nil {
			t.Errorf("Err = %v before the sync has failed", err)
		}
		wg.Go(func() { check("Wait during the sync that fails", func() error { return g.Wait(ctx, 1) }) })
		wg.Go(func() { check("WaitMark during the sync that fails", func() error { return g.WaitMark(ctx, 9) }) })
		wg.Wait()
		d.fail.Store(nil) // a later sync would say that all is well
		for range 3 {
			check("Wait after it", func() error { return g.Wait(ctx, 1) })
			check("WaitMark after it", func() error { return g.WaitMark(ctx, 10) })
		}
		check("Err", g.Err)
		if n := g.Cycles(); n != 2 {
			t.Errorf("Cycles = %d, want no sync after the one that failed", n)
		}
		if g.Committed() != 3 || told.Load() != 3 {
			t.Errorf("Committed = %d and told of %d, want 3 still", g.Committed(), told.Load())
		}
	})
}

func TestEndedContextReturnsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{took: time.Second}
		g := commit.New(d.sync, nil)
		start := time.Now()
		why := errors.New("enough")
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if err := g.Wait(ended, 1); !errors.Is(err, why) {
			t.Errorf("Wait = %v, want the context's cause", err)
		}
		if err := g.WaitMark(ended, 1); !errors.Is(err, why) {
			t.Errorf("WaitMark = %v, want the context's cause", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("they returned after %v, want at once", took)
		}
		soon, cancelSoon := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancelSoon()
		if err := g.Wait(soon, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v, want that its context ended", err)
		}
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("it returned after %v, want when its context ended", took)
		}
		wait(t, g, 1) // others are served as ever
		if g.Committed() != 1 {
			t.Errorf("Committed = %d, want 1: the sync covered what had been written", g.Committed())
		}
	})
}

package embedded_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/engine"
)

// A batch of short runs is executed from where it was staged if nobody else could
// take a share, and shared out by messages otherwise.
func TestBatchOfShortRuns(t *testing.T) {
	t.Parallel()
	for _, others := range []bool{false, true} {
		t.Run(fmt.Sprintf("others %t", others), func(t *testing.T) {
			t.Parallel()
			runShop(t, false, func(s *shop) {
				s.known("echo")
				if others {
					second, err := s.own.Join(s.t.Context(), "second", nil)
					if err != nil {
						s.t.Fatalf("Join = %v", err)
					}
					defer second.Close() //nolint:errcheck // the test is over
					w, err := second.Work(engine.WorkOptions{Slots: 4, Exec: s.exec})
					if err != nil {
						s.t.Fatalf("Work = %v", err)
					}
					if err := w.Handle(s.t.Context(), "a", "echo"); err != nil {
						s.t.Fatalf("Handle = %v", err)
					}
					defer w.Stop(s.t.Context()) //nolint:errcheck // gives none
					time.Sleep(time.Second)
				}
				var runs []engine.Run
				for range 6000 {
					r := s.run("a", "echo", 0)
					r.Tags = []engine.Tag{{Key: "pad", Value: strings.Repeat("x", 200)}} // it is staged
					runs = append(runs, r)
				}
				s.watch(runs)
				s.tap.set(0, false)()
				if err := s.eng.SubmitBatch(s.t.Context(), runs); err != nil {
					s.t.Fatalf("SubmitBatch = %v", err)
				}
				for _, r := range runs {
					s.once(r)
				}
				wrote, _ := s.tap.written()
				if others == (wrote < 320) { // 256 singles, and 64 runs a message of the rest
					s.t.Errorf("%d runs took %d messages, with other workers %t", len(runs), wrote, others)
				}
				time.Sleep(10 * time.Second)
				counts, err := s.eng.Counts(s.t.Context())
				if err != nil {
					s.t.Fatalf("Counts = %v", err)
				}
				for _, c := range counts {
					if c.State != engine.Succeeded && c.N != 0 {
						s.t.Errorf("%d runs are %v, want none", c.N, c.State)
					}
				}
			})
		})
	}
}

// A queue with much to do does not keep another waiting, though its runs are so
// short that the worker always has some ahead.
func TestQueueBesideOneWithMuchToDo(t *testing.T) {
	t.Parallel()
	runShop(t, false, func(s *shop) {
		s.known("echo")
		const n = 20_000
		submit := func(count int, queue, task string) (runs []engine.Run) {
			for range count {
				runs = append(runs, s.run(queue, task, 0))
			}
			s.watch(runs)
			if err := s.eng.SubmitBatch(s.t.Context(), runs); err != nil {
				s.t.Fatalf("SubmitBatch = %v", err)
			}
			return runs
		}
		submit(4, "c", "hold") // all slots, so that nothing begins before all is there
		synctest.Wait()
		much := submit(n, "a", "echo")
		var others []engine.Run
		for range 12 { // for the first of them the worker has asked already
			others = append(others, submit(1, "b", "nap")...)
		}
		before, begun := s.begun.Load(), make(chan int64, 1)
		s.onStart(others[len(others)-1].ID, func() { begun <- s.begun.Load() - before })
		close(s.gate)
		for _, r := range slices.Concat(others, much) {
			s.once(r)
		}
		if got := <-begun; got > n/2 {
			s.t.Errorf("the last run of another queue began after %d of %d, want sooner", got, n)
		}
	})
}

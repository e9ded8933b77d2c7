package embedded_test

import (
	"fmt"
	"strings"
	"testing"
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
					defer s.second("echo")()
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
				if others == (wrote < 128) { // 64 singles, and up to 64 runs a message of the rest
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

// Runs that are submitted again, because an answer was lost or their parent is
// executed again, are asked about before they start also in a batch of short runs.
func TestBatchOfShortRunsAgain(t *testing.T) {
	t.Parallel()
	for _, every := range []int{1, 2} {
		t.Run(fmt.Sprintf("one of %d in doubt", every), func(t *testing.T) {
			t.Parallel()
			runShop(t, false, func(s *shop) {
				s.known("echo")
				var all []engine.Run
				batch := func(runs []engine.Run) {
					if err := s.eng.SubmitBatch(s.t.Context(), runs); err != nil {
						s.t.Fatalf("SubmitBatch = %v", err)
					}
				}
				for range 3000 {
					r := s.run("a", "echo", 0)
					r.Tags = []engine.Tag{{Key: "pad", Value: strings.Repeat("x", 200)}} // it is staged
					all = append(all, r)
				}
				s.watch(all)
				first := all
				if every > 1 { // the others are new
					first = nil
					for i := 1; i < len(all); i += every {
						first = append(first, all[i])
					}
				}
				batch(first)
				for _, r := range first {
					s.once(r)
				}
				for i := range all {
					all[i].Doubt = every == 1 || i%every == 1
				}
				batch(all)
				for _, r := range all {
					s.once(r)
				}
				time.Sleep(10 * time.Second)
				for _, r := range all {
					s.once(r)
				}
			})
		})
	}
}

// Runs of other queues do not wait until a batch has been worked off.
func TestQueueBesideOneWithMuchToDo(t *testing.T) {
	t.Parallel()
	runShop(t, false, func(s *shop) {
		s.known("tick")
		const n = 20_000 // a second's work for four slots
		var much []engine.Run
		for range n {
			much = append(much, s.run("a", "tick", 0))
		}
		s.watch(much)
		if err := s.eng.SubmitBatch(s.t.Context(), much); err != nil {
			s.t.Fatalf("SubmitBatch = %v", err)
		}
		var others []engine.Run
		var sent []time.Time
		for range 12 {
			time.Sleep(20 * time.Millisecond)
			r := s.run("b", "tick", 0)
			others, sent = append(others, r), append(sent, time.Now())
			if err := s.submit(s.t.Context(), r); err != nil {
				s.t.Fatalf("Submit = %v", err)
			}
		}
		s.mu.Lock()
		begun := len(s.starts)
		s.mu.Unlock()
		if begun > n {
			s.t.Errorf("%d runs had begun, so the batch was over before the last of the others was submitted", begun)
		}
		for i, r := range others {
			s.once(r)
			if took := s.starts[r.ID][0].Sub(sent[i]); took > 20*time.Millisecond {
				s.t.Errorf("a run of another queue began after %v, want at once", took)
			}
		}
		for _, r := range much {
			s.once(r)
		}
	})
}

// A worker whose slots are all held by long runs leaves short ones to others,
// although they would take it but a moment.
func TestShortRunsDoNotWaitBehindLongOnes(t *testing.T) {
	t.Parallel()
	runShop(t, false, func(s *shop) {
		s.known("echo")
		var long []engine.Run
		for range 4 {
			long = append(long, s.run("b", "sleep", 0))
		}
		if err := s.submit(s.t.Context(), long...); err != nil {
			s.t.Fatalf("Submit = %v", err)
		}
		defer s.second("echo")()
		time.Sleep(2 * time.Second)
		began := time.Now()
		for range 20 {
			var runs []engine.Run
			for range 10 {
				runs = append(runs, s.run("a", "echo", 0))
			}
			if err := s.submit(s.t.Context(), runs...); err != nil {
				s.t.Fatalf("Submit = %v", err)
			}
			for _, r := range runs {
				s.once(r)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			s.t.Errorf("200 short runs took %v beside an idle worker, want less than it takes the long ones", took)
		}
		for _, r := range long {
			s.once(r)
		}
	})
}

package embedded_test

import (
	"slices"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// When the server has started anew, a message may come to two live workers. They
// ask at the same time, before either could tell in a heartbeat what it has.
func TestRunInDoubtStartsOnOneOfTwoWorkers(t *testing.T) {
	t.Parallel()
	runShop(t, false, func(s *shop) {
		defer s.second("nap")()
		conn, err := s.own.Conn()
		if err != nil {
			s.t.Fatalf("connect: %v", err)
		}
		defer conn.Close()
		time.Sleep(2 * time.Second) // both are known
		var runs []engine.Run
		for range 6 {
			r := s.run("a", "nap", 0)
			r.Rev, r.Doubt = 1, true
			runs = append(runs, r)
		}
		s.watch(runs)
		for range 2 {
			for i := range runs {
				if err := conn.Publish("faena.q.a.1", engine.AppendRun(nil, &runs[i])); err != nil {
					s.t.Fatalf("publish: %v", err)
				}
			}
			slices.Reverse(runs) // so that not each worker gets a run twice
		}
		for _, r := range runs {
			s.once(r)
		}
		time.Sleep(20 * time.Second)
		for _, r := range runs {
			s.once(r)
		}
	})
}

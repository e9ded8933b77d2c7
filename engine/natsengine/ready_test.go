package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/faena-dev/faena/engine"
)

// Against a plain model: within a queue runs keep their order, those that may have
// begun before come first, and no queue gets a
// second turn while another one that holds runs has had none.
func TestReadyTakesTurns(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	queues := []string{"a", "b", "c", "d"}
	order := func(l []*item) []*item {
		slices.SortStableFunc(l, func(a, b *item) int {
			if a.again != b.again && a.again {
				return -1
			}
			if a.again != b.again {
				return 1
			}
			return 0
		})
		return l
	}
	for range 200 {
		var r ready
		model := map[string][]*item{}
		passed := map[string]int{} // turns of others since it has had one, while it holds runs
		total := 0
		for range 300 {
			if q := queues[rng.IntN(len(queues))]; rng.IntN(5) < 2 || total == 0 {
				for range 1 + rng.IntN(100)*rng.IntN(2) {
					it := &item{run: engine.Run{Queue: q}, again: rng.IntN(5) == 0}
					r.push(it)
					model[q] = order(append(model[q], it))
					total++
				}
				continue
			}
			var it *item
			if own := rng.IntN(len(r.turns)); rng.IntN(10) == 0 {
				it = r.take(r.turns[own])
				passed[it.run.Queue] = 0
			} else {
				it = r.pop()
				for q, m := range model {
					if len(m) == 0 || q == it.run.Queue {
						passed[q] = 0
					} else if passed[q]++; passed[q] >= len(queues) {
						t.Fatalf("queue %s waits for %d turns of others", q, passed[q])
					}
				}
			}
			q := it.run.Queue
			if it != model[q][0] {
				t.Fatal("a run of a queue came before an older one")
			}
			model[q] = model[q][1:]
			if total--; r.n != total {
				t.Fatalf("n = %d, want %d", r.n, total)
			}
		}
	}
}

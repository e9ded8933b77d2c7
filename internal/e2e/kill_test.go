//go:build e2e && linux

package e2e_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/faena-dev/faena/internal/e2e/ledger"
)

// TestNothingLost kills servers, workers and clients under load and compares
// what they wrote down with what the record says. FAENA_E2E_RUNS and
// FAENA_E2E_KILLS change its size.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	runs, kills := number(t, "FAENA_E2E_RUNS", 20_000), number(t, "FAENA_E2E_KILLS", 20)
	every := 2 * time.Second
	seed := uint64(number(t, "FAENA_E2E_SEED", int(time.Now().UnixNano()&0xffffff)))
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	c := newCluster(t, "")
	const callers = 8
	// A submission is 2.5 runs on the average.
	rate := float64(runs) / (float64(kills+1) * every.Seconds()) / 2 / callers / 2.2
	server := role{Name: "serve", Serve: true, Work: true, Slots: 4}
	worker := role{Name: "worker", Work: true, Slots: 8}
	client := role{Name: "client", Client: &load{Callers: callers, Rate: rate, Big: true}}
	ps := []*process{c.up(server), c.up(worker), c.up(worker), c.up(client), c.up(client)}
	roles := []role{server, worker, worker, client, client}
	killed := map[string]int{}
	for range kills {
		pause(t.Context(), every/2+time.Duration(rnd.Int64N(int64(every))))
		i := []int{0, 0, 0, 1, 1, 2, 2, 3, 4}[rnd.IntN(9)]
		ps[i].kill()
		killed[roles[i].Name]++
		r := roles[i]
		if r.Client != nil {
			r.Attach = c.open(1000)
		}
		ps[i] = c.start(r)
	}
	c.until(5*time.Minute, "the runs", func() bool { return acked(c.entries()) >= runs })
	for _, p := range ps {
		p.await(t)
	}
	for _, p := range ps[3:] {
		p.stop(t)
	}
	node := c.connect()
	c.drained(node, 90*time.Second)
	auditor := c.up(role{Name: "auditor", Attach: c.open(1 << 30)})
	wait(t, auditor.done, 60*time.Second, "results of runs whose clients were killed")
	first := c.record(node)
	for _, p := range ps[:3] {
		p.kill()
	}
	c.up(server)
	again := c.record(c.connect())
	p := ledger.Check(c.entries(), first, again, ledger.Rules{CancelLag: time.Second, Deaths: fewestDeaths})
	t.Logf("killed %v", killed)
	report(t, p)
}

//go:build e2e && linux

package e2e_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/e2e/ledger"
)

// worstRecovery is what is promised from a worker's death to the next start of
// what it had.
const worstRecovery = 5 * time.Second

// inHand are the runs that a process had begun and not ended at a moment.
func inHand(es []ledger.Entry, who string, at int64) []string {
	open := map[string]bool{}
	for i := range es {
		if e := &es[i]; e.Who == who && e.At <= at {
			switch e.Kind {
			case ledger.Started:
				open[e.IDs[0]] = true
			case ledger.Ended:
				delete(open, e.IDs[0])
			default:
			}
		}
	}
	var out []string
	for id := range open {
		out = append(out, id)
	}
	return out
}

// waiting are the runs that were acknowledged and due, and not begun by anyone,
// at a moment.
func waiting(es []ledger.Entry, at int64) []string {
	begun, due := map[string]bool{}, map[string]bool{}
	for i := range es {
		e := &es[i]
		if e.At > at {
			continue
		}
		for _, id := range e.IDs {
			switch {
			case e.Kind == ledger.Started:
				begun[id] = true
			case e.Kind == ledger.Acked && e.NotTill == 0:
				due[id] = true
			}
		}
	}
	var out []string
	for id := range due {
		if !begun[id] {
			out = append(out, id)
		}
	}
	return out
}

// nextStart is how long after a moment a run started again; negative for never.
func nextStart(es []ledger.Entry, id string, at int64) time.Duration {
	first := int64(-1)
	for i := range es {
		if e := &es[i]; e.Kind == ledger.Started && e.IDs[0] == id && e.At > at && (first < 0 || e.At < first) {
			first = e.At
		}
	}
	if first < 0 {
		return -1
	}
	return time.Duration(first - at)
}

// loaded is a server without handlers, workers, and clients whose runs are short
// with long ones and waiting parents among them.
func loaded(t *testing.T, workers int) (*cluster, *faena.Node, []*process) {
	t.Helper()
	c := newCluster(t, "")
	c.up(role{Name: "serve", Serve: true})
	ps := make([]*process, workers)
	for i := range ps {
		ps[i] = c.up(role{Name: "worker", Work: true, Slots: 8})
	}
	c.up(role{Name: "client", Client: &load{Callers: 4, Rate: 25, Plain: true}})
	return c, c.connect(), ps
}

// long submits long runs and waiting parents, as many as given of each.
func (c *cluster) long(node *faena.Node, n int, d time.Duration) []faena.ID {
	c.t.Helper()
	var ids []faena.ID
	for range n {
		f, err := slowTask.Go(c.t.Context(), node, job{Plan: planOK, For: d})
		if err != nil {
			c.t.Fatal(err)
		}
		g, err := parentTask.Go(c.t.Context(), node, job{Plan: planWait, For: d})
		if err != nil {
			c.t.Fatal(err)
		}
		ids = append(ids, f.ID(), g.ID())
	}
	c.until(30*time.Second, "long runs to begin", func() bool {
		begun := map[string]bool{}
		for _, e := range c.entries() {
			if e.Kind == ledger.Started {
				begun[e.IDs[0]] = true
			}
		}
		return !slices.ContainsFunc(ids, func(id faena.ID) bool { return !begun[id.String()] })
	})
	return ids
}

// TestRecovery kills workers with SIGKILL and measures, by the ledgers, how long
// what they had in hand waits for its next start: short runs, long ones, parents
// that wait for children, and runs that were delivered and had not begun.
// FAENA_E2E_RECOVERIES changes the number of kills.
func TestRecovery(t *testing.T) {
	t.Parallel()
	const workers, dying = 7, 4
	kills := number(t, "FAENA_E2E_RECOVERIES", 20)
	c, node, ps := loaded(t, workers)
	type death struct {
		who string
		at  int64
	}
	var deaths []death
	for len(deaths) < kills {
		ids := c.long(node, workers, 4*time.Second)
		pause(t.Context(), 1500*time.Millisecond) // parents have left their queue
		for _, i := range rand.Perm(workers)[:min(dying, kills-len(deaths))] {
			pause(t.Context(), rand.N(300*time.Millisecond))
			at := ledger.Now()
			ps[i].kill()
			deaths = append(deaths, death{ps[i].Name, at})
			ps[i] = c.start(role{Name: "worker", Work: true, Slots: 8})
		}
		c.ended(node, ids) // else one run might meet a third death
	}
	c.drained(node, 60*time.Second)
	es := c.entries()
	var begun, prefetched []time.Duration
	for _, d := range deaths {
		hand := inHand(es, d.who, d.at)
		for _, id := range hand {
			w := nextStart(es, id, d.at)
			if w < 0 {
				// Its end may have been on its way when the worker died.
				if f, err := final(t.Context(), node, id); err != nil || f.State != "succeeded" {
					t.Errorf("run %s was in hand of %s when it was killed, never started again and is %s %s (%v)", id, d.who, f.State, f.Value, err)
				}
				continue
			}
			begun = append(begun, w)
		}
		for _, id := range waiting(es, d.at) {
			if w := nextStart(es, id, d.at); w >= 0 {
				prefetched = append(prefetched, w)
			} else {
				t.Errorf("run %s was acknowledged when %s was killed and never started", id, d.who)
			}
		}
	}
	t.Logf("%d workers killed; %d runs in hand started again, worst after %v, median %v", len(deaths), len(begun), worst(begun), median(begun))
	t.Logf("%d runs acknowledged and not begun at a kill, worst start after %v", len(prefetched), worst(prefetched))
	if len(begun) < kills/2 {
		t.Errorf("only %d runs were in hand at %d kills: the test shows nothing", len(begun), kills)
	}
	if w := max(worst(begun), worst(prefetched)); w >= worstRecovery {
		t.Errorf("worst recovery = %v, want under %v", w, worstRecovery)
	}
}

func worst(ds []time.Duration) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	return slices.Max(ds)
}

func median(ds []time.Duration) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(ds))
	return s[len(s)/2]
}

// ended waits until runs have ended.
func (c *cluster) ended(node *faena.Node, ids []faena.ID) {
	c.t.Helper()
	for _, id := range ids {
		f, err := faena.Attach[string](c.t.Context(), node, id)
		if err == nil {
			_, err = f.Get(c.t.Context())
		}
		if err != nil {
			c.t.Errorf("run %s = %v, want its result", id, err)
		}
	}
}

// TestPause stops workers for 3 s, as a lid or a collector might: nothing they
// have in hand may start a second time.
func TestPause(t *testing.T) {
	t.Parallel()
	const workers = 4
	c, node, ps := loaded(t, workers)
	for range 2 {
		c.long(node, workers, 6*time.Second)
		pause(t.Context(), rand.N(1500*time.Millisecond))
		for _, p := range ps[:workers-1] {
			p.signal(t, syscall.SIGSTOP)
			pause(t.Context(), rand.N(300*time.Millisecond))
		}
		pause(t.Context(), 3*time.Second-300*time.Millisecond)
		for _, p := range ps[:workers-1] {
			p.signal(t, syscall.SIGCONT)
		}
		pause(t.Context(), 4*time.Second)
	}
	c.drained(node, 60*time.Second)
	starts := map[string]int{}
	for _, e := range c.entries() {
		if e.Kind == ledger.Started {
			starts[e.IDs[0]]++
		}
	}
	second := 0
	for id, n := range starts {
		if n > 1 {
			second++
			t.Errorf("run %s started %d times, want once: nobody died", id, n)
		}
	}
	t.Logf("%d pauses of 3 s, %d runs, %d second starts", 2*(workers-1), len(starts), second)
}

// TestServerKilled kills the server while workers elsewhere execute long runs:
// they go on, and their results are there when the server is.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "")
	server := role{Name: "serve", Serve: true}
	s := c.up(server)
	for range 2 {
		c.up(role{Name: "worker", Work: true, Slots: 8})
	}
	node := c.connect()
	ids := c.long(node, 4, 4*time.Second)
	pause(t.Context(), 300*time.Millisecond)
	s.kill()
	down := ledger.Now()
	pause(t.Context(), 1500*time.Millisecond)
	c.up(server)
	up := ledger.Now()
	c.drained(node, 60*time.Second)
	es := c.entries()
	second, through := 0, 0
	for _, id := range ids {
		f, err := final(t.Context(), node, id.String())
		if err != nil || f.State != "succeeded" {
			t.Errorf("run %s = %s %s (%v), want succeeded", id, f.State, f.Value, err)
		}
		n := 0
		for i := range es {
			if e := &es[i]; e.Kind == ledger.Started && e.IDs[0] == id.String() {
				n++
				if e.At < down {
					through++
				}
			}
		}
		if n > 1 {
			second++
		}
	}
	t.Logf("server away for %v; %d long runs under way meanwhile, %d of them started a second time", time.Duration(up-down).Round(time.Millisecond), through, second)
	if second > 0 {
		t.Errorf("%d runs started twice, want none: their workers lived", second)
	}
}

// TestServerKilledBesidePause kills the server and starts it again while workers
// are stopped: the new one must not take them for dead before they had time to
// tell of what they have in hand.
func TestServerKilledBesidePause(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "")
	server := role{Name: "serve", Serve: true}
	s := c.up(server)
	var ps []*process
	for range 3 {
		ps = append(ps, c.up(role{Name: "worker", Work: true, Slots: 8}))
	}
	node := c.connect()
	for range 2 {
		c.long(node, 4, 8*time.Second)
		pause(t.Context(), 3*time.Second) // leases that are about to be renewed
		for _, p := range ps[:2] {
			p.signal(t, syscall.SIGSTOP)
		}
		at := time.Now()
		s.kill()
		s = c.up(server)
		pause(t.Context(), 2900*time.Millisecond-time.Since(at))
		for _, p := range ps[:2] {
			p.signal(t, syscall.SIGCONT)
		}
		c.drained(node, 60*time.Second)
	}
	starts := map[string]int{}
	for _, e := range c.entries() {
		if e.Kind == ledger.Started {
			starts[e.IDs[0]]++
		}
	}
	for id, n := range starts {
		if n > 1 {
			t.Errorf("run %s started %d times, want once: its worker lived", id, n)
		}
	}
	t.Logf("%d runs under way or waiting while the server was killed and two of three workers were stopped", len(starts))
}

// TestCancelBesidePause cancels runs while the worker that has taken them ahead
// is stopped: none of them may start once it goes on.
func TestCancelBesidePause(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "")
	c.up(role{Name: "serve", Serve: true})
	p := c.up(role{Name: "worker", Work: true, Slots: 8})
	node := c.connect()
	cancelled, late := 0, 0
	for range 3 {
		ids := make([]faena.ID, 400) // submitted beside each other: faster than they are executed
		var callers sync.WaitGroup
		for part := range 16 {
			callers.Go(func() {
				for i := part; i < len(ids); i += 16 {
					f, err := slowTask.Go(t.Context(), node, job{Plan: planOK, For: 10 * time.Millisecond})
					if err != nil {
						t.Error(err)
						return
					}
					ids[i] = f.ID()
				}
			})
		}
		callers.Wait()
		p.signal(t, syscall.SIGSTOP)
		pause(t.Context(), 200*time.Millisecond)
		states, err := node.Cancel(t.Context(), ids...)
		at := ledger.Now()
		if err != nil {
			t.Fatal(err)
		}
		pause(t.Context(), 2500*time.Millisecond)
		p.signal(t, syscall.SIGCONT)
		pause(t.Context(), time.Second)
		void := map[string]bool{}
		for i, s := range states {
			void[ids[i].String()] = s == faena.Cancelled
			if s == faena.Cancelled {
				cancelled++
			}
		}
		for _, e := range c.entries() {
			if e.Kind == ledger.Started && void[e.IDs[0]] && e.At > at+int64(time.Second) {
				late++
			}
		}
	}
	t.Logf("%d runs cancelled while their worker was stopped, %d started after it", cancelled, late)
	if late > 0 || cancelled < 300 {
		t.Errorf("of %d cancelled runs %d started more than 1 s after that was acknowledged, want none", cancelled, late)
	}
}

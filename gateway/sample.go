package gateway

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/faena-dev/faena"
)

// history is how many seconds of finished runs are kept, for the chart.
const history = 300

// kind is what finished runs are counted by.
type kind struct {
	queue, task string
	state       faena.State
}

// sampler counts, once a second, what has finished since the second before. It
// reads the counts of the process that holds the store, so it sees every node's
// work. When that process is another, what ended meanwhile is not counted.
type sampler struct {
	node *faena.Node

	mu     sync.Mutex
	last   map[kind]int64    // finished by then; nil before the first sample
	totals map[kind]int64    // finished since the start
	ring   [history]finishes // by second
	at     int64             // unix second of the newest in ring; 0 for none
}

// finishes are the runs that ended in one second.
type finishes struct{ good, bad int64 }

func newSampler(n *faena.Node) *sampler { return &sampler{node: n, totals: map[kind]int64{}} }

func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.sample(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample asks once. A second without an answer is counted with the next.
func (s *sampler) sample(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	counts, err := s.node.Counts(ctx)
	if err == nil {
		s.add(time.Now(), counts)
	}
}

func (s *sampler) add(now time.Time, counts []faena.Count) {
	next := make(map[kind]int64, len(counts))
	for _, c := range counts {
		if c.State.Terminal() {
			next[kind{c.Queue, c.Task, c.State}] += c.Finished
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var f finishes
	if s.last != nil {
		for k, n := range next {
			d := n - s.last[k]
			if d <= 0 {
				continue
			}
			s.totals[k] += d
			if k.state == faena.Succeeded {
				f.good += d
			} else {
				f.bad += d
			}
		}
	}
	s.last = next
	s.move(now.Unix())
	s.ring[s.at%history].good += f.good
	s.ring[s.at%history].bad += f.bad
}

// move makes second the newest in the ring.
func (s *sampler) move(second int64) {
	if s.at == 0 || second-s.at >= history {
		s.ring = [history]finishes{}
		s.at = second
	}
	for s.at < second {
		s.at++
		s.ring[s.at%history] = finishes{}
	}
}

// recent gives the finishes of the last n whole groups of seconds, oldest first.
func (s *sampler) recent(group int) []finishes {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]finishes, history/group)
	if s.at == 0 {
		return out
	}
	s.move(max(time.Now().Unix(), s.at))
	for i := range history {
		f := s.ring[(s.at+1+int64(i))%history]
		out[i/group].good += f.good
		out[i/group].bad += f.bad
	}
	return out
}

// rate is how many runs finished a second, over the last d.
func (s *sampler) rate(d time.Duration) float64 {
	all := s.recent(1)
	n := min(int(d/time.Second), history)
	sum := int64(0)
	for _, f := range all[history-n:] {
		sum += f.good + f.bad
	}
	return float64(sum) / float64(n)
}

// finished gives a copy of what has finished since the start.
func (s *sampler) finished() map[kind]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.totals)
}

package crawl

import (
	"container/heap"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/frontier"
	"github.com/faena-dev/faena/tasks/scrape/link"
)

// schedule decides which address comes next, under each host's limits. A host
// stands in at most one of two places: in ring, when it may have something to
// start now, or in timed, when it must wait. What it does cost O(log hosts).
type schedule struct {
	front *frontier.Frontier
	opt   Options
	hosts map[string]*host
	ring  []*host
	timed timedHosts
}

type place uint8

const (
	nowhere place = iota
	inRing
	inTimed
)

type host struct {
	name    string
	active  int
	limit   int           // one until robots.txt is known
	delay   time.Duration // between starts
	ready   time.Time     // nothing starts before
	retries retries

	at    place
	until time.Time // in timed
	index int       // in timed
}

type retry struct {
	job
	due time.Time
}

func newSchedule(front *frontier.Frontier, o Options) *schedule {
	s := &schedule{front: front, opt: o, hosts: make(map[string]*host)}
	s.wakeAll()
	return s
}

func (s *schedule) wakeAll() {
	for name := range s.front.Hosts() {
		s.wake(name)
	}
}

func (s *schedule) host(name string) *host {
	h := s.hosts[name]
	if h == nil {
		h = &host{name: name, limit: 1, delay: time.Duration(s.opt.Delay)}
		if s.opt.IgnoreRobots {
			h.limit = s.opt.Concurrency
		}
		s.hosts[name] = h
	}
	return h
}

// know tells the limits of a host whose robots.txt is known before.
func (s *schedule) know(name string, delay time.Duration) {
	h := s.host(name)
	h.limit, h.delay = s.opt.Concurrency, delay
}

// wake says that a host may have something new to start.
func (s *schedule) wake(name string) { s.look(s.host(name)) }

func (s *schedule) look(h *host) {
	switch h.at {
	case inRing:
		return
	case inTimed:
		heap.Remove(&s.timed, h.index)
	case nowhere:
	}
	h.at = inRing
	s.ring = append(s.ring, h)
}

func (s *schedule) rest(h *host, until time.Time) {
	h.at, h.until = inTimed, until
	heap.Push(&s.timed, h)
}

// next takes an address that may be fetched now.
func (s *schedule) next(now time.Time) (job, bool) {
	for len(s.timed) > 0 && !s.timed[0].until.After(now) {
		s.look(s.timed[0])
	}
	for len(s.ring) > 0 {
		h := s.ring[0]
		s.ring[0] = nil
		s.ring = s.ring[1:]
		h.at = nowhere
		if h.active >= h.limit {
			continue // the end of one of its requests looks again
		}
		if h.ready.After(now) {
			s.rest(h, h.ready)
			continue
		}
		j, ok := s.take(h, now)
		if !ok {
			if len(h.retries) > 0 {
				s.rest(h, h.retries[0].due)
			}
			continue
		}
		h.active++
		if h.delay > 0 {
			h.ready = now.Add(h.delay)
		}
		s.look(h)
		return j, true
	}
	return job{}, false
}

func (s *schedule) take(h *host, now time.Time) (job, bool) {
	if len(h.retries) > 0 && !h.retries[0].due.After(now) {
		r := heap.Pop(&h.retries).(retry)
		return r.job, true
	}
	it, ok := s.front.Pop(h.name)
	return job{Item: it, attempt: 1}, ok
}

// wait returns how long it takes until next may have something again.
func (s *schedule) wait(now time.Time) (time.Duration, bool) {
	if len(s.timed) == 0 {
		return 0, false
	}
	return max(s.timed[0].until.Sub(now), 0), true
}

// ended takes back the place of a job and what it taught about the host.
func (s *schedule) ended(r *result, now time.Time) {
	h := s.host(link.Host(r.URL))
	h.active--
	if r.known {
		h.limit, h.delay = s.opt.Concurrency, r.delay
	}
	if h.delay > 0 {
		h.ready = later(h.ready, r.started.Add(h.delay))
	}
	if r.pause > 0 {
		h.ready = later(h.ready, now.Add(r.pause))
	}
	s.look(h)
}

// again puts a job back until it is due.
func (s *schedule) again(j job, due time.Time) {
	h := s.host(link.Host(j.URL))
	j.attempt++
	heap.Push(&h.retries, retry{job: j, due: due})
	s.look(h)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

type timedHosts []*host

func (t timedHosts) Len() int           { return len(t) }
func (t timedHosts) Less(i, j int) bool { return t[i].until.Before(t[j].until) }

func (t timedHosts) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *timedHosts) Push(v any) {
	h := v.(*host)
	h.index = len(*t)
	*t = append(*t, h)
}

func (t *timedHosts) Pop() any {
	old := *t
	h := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return h
}

type retries []retry

func (r retries) Len() int           { return len(r) }
func (r retries) Less(i, j int) bool { return r[i].due.Before(r[j].due) }
func (r retries) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *retries) Push(v any)        { *r = append(*r, v.(retry)) }

func (r *retries) Pop() any {
	old := *r
	v := old[len(old)-1]
	old[len(old)-1] = retry{}
	*r = old[:len(old)-1]
	return v
}

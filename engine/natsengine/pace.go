package natsengine

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// pace is how long a task's attempts take, as far as seen here.
type pace struct {
	known   bool    // one has ended
	running int     // under way now
	avg     float64 // seconds, newer ones weigh more
}

func (p *pace) add(d time.Duration) {
	s := d.Seconds()
	if !p.known {
		p.known, p.avg = true, s
		return
	}
	// One that was kept from its core must not make all look slow.
	p.avg += (min(s, 8*p.avg+1e-3) - p.avg) / 16
}

// slow tells whether n runs keep a worker's slots busy for much longer than it
// may hold ahead: then others should have a chance at them. It is well above what
// a chunk is made for, because handing back costs a write per run.
func (p *pace) slow(n, slots int) bool {
	return !p.known || p.avg*float64(n)/float64(slots) > 5*ahead.Seconds()
}

// aheadLocked is how many runs of a queue the slots will finish within a moment,
// by what is known of its tasks. One of which no attempt has ended is as good as
// not there until one is under way.
func (w *worker) aheadLocked(queue string) int {
	worst := 0.0
	for _, p := range w.queues[queue] {
		switch {
		case p.known:
			worst = max(worst, p.avg, 1e-6)
		case p.running > 0:
			return 0
		}
	}
	if worst == 0 {
		return 0
	}
	return int(min(float64(w.o.Slots)*ahead.Seconds()/worst, aheadMost))
}

// most is how many runs may go as one message, by how long each takes.
func most(avg float64) int {
	n := 1
	for n < chunkMost && avg*float64(2*n) <= ahead.Seconds() {
		n *= 2
	}
	return n
}

// paces is what workers tell of their tasks: runs of short ones that are
// submitted at the same time may go as one message, and so may a few of a task
// that nobody has told of.
type paces struct {
	mu sync.RWMutex
	m  map[taskKey]told
}

// told is the pace that a node tells.
type told struct {
	node string
	avg  float64
	at   time.Time
}

// untoldMost is how many runs of a task that nobody has told of may share a
// message: what a worker's slots do not take at once it hands back singly.
const untoldMost = 16

// paceStale is how long news of a task count, when its worker tells no more.
const paceStale = time.Minute

// paceNews is what a worker tells of its tasks now and then.
type paceNews struct {
	Node  string     `json:"node"`
	Tasks []taskPace `json:"tasks"`
}

type taskPace struct {
	Queue string  `json:"queue"`
	Task  string  `json:"task"`
	Avg   float64 `json:"avg"` // seconds
}

// start listens for news.
func (p *paces) start(nc *nats.Conn) error {
	_, err := nc.Subscribe(subjectPace, func(m *nats.Msg) {
		var news paceNews
		if json.Unmarshal(m.Data, &news) == nil { // else it comes from a newer version
			p.take(&news, time.Now())
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to news of tasks: %w", err)
	}
	return nil
}

// take notes news. Of several nodes the slowest counts.
func (p *paces) take(news *paceNews, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[taskKey]told{}
	}
	for _, t := range news.Tasks {
		k := taskKey{t.Queue, t.Task}
		old, there := p.m[k]
		if !there || old.node == news.Node || t.Avg > old.avg || now.Sub(old.at) > paceStale {
			p.m[k] = told{news.Node, t.Avg, now}
		}
	}
}

// chunk is how many runs of a task may go as one message.
func (p *paces) chunk(queue, task string) int {
	p.mu.RLock()
	t, there := p.m[taskKey{queue, task}]
	p.mu.RUnlock()
	if !there || time.Since(t.at) > paceStale {
		return untoldMost
	}
	return most(t.avg)
}

// tellPaces tells submitters how long this worker's tasks take. A first attempt
// that is still under way takes at least as long as it has taken by now.
func (w *worker) tellPaces(now time.Time) {
	news := paceNews{Node: w.e.id}
	w.mu.Lock()
	first := map[*pace]time.Duration{}
	for _, it := range w.runs {
		if it.running && it.pace != nil && !it.pace.known {
			first[it.pace] = max(first[it.pace], now.Sub(it.started))
		}
	}
	for k, p := range w.tasks {
		if p.known {
			news.Tasks = append(news.Tasks, taskPace{k.queue, k.task, p.avg})
		} else if d := first[p]; d > 0 {
			news.Tasks = append(news.Tasks, taskPace{k.queue, k.task, d.Seconds()})
		}
	}
	w.mu.Unlock()
	if len(news.Tasks) == 0 {
		return
	}
	data, err := json.Marshal(&news)
	if err == nil {
		err = w.nc.Publish(subjectPace, data)
	}
	if err != nil {
		w.logError("tell of tasks", err)
	}
}

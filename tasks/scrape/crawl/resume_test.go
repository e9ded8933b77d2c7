package crawl_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/faena-dev/faena/tasks/scrape/crawl"
	"github.com/faena-dev/faena/tasks/scrape/frontier"
)

const webPages = 2000

// web is a site of webPages pages, each of which links to a few others. It
// counts by user agent, since what one crawl asked for when it was killed may
// arrive after the next one began.
type web struct {
	*site
	mu   sync.Mutex
	hits map[string]map[string]int
}

func newWeb(t *testing.T) *web {
	t.Helper()
	s := &web{site: newSite(t, map[string]string{"/robots.txt": ""}), hits: make(map[string]map[string]int)}
	s.pages["*"] = func(w http.ResponseWriter, r *http.Request) {
		s.hit(r.UserAgent(), s.URL+r.URL.Path)
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if r.URL.Path != "/" && err != nil {
			t.Errorf("asked for %s, which is linked nowhere", r.URL.Path)
		}
		if n%7 == 3 {
			redirect(fmt.Sprintf("/%d", (n+1)%webPages))(w, r)
			return
		}
		html(links(fmt.Sprintf("/%d", (2*n+1)%webPages), fmt.Sprintf("/%d", (3*n+2)%webPages), fmt.Sprintf("/%d", (n+1)%webPages), "/0"))(w, r)
	}
	return s
}

func (s *web) hit(agent, url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hits[agent] == nil {
		s.hits[agent] = make(map[string]int)
	}
	s.hits[agent][url]++
}

var errKilled = errors.New("killed")

// store keeps batches as a journal would, in the form they have on disk.
type store struct {
	t     *testing.T
	log   [][]byte
	lines map[string]int // records per address
}

func (st *store) append(b crawl.Batch) {
	st.t.Helper()
	data, err := json.Marshal(b)
	if err != nil {
		st.t.Error(err)
	}
	st.log = append(st.log, data)
	for _, p := range b.Pages {
		st.lines[p.URL]++
	}
}

func (st *store) restore(o crawl.Options) *frontier.Frontier {
	st.t.Helper()
	f := frontier.New(o.Limit())
	for _, data := range st.log {
		var b crawl.Batch
		if err := json.Unmarshal(data, &b); err != nil {
			st.t.Fatal(err)
		}
		b.Apply(f)
	}
	return f
}

// A crawl is killed after a random batch, so that the batch is stored but all
// later work is lost, and taken up from the stored ones, until it ends. Each
// page must have one record, and none that was stored may be fetched again.
func TestKilledCrawlGoesOn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 7))
		s := newWeb(t)
		o := crawl.Options{Start: []string{s.URL}, Depth: int(seed) * 100} // 0: no levels
		st := &store{t: t, lines: make(map[string]int)}
		kills := 0
		for {
			before := maps.Clone(st.lines)
			o.UserAgent = fmt.Sprintf("crawl-%d", kills)
			left := 1 + rng.IntN(3)
			_, err := crawl.Run(t.Context(), o, st.restore(o), crawl.Hooks{Commit: func(_ context.Context, b crawl.Batch) error {
				if left == 0 {
					return errKilled // what a killed process would have had in memory
				}
				left--
				st.append(b)
				return nil
			}})
			s.check(t, o.UserAgent, before)
			if err == nil {
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			kills++
		}
		want := s.crawl(t, o)
		if len(st.lines) != len(want.pages) || kills == 0 {
			t.Errorf("seed %d: %d pages after %d kills, want %d", seed, len(st.lines), kills, len(want.pages))
		}
		for u, n := range st.lines {
			if _, ok := want.pages[strings.TrimPrefix(u, s.URL)]; n != 1 || !ok {
				t.Errorf("seed %d: %d records of %s (known %v), want 1", seed, n, u, ok)
			}
		}
	}
}

// check fails for pages that had a record before this agent's crawl and were
// fetched again, and for those that it fetched twice.
func (s *web) check(t *testing.T, agent string, before map[string]int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hits[agent]) == 0 {
		t.Errorf("%s asked for nothing", agent)
	}
	for u, n := range s.hits[agent] {
		if before[u] > 0 || n != 1 {
			t.Errorf("%s fetched %s %d times, with %d records before", agent, u, n, before[u])
		}
	}
}

// A crawl that is stopped in order commits all that finished, and goes on from
// the frontier it leaves, a snapshot of it, or the batches.
func TestStoppedCrawlGoesOn(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"frontier", "snapshot", "batches"} {
		s := newWeb(t)
		o := crawl.Options{Start: []string{s.URL}, Retries: -1}
		st := &store{t: t, lines: make(map[string]int)}
		commit := func(ctx context.Context, b crawl.Batch) error {
			st.append(b)
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		front := frontier.New(o.Limit())
		sum, err := crawl.Run(ctx, o, front, crawl.Hooks{Commit: commit, Page: func(crawl.Page) {
			if seen++; seen == webPages/3 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) || sum.Pending == 0 || len(st.lines) != sum.Pages || sum.Pages < webPages/3 {
			t.Fatalf("%s: stopped with %+v, %v, %d records, want all of them and more to do", by, sum, err, len(st.lines))
		}
		if sum.Failed > 0 {
			t.Errorf("%s: %d requests that the stop cut off count as failed pages", by, sum.Failed)
		}
		switch by {
		case "snapshot":
			if front, err = frontier.Restore(front.Snapshot()); err != nil {
				t.Fatal(err)
			}
		case "batches":
			front = st.restore(o)
		}
		before := maps.Clone(st.lines)
		o.UserAgent = "second"
		sum, err = crawl.Run(t.Context(), o, front, crawl.Hooks{Commit: commit})
		if err != nil || sum.Pending != 0 {
			t.Fatalf("%s: ended with %+v, %v", by, sum, err)
		}
		s.check(t, "second", before)
		if want := s.crawl(t, o); len(st.lines) != len(want.pages) {
			t.Errorf("%s: %d pages, want %d", by, len(st.lines), len(want.pages))
		}
		for u, n := range st.lines {
			if n != 1 {
				t.Errorf("%s: %d records of %s, want 1", by, n, u)
			}
		}
	}
}

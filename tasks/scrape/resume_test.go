package scrape_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/scrape"
)

// These make the test binary a worker to be killed: its data directory, and
// whether it saves checkpoints.
const (
	victimDir  = "SCRAPE_VICTIM"
	victimSave = "SCRAPE_VICTIM_SAVE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := victim(dir, os.Getenv(victimSave) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim works until it is killed.
func victim(dir string, save bool) error {
	ctx := context.Background()
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		return err
	}
	node, err := faena.Open(ctx, eng, faena.Options{Slots: 2, MaxDeaths: 100})
	if err != nil {
		return err
	}
	every := time.Hour
	if save {
		every = time.Nanosecond
	}
	if err := node.Handle(scrape.HandlersSaving(every)...); err != nil {
		return err
	}
	select {}
}

// killedAfter lets a victim work until s was asked for so many more pages.
func killedAfter(t *testing.T, s *site, dir string, requests int, save bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	if save {
		cmd.Env = append(cmd.Env, victimSave+"=1")
	}
	cmd.Stderr = os.Stderr
	enough := s.after(requests)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	select {
	case <-enough:
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-died; err == nil {
			t.Fatal("the worker ended well")
		}
	case err := <-died:
		t.Fatalf("the worker ended by itself: %v", err)
	case <-late.C:
		t.Errorf("the worker has not asked for %d pages within a minute", requests)
		_ = cmd.Process.Kill() // it is there
		t.Fatal(<-died)
	}
}

// batches are the crawl's children: what those that succeeded fetched, and the
// ids of those that are open.
func batches(t *testing.T, node *faena.Node, crawl faena.ID) (done map[string]bool, open []faena.ID) {
	t.Helper()
	done = make(map[string]bool)
	for in, err := range node.List(t.Context(), faena.Query{Task: scrape.Fetch.Name(), Tags: []faena.Tag{{Key: "crawl", Value: crawl.String()}}}) {
		if err != nil {
			t.Fatalf("List = %v", err)
		}
		switch {
		case in.State == faena.Succeeded:
			f, err := faena.Attach[scrape.Fetched](t.Context(), node, in.ID)
			if err != nil {
				t.Fatalf("Attach = %v", err)
			}
			got, err := f.Get(t.Context())
			if err != nil {
				t.Fatalf("Get = %v", err)
			}
			for _, p := range got.Pages {
				done[p.URL] = true
			}
		case !in.State.Terminal():
			open = append(open, in.ID)
		}
	}
	return done, open
}

// look opens the engine of a worker that was killed, executing nothing.
func look(t *testing.T, dir string, fn func(*faena.Node)) {
	t.Helper()
	eng, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("open the engine: %v", err)
	}
	node, err := faena.Open(t.Context(), eng, faena.Options{MaxDeaths: 100})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	fn(node)
	if err := node.Close(); err != nil {
		t.Error(err)
	}
	if err := eng.Close(); err != nil {
		t.Error(err)
	}
}

// Workers are killed by SIGKILL at some requests, until one may finish. What a
// batch that had succeeded fetched is asked for never again; of what was under
// way, each host's batch may be repeated. The records are those of a crawl that
// nothing happened to, each once.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	const pages = 900
	for name, c := range map[string]struct {
		depth        int
		save, cancel bool
	}{
		"children alone":     {},
		"levels":             {depth: 50},
		"checkpoints":        {save: true},
		"cancelled children": {cancel: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := newSite(t, web(120))
			s := newSite(t, web(pages))
			in := scrape.Input{Start: []string{s.URL, other.URL}, Depth: c.depth}
			want, _ := leaf(t, in)
			base := s.count()
			dir := filepath.Join(t.TempDir(), "data")
			var id faena.ID
			look(t, dir, func(node *faena.Node) { // nobody executes it yet
				fut, err := scrape.Crawl.Go(t.Context(), node, in)
				if err != nil {
					t.Fatalf("Go = %v", err)
				}
				id = fut.ID()
			})
			kills, cancelled := []int{1, 30, 120, 230}, 0
			for _, n := range kills {
				killedAfter(t, s, dir, n, c.save)
				before := s.count()
				var done map[string]bool
				look(t, dir, func(node *faena.Node) {
					var open []faena.ID
					done, open = batches(t, node, id)
					if len(open) > 2 {
						t.Errorf("%d batches of two hosts were open", len(open))
					}
					if c.cancel && len(open) > 0 {
						if _, err := node.Cancel(t.Context(), open...); err != nil {
							t.Errorf("Cancel = %v", err)
						}
						cancelled += len(open)
					}
				})
				defer func() {
					for u, n := range s.count() {
						if done[u] && n != before[u] {
							t.Errorf("%s had been fetched by a batch that succeeded and was asked for %d times after a kill", u, n-before[u])
						}
					}
				}()
			}
			if c.cancel && cancelled == 0 {
				t.Error("no child was open when a worker died: nothing could be cancelled")
			}
			resumed := 0
			var mu sync.Mutex
			node := open(t, dir, 2)
			node.Use(func(next faena.Next) faena.Next {
				return func(ctx context.Context, call *faena.Call) (json.RawMessage, error) {
					var v json.RawMessage
					if ok, err := faena.Resume(ctx, &v); ok && err == nil && call.Task() == scrape.Crawl.Name() {
						mu.Lock()
						resumed++
						mu.Unlock()
					}
					return next(ctx, call)
				}
			})
			handle(t, node)
			got, _, err := collect(t, node, id)
			if err != nil {
				t.Fatalf("Pages = %v", err)
			}
			same(t, name, in, want, got)
			extra := 0
			for u, n := range s.count() {
				extra += n - base[u] - 1
			}
			t.Logf("%d pages of %d were asked for more than once in %d kills", extra, len(want), len(kills))
			if most := len(kills) * scrape.BatchPages; extra > most {
				t.Errorf("%d requests were repeated, want at most a batch for each kill, %d", extra, most)
			}
			mu.Lock()
			defer mu.Unlock()
			if (resumed > 0) != c.save {
				t.Errorf("%d attempts found a checkpoint; saving them was %v", resumed, c.save)
			}
		})
	}
}

// The most pages there may be are never exceeded, although a crawl that goes on
// reads again in another order what it had found.
func TestKilledAtItsLimit(t *testing.T) {
	t.Parallel()
	const most = 300
	s, other := newSite(t, web(900)), newSite(t, nil)
	page := web(900)
	other.page = func(w http.ResponseWriter, r *http.Request) { // so that batches end out of order
		pause := time.NewTimer(2 * time.Millisecond)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-r.Context().Done():
		}
		page(w, r)
	}
	dir := filepath.Join(t.TempDir(), "data")
	var id faena.ID
	look(t, dir, func(node *faena.Node) {
		id = run(t, node, scrape.Input{Start: []string{s.URL, other.URL}, MaxPages: most}).ID()
	})
	for _, n := range []int{20, 50, 80} {
		killedAfter(t, s, dir, n, false)
	}
	node := open(t, dir, 2)
	handle(t, node)
	got, _, err := collect(t, node, id)
	if err != nil {
		t.Fatalf("Pages = %v", err)
	}
	if asked := len(s.count()) + len(other.count()); len(got) != most || asked != most {
		t.Errorf("%d pages, %d different ones asked for, want %d", len(got), asked, most)
	}
}

// A worker that is told to end keeps what it has of the batches it cuts off.
func TestStoppedWorkerKeepsItsPages(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	page := web(10)
	s := newSite(t, nil)
	s.page = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			links(w, "/1", "/2", "/4", "/6", "/hang")
		case "/hang":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		default:
			page(w, r)
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	in := scrape.Input{Start: []string{s.URL}, Depth: 1}
	var id faena.ID
	func() {
		eng, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Durability: embedded.Fast})
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close() //nolint:errcheck // the next one finds out
		node, err := faena.Open(t.Context(), eng, faena.Options{Slots: 2, Grace: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close() //nolint:errcheck // the same
		handle(t, node)
		id = run(t, node, in).ID()
		until(t, func() bool {
			f, ok, err := scrape.Fetch.Child(t.Context(), node, id, "batch-1")
			if err != nil || !ok {
				return false
			}
			info, err := node.Get(t.Context(), f.ID())
			return err == nil && info.Progress != nil && info.Progress.Done >= 0.8
		})
	}()
	free()
	node := open(t, dir, 2)
	handle(t, node)
	got, _, err := collect(t, node, id)
	if err != nil || len(got) != 6 {
		t.Fatalf("Pages = %d, %v, want 6", len(got), err)
	}
	for u, n := range s.count() {
		want := 1
		if strings.HasSuffix(u, "/hang") {
			want = 2
		}
		if n != want {
			t.Errorf("%s was asked for %d times, want %d", u, n, want)
		}
	}
}

// until waits for a condition that nothing tells of.
func until(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("waited in vain")
		}
	}
}

// A batch whose run fails is tried once more; if that fails too, its pages are
// recorded as failed and the crawl goes on.
func TestFailingBatch(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]int{"once": 1, "always": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				switch r.URL.Path {
				case "/":
					links(w, "/a", "/b")
				case "/b":
					links(w, "/c")
				}
			})
			node := open(t, filepath.Join(t.TempDir(), "data"), 2)
			var mu sync.Mutex
			left := fails
			node.Use(func(next faena.Next) faena.Next {
				return func(ctx context.Context, call *faena.Call) (json.RawMessage, error) {
					var b scrape.Batch
					if err := json.Unmarshal(call.Input(), &b); err != nil {
						return nil, err
					}
					mu.Lock()
					defer mu.Unlock()
					if call.Task() == scrape.Fetch.Name() && strings.HasSuffix(b.Items[0].URL, "/a") && left > 0 {
						left--
						return nil, faena.Permanent(fmt.Errorf("poisoned"))
					}
					mu.Unlock()
					defer mu.Lock()
					return next(ctx, call)
				}
			})
			handle(t, node)
			fut := run(t, node, scrape.Input{Start: []string{s.URL}})
			got, _, err := collect(t, node, fut.ID())
			if err != nil {
				t.Fatalf("Pages = %v", err)
			}
			sum, err := fut.Get(t.Context())
			if err != nil {
				t.Fatalf("Get = %v", err)
			}
			paths := slices.Sorted(maps.Keys(got))
			if fails == 1 {
				if len(paths) != 4 || sum.Pages != 4 || sum.Failed != 0 {
					t.Errorf("pages %q, Summary %+v, want all 4 and no failure", paths, sum)
				}
				return
			}
			p := got[s.URL+"/b"]
			if len(paths) != 3 || sum.Pages != 3 || sum.Failed != 2 || p.Error != "not fetched: poisoned" || p.Referrer != s.URL+"/" || p.Depth != 1 {
				t.Errorf("pages %q, Summary %+v, a lost one %+v, want 3 and two failures that say why", paths, sum, p)
			}
		})
	}
}

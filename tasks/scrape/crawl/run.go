// Package crawl fetches the pages that can be reached from a start address,
// each once, within limits per host, and hands out one record for each.
//
// # Order and durability
//
// Run hands its progress to Hooks.Commit in batches: the records of pages that
// are finished, together with the addresses they added. A caller that stores
// each batch as a whole, in order, can go on after a crash: New's Frontier to
// which all stored batches are applied (Apply), or one restored from a
// Snapshot, makes Run fetch what is missing and nothing else. A page whose
// batch was not stored is fetched again, and its record comes once all the
// same. Batches come every FlushEvery, so that is how much work a crash repeats
// at most.
//
// # Concurrency
//
// One goroutine owns the frontier and the schedule; Options.Total workers
// fetch. There is no goroutine per link and no unbounded queue but the frontier
// itself, which Options.MaxPages bounds.
package crawl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/frontier"
	"github.com/faena-dev/faena/tasks/scrape/link"
)

const (
	// FlushEvery is how old a finished page may get before it is committed.
	FlushEvery = 250 * time.Millisecond
	// FlushPages is how many pages a batch has before it is committed early.
	FlushPages = 500

	flushLinks = 50_000 // the same by weight: some 4 MB
	backoff    = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// A Batch is progress that belongs together: store all of it or nothing.
type Batch struct {
	Pages []Page          `json:"pages,omitempty"`
	Added []frontier.Item `json:"added,omitempty"`

	links int
}

// Apply brings a frontier to where it was after the batch. Batches may be
// applied twice, and on top of a later snapshot.
func (b *Batch) Apply(f *frontier.Frontier) {
	for _, it := range b.Added {
		f.Add(it)
	}
	for i := range b.Pages {
		f.Finish(b.Pages[i].URL)
	}
}

// Hooks are called by Run, each serially. All may be nil.
type Hooks struct {
	// Page is called from one goroutine with each finished page, before it is
	// committed: for progress. It must not block.
	Page func(Page)
	// Commit is called with the next batch while the crawl goes on; the batch
	// is the callee's. When the crawl gets far ahead of it, the crawl waits.
	// After ctx ended it is called once more, with a context that has not, if
	// anything finished. An error ends the crawl.
	Commit func(context.Context, Batch) error
	// Net replaces parts of the network.
	Net Net
}

// A Summary counts what one Run did; a crawl that went on from a Frontier may
// have had others before.
type Summary struct {
	Pages     int   `json:"pages"`     // records
	OK        int   `json:"ok"`        // answered with 2xx
	Redirects int   `json:"redirects"` // answered with 3xx
	Broken    int   `json:"broken"`    // answered with 4xx or 5xx
	Failed    int   `json:"failed"`    // not answered, or not in full
	Skipped   int   `json:"skipped"`   // by robots.txt or address
	Retries   int   `json:"retries"`   // requests repeated
	Bytes     int64 `json:"bytes"`     // of bodies
	ElapsedMS int64 `json:"elapsed_ms"`
	Pending   int   `json:"pending"` // addresses left over
	// Limited says that MaxPages kept addresses out.
	Limited bool `json:"limited"`
}

// Count adds a page to the counts of pages and Bytes.
func (s *Summary) Count(p *Page) {
	s.Pages++
	s.Bytes += p.Bytes
	switch {
	case p.Skipped != "" && p.Redirect == "":
		s.Skipped++
	case p.Status == 0 || p.Error != "":
		s.Failed++
	case p.Status < 300:
		s.OK++
	case p.Status < 400:
		s.Redirects++
	default:
		s.Broken++
	}
}

// Run crawls until nothing is left, and returns what it did in every case. The
// Frontier is a new one or one that was restored; nil stands for a new one. Run
// owns it until it returns, and leaves in it what is still pending. A page's
// error is in its record and ends nothing. Run's own errors wrap ErrInvalid for
// wrong options; ErrUnreachable, ErrRobots or ErrElsewhere when the start
// addresses gave nothing; ctx's error; or that of Commit.
func Run(ctx context.Context, o Options, front *frontier.Frontier, hooks Hooks) (Summary, error) {
	o, err := o.Normal()
	if err != nil {
		return Summary{}, err
	}
	if front == nil {
		front = frontier.New(o.Limit())
	}
	fetch := newFetcher(o, hooks.Net)
	defer fetch.close()
	e := newEngine(o, fetch, front, hooks)
	e.expand = true
	for _, u := range o.Start {
		e.found(frontier.Item{URL: u})
	}
	e.sched.wakeAll()
	return e.run(ctx)
}

// engine is one crawl under way. Its fields belong to the goroutine of run.
type engine struct {
	opt    Options
	front  *frontier.Frontier
	hooks  Hooks
	fetch  *fetcher
	sched  *schedule
	expand bool // follow links

	jobs      chan job
	results   chan result
	flying    int
	batch     Batch
	batchAge  time.Time
	committed chan error // one commit at a time: nil when none is under way
	err       error

	sum    Summary
	starts map[string]*Page // what the start addresses gave
}

func newEngine(o Options, fetch *fetcher, front *frontier.Frontier, hooks Hooks) *engine {
	return &engine{
		opt: o, front: front, hooks: hooks,
		fetch:   fetch,
		sched:   newSchedule(front, o),
		jobs:    make(chan job, o.Total),
		results: make(chan result, o.Total),
		starts:  make(map[string]*Page),
	}
}

func (e *engine) run(ctx context.Context) (Summary, error) {
	began := time.Now()
	work, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for range e.opt.Total {
		workers.Go(func() {
			w := worker{fetcher: e.fetch}
			for j := range e.jobs {
				e.results <- w.do(work, j)
			}
		})
	}
	e.loop(ctx, stop)
	stop()
	close(e.jobs)
	workers.Wait()
	e.last(ctx)
	e.sum.ElapsedMS = time.Since(began).Milliseconds()
	e.front.Release()
	e.sum.Pending = e.front.Pending()
	e.sum.Limited = e.front.Full()
	switch {
	case e.err != nil:
		return e.sum, e.err
	case ctx.Err() != nil && !e.front.Idle():
		return e.sum, ctx.Err()
	}
	if !e.expand || len(e.starts) == 0 || len(e.starts) < len(e.opt.Start) {
		return e.sum, nil
	}
	return e.sum, StartError(e.opt, e.starts)
}

// loop deals out jobs and takes in results until nothing is left, or until ctx
// ends or a commit fails and what is under way came back.
func (e *engine) loop(ctx context.Context, stop context.CancelFunc) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	stopped := false
	for {
		if !stopped {
			e.deal()
		}
		if e.flying == 0 && (stopped || e.front.Idle()) {
			return
		}
		e.flush(ctx)
		e.arm(timer, stopped)
		select {
		case r := <-e.results:
			e.take(&r, stopped)
		case err := <-e.committed:
			if e.commitEnded(err); e.err != nil {
				stopped = true
				stop()
			}
		case <-timer.C:
		case <-done:
			done, stopped = nil, true
			stop()
		}
	}
}

// deal gives the workers what they can take.
func (e *engine) deal() {
	if e.lags() {
		return
	}
	if e.front.Advance() {
		e.sched.wakeAll()
	}
	now := time.Now()
	for e.flying < e.opt.Total {
		j, ok := e.sched.next(now)
		if !ok {
			return
		}
		e.flying++
		e.jobs <- j
	}
}

// arm sets the timer to the next thing that time alone brings about.
func (e *engine) arm(timer *time.Timer, stopped bool) {
	d := time.Hour
	now := time.Now()
	if w, ok := e.sched.wait(now); ok && !stopped && !e.lags() && e.flying < e.opt.Total {
		d = w
	}
	if e.pending() && e.committed == nil {
		d = min(d, FlushEvery-now.Sub(e.batchAge))
	}
	timer.Reset(max(d, 0))
}

func (e *engine) take(r *result, stopped bool) {
	e.flying--
	now := time.Now()
	e.sched.ended(r, now)
	if r.dropped {
		return
	}
	if r.again && r.attempt <= e.opt.Retries {
		if !stopped {
			e.sum.Retries++
			e.sched.again(r.job, now.Add(max(r.pause, wait(r.attempt))))
		}
		return
	}
	p := &r.page
	e.front.Finish(p.URL)
	if e.expand {
		for _, it := range e.fetch.scope.Found(p) {
			if e.found(it) {
				e.sched.wake(link.Host(it.URL))
			}
		}
	}
	if p.Depth == 0 && p.Hops == 0 {
		first := *p
		e.starts[p.URL] = &first
	}
	e.batch.links += len(p.Links)
	e.sum.Count(p)
	if !e.pending() {
		e.batchAge = now
	}
	e.batch.Pages = append(e.batch.Pages, *p)
	if e.hooks.Page != nil {
		e.hooks.Page(*p)
	}
}

// wait is the backoff after an attempt: doubling, and scattered by a quarter.
func wait(attempt int) time.Duration {
	d := min(backoff<<min(attempt-1, 10), maxBackoff)
	return d - d/4 + rand.N(d/2) //nolint:gosec // no secret
}

// found claims an address.
func (e *engine) found(it frontier.Item) bool {
	if !e.front.Add(it) {
		return false
	}
	if !e.pending() {
		e.batchAge = time.Now()
	}
	e.batch.Added = append(e.batch.Added, it)
	return true
}

func (e *engine) pending() bool { return len(e.batch.Pages)+len(e.batch.Added) > 0 }

// lags is true when nothing more may start before the commit under way ended.
func (e *engine) lags() bool { return e.committed != nil && e.full() }

func (e *engine) full() bool {
	return len(e.batch.Pages) >= FlushPages || e.batch.links >= flushLinks
}

// flush starts a commit if one is due and none is under way.
func (e *engine) flush(ctx context.Context) {
	if e.committed != nil || !e.pending() || !e.full() && time.Since(e.batchAge) < FlushEvery {
		return
	}
	if e.hooks.Commit == nil {
		e.batch = Batch{}
		return
	}
	b := e.batch
	e.batch = Batch{}
	answer := make(chan error, 1)
	e.committed = answer
	ctx = context.WithoutCancel(ctx)
	go func() { answer <- e.hooks.Commit(ctx, b) }()
}

func (e *engine) commitEnded(err error) {
	e.committed = nil
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("commit pages: %w", err)
	}
}

// last commits what is left, whatever ended the crawl but a failed commit.
func (e *engine) last(ctx context.Context) {
	if e.committed != nil {
		e.commitEnded(<-e.committed)
	}
	if e.err == nil && e.pending() && e.hooks.Commit != nil {
		e.commitEnded(e.hooks.Commit(context.WithoutCancel(ctx), e.batch))
	}
}

// StartError says why a crawl that found nothing but its start addresses ended
// there: it wraps ErrUnreachable, ErrRobots or ErrElsewhere, and is nil if any of
// the start addresses of the normal options gave something. Pages are what those
// gave, by address; one that is missing is no error.
func StartError(o Options, pages map[string]*Page) error {
	var first error
	for _, u := range o.Start {
		err := startProblem(o, pages[u])
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func startProblem(o Options, p *Page) error {
	switch {
	case p == nil:
		return nil
	case p.Skipped == SkippedHost:
		return fmt.Errorf("%s %w: start at %s instead, or name that host as well", p.URL, ErrElsewhere, p.Redirect)
	case p.Status == 0 && p.Error != "":
		return fmt.Errorf("%s %w: %s: check the address, and that its server answers from here", p.URL, ErrUnreachable, p.Error)
	case p.Skipped == SkippedRobots:
		return fmt.Errorf("%s is %w to %q: start elsewhere, or ignore robots.txt if the site is yours", p.URL, ErrRobots, token(o))
	}
	return nil
}

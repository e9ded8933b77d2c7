// Package scrape is the built-in task that crawls web sites. It is written as a
// user of faena would write it: two tasks, their handlers, and a reader of what
// they found.
//
//	err := node.Handle(scrape.Handlers(scrape.Options{})...)
//	fut, err := scrape.Crawl.Go(ctx, node, scrape.Input{Start: []string{"https://example.com/docs/"}})
//	for page, err := range scrape.Pages(ctx, node, fut.ID()) { … }
//	sum, err := fut.Get(ctx)
//
// A run of [Crawl] keeps the frontier, the addresses that are found and not
// fetched yet. It has them fetched, up to 50 of one host at a time, by child runs
// of [Fetch], and at most one of these is under way for each host, so that the
// limits of a host hold however many workers there are. The children are called
// batch-0, batch-1 and so on, and their outputs are the pages: the crawl's own
// output is but a [Summary].
//
// # Crashes
//
// Which addresses a batch has depends on timing. So a crawl that is executed
// again does not submit its children again but looks them up in their order, and
// the frontier follows from what they found. A batch that was finished is never
// fetched again; of those under way when a worker dies, what that worker had in
// hand is. A checkpoint now and then shortens the looking up and is needed for
// nothing. A worker that is told to end saves the pages of batches that it cuts
// off.
//
// A page's error never ends a crawl. A batch's, as when it kills its workers, is
// tried once more by the crawl, and then its pages are recorded as failed.
package scrape

import (
	"errors"
	"strconv"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
	"github.com/faena-dev/faena/tasks/scrape/frontier"
)

// Queue is where the runs of this package's tasks wait.
const Queue = "scrape"

var (
	// Crawl crawls from the start addresses. A run whose input is wrong, or whose
	// start addresses give nothing at all, fails with CodePermanent, and its error
	// says what to do.
	Crawl = faena.Define[Input, Summary]("scrape", faena.Queue(Queue), faena.Retry(5, time.Second), faena.Timeout(0), keep())

	// Fetch fetches addresses and follows nothing. It is for the children of Crawl,
	// which are kept as long as the crawl, and for a day at least.
	Fetch = faena.Define[Batch, Fetched]("scrape.fetch", faena.Queue(Queue), faena.Retry(5, time.Second), faena.Timeout(fetchTime), keep())
)

// fetchTime bounds an attempt at a batch: 50 pages one after the other, each with
// three timeouts of 30 s and two Retry-Afters of two minutes, take 4.6 hours.
const fetchTime = 6 * time.Hour

// keep is how long pages can be read, and a crawl be taken up, after they were
// fetched.
func keep() faena.Option { return faena.Keep(7*24*time.Hour, 30*24*time.Hour) }

// keepLeast is how long a batch is kept at least: its crawl, executed again, looks
// it up.
const keepLeast = 24 * time.Hour

// keepBatch is how long the batches of a crawl are kept: as long as the crawl.
func keepBatch(c *faena.Call) faena.Option {
	succeeded, failed := c.Keep()
	return faena.Keep(max(succeeded, keepLeast), max(failed, keepLeast))
}

// Input says what to crawl and how.
type Input = crawl.Options

// Summary is what a run of Crawl gives.
type Summary struct {
	// Summary counts the pages of the whole crawl, whatever crashed meanwhile. Its
	// time is from when the run was submitted.
	crawl.Summary
	// Batches is the number of child runs that were named.
	Batches int `json:"batches"`
}

// Batch is what a run of Fetch fetches.
type Batch struct {
	Options crawl.Options   `json:"options"`
	Items   []frontier.Item `json:"items"`
}

// Fetched is what a run of Fetch gives.
type Fetched struct {
	// Pages has one for each address, in their order.
	Pages []crawl.Page `json:"pages"`
	// Delay is what the host wants between two requests.
	Delay crawl.Duration `json:"delay,omitempty"`
}

// Options configure the handlers; the zero value works.
type Options struct {
	// Net replaces parts of the network; default the system's.
	Net crawl.Net
	// UserAgent is what servers are told where a run's input says nothing; default
	// crawl.DefaultUserAgent.
	UserAgent string

	saveEvery time.Duration // least time between checkpoints; default 2 s
}

// Handlers are the handlers of both tasks, for one node.Handle: a node that takes
// Crawl should take its children, too.
func Handlers(o Options) []faena.Handler {
	if o.saveEvery <= 0 {
		o.saveEvery = 2 * time.Second
	}
	f := &fetcher{net: o.Net, clients: make(map[string]*client)}
	return []faena.Handler{Crawl.WithCheck(o.crawl, checked), Fetch.With(f.fetch)}
}

// checked tells why a crawl would fail whatever the sites answer.
func checked(in Input) error {
	_, err := in.Normal()
	return err
}

// crawlTag is the tag of a crawl's children, with its id.
const crawlTag = "crawl"

// name is a batch's name among the children of its crawl.
func name(n int) string { return "batch-" + strconv.Itoa(n) }

// ended tells a run that did not succeed from a wait for it that failed.
func ended(err error) bool {
	switch faena.CodeOf(err) {
	case faena.CodeFailed, faena.CodePermanent, faena.CodePanic, faena.CodeTimeout, faena.CodeDeadline,
		faena.CodeInput, faena.CodeLost, faena.CodeCancelled, faena.CodeTooLarge:
		_, ok := errors.AsType[*faena.Error](err)
		return ok
	default:
		return false
	}
}

// given are the records of a batch that was given up because its run failed.
func given(items []frontier.Item, err error) []crawl.Page {
	why := err.Error()
	if e, ok := errors.AsType[*faena.Error](err); ok && e.Err != nil {
		why = e.Err.Error() // the run's id helps nobody here
	}
	pages := make([]crawl.Page, len(items))
	for i, it := range items {
		pages[i] = crawl.Page{URL: it.URL, Depth: it.Depth, Hops: it.Hops, Referrer: it.Referrer, Error: "not fetched: " + why}
	}
	return pages
}

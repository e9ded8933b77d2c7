package scrape

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
)

// How often the next batch is looked for: soon after the one before, for the
// crawl submits it then, and less often later.
const (
	lookFirst = 2 * time.Millisecond
	lookLast  = 250 * time.Millisecond
	lookLag   = 10 * time.Second // what was submitted is known by then
)

// Pages yields the pages of a crawl, from any process, while it goes on and
// afterwards, once for each address: batch by batch in the order of their
// numbers, and each batch's in the order of its addresses, so that every call
// yields the same in the same order. It holds one batch in memory. It ends when
// the crawl has ended; that of one that failed or was cancelled ends with the
// run's error. Pages that are not kept any more are an error with CodeNotFound.
func Pages(ctx context.Context, node *faena.Node, id faena.ID) iter.Seq2[crawl.Page, error] {
	return func(yield func(crawl.Page, error) bool) {
		whole, err := faena.Attach[Summary](ctx, node, id)
		if err != nil {
			yield(crawl.Page{}, err)
			return
		}
		r := &reader{node: node, whole: whole}
		for n := 0; ; n++ {
			pages, more, err := r.batch(ctx, n)
			for _, p := range pages {
				if !yield(p, nil) {
					return
				}
			}
			if err != nil {
				yield(crawl.Page{}, err)
				return
			}
			if !more {
				break
			}
		}
		if _, err := whole.Get(ctx); err != nil {
			yield(crawl.Page{}, err)
		}
	}
}

// reader reads a crawl's batches.
type reader struct {
	node  *faena.Node
	whole *faena.Future[Summary]
}

// end is how a crawl ended, as far as it has.
type end struct {
	over, succeeded bool
	batches         int // if it succeeded
}

func (r *reader) end(ctx context.Context) end {
	select {
	case <-r.whole.Done():
		sum, err := r.whole.Get(ctx)
		return end{true, err == nil, sum.Batches}
	default:
		return end{}
	}
}

// batch waits for a batch to end for good and gives its pages; more is false if
// there never will be one of that number.
func (r *reader) batch(ctx context.Context, n int) (pages []crawl.Page, more bool, err error) {
	pause := lookFirst
	for begun := time.Now(); ; pause = min(2*pause, lookLast) {
		e := r.end(ctx) // before what it has done is looked for
		if e.succeeded && n >= e.batches {
			return nil, false, nil
		}
		f, ok, err := Fetch.Child(ctx, r.node, r.whole.ID(), name(n))
		switch {
		case err != nil:
			return nil, false, err
		case ok:
			pages, sure, err := r.read(ctx, f, e)
			if sure || err != nil {
				return pages, true, err
			}
			// It failed, and the crawl tries it once more.
		case e.over && !e.succeeded:
			return nil, false, nil
		case e.over && time.Since(begun) > lookLag:
			return nil, false, &faena.Error{
				Code: faena.CodeNotFound, Op: fmt.Sprintf("read crawl %s", r.whole.ID()),
				Err: fmt.Errorf("the pages of %s are not kept any more", name(n)),
			}
		}
		if err := r.rest(ctx, pause, e.over); err != nil {
			return nil, false, err
		}
	}
}

// read waits for a batch's run; sure is false if another may take its place. Of
// the batches that failed, a crawl that succeeded has given up their pages, and
// one that did not has said nothing of them.
func (r *reader) read(ctx context.Context, f *faena.Future[Fetched], e end) (pages []crawl.Page, sure bool, err error) {
	got, err := f.Get(ctx)
	switch {
	case err == nil:
		return got.Pages, true, nil
	case ctx.Err() != nil || !ended(err):
		return nil, false, err
	case !e.over:
		return nil, false, nil
	case !e.succeeded:
		return nil, true, nil
	}
	items, ierr := itemsOf(ctx, r.node, f.ID())
	return given(items, err), true, ierr
}

// rest waits a while, or until the crawl ends.
func (r *reader) rest(ctx context.Context, d time.Duration, over bool) error {
	t := time.NewTimer(d)
	defer t.Stop()
	done := r.whole.Done()
	if over {
		done = nil
	}
	select {
	case <-t.C:
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

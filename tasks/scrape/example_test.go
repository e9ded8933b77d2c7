package scrape_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/scrape"
)

func ExamplePages() {
	pages := map[string]string{
		"/":  `<title>Start</title><a href="/a">a</a>`,
		"/a": `<title>A</title><a href="/">back</a>`,
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, text) //nolint:errcheck // the client tells
	}))
	defer site.Close()

	ctx := context.Background()
	dir, err := os.MkdirTemp("", "faena")
	check(err)
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	check(err)
	node, err := faena.Open(ctx, eng, faena.Options{})
	check(err)
	check(node.Handle(scrape.Handlers(scrape.Options{})...))

	fut, err := scrape.Crawl.Go(ctx, node, scrape.Input{Start: []string{site.URL}})
	check(err)
	for page, err := range scrape.Pages(ctx, node, fut.ID()) { // while the crawl goes on
		check(err)
		fmt.Println(strings.TrimPrefix(page.URL, site.URL), page.Status, page.Title)
	}
	sum, err := fut.Get(ctx)
	check(err)
	fmt.Println(sum.Pages, "pages")
	check(errors.Join(node.Close(), eng.Close(), os.RemoveAll(dir)))
	// Output:
	// / 200 Start
	// /a 200 A
	// 2 pages
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

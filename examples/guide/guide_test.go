// Package guide_test has the pieces of code that the guide shows, as they are.
package guide_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

type (
	Page struct{ URL string }
	Text struct{ Body string }
)

var Scrape = faena.Define[Page, Text]("scrape-page",
	faena.Retry(5, time.Second), faena.Timeout(30*time.Second), faena.Queue("web"))

func scrape(_ context.Context, p Page) (Text, error) { return Text{"the text of " + p.URL}, nil }

var Digest = faena.Define[[]Page, int]("digest")

func digest(ctx context.Context, pages []Page) (int, error) {
	call, _ := faena.Current(ctx)
	front, err := Scrape.Go(ctx, call.Node(), pages[0], faena.Named("front"))
	if err != nil {
		return 0, err
	}
	rest, err := Scrape.Batch(ctx, call.Node(), pages[1:])
	if err != nil {
		return 0, err
	}
	texts, err := faena.All(ctx, append(rest, front)...) // without a slot meanwhile
	n := 0
	for _, t := range texts {
		n += len(t.Body)
	}
	return n, err
}

func Example() {
	defer inTemp()()
	ctx := context.Background()

	eng, err := embedded.Open(ctx, embedded.Options{Dir: "data"})
	check(err)
	node, err := faena.Open(ctx, eng, faena.Options{Slots: 8})
	check(err)
	check(node.Handle(Scrape.With(scrape)))

	check(node.Handle(Digest.With(digest)))
	parent, err := Digest.Go(ctx, node, []Page{{"/"}, {"/a"}, {"/b"}})
	check(err)
	fmt.Println(parent.Get(ctx))

	front, found, err := Scrape.Child(ctx, node, parent.ID(), "front")
	check(err)
	fmt.Println(found)
	saved := front.ID().String()

	id, err := faena.ParseID(saved)
	check(err)
	fut, err := faena.Attach[Text](ctx, node, id)
	check(err)
	text, err := fut.Get(ctx)
	check(err)

	fmt.Println(text.Body)
	check(errors.Join(node.Close(), eng.Close()))
	// Output:
	// 41 <nil>
	// true
	// the text of /
}

// inTemp changes to a directory of its own, and gives the way back.
func inTemp() func() {
	back, err := os.Getwd()
	check(err)
	dir, err := os.MkdirTemp("", "faena")
	check(err)
	check(os.Chdir(dir))
	return func() { check(errors.Join(os.Chdir(back), os.RemoveAll(dir))) }
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

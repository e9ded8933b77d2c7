package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/gateway"
)

// A program of one's own serves its runs, the pages and the API.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "faena")
	check(err)
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	check(err)
	node, err := faena.Open(ctx, eng, faena.Options{})
	check(err)
	greet := faena.Define[string, string]("greet")
	check(node.Handle(greet.With(func(_ context.Context, name string) (string, error) { return "Hello, " + name, nil })))

	g, err := gateway.New(node, gateway.Options{}) // the zero value is for loopback
	check(err)
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	check(err)
	srv := gateway.Server(g, nil)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	body := strings.NewReader(`{"task": "greet", "input": "world", "wait": "10s"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+ln.Addr().String()+"/api/v1/runs", body)
	check(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	check(err)
	text, err := io.ReadAll(resp.Body)
	check(errors.Join(err, resp.Body.Close()))
	fmt.Println(resp.Status, strings.Contains(string(text), `"output":"Hello, world"`))

	g.Leave()           // no new runs, while pages and probes are answered
	check(node.Close()) // gives what is under way its grace
	check(g.Close())    // ends what waits, so that the server can end
	check(srv.Shutdown(ctx))
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
	check(errors.Join(eng.Close(), os.RemoveAll(dir)))
	// Output: 201 Created true
}

// There is no login: beyond loopback it must be said that one knows.
func ExampleCheckAddr() {
	fmt.Println(gateway.CheckAddr("127.0.0.1:8420", false))
	fmt.Println(faena.CodeOf(gateway.CheckAddr("0.0.0.0:8420", false)))
	fmt.Println(gateway.CheckAddr("0.0.0.0:8420", true))
	// Output:
	// <nil>
	// invalid
	// <nil>
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

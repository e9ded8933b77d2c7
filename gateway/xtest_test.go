package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/gateway"
)

var (
	echo = faena.Define[json.RawMessage, json.RawMessage]("echo", faena.Queue("quick"))
	sour = faena.Define[json.RawMessage, string]("sour", faena.Queue("quick"))
	hang = faena.Define[json.RawMessage, string]("hang", faena.Queue("slow"), faena.Retry(3, time.Second))
)

// onDisk gives a gateway on the embedded engine with a worker for three tasks:
// one that answers with its input, one that fails, one that ends by cancelling.
func onDisk(t *testing.T, o gateway.Options) *gateway.Gateway {
	t.Helper()
	eng, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	n, err := faena.Open(t.Context(), eng, faena.Options{Slots: 4, MaxInput: 1 << 20, Grace: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.Close(), eng.Close()); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	if err := n.Handle(
		echo.With(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }),
		sour.With(func(context.Context, json.RawMessage) (string, error) {
			return "", faena.Permanent(errors.New("<b>no</b> luck"))
		}),
		hang.With(func(ctx context.Context, _ json.RawMessage) (string, error) {
			faena.Progress(ctx, 0.25, "a quarter")
			<-ctx.Done()
			return "", ctx.Err()
		}),
	); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	return on(t, n, o)
}

// on gives a gateway for a node.
func on(t *testing.T, n *faena.Node, o gateway.Options) *gateway.Gateway {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g, err := gateway.New(n, o)
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return g
}

// fake is an engine that answers reads with what it is told to.
type fake struct {
	engine.Engine
	mu     sync.Mutex
	err    error // of every read
	counts []faena.Count
	queues []faena.QueueInfo
	asked  faena.Query
	page   faena.Page
	runs   []faena.Info // to be listed instead of page, by state and task
	status faena.Status
	infos  map[faena.ID]*faena.Info
}

func (f *fake) Done() <-chan struct{} { return nil }
func (f *fake) Err() error            { return nil }

func (f *fake) Get(_ context.Context, id faena.ID) (*faena.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	if in := f.infos[id]; in != nil {
		return in, nil
	}
	return nil, &faena.Error{Code: faena.CodeNotFound, Err: errors.New("no such run")}
}

func (f *fake) List(_ context.Context, q faena.Query) (*faena.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = q
	if err := q.Check(); err != nil {
		return nil, err
	}
	p := f.page
	for i := range f.runs {
		if in := f.runs[i]; slices.Contains(q.States, in.State) && (q.Task == "" || q.Task == in.Task) && len(p.Runs) < q.Limit {
			p.Runs = append(p.Runs, in)
		}
	}
	return &p, f.err
}

func (f *fake) Counts(context.Context) ([]faena.Count, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts, f.err
}

func (f *fake) Queues(context.Context) ([]faena.QueueInfo, error) { return f.queues, f.err }
func (f *fake) Nodes(context.Context) ([]faena.NodeInfo, error)   { return nil, f.err }

func (f *fake) Status(context.Context) (*faena.Status, error) {
	s := f.status
	return &s, f.err
}

// onFake gives a gateway whose node has f for an engine.
func onFake(t *testing.T, f *fake, o gateway.Options) *gateway.Gateway {
	t.Helper()
	n, err := faena.Open(t.Context(), f, faena.Options{})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return on(t, n, o)
}

// send makes a request as a program on this machine does; headers are given as
// key, value.
func send(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	r.Host = "localhost:8080"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body = http.NoBody
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// read decodes an answer, which must have a status.
func read[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status = %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("decode %s: %v", w.Body, err)
	}
	return v
}

// submit makes a run and waits for its end, if wait is not empty.
func submit(t *testing.T, h http.Handler, task, input, wait string) faena.Info {
	t.Helper()
	body := `{"task": "` + task + `", "input": ` + input + `, "wait": "` + wait + `"}`
	return read[faena.Info](t, send(h, "POST", "/api/v1/runs", body), http.StatusCreated)
}

// until asks for a run until it is in a state.
func until(t *testing.T, h http.Handler, id faena.ID, want faena.State) faena.Info {
	t.Helper()
	for {
		in := read[faena.Info](t, send(h, "GET", "/api/v1/runs/"+id.String(), ""), http.StatusOK)
		if in.State == want {
			return in
		}
		if in.State.Terminal() {
			t.Fatalf("run %s is %s, want %s", id, in.State, want)
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

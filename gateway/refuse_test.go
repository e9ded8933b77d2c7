package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/gateway"
)

// A cursor of a list with other conditions was taken, and gave rows of neither.
func TestCursorOfAnotherListIsRefused(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	for range 3 {
		submit(t, g, "echo", `1`, "10s")
		submit(t, g, "sour", `1`, "10s")
	}
	next := read[faena.Page](t, send(g, "GET", "/api/v1/runs?limit=1&state=succeeded&state=failed&task=echo&queue=quick", ""), http.StatusOK).Next
	for query, want := range map[string]int{
		"limit=2&queue=quick&task=echo&state=failed,succeeded":                   http.StatusOK, // the same in other words
		"limit=1&state=succeeded&state=failed&queue=quick":                       http.StatusBadRequest,
		"limit=1&state=succeeded&task=echo&queue=quick":                          http.StatusBadRequest,
		"state=succeeded,failed&task=echo&queue=quick&tag=a:b":                   http.StatusBadRequest,
		"state=succeeded,failed&task=echo&queue=other":                           http.StatusBadRequest,
		"state=succeeded,failed&task=echo&queue=quick&retried=true":              http.StatusBadRequest,
		"state=succeeded,failed&task=echo&queue=quick&from=2030-01-01T00:00:00Z": http.StatusBadRequest,
		"": http.StatusBadRequest,
	} {
		w := send(g, "GET", "/api/v1/runs?"+query+"&cursor="+next, "")
		if w.Code != want || next == "" {
			t.Errorf("the cursor %q with %s = %d %s, want %d", next, query, w.Code, w.Body, want)
		}
	}
}

// Conditions that no run can meet gave an empty list, or the last of them won.
func TestImpossibleConditions(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{})
	for query, where := range map[string]string{
		"from=2030-01-02T00:00:00Z&to=2030-01-01T00:00:00Z": "query.to",
		"limit=1&limit=2": "query.limit", "task=a&task=b": "query.task", "queue=a%20b": "query.queue", "task=%C3%A9": "query.task",
		"task=" + strings.Repeat("x", 65): "query.task", "tag=a:%ff": "query.tag",
		"order=age": "query.order", "order=next&state=running": "query.order", "order=ended&cursor=x": "query.order", "limit=1;state=failed": "query", "state=failed%": "query", "%zz": "query",
	} {
		p := read[gateway.Problem](t, send(g, "GET", "/api/v1/runs?"+query, ""), http.StatusBadRequest)
		if len(p.Errors) != 1 || p.Errors[0].Location != where || p.Remedy == "" {
			t.Errorf("GET runs?%s = %+v, want an error at %s with its remedy", query, p, where)
		}
	}
	for body, want := range map[string]int{
		`{"task": "a b"}`: http.StatusUnprocessableEntity, `{"from": "2030-01-02T00:00:00Z", "to": "2030-01-01T00:00:00Z"}`: http.StatusUnprocessableEntity,
		"{\"tags\": {\"a\": \"\xff\"}}": http.StatusBadRequest,
	} {
		if w := send(g, "POST", "/api/v1/runs:cancel", body); w.Code != want {
			t.Errorf("POST runs:cancel %q = %d %s, want %d", body, w.Code, w.Body, want)
		}
	}
}

// A run was stored in a queue that nobody takes its task from, and the queue made.
func TestQueueThatNobodyTakesTheTaskFromIsRefused(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	for !strings.Contains(send(g, "GET", "/api/v1/nodes", "").Body.String(), `"echo"`) { // it has not told of itself yet
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	for path, body := range map[string]string{
		"/api/v1/runs":       `{"task": "echo", "input": 1, "queue": "nope"`,
		"/api/v1/runs:batch": `{"task": "echo", "inputs": [1], "queue": "nope"`,
	} {
		p := read[gateway.Problem](t, send(g, "POST", path, body+"}"), http.StatusUnprocessableEntity)
		if p.Code != "unknown_task" || !strings.Contains(p.Detail, `from queue "nope", but from quick`) || !strings.Contains(p.Remedy, "wait_for_worker") {
			t.Errorf("POST %s to a queue that nobody takes from = %+v, want code unknown_task, the queue and the remedy", path, p)
		}
	}
	if w := send(g, "GET", "/api/v1/queues", ""); strings.Contains(w.Body.String(), "nope") {
		t.Errorf("queues = %s, want none of that name", w.Body)
	}
	for path, body := range map[string]string{
		"/api/v1/runs":       `{"task": "echo", "input": 1, "queue": "nope", "wait_for_worker": true}`,
		"/api/v1/runs:batch": `{"task": "echo", "inputs": [1], "queue": "quick"}`,
	} {
		if w := send(g, "POST", path, body); w.Code != http.StatusCreated {
			t.Errorf("POST %s %s = %d %s, want 201", path, body, w.Code, w.Body)
		}
	}
}

// Lists of states were printed as Go prints a slice.
func TestStatesInWords(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{})
	const want = "scheduled, queued, running, waiting, retrying, succeeded, failed, cancelled"
	for what, p := range map[string]gateway.Problem{
		"query": read[gateway.Problem](t, send(g, "GET", "/api/v1/runs?state=foo", ""), http.StatusBadRequest),
		"body":  read[gateway.Problem](t, send(g, "POST", "/api/v1/runs:cancel", `{"states": ["foo"]}`), http.StatusUnprocessableEntity),
	} {
		if !strings.HasSuffix(p.Remedy, " of "+want) {
			t.Errorf("remedy of a wrong state in the %s = %q, want %q at its end", what, p.Remedy, want)
		}
	}
}

// Remedies spoke of something else than what was wrong.
func TestRemediesFitTheRequest(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	for _, c := range []struct {
		path, body, detail, remedy string
		status                     int
	}{
		{"/api/v1/runs:cancel", " ", "the body is empty", `"states"`, http.StatusBadRequest},
		{"/api/v1/runs:batch", " ", "the body is empty", `"inputs"`, http.StatusBadRequest},
		{"/api/v1/runs", " ", "the body is empty", `"input"`, http.StatusBadRequest},
		{"/api/v1/runs", `{"task": "echo", "delay": "99999999h"}`, "too long", "876000h", http.StatusUnprocessableEntity},
		{"/api/v1/runs", `{"task": "echo", "delay": "-1h"}`, "negative", "0s or more", http.StatusUnprocessableEntity},
		{"/api/v1/runs", `{"task": "echo", "delay": "5"}`, "not a time", "unit", http.StatusUnprocessableEntity},
		{"/api/v1/queues/nosuch/pause", "", `no queue "nosuch"`, "/api/v1/queues", http.StatusNotFound},
		{"/api/v1/queues/nosuch/resume", "", `no queue "nosuch"`, "/api/v1/queues", http.StatusNotFound},
	} {
		p := read[gateway.Problem](t, send(g, "POST", c.path, c.body), c.status)
		if !strings.Contains(p.Detail, c.detail) || !strings.Contains(p.Remedy, c.remedy) {
			t.Errorf("POST %s %s = %+v, want %q and the remedy %q", c.path, c.body, p, c.detail, c.remedy)
		}
	}
}

// JSON was given at one page only; the others gave HTML whatever was asked for.
func TestPagesAsJSONAreTheAPIs(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	e := submit(t, g, "echo", `1`, "10s")
	submit(t, g, "sour", `1`, "10s")
	for path, api := range map[string]string{
		"/runs": "/api/v1/runs", "/runs?state=failed": "/api/v1/runs?state=failed", "/runs/" + e.ID.String(): "/api/v1/runs/" + e.ID.String(),
	} {
		got, want := send(g, "GET", path, "", "Accept", "application/json"), send(g, "GET", api, "")
		if got.Code != http.StatusOK || got.Body.String() != want.Body.String() || got.Header().Get("Vary") != "Accept" {
			t.Errorf("GET %s as JSON = %d %s, want what %s gives: %s", path, got.Code, got.Body, api, want.Body)
		}
	}
	if s := read[gateway.Status](t, send(g, "GET", "/", "", "Accept", "application/json"), http.StatusOK); s.State != "ok" || len(s.Queues) == 0 {
		t.Errorf("GET / as JSON = %+v, want the status", s)
	}
	if w := send(g, "GET", "/runs?limit=0", "", "Accept", "application/json"); w.Code != http.StatusBadRequest || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("GET /runs?limit=0 as JSON = %d %s, want a problem", w.Code, w.Header().Get("Content-Type"))
	}
}

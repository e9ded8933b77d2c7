package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/gateway"
)

func TestSubmitAndRead(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	w := send(g, "POST", "/api/v1/runs", `{"task": "echo", "input": {"n": 12345678901234567890}, "tags": {"user": "ana"}, "wait": "30s"}`)
	in := read[faena.Info](t, w, http.StatusCreated)
	if got, want := w.Header().Get("Location"), "/api/v1/runs/"+in.ID.String(); got != want {
		t.Errorf("Location = %q, want %q", got, want)
	}
	if in.State != faena.Succeeded || in.Queue != "quick" || in.Task != "echo" || in.Tags["user"] != "ana" {
		t.Errorf("submitted = %+v, want it succeeded in queue quick with its tag", in)
	}
	again := read[faena.Info](t, send(g, "GET", w.Header().Get("Location"), ""), http.StatusOK)
	if d := cmp.Diff(in, again); d != "" {
		t.Errorf("read again (-submitted +read)\n%s", d)
	}
	out := send(g, "GET", w.Header().Get("Location")+"/output", "")
	if got, want := strings.ReplaceAll(out.Body.String(), " ", ""), `{"n":12345678901234567890}`; out.Code != http.StatusOK || got != want {
		t.Errorf("output = %d %s, want %s", out.Code, got, want)
	}
	if p := read[gateway.Problem](t, send(g, "GET", w.Header().Get("Location")+"/input", ""), http.StatusNotFound); !strings.Contains(p.Detail, "gone") || !strings.Contains(p.Remedy, "not kept once its run has succeeded") {
		t.Errorf("input of a run that has succeeded = %+v, want that it is gone", p)
	}
	later := read[faena.Info](t, send(g, "POST", "/api/v1/runs", `{"task": "echo", "delay": "1h", "queue": "quick", "attempts": 2, "backoff": "3s", "timeout": "1m"}`), http.StatusCreated)
	if later.State != faena.Scheduled || later.At == nil || time.Until(*later.At) < 59*time.Minute || later.Attempts != 2 {
		t.Errorf("submitted for later = %+v, want it scheduled in an hour with 2 attempts", later)
	}
	wait := read[faena.Info](t, send(g, "POST", "/api/v1/runs", `{"task": "not-yet", "wait_for_worker": true}`), http.StatusCreated)
	big := `"` + strings.Repeat("x", 300<<10) + `"`
	large := read[faena.Info](t, send(g, "POST", "/api/v1/runs", `{"task": "not-yet", "wait_for_worker": true, "input": `+big+`}`), http.StatusCreated)
	if large.InputSize != int64(len(big)) || large.Input != nil {
		t.Errorf("submitted with a large input = %d bytes, want %d and not the input", large.InputSize, len(big))
	}
	if in := send(g, "GET", "/api/v1/runs/"+large.ID.String()+"/input", ""); in.Code != http.StatusOK || in.Body.String() != big {
		t.Errorf("input = %d with %d bytes, want what was submitted", in.Code, in.Body.Len())
	}
	if wait.State != faena.Queued {
		t.Errorf("a run that waits for a worker is %s, want queued", wait.State)
	}
	b := read[gateway.Batch](t, send(g, "POST", "/api/v1/runs:batch", `{"task": "echo", "inputs": [1, 2, 3]}`), http.StatusCreated)
	if len(b.IDs) != 3 {
		t.Fatalf("batch = %v, want 3 ids", b.IDs)
	}
	if in := until(t, g, b.IDs[2], faena.Succeeded); string(in.Output) != "3" {
		t.Errorf("the third of a batch gave %s, want 3", in.Output)
	}
}

// What a task's definition says counts for runs submitted by name, too.
func TestSettingsOfTheTaskCount(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	for body, want := range map[string]int{
		`{"task": "hang", "delay": "1h"}`:                                           3,
		`{"task": "hang", "delay": "1h", "attempts": 2}`:                            2,
		`{"task": "hang", "delay": "1h", "backoff": "3s"}`:                          5,
		`{"task": "echo", "delay": "1h"}`:                                           5,
		`{"task": "not-yet", "delay": "1h", "wait_for_worker": true, "queue": "x"}`: 5,
	} {
		in := read[faena.Info](t, send(g, "POST", "/api/v1/runs", body), http.StatusCreated)
		if in.Attempts != want {
			t.Errorf("%s gives a run of %d attempts, want %d", body, in.Attempts, want)
		}
	}
}

func TestCancelAndRetry(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	h := submit(t, g, "hang", "null", "")
	until(t, g, h.ID, faena.Running)
	path := "/api/v1/runs/" + h.ID.String()
	if p := read[gateway.Problem](t, send(g, "GET", path+"/output", ""), http.StatusConflict); p.Code != "conflict" {
		t.Errorf("output of a running run has code %q, want conflict", p.Code)
	}
	if p := read[gateway.Problem](t, send(g, "POST", path+"/retry", ""), http.StatusConflict); p.Code != "conflict" {
		t.Errorf("retry of a running run has code %q, want conflict", p.Code)
	}
	for range 2 { // the second finds it cancelled
		if in := read[faena.Info](t, send(g, "POST", path+"/cancel", ""), http.StatusOK); in.State != faena.Cancelled {
			t.Errorf("cancelled run is %s", in.State)
		}
	}
	f := submit(t, g, "sour", "1", "30s")
	if f.State != faena.Failed || f.Error == nil || f.Error.Code != faena.CodePermanent {
		t.Fatalf("sour = %+v, want it failed", f)
	}
	path = "/api/v1/runs/" + f.ID.String()
	if p := read[gateway.Problem](t, send(g, "GET", path+"/output", ""), http.StatusConflict); p.Code != "permanent" || !strings.Contains(p.Detail, "luck") {
		t.Errorf("output of a failed run = %+v, want its error", p)
	}
	if p := read[gateway.Problem](t, send(g, "POST", path+"/cancel", ""), http.StatusConflict); p.Code != "conflict" {
		t.Errorf("cancel of a failed run has code %q, want conflict", p.Code)
	}
	w := send(g, "POST", path+"/retry", "")
	again := read[faena.Info](t, w, http.StatusCreated)
	if again.ID == f.ID || w.Header().Get("Location") != "/api/v1/runs/"+again.ID.String() || again.Task != "sour" {
		t.Errorf("retry = %+v at %q, want a new run of sour", again, w.Header().Get("Location"))
	}
	until(t, g, again.ID, faena.Failed)
	if c := read[gateway.Changed](t, send(g, "POST", "/api/v1/runs:retry", `{"states": ["failed"], "task": "sour"}`), http.StatusOK); c.Runs < 1 {
		t.Errorf("retried %d runs, want some", c.Runs)
	}
	submit(t, g, "hang", "null", "")
	if c := read[gateway.Changed](t, send(g, "POST", "/api/v1/runs:cancel", `{"states": ["queued", "running"]}`), http.StatusOK); c.Runs < 1 {
		t.Errorf("cancelled %d runs, want some", c.Runs)
	}
	if w := send(g, "POST", path+"/cancel", "x=1", "Content-Type", "application/x-www-form-urlencoded"); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("cancel by a form = %d, want 415", w.Code)
	}
}

func TestQueuesAndNodes(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	submit(t, g, "echo", "1", "30s")
	paused := func() bool {
		t.Helper()
		for _, q := range read[gateway.Queues](t, send(g, "GET", "/api/v1/queues", ""), http.StatusOK).Queues {
			if q.Name == "quick" {
				return q.Paused
			}
		}
		t.Fatal("there is no queue quick")
		return false
	}
	for _, c := range []struct {
		do   string
		want bool
	}{{"pause", true}, {"resume", false}} {
		if w := send(g, "POST", "/api/v1/queues/quick/"+c.do, ""); w.Code != http.StatusNoContent {
			t.Errorf("%s = %d %s, want 204", c.do, w.Code, w.Body)
		}
		if paused() != c.want {
			t.Errorf("after %s paused = %t", c.do, !c.want)
		}
		w := send(g, "POST", "/queues/quick/"+c.do, "", "Sec-Fetch-Site", "same-origin")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") == "" || paused() != c.want {
			t.Errorf("form to %s = %d to %q", c.do, w.Code, w.Header().Get("Location"))
		}
	}
	if p := read[gateway.Problem](t, send(g, "POST", "/api/v1/queues/none/pause", ""), http.StatusNotFound); p.Code != "not_found" {
		t.Errorf("pause of no queue has code %q, want not_found", p.Code)
	}
	nodes := read[gateway.Nodes](t, send(g, "GET", "/api/v1/nodes", ""), http.StatusOK).Nodes
	if len(nodes) != 1 || len(nodes[0].Tasks) != 3 {
		t.Errorf("nodes = %+v, want one with 3 tasks", nodes)
	}
	counts := read[gateway.Counts](t, send(g, "GET", "/api/v1/counts", ""), http.StatusOK).Counts
	want := []faena.Count{{Queue: "quick", Task: "echo", State: faena.Succeeded, N: 1, Finished: 1}}
	if d := cmp.Diff(want, counts); d != "" {
		t.Errorf("counts (-want +got)\n%s", d)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	id, err := faena.ParseID("06h0qa6ae0001ba6vxde2kp74m")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{page: faena.Page{Runs: []faena.Info{{ID: id, Task: "x", State: faena.Failed}}, Next: "c2"}}
	g := onFake(t, f, gateway.Options{})
	w := send(g, "GET", "/api/v1/runs?state=failed,cancelled&state=queued&queue=q&task=x&tag=k:v:w&from=2030-01-02T03:04:05Z&to=2031-01-02T03:04:05Z&retried=true&limit=7&cursor=c1", "")
	p := read[faena.Page](t, w, http.StatusOK)
	if d := cmp.Diff(f.page, p); d != "" {
		t.Errorf("page (-want +got)\n%s", d)
	}
	want := faena.Query{
		States: []faena.State{faena.Queued, faena.Failed, faena.Cancelled}, Queue: "q", Task: "x", Tags: []faena.Tag{{Key: "k", Value: "v:w"}},
		From: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), To: time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC), Retried: true, Limit: 7, Cursor: "c1",
	}
	if d := cmp.Diff(want, f.asked); d != "" {
		t.Errorf("asked (-want +got)\n%s", d)
	}
	if link := w.Header().Get("Link"); !strings.Contains(link, "cursor=c2") || !strings.Contains(link, `rel="next"`) {
		t.Errorf("Link = %q, want the next page", link)
	}
	f.page = faena.Page{}
	if w := send(g, "GET", "/api/v1/runs", ""); strings.TrimSpace(w.Body.String()) != `{"runs":[]}` {
		t.Errorf("empty list = %s, want no null", w.Body)
	}
	for query, at := range map[string]string{
		"state=done": "query.state", "tag=x": "query.tag", "from=yesterday": "query.from", "retried=perhaps": "query.retried",
		"limit=0": "query.limit", "limit=501": "query.limit", "limit=x": "query.limit", "page=2": "query.page",
	} {
		p := read[gateway.Problem](t, send(g, "GET", "/api/v1/runs?"+query, ""), http.StatusBadRequest)
		if len(p.Errors) != 1 || p.Errors[0].Location != at || p.Remedy == "" {
			t.Errorf("GET ?%s = %+v, want an error at %s with its remedy", query, p, at)
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{MaxBody: 1<<20 + 1000})
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		body, kind string
		status     int
		code, says string
	}{
		"no body":           {"", "application/json", 400, "json", "empty"},
		"blank":             {"  \n ", "", 400, "json", "empty"},
		"not JSON":          {"{\n  \"task\": echo\n}", "", 400, "json", "line 2, column 11"},
		"cut off":           {`{"task": "ec`, "", 400, "json", "middle"},
		"two objects":       {`{"task": "echo"} {}`, "", 400, "json", "goes on"},
		"broken input":      {`{"task": "echo", "input": {]}`, "", 400, "json", "column 28"},
		"deep":              {`{"task": "echo", "input": ` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", "", 400, "json", "depth"},
		"an array":          {`[]`, "", 422, "invalid", "want an object, got a list"},
		"null":              {`null`, "", 422, "invalid", "body.task"},
		"no task":           {`{"input": 1}`, "", 422, "invalid", "body.task"},
		"task of number":    {`{"task": 7}`, "", 422, "invalid", "body.task: want text, got a number"},
		"tags of array":     {`{"task": "echo", "tags": ["a"]}`, "", 422, "invalid", "body.tags: want an object, got a list"},
		"attempts of text":  {`{"task": "echo", "attempts": "3"}`, "", 422, "invalid", "body.attempts: want a whole number, got text"},
		"attempts of part":  {`{"task": "echo", "attempts": 1.5}`, "", 422, "invalid", "body.attempts"},
		"endless attempts":  {`{"task": "echo", "attempts": ` + strings.Repeat("9", 1000) + `}`, "", 422, "invalid", "got " + strings.Repeat("9", 64) + "..."},
		"no attempts":       {`{"task": "echo", "attempts": 0}`, "", 422, "invalid", "1 to 65535"},
		"unknown field":     {`{"task": "echo", "inputs": 1}`, "", 422, "invalid", "body.inputs: there is no such field"},
		"odd task":          {`{"task": "a b"}`, "", 422, "invalid", "a b"},
		"odd queue":         {`{"task": "echo", "queue": "../x"}`, "", 422, "invalid", "../x"},
		"odd tag":           {`{"task": "echo", "tags": {"": "x"}}`, "", 422, "invalid", "tag"},
		"tag of number":     {`{"task": "echo", "tags": {"b": 5, "a": "x"}}`, "", 422, "invalid", "body.tags.b: want text, got a number"},
		"field twice":       {`{"task": "echo", "input": {"\"": "\\", "task": 1, "a": 1, "a": 2}, "Task": "other"}`, "", 400, "json", "task is there twice"},
		"tag twice":         {`{"task": "echo", "tags": {"a": "tags", "b": "1", "a" : "2"}}`, "", 400, "json", "tag a is there twice"},
		"delay of number":   {`{"task": "echo", "delay": 5}`, "", 422, "invalid", "body.delay: want text"},
		"delay of text":     {`{"task": "echo", "delay": "soon"}`, "", 422, "invalid", `"soon"`},
		"negative delay":    {`{"task": "echo", "delay": "-5s"}`, "", 422, "invalid", `"-5s"`},
		"delay and at":      {`{"task": "echo", "delay": "5s", "at": "2030-01-01T00:00:00Z"}`, "", 422, "invalid", "body.at"},
		"odd time":          {`{"task": "echo", "at": "tomorrow"}`, "", 422, "invalid", "tomorrow"},
		"deadline in past":  {`{"task": "echo", "deadline": "2001-01-01T00:00:00Z"}`, "", 422, "invalid", "deadline"},
		"odd timeout":       {`{"task": "echo", "timeout": "1"}`, "", 422, "invalid", "body.timeout"},
		"odd backoff":       {`{"task": "echo", "backoff": "1 s"}`, "", 422, "invalid", "body.backoff"},
		"long wait":         {`{"task": "echo", "wait": "2h"}`, "", 422, "invalid", "body.wait"},
		"unknown task":      {`{"task": "nobody"}`, "", 422, "unknown_task", "nobody"},
		"text":              {`{"task": "echo"}`, "text/plain", 415, "content_type", "text/plain"},
		"form":              {`task=echo`, "application/x-www-form-urlencoded", 415, "content_type", "form"},
		"no content type":   {`{"task": "echo"}`, "-", 415, "content_type", `""`},
		"latin":             {`{"task": "echo"}`, "application/json; charset=latin1", 415, "content_type", "latin1"},
		"body too large":    {`{"task": "echo", "input": "` + large + large + `"}`, "", 413, "too_large", "over the limit"},
		"input over node's": {`{"task": "echo", "input": "` + large + `"}`, "", 413, "too_large", "MaxInput"},
	} {
		kind := c.kind
		switch kind {
		case "":
			kind = "application/json"
		case "-":
			kind = ""
		}
		w := send(g, "POST", "/api/v1/runs", c.body, "Content-Type", kind)
		if w.Code != c.status {
			t.Errorf("%s: status = %d, want %d: %.300s", name, w.Code, c.status, w.Body)
			continue
		}
		p := read[gateway.Problem](t, w, c.status)
		if p.Code != c.code || !strings.Contains(p.Detail, c.says) || p.Remedy == "" || p.Status != c.status || p.Title != http.StatusText(c.status) || p.Type != "urn:faena:problem:"+c.code {
			t.Errorf("%s: problem = %+v, want code %s, %q in the detail, and a remedy", name, p, c.code, c.says)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s: content type = %q", name, ct)
		}
	}
	// none of them left anything behind, and a good one goes through
	if c := read[gateway.Counts](t, send(g, "GET", "/api/v1/counts", ""), http.StatusOK).Counts; len(c) != 0 {
		t.Errorf("counts = %+v, want none", c)
	}
	if in := submit(t, g, "echo", "1", "30s"); in.State != faena.Succeeded {
		t.Errorf("afterwards echo is %s, want succeeded", in.State)
	}
}

// A client that does not say how much it sends is stopped at the limit, too.
func TestTooLargeWithoutLength(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{MaxBody: 100})
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/runs", strings.NewReader(`{"task": "`+strings.Repeat("x", 200)+`"}`))
	r.Host, r.ContentLength = "localhost", -1
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	if p := read[gateway.Problem](t, w, http.StatusRequestEntityTooLarge); !strings.Contains(p.Detail, "100") {
		t.Errorf("detail = %q, want the limit", p.Detail)
	}
}

// Many large bodies at a time are told to wait; small ones still go through.
func TestLargeBodiesShareRoom(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	g := onFake(t, &fake{}, gateway.Options{MaxBody: size})
	var pipes []*io.PipeWriter
	done := make(chan int, 4)
	for range 4 {
		body, in := io.Pipe()
		pipes = append(pipes, in)
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/runs", body)
		r.Host, r.ContentLength = "localhost", size
		r.Header.Set("Content-Type", "application/json")
		go func() {
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			done <- w.Code
		}()
		if _, err := in.Write([]byte("{")); err != nil { // it is being read
			t.Fatal(err)
		}
	}
	large := strings.Repeat(" ", size)
	w := send(g, "POST", "/api/v1/runs", large)
	if p := read[gateway.Problem](t, w, http.StatusTooManyRequests); p.Code != "limit" || w.Header().Get("Retry-After") == "" {
		t.Errorf("a fifth large body: %+v", p)
	}
	if w := send(g, "POST", "/api/v1/runs", "{}"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a small body = %d, want 422", w.Code)
	}
	for _, p := range pipes {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	for range pipes {
		if code := <-done; code != http.StatusBadRequest {
			t.Errorf("a body cut off = %d, want 400", code)
		}
	}
	if w := send(g, "POST", "/api/v1/runs", large); w.Code != http.StatusBadRequest {
		t.Errorf("a large body afterwards = %d, want 400", w.Code)
	}
}

// A cursor that is none was answered as a wrong body is, with 422.
func TestBadCursorIsABadParameter(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	for range 3 {
		submit(t, g, "echo", `1`, "10s")
	}
	next := read[faena.Page](t, send(g, "GET", "/api/v1/runs?limit=1", ""), http.StatusOK).Next
	if p := read[faena.Page](t, send(g, "GET", "/api/v1/runs?limit=1&cursor="+next, ""), http.StatusOK); len(p.Runs) != 1 || next == "" {
		t.Errorf("the page behind cursor %q has %d runs, want 1", next, len(p.Runs))
	}
	for _, cursor := range []string{"x", "c1", next[1:], next + "0", "zz" + next[2:], "06h0qa6ae0001ba6vxde2kp74"} {
		for _, states := range []string{"", "state=running&", "state=running&state=queued&", "state=failed&"} {
			query := "runs?" + states + "cursor=" + cursor
			p := read[gateway.Problem](t, send(g, "GET", "/api/v1/"+query, ""), http.StatusBadRequest)
			if p.Code != "invalid" || len(p.Errors) != 1 || p.Errors[0].Location != "query.cursor" || p.Remedy == "" {
				t.Errorf("GET %s = %+v, want an error at query.cursor with its remedy", query, p)
			}
			if w := send(g, "GET", "/"+query, "", "Accept", "text/html"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "is not a cursor") {
				t.Errorf("page %s = %d %s, want 400 and why", query, w.Code, w.Body)
			}
		}
	}
}

func TestBadBatchAndSelection(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{})
	for body, says := range map[string]string{
		`{"inputs": [1]}`: "body.task", `{"task": "x"}`: "body.inputs", `{"task": "x", "inputs": []}`: "body.inputs",
		`{"task": "x", "inputs": {"a": 1}}`: "body.inputs: want a list", `{"task": "x", "inputs": [1], "wait": "1s"}`: "body.wait",
	} {
		if p := read[gateway.Problem](t, send(g, "POST", "/api/v1/runs:batch", body), http.StatusUnprocessableEntity); !strings.Contains(p.Detail, says) {
			t.Errorf("batch %s: detail = %q, want %q in it", body, p.Detail, says)
		}
	}
	for body, says := range map[string]string{
		`{}`: "no condition", `{"task": ""}`: "no condition", `{"states": ["done"]}`: "done", `{"from": "x"}`: "body.from", `{"to": "x"}`: "body.to", `{"id": "x"}`: "body.id",
	} {
		for _, do := range []string{"retry", "cancel"} {
			if p := read[gateway.Problem](t, send(g, "POST", "/api/v1/runs:"+do, body), http.StatusUnprocessableEntity); !strings.Contains(p.Detail, says) {
				t.Errorf("%s %s: detail = %q, want %q in it", do, body, p.Detail, says)
			}
		}
	}
}

func TestCodesAndStatuses(t *testing.T) {
	t.Parallel()
	f := &fake{}
	g := onFake(t, f, gateway.Options{})
	path := "/api/v1/runs/06h0qa6ae0001ba6vxde2kp74m"
	for code, want := range map[faena.Code]int{
		faena.CodeInvalid: 422, faena.CodeInput: 422, faena.CodeUnknownTask: 422, faena.CodeNotFound: 404, faena.CodeConflict: 409,
		faena.CodeFailed: 409, faena.CodePermanent: 409, faena.CodePanic: 409, faena.CodeTimeout: 409, faena.CodeDeadline: 409, faena.CodeLost: 409, faena.CodeCancelled: 409,
		faena.CodeTooLarge: 413, faena.CodeLimit: 429, faena.CodeFull: 507, faena.CodeUnavailable: 503, faena.CodeClosed: 503, faena.CodeVersion: 501, faena.CodeInternal: 500, "new": 500,
	} {
		f.mu.Lock()
		f.err = fmt.Errorf("read it: %w", &faena.Error{Code: code, Err: errors.New("because")})
		f.mu.Unlock()
		w := send(g, "GET", path, "")
		p := read[gateway.Problem](t, w, want)
		if p.Code != string(code) || p.Detail != "read it: because" || p.Remedy == "" {
			t.Errorf("code %q gives %+v", code, p)
		}
		if retry := w.Header().Get("Retry-After"); (retry != "") != (want == 429 || want == 503) {
			t.Errorf("code %q gives Retry-After %q", code, retry)
		}
	}
	if p := read[gateway.Problem](t, send(g, "GET", "/api/v1/runs/../../etc", ""), http.StatusNotFound); p.Code != "not_found" && p.Code != "no_route" {
		t.Errorf("code = %q", p.Code)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{})
	// the fake has no Cancel: calling it is a nil dereference
	p := read[gateway.Problem](t, send(g, "POST", "/api/v1/runs/06h0qa6ae0001ba6vxde2kp74m/cancel", ""), http.StatusInternalServerError)
	if p.Code != "internal" || strings.Contains(p.Detail, "nil pointer") {
		t.Errorf("problem = %+v, want code internal without the panic's text", p)
	}
	if w := send(g, "GET", "/livez", ""); w.Code != http.StatusOK {
		t.Errorf("afterwards /livez = %d", w.Code)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{Version: "1.2.3"})
	w := send(g, "GET", "/api/v1/openapi.json", "")
	doc := read[struct {
		OpenAPI    string                                `json:"openapi"`
		Info       struct{ Version string }              `json:"info"`
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any `json:"properties"`
				Required   []string       `json:"required"`
			} `json:"schemas"`
		} `json:"components"`
	}](t, w, http.StatusOK)
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" {
		t.Errorf("openapi %q, version %q", doc.OpenAPI, doc.Info.Version)
	}
	ids := map[string]bool{}
	for _, rt := range g.Routes() {
		if !strings.HasPrefix(rt.Path, "/api/v1/") {
			continue
		}
		var op struct {
			OperationID string                     `json:"operationId"` //nolint:tagliatelle // as OpenAPI writes it
			Responses   map[string]json.RawMessage `json:"responses"`
		}
		if err := json.Unmarshal(doc.Paths[rt.Path][strings.ToLower(rt.Method)], &op); err != nil {
			t.Errorf("%s %s is not described: %v", rt.Method, rt.Path, err)
		}
		if ids[op.OperationID] || op.OperationID == "" || len(op.Responses) < 2 {
			t.Errorf("%s %s has id %q and %d responses", rt.Method, rt.Path, op.OperationID, len(op.Responses))
		}
		ids[op.OperationID] = true
	}
	for part := range strings.SplitSeq(w.Body.String(), "#/components/schemas/") {
		name, _, _ := strings.Cut(part, `"`)
		if _, ok := doc.Components.Schemas[name]; !ok && part != w.Body.String() && !strings.HasPrefix(part, "{") {
			t.Errorf("schema %q is named but not there", name)
		}
	}
	sub := doc.Components.Schemas["Submission"]
	if sub.Properties["queue"] == nil || sub.Properties["input"] == nil || !cmp.Equal(sub.Required, []string{"task"}) {
		t.Errorf("schema of a submission = %+v, want queue and input, and task required", sub)
	}
}

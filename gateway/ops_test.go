package gateway_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/gateway"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{Version: "1.2.3"})
	submit(t, g, "echo", "1", "30s")
	w := send(g, "GET", "/status", "")
	s := read[gateway.Status](t, w, http.StatusOK)
	if s.State != "ok" || len(s.Reasons) != 0 || s.Version != "1.2.3" || s.Engine != "embedded" || s.Node == "" || s.Server == "" || !s.Accepting {
		t.Errorf("status = %+v, want an ok embedded engine", s)
	}
	if s.Durability.Mode != "fast" || s.UptimeSeconds <= 0 || s.Requests != 2 {
		t.Errorf("status = %+v, want durability fast, an uptime, and 2 requests", s)
	}
	i := 0
	for i < len(s.Queues) && s.Queues[i].Name != "quick" {
		i++
	}
	if i == len(s.Queues) || s.Queues[i].Counts["succeeded"] != 1 || s.Queues[i].Workers != 1 {
		t.Errorf("queues = %+v, want quick with one that succeeded and one worker", s.Queues)
	}
	for _, key := range []string{"state", "version", "uptime_seconds", "requests_handled", "node", "engine", "durability", "index_lag", "queues"} {
		if !strings.Contains(w.Body.String(), `"`+key+`":`) {
			t.Errorf("status lacks %s: %s", key, w.Body)
		}
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	gone := &faena.Error{Code: faena.CodeUnavailable, Err: errors.New("nobody there")}
	for name, c := range map[string]struct {
		f           *fake
		close       bool
		ready       int
		says, state string
	}{
		"all is well":     {&fake{status: faena.Status{Accepting: true}}, false, 200, "ok", "ok"},
		"engine is gone":  {&fake{err: gone}, false, 503, "nobody there", "degraded"},
		"disk is full":    {&fake{}, false, 503, "disk space", "degraded"},
		"it is shut down": {&fake{status: faena.Status{Accepting: true}}, true, 503, "shutting down", "closing"},
	} {
		g := onFake(t, c.f, gateway.Options{})
		if c.close {
			for range 2 {
				if err := g.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
		}
		if w := send(g, "GET", "/livez", ""); w.Code != http.StatusOK {
			t.Errorf("%s: /livez = %d, want 200", name, w.Code)
		}
		if w := send(g, "GET", "/readyz", ""); w.Code != c.ready || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: /readyz = %d %s, want %d and %q", name, w.Code, w.Body, c.ready, c.says)
		}
		if s := read[gateway.Status](t, send(g, "GET", "/status", ""), http.StatusOK); s.State != c.state || (len(s.Reasons) > 0) != (c.state == "degraded") {
			t.Errorf("%s: /status = %+v, want %s", name, s, c.state)
		}
	}
}

// While its node was being closed nothing was answered at all.
func TestLeavingGatewayAnswersAllButNewRuns(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	done := submit(t, g, "sour", `1`, "10s")
	g.Leave()
	for path, want := range map[string]int{
		"/livez": 200, "/readyz": 503, "/status": 200, "/metrics": 200, "/": 200, "/background-tasks": 200, "/runs": 200,
		"/runs/" + done.ID.String(): 200, "/api/v1/runs": 200,
	} {
		if w := send(g, "GET", path, "", "Accept", "text/html"); w.Code != want {
			t.Errorf("GET %s = %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	if s := read[gateway.Status](t, send(g, "GET", "/status", ""), http.StatusOK); s.State != "closing" {
		t.Errorf("/status = %+v, want closing", s)
	}
	for path, body := range map[string]string{
		"/api/v1/runs": `{"task": "echo"}`, "/api/v1/runs:batch": `{"task": "echo", "inputs": [1]}`,
		"/api/v1/runs/" + done.ID.String() + "/retry": "", "/api/v1/runs:retry": `{"all": true}`,
	} {
		w := send(g, "POST", path, body)
		p := read[gateway.Problem](t, w, http.StatusServiceUnavailable)
		if p.Code != "closed" || !strings.Contains(p.Detail, "shutting down") || p.Remedy == "" || w.Header().Get("Retry-After") == "" {
			t.Errorf("POST %s = %+v, want that it is shutting down, and what to do", path, p)
		}
	}
	if w := send(g, "POST", "/api/v1/queues/quick/pause", ""); w.Code != http.StatusNoContent {
		t.Errorf("pause = %d %s, want 204", w.Code, w.Body)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{Version: "1.2.3"})
	submit(t, g, "echo", "1", "30s")
	send(g, "GET", "/nope/1", "")
	send(g, "GET", "/nope/2", "")
	send(g, "BREW", "/nope", "")
	send(g, "GET", "/", "")
	w := send(g, "GET", "/metrics", "")
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics = %d", w.Code)
	}
	body := w.Body.String()
	for _, want := range []string{
		`faena_runs{queue="quick",state="succeeded",task="echo"} 1`, `faena_engine_up 1`, `faena_accepting 1`, `faena_nodes 1`, `faena_slots 4`, `faena_slots_busy 0`,
		`faena_index_lag `, `faena_queue_paused{queue="quick"} 0`, `faena_queue_workers{queue="quick"} 1`,
		`faena_http_requests_total{method="POST",route="POST /api/v1/runs",status="201"} 1`,
		`faena_http_requests_total{method="GET",route="GET /",status="200"} 1`,
		`faena_http_requests_total{method="GET",route="none",status="404"} 2`, `faena_http_requests_total{method="other",route="none",status="404"} 1`,
		`faena_http_request_duration_seconds_count{route="none"} 3`, `version="1.2.3"`, "go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for name := range strings.SplitSeq(body, "\n") {
		if f, ok := strings.CutPrefix(name, "# TYPE "); ok {
			if ok, _ := regexp.MatchString(`^(faena|go|process)_[a-z0-9_]+ `, f); !ok {
				t.Errorf("metric %q is not named faena_ in snake case", f)
			}
		}
	}
	gone := onFake(t, &fake{err: errors.New("gone")}, gateway.Options{})
	if w := send(gone, "GET", "/metrics", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "faena_engine_up 0") {
		t.Errorf("/metrics without engine = %d, want faena_engine_up 0", w.Code)
	}
}

func TestThroughputIsCountedEachSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{status: faena.Status{Accepting: true, Durability: "strict", Verified: true}, counts: []faena.Count{{Queue: "q", Task: "x", State: faena.Succeeded, N: 1000, Finished: 1000}}}
		g := onFake(t, f, gateway.Options{})
		set := func(good, bad int64) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.counts = []faena.Count{ // as many expire as end
				{Queue: "q", Task: "x", State: faena.Succeeded, N: 1000, Finished: good},
				{Queue: "q", Task: "x", State: faena.Failed, Finished: bad},
				{Queue: "q", Task: "x", State: faena.Queued, N: good},
			}
		}
		rate := func() float64 {
			return read[gateway.Status](t, send(g, "GET", "/status", ""), http.StatusOK).Throughput
		}
		time.Sleep(10500 * time.Millisecond)
		if got := rate(); got != 0 {
			t.Errorf("rate = %v before anything ended, want 0: what there was is not counted", got)
		}
		for i := range int64(30) {
			set(1000+6*(i+1), 0)
			time.Sleep(time.Second)
		}
		set(1000+180, 60)
		time.Sleep(time.Second)
		if got, want := rate(), (180.0+60)/60; got != want {
			t.Errorf("rate = %v after 240 in a minute, want %v", got, want)
		}
		body := send(g, "GET", "/metrics", "").Body.String()
		for _, want := range []string{`faena_runs_finished_total{queue="q",state="succeeded",task="x"} 180`, `faena_runs_finished_total{queue="q",state="failed",task="x"} 60`} {
			if !strings.Contains(body, want) {
				t.Errorf("metrics lack %s", want)
			}
		}
		home := send(g, "GET", "/", "").Body.String()
		good, bad := strings.Count(home, `class="good" x=`), strings.Count(home, `class="bad" x=`)
		if good < 6 || good > 7 || bad != 1 || !strings.Contains(home, ">240<") {
			t.Errorf("the chart has %d bars of success and %d of failure, want 6 or 7 and 1, and 240 in all", good, bad)
		}
		set(5, 0) // another process holds the store: nobody knows how many ended between
		time.Sleep(2 * time.Minute)
		if got := rate(); got != 0 {
			t.Errorf("rate = %v two minutes later, want 0", got)
		}
		time.Sleep(10 * time.Minute)
		if home := send(g, "GET", "/", "").Body.String(); strings.Contains(home, `class="good" x=`) {
			t.Errorf("the chart shows what ended ten minutes ago")
		}
		if err := g.Close(); err != nil { // the bubble ends with its goroutines
			t.Error(err)
		}
	})
}

// shown is how many runs of a kind /background-tasks shows.
const shown = 25

func TestBackgroundTasks(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	h := submit(t, g, "hang", "null", "")
	until(t, g, h.ID, faena.Running)
	submit(t, g, "sour", "1", "30s")
	submit(t, g, "echo", `{"a": 1}`, "30s")
	if w := send(g, "POST", "/api/v1/runs", `{"task": "echo", "delay": "1h"}`); w.Code != http.StatusCreated {
		t.Fatalf("submit = %d", w.Code)
	}
	w := send(g, "GET", "/background-tasks", "", "Accept", "application/json")
	b := read[gateway.Background](t, w, http.StatusOK)
	if len(b.Running) != 1 || b.Running[0].ID != h.ID || b.Running[0].State != faena.Running {
		t.Errorf("running = %+v, want %s", b.Running, h.ID)
	}
	if len(b.Scheduled) != 1 || b.Scheduled[0].NextTime == nil || time.Until(*b.Scheduled[0].NextTime) < 59*time.Minute {
		t.Errorf("scheduled = %+v, want one in an hour", b.Scheduled)
	}
	if len(b.Finished) != 2 || b.Finished[0].Task != "echo" || b.Finished[1].State != faena.Failed {
		t.Fatalf("finished = %+v, want echo, then sour", b.Finished)
	}
	if r := b.Finished[0].LastResult; r == nil || strings.ReplaceAll(string(r.Output), " ", "") != `{"a":1}` {
		t.Errorf("result of echo = %+v, want its output", r)
	}
	if r := b.Finished[1].LastResult; r == nil || r.Error == nil || r.Error.Message == "" {
		t.Errorf("result of sour = %+v, want its error", r)
	}
	if r := b.Scheduled[0].TaskLast; r == nil || r.State != faena.Succeeded || r.ID != b.Finished[0].ID || b.Scheduled[0].LastResult != nil {
		t.Errorf("last result of the scheduled one's task = %+v, want echo's, and none of its own", r)
	}
	for accept, page := range map[string]bool{
		"": true, "*/*": true, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, "text/html;q=0.5, application/json": false,
		"application/json;q=0.1, text/html": true, "application/json": false,
	} {
		w := send(g, "GET", "/background-tasks", "", "Accept", accept)
		if got := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); got != page || w.Header().Get("Vary") != "Accept" {
			t.Errorf("Accept %q gives %s, want a page: %t", accept, w.Header().Get("Content-Type"), page)
		}
	}
	for range shown { // which are newer, and later
		if w := send(g, "POST", "/api/v1/runs", `{"task": "echo", "delay": "10h"}`); w.Code != http.StatusCreated {
			t.Fatalf("submit = %d", w.Code)
		}
	}
	soonest := b.Scheduled[0].ID
	b = read[gateway.Background](t, send(g, "GET", "/background-tasks", "", "Accept", "application/json"), http.StatusOK)
	if len(b.Scheduled) != shown || b.Scheduled[0].ID != soonest {
		t.Errorf("scheduled = %+v, want %s first, which comes next", b.Scheduled, soonest)
	}
	next := read[faena.Page](t, send(g, "GET", "/api/v1/runs?order=next&limit=1", ""), http.StatusOK)
	if len(next.Runs) != 1 || next.Runs[0].ID != soonest {
		t.Errorf("runs by next time = %+v, want %s", next.Runs, soonest)
	}
	for { // progress is told after a moment
		b = read[gateway.Background](t, send(g, "GET", "/background-tasks", "", "Accept", "application/json"), http.StatusOK)
		if p := b.Running[0].Progress; p != nil {
			if p.Done != 0.25 || p.Text != "a quarter" {
				t.Errorf("progress = %+v, want a quarter", p)
			}
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("no progress is told")
		}
	}
	if page := send(g, "GET", "/background-tasks", "").Body.String(); !strings.Contains(page, `value="25"`) || !strings.Contains(page, "a quarter") {
		t.Errorf("the page does not show the progress")
	}
}

var (
	elsewhere = regexp.MustCompile(`(?:src|href|action)="(?:https?:)?//`)
	inline    = regexp.MustCompile(`(?i)\son[a-z]+=|\sstyle=|<style|<script[^>]*>[^<]|javascript:`)
	linked    = regexp.MustCompile(`(?:src|href)="(/[^"#]*)`)
)

func TestPages(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{Version: "1.2.3"})
	empty := send(g, "GET", "/", "").Body.String()
	if !strings.Contains(empty, "Ready for the first run") || !strings.Contains(empty, "curl -s http://localhost:8080/api/v1/runs") {
		t.Errorf("the first home page does not say how to begin")
	}
	f := submit(t, g, "sour", `{"card": "</pre><script>alert(1)</script>"}`, "30s")
	e := submit(t, g, "echo", "[1, 2]", "30s")
	h := submit(t, g, "hang", "null", "")
	until(t, g, h.ID, faena.Running)
	for path, want := range map[string][]string{
		"/":                        {"1 run under way", "1.2.3", "Durability is fast", "/background-tasks", "/status", "/metrics", `action="/queues/quick/pause"`, `data-say-on="Live"`, "&lt;b&gt;no&lt;/b&gt; luck"},
		"/background-tasks":        {"Scheduled", "Running", "Last finished", "/runs/" + e.ID.String()},
		"/runs":                    {"/runs/" + f.ID.String(), `<option value="failed">`},
		"/runs?state=failed&task=": {`<option value="failed" selected>`, "sour"},
		"/runs/" + f.ID.String():   {"permanent", `action="/runs/` + f.ID.String() + `/retry"`, "&lt;/pre&gt;"},
		"/runs/" + e.ID.String():   {"Succeeded", "/api/v1/runs/" + e.ID.String() + "/output", "  1,\n"},
		"/runs/" + h.ID.String():   {`action="/runs/` + h.ID.String() + `/cancel"`, "live.js"},
		"/api":                     {"/api/v1/runs/{id}/cancel", "/api/v1/openapi.json", "Cancel a run"},
	} {
		w := send(g, "GET", path, "", "Accept", "text/html")
		body := w.Body.String()
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s = %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s does not say %q", path, s)
			}
		}
		if hit := elsewhere.FindString(body); hit != "" {
			t.Errorf("%s needs something from elsewhere: %s", path, hit)
		}
		if hit := inline.FindString(body); hit != "" {
			t.Errorf("%s has what the policy forbids: %q", path, hit)
		}
		for _, m := range linked.FindAllStringSubmatch(body, -1) {
			if w := send(g, "GET", strings.ReplaceAll(m[1], "&amp;", "&"), ""); w.Code != http.StatusOK {
				t.Errorf("%s links to %s, which answers %d", path, m[1], w.Code)
			}
		}
	}
	for path, status := range map[string]int{"/runs?state=x": 400, "/runs?limit=-1": 400, "/runs/xyz": 404, "/runs/06h0qa6ae0001ba6vxde2kp74m": 404} {
		if w := send(g, "GET", path, "", "Accept", "text/html"); w.Code != status || !strings.Contains(w.Body.String(), "What to do") {
			t.Errorf("%s = %d, want a page with status %d and a remedy", path, w.Code, status)
		}
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	g := onDisk(t, gateway.Options{})
	h := submit(t, g, "hang", "null", "")
	until(t, g, h.ID, faena.Running)
	own := []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "http://localhost:8080"}
	w := send(g, "POST", "/runs/"+h.ID.String()+"/cancel", "", own...)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/runs/"+h.ID.String() {
		t.Errorf("cancel = %d to %q, want 303 to the run", w.Code, w.Header().Get("Location"))
	}
	if in := until(t, g, h.ID, faena.Cancelled); in.State != faena.Cancelled {
		t.Errorf("it is %s", in.State)
	}
	w = send(g, "POST", "/runs/"+h.ID.String()+"/retry", "", own...)
	again := strings.TrimPrefix(w.Header().Get("Location"), "/runs/")
	if w.Code != http.StatusSeeOther || again == h.ID.String() {
		t.Errorf("retry = %d to %q, want 303 to another run", w.Code, w.Header().Get("Location"))
	}
	id, err := faena.ParseID(again)
	if err != nil {
		t.Fatal(err)
	}
	until(t, g, id, faena.Running)
}

func TestPagesWithoutEngine(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{err: &faena.Error{Code: faena.CodeUnavailable, Err: errors.New("no process holds the index")}}, gateway.Options{})
	for path, status := range map[string]int{"/": 200, "/background-tasks": 200, "/api": 200, "/runs": 503} {
		w := send(g, "GET", path, "", "Accept", "text/html")
		if w.Code != status || path != "/api" && !strings.Contains(w.Body.String(), "no process holds the index") {
			t.Errorf("%s = %d, want %d and the reason", path, w.Code, status)
		}
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{})
	page := send(g, "GET", "/", "").Body.String()
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		url := regexp.MustCompile(`/assets/` + regexp.QuoteMeta(name) + `\?v=[0-9a-f]+`).FindString(page)
		w := send(g, "GET", url, "")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != kind || w.Body.Len() == 0 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s = %d %v", url, w.Code, w.Header())
		}
		if w := send(g, "GET", url, "", "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("%s again = %d, want 304", url, w.Code)
		}
		if w := send(g, "GET", "/assets/"+name, ""); w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s without tag may be cached: %q", name, w.Header().Get("Cache-Control"))
		}
	}
}

func TestServerHasBounds(t *testing.T) {
	t.Parallel()
	s := gateway.Server(http.NotFoundHandler(), nil)
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("Server = %+v, want every bound set", s)
	}
}

// Counters in JSON must not turn into floating point for those who read them.
func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{status: faena.Status{Accepting: true}}, gateway.Options{})
	for range 5 {
		send(g, "GET", "/nope", "")
	}
	send(g, "GET", "/", "", "Host", "evil.example")
	var v map[string]json.RawMessage
	if err := json.Unmarshal(send(g, "GET", "/status", "").Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if got := string(v["requests_handled"]); got != strconv.Itoa(7) {
		t.Errorf("requests_handled = %s, want 7", got)
	}
}

// Whoever watches the server is to be told that its disk damages what it stores.
func TestDamageIsAReason(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "ok", 2: "degraded"} {
		g := onFake(t, &fake{status: faena.Status{Accepting: true, Damaged: n}}, gateway.Options{})
		s := read[gateway.Status](t, send(g, "GET", "/status", ""), http.StatusOK)
		if told := strings.Contains(strings.Join(s.Reasons, " "), "the disk has damaged what was stored"); s.State != want || told != (n > 0) {
			t.Errorf("status with %d damaged = %s %q, want %s", n, s.State, s.Reasons, want)
		}
	}
}

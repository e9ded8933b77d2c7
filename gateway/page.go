package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/web"
)

// group is how many seconds one bar of the chart stands for.
const group = 5

func (g *Gateway) pageRoutes() []Route {
	const get, post = http.MethodGet, http.MethodPost
	return []Route{
		{Method: get, Path: "/{$}", Scope: Read, serve: g.home},
		{Method: get, Path: "/background-tasks", Scope: Read, serve: g.background},
		{Method: get, Path: "/runs", Scope: Read, serve: g.runsPage},
		{Method: get, Path: "/runs/{id}", Scope: Read, serve: g.runPage},
		{Method: post, Path: "/runs/{id}/cancel", Scope: Control, serve: form(g.cancelForm)},
		{Method: post, Path: "/runs/{id}/retry", Scope: Control, serve: form(g.retryForm)},
		{Method: post, Path: "/queues/{queue}/pause", Scope: Control, serve: form(g.pauseForm)},
		{Method: post, Path: "/queues/{queue}/resume", Scope: Control, serve: form(g.resumeForm)},
		{Method: get, Path: "/api", Scope: Public, serve: g.apiPage},
		{Method: get, Path: "/assets/{name}", Scope: Public, serve: g.asset},
	}
}

// page answers with a page.
func (g *Gateway) page(w http.ResponseWriter, r *http.Request, status int, name string, v web.View) {
	f := v.Base()
	f.Version, f.Host = g.opts.Version, r.Host
	b, err := g.pages.Draw(name, v)
	if err != nil {
		g.log.ErrorContext(r.Context(), "a page was not drawn", slog.Any("error", err))
		plain(w, http.StatusInternalServerError, "the page could not be drawn; the log says why\n")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // an error means that the client is gone
}

// frame is what surrounds a page of a section, by what the engine says now.
func (g *Gateway) frame(ctx context.Context, section, key string) (web.Frame, *Status) {
	s := g.look(ctx)
	return web.Frame{
		Title: g.text(key), Section: section, State: s.State, Reasons: s.Reasons,
		Node: s.Node, Engine: s.Engine, Server: s.Server, Durability: s.Durability.Mode, Verified: s.Durability.Verified, Detail: s.Durability.Detail,
		Uptime: time.Since(g.started), Requests: s.Requests, IndexLag: s.IndexLag,
	}, s
}

// text is what pages say for a key of ours.
func (g *Gateway) text(key string) string {
	s, err := g.pages.Text(key)
	if err != nil {
		g.log.Error("a page lacks a text", slog.Any("error", err))
	}
	return s
}

func (g *Gateway) home(w http.ResponseWriter, r *http.Request) error {
	if asData(w, r) {
		return g.status(w, r)
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	v := &web.Home{}
	var s *Status
	v.Frame, s = g.frame(ctx, "home", "nav.home")
	v.Live, v.Queues = true, s.Queues
	sums := map[faena.State]int64{}
	for _, st := range faena.States() {
		for i := range s.Queues { // of the same moment as their table
			sums[st] += s.Queues[i].Counts[st.String()]
		}
		v.Counts = append(v.Counts, web.StateCount{State: st.String(), N: sums[st]})
	}
	var err error
	v.Nodes, err = g.node.Nodes(ctx)
	v.Note(err)
	v.Failures, err = g.failures.get(ctx, func(ctx context.Context) ([]faena.Info, error) {
		return g.some(ctx, 5, faena.OrderEnded, faena.Failed)
	})
	v.Note(err)
	v.Running, err = g.some(ctx, 5, faena.OrderCreated, faena.Running, faena.Waiting)
	v.Note(err)
	v.Mood, v.Active = mood(v, sums)
	g.flow(v)
	g.page(w, r, http.StatusOK, "home", v)
	return nil
}

// mood chooses what the home page says first, and of how many runs.
func mood(v *web.Home, sums map[faena.State]int64) (string, int64) {
	all := int64(0)
	for _, n := range sums {
		all += n
	}
	active := sums[faena.Running] + sums[faena.Waiting]
	switch {
	case len(v.Reasons) > 0:
		return "degraded", 0
	case active > 0:
		return "busy", active
	case sums[faena.Queued] > 0:
		return "waiting", sums[faena.Queued]
	case all == 0:
		return "empty", 0
	}
	return "idle", 0
}

// flow fills in the chart of what finished.
func (g *Gateway) flow(v *web.Home) {
	v.Rate = g.sampler.rate(time.Minute)
	for _, f := range g.sampler.recent(1) {
		v.Peak = max(v.Peak, float64(f.good+f.bad))
		v.Done += f.good + f.bad
	}
	bars := g.sampler.recent(group)
	good, bad := make([]int64, len(bars)), make([]int64, len(bars))
	for i, f := range bars {
		good[i], bad[i] = f.good, f.bad
	}
	v.Chart = web.Draw(good, bad)
}

// sums counts runs by state.
func (g *Gateway) sums(ctx context.Context) (map[faena.State]int64, error) {
	counts, err := g.node.Counts(ctx)
	sums := map[faena.State]int64{}
	for _, c := range counts {
		sums[c.State] += c.N
	}
	return sums, err
}

// some lists the newest runs in some states.
func (g *Gateway) some(ctx context.Context, n int, order faena.Order, states ...faena.State) ([]faena.Info, error) {
	p, err := g.node.Page(ctx, faena.Query{States: states, Order: order, Limit: n, Retried: true}) // as they are counted
	if err != nil {
		return nil, err
	}
	return p.Runs, nil
}

func (g *Gateway) runsPage(w http.ResponseWriter, r *http.Request) error {
	if asData(w, r) {
		return g.list(w, r)
	}
	values, err := parameters(r)
	if err != nil {
		return err
	}
	for k, vs := range values { // a form sends what was left empty, too
		if strings.TrimSpace(strings.Join(vs, "")) == "" {
			delete(values, k)
		}
	}
	q, err := readQuery(values)
	if err != nil {
		return err
	}
	v := &web.Runs{Only: web.Filter{State: values.Get("state"), Queue: q.Queue, Task: q.Task, Tag: values.Get("tag"), Retried: q.Retried}}
	v.Frame, _ = g.frame(r.Context(), "runs", "runs.title")
	v.Live = q.Cursor == ""
	for _, st := range faena.States() {
		v.States = append(v.States, st.String())
	}
	p, err := g.turnTo(r.Context(), q)
	if err != nil {
		return err
	}
	v.Runs = p.Runs
	v.Next, v.First = turn(values, p.Next)
	v.Narrow = v.Only != web.Filter{}
	g.page(w, r, http.StatusOK, "runs", v)
	return nil
}

// turn gives the URLs of the next page, if there is one, and of the first, if
// this is not it.
func turn(values url.Values, cursor string) (next, first string) {
	there := values.Has("cursor")
	values.Del("cursor")
	if there {
		first = "/runs?" + values.Encode()
	}
	if cursor != "" {
		values.Set("cursor", cursor)
		next = "/runs?" + values.Encode()
	}
	return next, first
}

func (g *Gateway) runPage(w http.ResponseWriter, r *http.Request) error {
	if asData(w, r) {
		return g.get(w, r)
	}
	id, err := runID(r)
	if err != nil {
		return err
	}
	in, err := g.node.Get(r.Context(), id)
	if err != nil {
		return err
	}
	v := &web.Run{
		Run: *in, CanCancel: !in.State.Terminal(),
		CanRetry: (in.State == faena.Failed || in.State == faena.Cancelled) && in.RetriedBy == "",
	}
	v.Frame, _ = g.frame(r.Context(), "runs", "run.title")
	v.Title, v.Live = in.Task+" "+id.String(), !in.State.Terminal()
	g.page(w, r, http.StatusOK, "run", v)
	return nil
}

func (g *Gateway) apiPage(w http.ResponseWriter, r *http.Request) error {
	v := &web.API{}
	v.Frame, _ = g.frame(r.Context(), "api", "api.title")
	names := []string{"runs", "cluster", "ops"}
	byName := map[string][]web.Route{}
	for i := range g.routes {
		rt := &g.routes[i]
		name := "ops"
		switch {
		case strings.HasPrefix(rt.Path, "/api/v1/runs"):
			name = "runs"
		case strings.HasPrefix(rt.Path, "/api/v1/"):
			name = "cluster"
		case rt.Summary == "":
			continue
		}
		byName[name] = append(byName[name], web.Route{Method: rt.Method, Path: rt.Path, Summary: rt.Summary})
	}
	for _, name := range names {
		v.Groups = append(v.Groups, web.Group{Name: name, Routes: byName[name]})
	}
	g.page(w, r, http.StatusOK, "api", v)
	return nil
}

// asset serves what pages refer to. With the tag in its URL it never changes.
func (g *Gateway) asset(w http.ResponseWriter, r *http.Request) error {
	a, there := g.pages.Asset(r.PathValue("name"))
	if !there {
		return g.unrouted(w.Header(), &http.Request{Method: http.MethodGet, Host: r.Host, URL: &url.URL{Path: "/assets/"}})
	}
	cache := "no-cache"
	if r.URL.Query().Get("v") == a.Tag {
		cache = "public, max-age=31536000, immutable"
	}
	w.Header().Set("Cache-Control", cache)
	w.Header().Set("ETag", `"`+a.Tag+`"`)
	if strings.Contains(r.Header.Get("If-None-Match"), `"`+a.Tag+`"`) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", a.Type)
	_, _ = w.Write(a.Data) // an error means that the client is gone
	return nil
}

// form admits what a page of ours has sent, does it, and goes to where that
// tells.
func form(do func(*http.Request) (string, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !fromHere(r) {
			return &Problem{
				Status: http.StatusForbidden, Code: "origin", Detail: "this form is for faena's own pages",
				Remedy: "programs use the same under /api/v1, with JSON",
			}
		}
		to, err := do(r)
		if err != nil {
			return err
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
}

func (g *Gateway) cancelForm(r *http.Request) (string, error) {
	id, err := g.cancelRun(r)
	return "/runs/" + id.String(), err
}

func (g *Gateway) retryForm(r *http.Request) (string, error) {
	id, err := g.retryRun(r)
	return "/runs/" + id.String(), err
}

func (g *Gateway) pauseForm(r *http.Request) (string, error) {
	return "/#queues-h", g.setPause(r, g.node.Pause)
}

func (g *Gateway) resumeForm(r *http.Request) (string, error) {
	return "/#queues-h", g.setPause(r, g.node.Resume)
}

package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Scope is what a route's caller must be allowed to do.
type Scope string

// The scopes of routes.
const (
	Public  Scope = "public"  // nothing is told that is worth hiding
	Read    Scope = "read"    // sees runs, their inputs and outputs
	Submit  Scope = "submit"  // makes new runs
	Control Scope = "control" // changes runs and queues
)

// Scopes lists all scopes.
func Scopes() []Scope { return []Scope{Public, Read, Submit, Control} }

// Route is one thing a gateway answers.
type Route struct {
	Method, Path string
	Scope        Scope
	Summary      string // of routes of the API, for its description

	query    []parameter
	body     any  // a value of the type of the request's JSON
	answer   any  // a value of the type of the answer's JSON
	plain    bool // the answer is text
	status   int  // of success; default 200
	failures []int
	serve    func(http.ResponseWriter, *http.Request) error
}

// parameter is one a route takes in its URL.
type parameter struct{ Name, Doc string }

// Routes lists all that the gateway answers; nothing is served beside them.
func (g *Gateway) Routes() []Route { return slices.Clone(g.routes) }

// build makes the mux. It is the only place that adds to it, and it adds nothing
// without a scope.
func (g *Gateway) build() error {
	g.routes = slices.Concat(g.apiRoutes(), g.opsRoutes(), g.pageRoutes())
	g.mux = http.NewServeMux()
	for i := range g.routes {
		rt := &g.routes[i]
		if !slices.Contains(Scopes(), rt.Scope) {
			return fmt.Errorf("route %s %s declares no scope", rt.Method, rt.Path)
		}
		g.mux.HandleFunc(rt.Method+" "+rt.Path, func(w http.ResponseWriter, r *http.Request) {
			if err := rt.serve(w, r); err != nil {
				g.fail(w, r, err)
			}
		})
	}
	return nil
}

func (g *Gateway) opsRoutes() []Route {
	return []Route{
		{Method: http.MethodGet, Path: "/status", Scope: Read, Summary: "What this node is and how it does", answer: Status{}, serve: g.status},
		{Method: http.MethodGet, Path: "/livez", Scope: Public, Summary: "Whether the process answers", plain: true, serve: g.livez},
		{Method: http.MethodGet, Path: "/readyz", Scope: Public, Summary: "Whether runs are accepted", plain: true, serve: g.readyz},
		{Method: http.MethodGet, Path: "/metrics", Scope: Read, Summary: "What Prometheus collects", plain: true, serve: g.scrape()},
	}
}

// asData tells whether a client of a page wants JSON rather; a page is what all
// others get.
func asData(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Vary", "Accept")
	html, js := accepts(r)
	return js > html
}

// accepts is how much a client wants HTML and JSON; 0 is not at all.
func accepts(r *http.Request) (html, js float64) {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, rest, _ := strings.Cut(part, ";")
		switch q := quality(rest); strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html", "application/xhtml+xml", "text/*":
			html = max(html, q)
		case "application/json", "application/problem+json", "application/*":
			js = max(js, q)
		}
	}
	return html, js
}

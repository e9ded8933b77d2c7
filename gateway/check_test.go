package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/gateway"
)

func TestCheckAddr(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"": true, "127.0.0.1:8080": true, "127.9.9.9:1": true, "localhost:8080": true, "LOCALHOST:8080": true, "[::1]:8080": true, "[::ffff:127.0.0.1]:80": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "192.168.1.7:8080": false, "example.org:80": false, "127.0.0.1": false, "127.0.0.1.example.org:80": false,
	} {
		err := gateway.CheckAddr(addr, false)
		if (err == nil) != want {
			t.Errorf("CheckAddr(%q, false) = %v, want admitted: %t", addr, err, want)
		}
		if err != nil && faena.CodeOf(err) != faena.CodeInvalid {
			t.Errorf("CheckAddr(%q, false) has code %q, want %q", addr, faena.CodeOf(err), faena.CodeInvalid)
		}
		if err := gateway.CheckAddr(addr, true); err != nil {
			t.Errorf("CheckAddr(%q, true) = %v, want nil", addr, err)
		}
	}
	n, err := faena.Open(t.Context(), &fake{}, faena.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.New(n, gateway.Options{Addr: "0.0.0.0:80"}); err == nil || !strings.Contains(err.Error(), "--insecure") {
		t.Errorf("New at 0.0.0.0 = %v, want an error that names --insecure", err)
	}
	if _, err := gateway.New(nil, gateway.Options{}); faena.CodeOf(err) != faena.CodeInvalid {
		t.Errorf("New without node = %v, want code %q", err, faena.CodeInvalid)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	own := onFake(t, &fake{}, gateway.Options{Addr: "127.0.0.1:8080", AllowedHosts: []string{"Faena.Example:443"}})
	all := onFake(t, &fake{}, gateway.Options{Addr: "0.0.0.0:8080", Insecure: true})
	for _, c := range []struct {
		host     string
		own, all bool
	}{
		{"localhost", true, true},
		{"localhost:9999", true, true},
		{"LocalHost.:8080", true, true},
		{"127.0.0.1:8080", true, true},
		{"[::1]:8080", true, true},
		{"[::1]", true, true},
		{"faena.example", true, false},
		{"faena.example:8443", true, false},
		{"192.168.1.7:8080", false, true},
		{"evil.example", false, false},
		{"localhost.evil.example", false, false},
		{"127.0.0.1.evil.example:8080", false, false},
		{"faena.example.evil.example", false, false},
		{"", false, false},
	} {
		for _, g := range []struct {
			h    http.Handler
			want bool
		}{{own, c.own}, {all, c.all}} {
			w := send(g.h, "GET", "/livez", "", "Host", c.host)
			if (w.Code == http.StatusOK) != g.want || w.Code != http.StatusOK && w.Code != http.StatusForbidden {
				t.Errorf("host %q is answered with %d, want admitted: %t", c.host, w.Code, g.want)
			}
		}
	}
	p := read[gateway.Problem](t, send(own, "GET", "/", "", "Host", "evil.example", "Accept", "text/html"), http.StatusForbidden)
	if p.Code != "host" || !strings.Contains(p.Remedy, "--allowed-hosts") {
		t.Errorf("problem = %+v, want code host and its remedy", p)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{status: faena.Status{Accepting: true}}, gateway.Options{})
	for _, c := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", "/readyz", nil, 200},
		{"GET", "/readyz", []string{"Origin", "http://localhost:8080"}, 200},
		{"GET", "/readyz", []string{"Origin", "http://evil.example"}, 403},
		{"GET", "/readyz", []string{"Origin", "null"}, 403},
		{"GET", "/readyz", []string{"Origin", "http://localhost:9999"}, 403},
		{"GET", "/readyz", []string{"Sec-Fetch-Site", "cross-site"}, 200}, // a link; its answer cannot be read
		{"POST", "/api/v1/runs", nil, 415},                                // a program
		{"POST", "/api/v1/runs", []string{"Origin", "http://localhost:8080"}, 415},
		{"POST", "/api/v1/runs", []string{"Sec-Fetch-Site", "same-origin"}, 415},
		{"POST", "/api/v1/runs", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/api/v1/runs", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"POST", "/api/v1/runs", []string{"Origin", "http://evil.example"}, 403},
		{"POST", "/api/v1/runs", []string{"Origin", "null"}, 403},
		{"POST", "/runs/nonsense/cancel", nil, 403}, // a form proves where it is from
		{"POST", "/runs/nonsense/cancel", []string{"Origin", "http://evil.example"}, 403},
		{"POST", "/runs/nonsense/cancel", []string{"Origin", "http://localhost:8080"}, 404},
		{"POST", "/runs/nonsense/cancel", []string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, 404},
		{"POST", "/queues/q/pause", []string{"Sec-Fetch-Site", "none"}, 403},
	} {
		w := send(g, c.method, c.path, "", c.headers...)
		if w.Code != c.want {
			t.Errorf("%s %s with %q = %d, want %d: %s", c.method, c.path, c.headers, w.Code, c.want, w.Body)
		}
		if strings.Contains(w.Body.String(), "browser is out of date") { // net/http's words
			t.Errorf("%s %s with %q = %s, want where it comes from", c.method, c.path, c.headers, w.Body)
		}
	}
}

// fill puts something in the place of a path's names.
func fill(path string) string {
	return strings.NewReplacer("{id}", "06h0qa6ae0001ba6vxde2kp74m", "{queue}", "q", "{name}", "style.css", "{$}", "").Replace(path)
}

func TestRoutesDeclareTheirScope(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{})
	routes := g.Routes()
	if len(routes) < 25 {
		t.Errorf("there are %d routes, want all of them", len(routes))
	}
	for _, rt := range routes {
		name := rt.Method + " " + rt.Path
		if !slices.Contains(gateway.Scopes(), rt.Scope) {
			t.Errorf("%s declares scope %q, want one of %v", name, rt.Scope, gateway.Scopes())
		}
		if rt.Method != http.MethodGet && rt.Scope != gateway.Submit && rt.Scope != gateway.Control {
			t.Errorf("%s changes something with scope %q", name, rt.Scope)
		}
		w := send(g, rt.Method, fill(rt.Path), "", "Sec-Fetch-Site", "same-origin")
		if w.Code == http.StatusMethodNotAllowed || strings.Contains(w.Body.String(), "no_route") {
			t.Errorf("%s is listed but not served: %d %s", name, w.Code, w.Body)
		}
		h := w.Header()
		for k, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY"} {
			if h.Get(k) != want {
				t.Errorf("%s answers with %s %q, want %q", name, k, h.Get(k), want)
			}
		}
		if p := h.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; ") || strings.Contains(p, "unsafe") {
			t.Errorf("%s answers with policy %q", name, p)
		}
		if c := h.Get("Cache-Control"); c != "no-store" && !strings.HasPrefix(rt.Path, "/assets/") {
			t.Errorf("%s answers with Cache-Control %q, want no-store", name, c)
		}
	}
}

func TestUnrouted(t *testing.T) {
	t.Parallel()
	g := onFake(t, &fake{}, gateway.Options{})
	for _, path := range []string{"/nope", "/debug/pprof/", "/debug/vars", "/api/v1/", "/api/v1/openapi.yaml", "/assets/", "/assets/nope.css", "/assets/..%2fweb.go", "/favicon.ico"} {
		if p := read[gateway.Problem](t, send(g, "GET", path, "", "Accept", "application/json"), http.StatusNotFound); p.Code != "no_route" {
			t.Errorf("GET %s has code %q, want no_route", path, p.Code)
		}
	}
	for path, allow := range map[string]string{"/status": "GET, HEAD", "/api/v1/runs": "GET, HEAD, POST", "/api/v1/queues/q/pause": "POST"} {
		w := send(g, "DELETE", path, "")
		if p := read[gateway.Problem](t, w, http.StatusMethodNotAllowed); p.Code != "method" || w.Header().Get("Allow") != allow {
			t.Errorf("DELETE %s = %q and allows %q, want %q", path, p.Code, w.Header().Get("Allow"), allow)
		}
	}
	if w := send(g, "GET", "/nope", "", "Accept", "text/html"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "<h1>Not Found</h1>") {
		t.Errorf("GET /nope from a browser = %d %s, want a page", w.Code, w.Body)
	}
}

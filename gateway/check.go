package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/faena-dev/faena"
)

// CheckAddr tells whether a gateway may be served at host:port. As long as there
// is no login that is loopback, by number or as localhost; an empty addr is left
// to the caller. Anything else is an error with CodeInvalid, unless insecure.
func CheckAddr(addr string, insecure bool) error {
	if addr == "" || insecure {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return &faena.Error{Code: faena.CodeInvalid, Op: "check address", Err: fmt.Errorf("%q is not host:port, such as 127.0.0.1:8080: %w", addr, err)}
	}
	if loopback(host) {
		return nil
	}
	return &faena.Error{Code: faena.CodeInvalid, Op: "check address", Err: fmt.Errorf("%s can be reached from other machines and there is no login yet: serve on 127.0.0.1, or pass --insecure where all who reach it may run anything", addr)}
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// hosts are the names and numbers a gateway answers to. A page of another site
// whose name was made to point here (DNS rebinding) sends that name.
type hosts struct {
	names map[string]bool
	anyIP bool // a number cannot be rebound
}

func newHosts(o Options) hosts {
	h := hosts{names: map[string]bool{}, anyIP: o.Insecure}
	if host, _, err := net.SplitHostPort(o.Addr); err == nil && host != "" {
		h.names[strings.ToLower(host)] = true
	}
	for _, name := range o.AllowedHosts {
		h.names[hostOf(name)] = true
	}
	return h
}

// hostOf is the host of a Host header, without its port, brackets and last dot.
func hostOf(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

func (h hosts) admit(header string) bool {
	host := hostOf(header)
	if host == "" {
		return false
	}
	if h.names[host] || loopback(host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil && h.anyIP
}

// check admits a request or says why not, before anything else looks at it.
func (g *Gateway) check(r *http.Request) error {
	if !g.hosts.admit(r.Host) {
		return &Problem{
			Status: http.StatusForbidden, Code: "host",
			Detail: fmt.Sprintf("this faena does not answer to the host %q", r.Host),
			Remedy: "use http://localhost or the address it was started with, or start it with --allowed-hosts and that name",
		}
	}
	err := g.origins.Check(r)
	o, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if err != nil || o != "" && site != "same-origin" && !sameHost(o, r.Host) {
		from := fmt.Sprintf("it comes from %q", o)
		if o == "" {
			from = fmt.Sprintf("its browser says it is %s", site)
		}
		return &Problem{
			Status: http.StatusForbidden, Code: "origin",
			Detail: "requests from pages of other sites are refused: " + from,
			Remedy: "send it from faena's own pages, or from a program that sets no Origin header",
		}
	}
	return nil
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}

// fromHere tells whether a browser sent a form from one of our own pages. Forms
// need it proved: unlike JSON, any site can send one.
func fromHere(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	return sameHost(r.Header.Get("Origin"), r.Host)
}

// policy lets a page use what this server has, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// secure sets what holds for every answer; assets alone may be cached.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make the Origin of our own forms null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

func stack() string { return string(debug.Stack()) }

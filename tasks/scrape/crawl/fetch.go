package crawl

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/frontier"
	"github.com/faena-dev/faena/tasks/scrape/guard"
	"github.com/faena-dev/faena/tasks/scrape/link"
	"github.com/faena-dev/faena/tasks/scrape/page"
	"github.com/faena-dev/faena/tasks/scrape/robots"
)

const (
	sniffLen  = 512
	drainMax  = 64 << 10 // a longer rest costs more than a new connection
	bufferMax = 1 << 20  // what a worker keeps between pages
)

// Net replaces parts of the network. The zero value is the system's.
type Net struct {
	Resolver *net.Resolver
	TLS      *tls.Config
}

// fetcher makes requests. It may be used concurrently.
type fetcher struct {
	opt    Options
	scope  Scope
	client *http.Transport
	robots *robotsCache
}

func newFetcher(o Options, n Net) *fetcher {
	dialer := &net.Dialer{Timeout: min(10*time.Second, time.Duration(o.Timeout)), KeepAlive: 30 * time.Second, Resolver: n.Resolver}
	guarded := *dialer
	guarded.Control = guard.Control
	asked := startHosts(o)
	f := &fetcher{opt: o, scope: NewScope(o)}
	f.client = &http.Transport{
		// No proxy: it would connect where the guard does not see it.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if _, ok := asked[link.Host("http://"+strings.ToLower(addr))]; ok || o.AllowPrivate {
				return dialer.DialContext(ctx, network, addr)
			}
			return guarded.DialContext(ctx, network, addr)
		},
		TLSClientConfig:        n.TLS,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           o.Total,
		MaxIdleConnsPerHost:    o.Concurrency,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ReadBufferSize:         32 << 10,
	}
	f.robots = newRobotsCache(f)
	return f
}

func (f *fetcher) close() { f.client.CloseIdleConnections() }

// worker fetches one page at a time, reusing its memory.
type worker struct {
	*fetcher
	reader page.Reader
	body   bytes.Buffer
}

// result is what came of a job.
type result struct {
	job
	page    Page
	again   bool          // worth a repeat
	pause   time.Duration // the host asks not to be bothered
	delay   time.Duration // between requests to this host
	known   bool          // delay is known
	started time.Time     // of the last request
	dropped bool          // cut off by the end of the crawl: nothing happened
}

// do never panics: one page that breaks the code must not end the crawl.
func (w *worker) do(ctx context.Context, j job) (r result) {
	r = result{job: j, started: time.Now(), page: Page{
		URL: j.URL, Depth: j.Depth, Referrer: j.Referrer, Attempts: j.attempt, Hops: j.Hops,
	}}
	defer func() {
		if v := recover(); v != nil {
			r.again = false
			r.page.Error = fmt.Sprintf("internal error: %v", v)
		}
		r.dropped = ctx.Err() != nil && (r.page.Error != "" || r.page.Status == 0)
	}()
	if !w.obey(ctx, &r) {
		return r
	}
	r.started = time.Now()
	w.get(ctx, &r)
	r.page.ElapsedMS = time.Since(r.started).Milliseconds()
	return r
}

// obey reports whether robots.txt permits the page.
func (w *worker) obey(ctx context.Context, r *result) bool {
	r.delay, r.known = time.Duration(w.opt.Delay), true
	if w.opt.IgnoreRobots {
		return true
	}
	rules, fresh, err := w.robots.get(ctx, link.Origin(r.URL), r.attempt > w.opt.Retries)
	if err != nil {
		r.page.Error = "robots.txt: " + reason(err, w.opt)
		_, silent := errors.AsType[*noAnswerError](err)
		switch {
		case errors.Is(err, guard.ErrRefused):
			r.page.Skipped = SkippedPrivate
		case !silent:
			r.page.Skipped = SkippedRobots
		}
		r.again = rules == nil
		r.known = !r.again
		return false
	}
	r.delay = max(r.delay, min(rules.Delay(), MaxCrawlDelay))
	if !rules.Allowed(link.Target(r.URL)) {
		r.page.Skipped = SkippedRobots
		r.page.Attempts = 0
		return false
	}
	if !fresh || r.delay == 0 {
		return true
	}
	t := time.NewTimer(r.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		r.page.Error = ctx.Err().Error()
		return false
	}
}

func (w *worker) get(ctx context.Context, r *result) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.opt.Timeout))
	defer cancel()
	resp, err := w.request(ctx, r.URL)
	if err != nil {
		r.page.Error = reason(err, w.opt)
		r.again = temporary(err)
		if errors.Is(err, guard.ErrRefused) {
			r.page.Skipped = SkippedPrivate
		}
		return
	}
	defer func() { _ = resp.Body.Close() }() // nothing was written
	p := &r.page
	p.Status = resp.StatusCode
	p.ContentType = resp.Header.Get("Content-Type")
	if resp.ContentLength > 0 {
		p.Bytes = resp.ContentLength
	}
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.Header.Get("Location") != "":
		w.redirect(resp, p)
		drain(resp)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		w.read(resp, r)
	default:
		r.again = retryable(resp.StatusCode)
		if r.again {
			r.pause = retryAfter(resp.Header.Get("Retry-After"), time.Now())
			if r.pause > MaxRetryAfter {
				p.Error = fmt.Sprintf("the server asks to come back in %s only", r.pause)
				r.again, r.pause = false, 0
			}
		}
		drain(resp)
	}
}

func (f *fetcher) request(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", f.opt.UserAgent)
	req.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5")
	return f.client.RoundTrip(req)
}

func (w *worker) redirect(resp *http.Response, p *Page) {
	location := resp.Header.Get("Location")
	to, ok := link.NewBase(p.URL).Resolve(location)
	if !ok {
		p.Error = fmt.Sprintf("redirect to %.200q, which is no web address", location)
		return
	}
	p.Redirect = to
	switch {
	case to == p.URL:
		p.Error = "redirects to itself"
	case p.Hops >= MaxHops:
		p.Error = fmt.Sprintf("more than %d redirects", MaxHops)
	case !w.scope.Has(to):
		p.Skipped = SkippedHost
	}
}

// read takes in the body of a page, and closes that of anything else unread.
func (w *worker) read(resp *http.Response, r *result) {
	p := &r.page
	w.body.Reset()
	if w.body.Cap() > bufferMax {
		w.body = bytes.Buffer{}
	}
	body := io.LimitReader(resp.Body, w.opt.MaxBytes+1)
	var err error
	if p.ContentType == "" {
		_, err = io.CopyN(&w.body, body, sniffLen)
		p.ContentType = http.DetectContentType(w.body.Bytes())
	}
	if !isHTML(p.ContentType) {
		drain(resp)
		return
	}
	if err == nil {
		_, err = w.body.ReadFrom(body)
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	data := w.body.Bytes()
	if int64(len(data)) > w.opt.MaxBytes {
		data = data[:w.opt.MaxBytes]
		p.Truncated = true
	}
	if err != nil {
		// What came is used if no repeat brings more.
		p.Error = "body: " + reason(err, w.opt)
		r.again = true
	}
	p.Bytes = int64(len(data))
	doc := w.reader.Read(data, p.ContentType, p.URL)
	p.Title, p.Links, p.LinkCount = doc.Title, doc.Links, len(doc.Links)
	p.TextLength, p.NoFollow = doc.TextLength, doc.NoFollow
}

// drain reads a short rest, so that the connection can be used again.
func drain(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength <= drainMax {
		_, _ = io.CopyN(io.Discard, resp.Body, drainMax) // only the connection is at stake
	}
}

func isHTML(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	t = strings.TrimSpace(t)
	return strings.EqualFold(t, "text/html") || strings.EqualFold(t, "application/xhtml+xml")
}

func retryable(status int) bool {
	return status == http.StatusTooManyRequests ||
		status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported
}

// retryAfter reads seconds or a date; what it cannot read is zero.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if n, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(header); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// temporary reports whether a repeat may help.
func temporary(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return false
	}
	var (
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		name     x509.HostnameError
		verify   *tls.CertificateVerificationError
		notHTTPS tls.RecordHeaderError
	)
	return !errors.Is(err, guard.ErrRefused) && !errors.As(err, &unknown) && !errors.As(err, &invalid) &&
		!errors.As(err, &name) && !errors.As(err, &verify) && !errors.As(err, &notHTTPS)
}

// reason is an error in few words: the address stands in the record already.
func reason(err error, o Options) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("not done after %s", time.Duration(o.Timeout))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "the server ended the connection early"
	}
	return err.Error()
}

// token is the name that robots.txt files know this crawler by.
func token(o Options) string { return robots.Token(o.UserAgent) }

// job is an attempt at an item.
type job struct {
	frontier.Item
	attempt int // from 1
}

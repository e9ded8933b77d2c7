package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/web"
)

// Problem is the body of every answer that is an error (RFC 9457): what went
// wrong, and what to do about it.
type Problem struct { //nolint:errname // RFC 9457 names it so
	Type   string  `json:"type" doc:"urn:faena:problem: and the code"`
	Title  string  `json:"title" doc:"the status in words"`
	Status int     `json:"status" doc:"the HTTP status"`
	Code   string  `json:"code" doc:"what kind of error it is, for programs"`
	Detail string  `json:"detail" doc:"what went wrong"`
	Remedy string  `json:"remedy,omitempty" doc:"what to do about it"`
	Errors []Fault `json:"errors,omitempty" doc:"the values that are wrong"`
}

// Fault is one wrong value of a request.
type Fault struct {
	Location string `json:"location" doc:"such as body.task or query.limit"`
	Message  string `json:"message" doc:"what was wanted there"`
}

func (p *Problem) Error() string { return p.Detail }

// explain is the table from the codes of errors to statuses and remedies.
func explain(code faena.Code) (status int, remedy string) {
	switch code {
	case faena.CodeInvalid:
		return http.StatusUnprocessableEntity, "correct the value that the detail names and send it again"
	case faena.CodeInput:
		return http.StatusUnprocessableEntity, "send an input of the type that the task takes"
	case faena.CodeUnknownTask:
		return http.StatusUnprocessableEntity, `check the name, start a worker that handles the task, or send "wait_for_worker": true to store the run until one does`
	case faena.CodeNotFound:
		return http.StatusNotFound, "check the name or id; ended runs are forgotten when their keep time has passed"
	case faena.CodeConflict:
		return http.StatusConflict, "read the run again: it is not in a state that admits this"
	case faena.CodeFailed, faena.CodePermanent, faena.CodePanic, faena.CodeTimeout, faena.CodeDeadline, faena.CodeLost, faena.CodeCancelled:
		return http.StatusConflict, "the run has no output; its error says why, and retry runs it again"
	case faena.CodeTooLarge:
		return http.StatusRequestEntityTooLarge, "make the value smaller, or store it elsewhere and send where it is"
	case faena.CodeLimit:
		return http.StatusTooManyRequests, "wait until some runs have ended and send it again"
	case faena.CodeFull:
		return http.StatusInsufficientStorage, "free space on the disk of faena's data directory and send it again; nothing that was accepted is lost"
	case faena.CodeUnavailable:
		return http.StatusServiceUnavailable, "check that faena serve runs and can be reached, and send it again"
	case faena.CodeClosed:
		return http.StatusServiceUnavailable, "send it to another server, or again when this one is back"
	case faena.CodeVersion:
		return http.StatusNotImplemented, "run the same version of faena everywhere"
	case faena.CodeInternal:
		return http.StatusInternalServerError, "see faena's log; the run, if any, is as it was"
	}
	return http.StatusInternalServerError, "see faena's log"
}

// problemOf is an error as it is told.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if _, ok := errors.AsType[*faena.Error](err); !ok {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return &Problem{Status: http.StatusGatewayTimeout, Code: "timeout", Detail: err.Error(), Remedy: "look whether it was done before you send it again"}
		case errors.Is(err, context.Canceled):
			return &Problem{Status: http.StatusServiceUnavailable, Code: "cancelled", Detail: err.Error(), Remedy: "look whether it was done before you send it again"}
		}
	}
	code := faena.CodeOf(err)
	status, remedy := explain(code)
	return &Problem{Status: status, Code: string(code), Detail: err.Error(), Remedy: remedy}
}

// fail answers with an error: a page where a page was asked for, else a problem.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := *problemOf(err)
	p.Title = http.StatusText(p.Status)
	p.Type = "urn:faena:problem:" + p.Code
	if p.Status == http.StatusInternalServerError {
		g.log.ErrorContext(r.Context(), "a request failed", slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	html, js := accepts(r)
	if p.Code != "host" && !strings.HasPrefix(r.URL.Path, "/api/") && html > 0 && html >= js {
		g.page(w, r, p.Status, "error", &web.Failed{Frame: web.Frame{Title: p.Title}, Status: p.Status, Name: p.Title, Detail: p.Detail, Remedy: p.Remedy})
		return
	}
	send(w, p.Status, "application/problem+json", p)
}

// unrouted says why no route fits.
func (g *Gateway) unrouted(h http.Header, r *http.Request) error {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		other := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := g.mux.Handler(other); pattern != "" {
			allow = append(allow, method)
		}
	}
	if len(allow) == 0 {
		return &Problem{
			Status: http.StatusNotFound, Code: "no_route", Detail: fmt.Sprintf("there is nothing at %s", r.URL.Path),
			Remedy: "the pages start at /, and /api/v1/openapi.json describes the API",
		}
	}
	h.Set("Allow", strings.Join(allow, ", "))
	return &Problem{
		Status: http.StatusMethodNotAllowed, Code: "method", Detail: fmt.Sprintf("%s does not take %s", r.URL.Path, r.Method),
		Remedy: "use " + strings.Join(allow, " or "),
	}
}

// send writes v as JSON. An error means that the client is gone.
func send(w http.ResponseWriter, status int, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // of types of ours
		status, contentType = http.StatusInternalServerError, "application/problem+json"
		b = []byte(`{"type":"urn:faena:problem:internal","title":"Internal Server Error","status":500,"code":"internal","detail":"the answer does not encode"}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

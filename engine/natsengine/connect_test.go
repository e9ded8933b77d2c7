package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// errorHandler is whom a connection made with these options tells of errors.
func errorHandler(t *testing.T, opts []nats.Option) nats.ErrHandler {
	t.Helper()
	var o nats.Options
	for _, set := range opts {
		if err := set(&o); err != nil {
			t.Fatal(err)
		}
	}
	if o.AsyncErrorCB == nil {
		t.Fatal("nobody is told of errors: the client writes them to standard error")
	}
	return o.AsyncErrorCB
}

// What went wrong on a connection stood on standard error, past the log.
func TestErrorsOfConnectionsAreLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	noServer := errors.New("no server")
	dial := func(opts ...nats.Option) (*nats.Conn, error) {
		tell := errorHandler(t, opts)
		for range 3 {
			tell(nil, &nats.Subscription{Subject: "faena.beat"}, nats.ErrSlowConsumer)
		}
		return nil, noServer
	}
	log := slog.New(slog.NewTextHandler(&out, nil))
	if _, err := New(t.Context(), Config{Dial: dial, Logger: log}); !errors.Is(err, noServer) {
		t.Fatalf("New = %v, want %v", err, noServer)
	}
	if got := out.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "slow consumer") || !strings.Contains(got, "subject=faena.beat") {
		t.Errorf("three errors at once are logged as\n%swant one warning with its subject", got)
	}
	out.Reset()
	if _, err := greet(t.Context(), dial, log); !errors.Is(err, noServer) {
		t.Fatalf("greet = %v, want %v", err, noServer)
	}
	if got := out.String(); !strings.Contains(got, "level=WARN") {
		t.Errorf("an error while a client connects is logged as\n%swant a warning", got)
	}
}

func TestErrorsOfConnectionsGoToWhomTheCallerChose(t *testing.T) {
	t.Parallel()
	told := false
	own := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { told = true })
	e := &Engine{}
	errorHandler(t, []nats.Option{own, onError(e.connError)})(nil, nil, nats.ErrSlowConsumer)
	if !told {
		t.Error("the caller's own handler is not told")
	}
}

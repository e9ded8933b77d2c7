package main_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/faena-dev/faena"
	main "github.com/faena-dev/faena/cmd/faena"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for code, want := range map[faena.Code]int{
		faena.CodeFailed: 1, faena.CodeCancelled: 1, faena.CodeLost: 1, faena.CodeInput: 2, faena.CodeInvalid: 2,
		faena.CodeUnavailable: 3, faena.CodeLimit: 3, faena.CodeFull: 3, faena.CodeNotFound: 4, faena.CodeUnknownTask: 5,
		faena.CodeConflict: 5, faena.CodeVersion: 5, faena.CodeInternal: 70, "unheard of": 70,
	} {
		err := fmt.Errorf("wrapped: %w", &faena.Error{Code: code, Op: "test"})
		if got := main.ExitCode(ctx, err); got != want {
			t.Errorf("ExitCode(%s) = %d, want %d", code, got, want)
		}
	}
	if got := main.ExitCode(ctx, errors.New("broken pipe")); got != 1 {
		t.Errorf("ExitCode(plain error) = %d, want 1", got)
	}
	if got := main.ExitCode(ctx, fmt.Errorf("open the lock: %w", fs.ErrPermission)); got != 2 {
		t.Errorf("ExitCode(no permission) = %d, want 2", got)
	}
	if got := main.ExitCode(ctx, nil); got != 0 {
		t.Errorf("ExitCode(nil) = %d, want 0", got)
	}
}

func TestServerURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1:4222":       "nats://127.0.0.1:4222",
		"tls://a.test, b.test": "tls://a.test,nats://b.test",
		"http://a.test":        "",
		"nats://":              "",
		"nats://a b":           "",
		"::":                   "",
		"::1:4222":             "",
		"[::1]:4222":           "nats://[::1]:4222",
		"nats://me:secret@::":  "",
		"http://me:secret@a":   "",
	} {
		got, err := main.ServerURL("--server ", in)
		if err != nil && (main.ExitCode(t.Context(), err) != 2 || strings.Contains(err.Error(), "secret")) {
			t.Errorf("ServerURL(%q) = %v, want exit code 2 and no password", in, err)
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ServerURL(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

// A secret must not be sent to a server only because it was named.
func TestSecretGoesToItsOwnServerOnly(t *testing.T) {
	t.Parallel()
	const own = "nats://127.0.0.1:4222"
	for url, want := range map[string]bool{
		own: true, "nats://localhost:4222": true, "nats://[::1]": true,
		"nats://127.0.0.1:4223": false, "nats://10.0.0.1:4222": false, "nats://user@127.0.0.1:4222": false,
		own + ",nats://10.0.0.1:4222": false,
	} {
		if got := main.SamePlace(url, own); got != want {
			t.Errorf("SamePlace(%q) = %t, want %t", url, got, want)
		}
	}
}

func TestCommandLineHidesPasswords(t *testing.T) {
	t.Parallel()
	got := main.CommandLine([]string{"scrape", "https://me:secret@a.test/x", "it's", ""})
	if want := `faena scrape https://me:xxxxx@a.test/x 'it'\''s' ''`; got != want {
		t.Errorf("CommandLine = %s, want %s", got, want)
	}
}

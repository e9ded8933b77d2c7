package main_test

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/faena-dev/faena/engine/embedded"
	hello "github.com/faena-dev/faena/examples/hello"
)

// Twice: the second time the data directory is there already.
func TestHello(t *testing.T) {
	t.Chdir(t.TempDir())
	for range 2 {
		if got, want := output(t), "Hello, world\n"; got != want {
			t.Errorf("hello printed %q, want %q", got, want)
		}
	}
}

// output is what the program prints.
func output(t *testing.T) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() {
		os.Stdout = stdout
		if v := recover(); v != nil {
			err, _ := v.(error)
			if _, weak := errors.AsType[*embedded.NotDurableError](err); weak {
				t.Skip(err)
			}
			t.Fatalf("hello panicked: %v", v)
		}
	}()
	hello.Main()
	os.Stdout = stdout
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

package linefile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faena-dev/faena/internal/linefile"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestContinue(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200_000)
	for name, c := range map[string]struct {
		before, want string
		lines        int
	}{
		"nothing":     {"", "new\n", 0},
		"whole":       {"a\nb\n", "a\nb\nnew\n", 2},
		"cut":         {"a\nb\nc", "a\nb\nnew\n", 2},
		"never ended": {"abc", "new\n", 0},
		"long":        {long + "\n" + long, long + "\nnew\n", 1},
		"empty lines": {"\n\n", "\n\nnew\n", 2},
	} {
		path := filepath.Join(t.TempDir(), "out")
		if c.before != "" {
			write(t, path, c.before)
		}
		w, n, err := linefile.Continue(path)
		if err != nil || n != c.lines {
			t.Fatalf("%s: Continue = %d, %v, want %d lines", name, n, err, c.lines)
		}
		if _, err := w.Write([]byte("new\n")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != c.want {
			t.Errorf("%s: the file has %d bytes, want %d", name, len(got), len(c.want))
		}
	}
}

func TestCreateEmpties(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out")
	write(t, path, "before\nlonger than after\n")
	w, err := linefile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("after\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "after\n" {
		t.Errorf("the file has %q, want after", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	write(t, there, "kept\n")
	for name, says := range map[string]string{
		there:                            "",
		filepath.Join(dir, "new"):        "",
		os.DevNull:                       "",
		dir:                              "directory",
		filepath.Join(dir, "none", "f"):  "no such file",
		filepath.Join(there, "not", "f"): "not a directory",
	} {
		err := linefile.Check(name)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("Check(%s) = %v, want %q", name, err, says)
		}
		_, _, cerr := linefile.Continue(name)
		if (cerr == nil) != (err == nil) {
			t.Errorf("Continue(%s) = %v, and Check said %v", name, cerr, err)
		}
	}
	if got := read(t, there); got != "kept\n" {
		t.Errorf("Check left %q in a file", got)
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	w, n, err := linefile.Continue(os.DevNull)
	if err != nil || n != 0 {
		t.Fatalf("Continue = %d, %v", n, err)
	}
	if _, err := w.Write([]byte("x\n")); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

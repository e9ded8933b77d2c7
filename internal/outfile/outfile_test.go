package outfile_test

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/faena-dev/faena/internal/outfile"
)

func write(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for _, text := range []string{"first\n", "", "third"} {
		if err := outfile.Check(path, 1); err != nil {
			t.Fatalf("Check = %v", err)
		}
		if err := outfile.Write(path, write(text)); err != nil {
			t.Fatalf("Write = %v", err)
		}
		if got := content(t, path); got != text {
			t.Errorf("Write(%q) left %q", text, got)
		}
	}
	if n := entries(t, dir); n != 1 {
		t.Errorf("there are %d files, want 1", n)
	}
}

func TestWriteThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := errors.New("bad")
	err := outfile.Write(path, func(w io.Writer) error {
		return errors.Join(write("after")(w), bad)
	})
	if !errors.Is(err, bad) || content(t, path) != "before" || entries(t, dir) != 1 {
		t.Errorf("Write = %v, left %q and %d files, want %v, what was there and 1", err, content(t, path), entries(t, dir), bad)
	}
}

func TestWriteKeepsModeAndLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "out"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o640), os.Symlink("out", link)); err != nil {
		t.Fatal(err)
	}
	if err := outfile.Write(link, write("x")); err != nil {
		t.Fatalf("Write = %v", err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v now", info, err)
	}
	if info, err = os.Stat(path); err != nil || info.Mode() != 0o640 || content(t, path) != "x" {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// A link to what is not there yet was refused, as if its directory were missing.
func TestWriteFollowsLinkToNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link, loop := filepath.Join(dir, "link"), filepath.Join(dir, "loop")
	if err := errors.Join(os.Symlink("hop", link), os.Symlink(filepath.Join(dir, "out"), filepath.Join(dir, "hop")), os.Symlink("loop", loop)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(outfile.Check(link, 1), outfile.Write(link, write("x"))); err != nil {
		t.Fatalf("Check, Write = %v", err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 || content(t, filepath.Join(dir, "out")) != "x" {
		t.Errorf("the link is %v, %v now", info, err)
	}
	if err := outfile.Check(loop, 1); err == nil {
		t.Error("Check of a link to itself = nil, want an error")
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, filepath.Join(dir, "none", "out"), filepath.Join(file, "out"), ""} {
		for _, err := range []error{outfile.Check(name, 1), outfile.Write(name, write("x"))} {
			if err == nil || !strings.Contains(err.Error(), "choose another place") && !strings.Contains(err.Error(), "name a file in it") {
				t.Errorf("Check or Write(%q) = %v, want an error that says what to do", name, err)
			}
		}
	}
	if err := outfile.Check(filepath.Join(dir, "out"), math.MaxInt64); runtime.GOOS == "linux" && (!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space")) {
		t.Errorf("Check of a file larger than the disk = %v, want an error that says what to do", err)
	}
	if n := entries(t, dir); n != 1 {
		t.Errorf("there are %d files, want 1", n)
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	if err := errors.Join(outfile.Check(os.DevNull, 1), outfile.Write(os.DevNull, write("x"))); err != nil {
		t.Errorf("write to %s = %v", os.DevNull, err)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no device that is always full")
	}
	if err := outfile.Write("/dev/full", write("x")); err == nil || !strings.Contains(err.Error(), "/dev/full: no space left on device: free some space") {
		t.Errorf("Write to a full device = %v, want an error that says what to do", err)
	}
}

package remedy_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/faena-dev/faena/internal/remedy"
)

func TestDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(name string) error {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "free some space"},
		{syscall.EDQUOT, "free some space"},
		{syscall.EFBIG, "raise the limit on the length of files"},
		{syscall.EROFS, "give access"},
		{syscall.EACCES, "give access"},
		{open(filepath.Join(dir, "none", "x")), "make its directory"},
		{open(filepath.Join(file, "x")), "a part of that path is a file"},
		{open(dir), "name a file in it"},
	} {
		got := remedy.Disk(fmt.Errorf("write: %w", c.err))
		if !strings.HasSuffix(got.Error(), c.want) && !strings.Contains(got.Error(), ": "+c.want) || !errors.Is(got, c.err) {
			t.Errorf("Disk(%v) = %v, want %q added", c.err, got, c.want)
		}
		if again := remedy.Disk(fmt.Errorf("more: %w", got)); strings.Count(again.Error(), c.want) != 1 {
			t.Errorf("Disk of an error with advice = %v, want it once", again)
		}
	}
	other := errors.New("something else")
	if got := remedy.Disk(other); !errors.Is(got, other) || got.Error() != other.Error() {
		t.Errorf("Disk(%v) = %v, want it as it is", other, got)
	}
	if got := remedy.Disk(nil); got != nil {
		t.Errorf("Disk(nil) = %v, want nil", got)
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := remedy.Room(dir, 1); err != nil {
		t.Errorf("Room for a byte = %v, want nil", err)
	}
	if err := remedy.Room(filepath.Join(dir, "none"), math.MaxInt64); err != nil {
		t.Errorf("Room where nobody knows = %v, want nil", err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	if err := remedy.Room(dir, math.MaxInt64); !remedy.Full(err) || !strings.Contains(err.Error(), "are free") {
		t.Errorf("Room for all there is = %v, want an error for want of space", err)
	}
}

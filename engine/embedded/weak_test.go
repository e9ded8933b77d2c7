package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/faena-dev/faena/engine/embedded"
)

// A start that was refused left the directory that it had made.
func TestRefusedStartMakesNothing(t *testing.T) {
	t.Parallel()
	disk, err := os.MkdirTemp("/dev/shm", "faena-test-") //nolint:usetesting // on that file system
	if err != nil {
		t.Skip("there is no file system in memory: " + err.Error())
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(disk); err != nil {
			t.Error(err)
		}
	})
	_, err = embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(disk, "new", "data")})
	if weak, ok := errors.AsType[*embedded.NotDurableError](err); !ok {
		t.Fatalf("Open in memory = %v, want that it is not durable", err)
	} else if want := filepath.Join(disk, "new", "data"); weak.Dir != want {
		t.Errorf("the error names %s, want %s", weak.Dir, want)
	}
	_, err = embedded.Open(t.Context(), embedded.Options{Dir: disk})
	if _, ok := errors.AsType[*embedded.NotDurableError](err); !ok {
		t.Fatalf("Open of an empty directory in memory = %v, want that it is not durable", err)
	}
	left, err := os.ReadDir(disk)
	if err != nil || len(left) != 0 {
		t.Errorf("after two refused starts the disk holds %v, %v, want nothing", left, err)
	}
}

//go:build linux

package blocking_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/faena-dev/faena/internal/blocking"
)

func TestSyncfs(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := blocking.Syncfs(int(f.Fd())); err != nil {
		t.Errorf("Syncfs = %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := blocking.Syncfs(-1); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Syncfs(-1) = %v, want EBADF", err)
	}
}

// What the runtime does beside it must not be disturbed: collections, which stop
// all goroutines and look at their stacks, stacks that grow, and other syncs.
func TestSyncfsBesideCollections(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	var stop atomic.Bool
	var collector, syncers sync.WaitGroup
	collector.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	for range 8 {
		syncers.Go(func() {
			for i := range 50 {
				if got := deep(t, int(f.Fd()), i*20); got != i*20 {
					t.Errorf("deep = %d, want %d", got, i*20)
				}
			}
		})
	}
	syncers.Wait()
	stop.Store(true)
	collector.Wait()
}

// deep syncs at some depth of the stack.
func deep(t *testing.T, fd, depth int) int {
	var pad [64]int
	pad[depth%64] = depth
	if depth > 0 {
		return deep(t, fd, depth-1) + 1 + pad[depth%64] - depth
	}
	if err := blocking.Syncfs(fd); err != nil {
		t.Errorf("Syncfs = %v", err)
	}
	return 0
}

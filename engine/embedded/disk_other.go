//go:build !linux

package embedded

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
)

var errLocked = errors.New("locked by another process")

// lock only opens the file: elsewhere than on Linux two processes on one data
// directory are not noticed.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	return f, nil
}

// owned cannot be known here.
func owned(string) bool { return true }

func bootID() string { return "" }

func (d *directory) syncer() (func() error, error) {
	return nil, fmt.Errorf("strict durability is not kept on %s: choose durability fast", runtime.GOOS)
}

func fileSystem(string) (string, bool, error) {
	return "a file system of " + runtime.GOOS, false, nil
}

func (d *directory) space() (free, size int64, err error) { return math.MaxInt64, math.MaxInt64, nil }

package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// locks: a file is locked until it is closed or the process ends.
const locks = true

// lock takes a file for this process, or says errBusy. Any other error is that of
// a file system without locks.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errBusy
	}
	return err
}

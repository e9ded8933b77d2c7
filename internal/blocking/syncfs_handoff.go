//go:build linux && go1.26 && !go1.27 && !faena_nolinkname

package blocking

import (
	"syscall"
	_ "unsafe" // for linkname

	"golang.org/x/sys/unix"
)

// The two below are kept for use from outside the runtime, with these signatures:
// see their comments there. Versions of Go with which this has not been tried get
// the usual call, and so does the build tag.

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// Syncfs writes to disk what was written to the file system that holds the open
// file. Other goroutines get the processor for that time.
func Syncfs(fd int) error {
	if errno := syncfs(uintptr(fd)); errno != 0 {
		return errno
	}
	return nil
}

// syncfs may call nothing that needs more stack, and must not return in between.
//
//go:norace
//go:nosplit
func syncfs(fd uintptr) syscall.Errno {
	entersyscallblock()
	_, _, errno := syscall.RawSyscall(unix.SYS_SYNCFS, fd, 0, 0)
	exitsyscall()
	return errno
}

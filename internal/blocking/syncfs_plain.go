//go:build linux && (!go1.26 || go1.27 || faena_nolinkname)

package blocking

import "golang.org/x/sys/unix"

// Syncfs writes to disk what was written to the file system that holds the open
// file.
func Syncfs(fd int) error {
	return unix.Syncfs(fd) //nolint:wrapcheck // the caller says what it did
}

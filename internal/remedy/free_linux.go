package remedy

import (
	"math"

	"golang.org/x/sys/unix"
)

// free is how many bytes a user may still write in a directory.
func free(dir string) (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Blocks == 0 { // such as /proc
		return 0, false
	}
	return int64(min(s.Bavail, math.MaxInt64/uint64(s.Bsize)) * uint64(s.Bsize)), true //nolint:gosec // bounded just before
}

package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/faena-dev/faena/internal/blocking"
)

var errLocked = errors.New("locked by another process")

// lock takes a file for this process until it ends.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // in the data directory
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close() //nolint:errcheck,gosec // the first error counts
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	return f, nil
}

// owned tells whether a process has the directory open.
func owned(dir string) bool {
	f, err := lock(filepath.Join(dir, lockFile))
	if err != nil {
		return errors.Is(err, errLocked)
	}
	f.Close() //nolint:errcheck,gosec // gives the lock back
	return false
}

// bootID names this boot of the machine.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// syncer syncs the file system that holds the directory: what was written to it
// before is then on disk.
func (d *directory) syncer() (func() error, error) {
	fd := int(d.lock.Fd())
	return func() error {
		if err := blocking.Syncfs(fd); err != nil {
			return fmt.Errorf("sync the data directory: %w", err)
		}
		return nil
	}, nil
}

// fileSystem names a directory's file system, and tells whether a sync of it is
// known to make data safe.
func fileSystem(dir string) (string, bool, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", false, fmt.Errorf("look at the data directory's file system: %w", err)
	}
	switch uint32(s.Type) { //nolint:gosec // a magic number of 32 bits
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", true, nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", true, nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", true, nil
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs", true, nil
	case 0x2fc12fc1:
		return "zfs", true, nil
	case unix.OVERLAYFS_SUPER_MAGIC: // since Linux 5.11 its sync is the upper layer's
		return "overlayfs", true, nil
	case unix.TMPFS_MAGIC:
		return "tmpfs", false, nil
	case unix.NFS_SUPER_MAGIC:
		return "NFS", false, nil
	case unix.FUSE_SUPER_MAGIC:
		return "a FUSE file system", false, nil
	case unix.RAMFS_MAGIC:
		return "ramfs", false, nil
	default:
		return fmt.Sprintf("an unknown file system (type %#x)", uint32(s.Type)), false, nil //nolint:gosec // a magic number of 32 bits
	}
}

// space is the free and the whole size of the file system in bytes; nothing is
// free where few more files can be made.
func (d *directory) space() (free, size int64, err error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(d.lock.Fd()), &s); err != nil {
		return 0, 0, fmt.Errorf("look at free space: %w", err)
	}
	if s.Files > 0 && s.Ffree < fewFiles { // some count none, and have no bound
		s.Bavail = 0
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil //nolint:gosec // sizes of disks
}

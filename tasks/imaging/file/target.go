package file

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Temporary files are hidden and recognisable, so that Sweep can find those that
// a killed process left. Who writes one holds its lock.
const tempPrefix, tempSuffix = ".faena-", ".tmp"

// errBusy says that another process holds a lock.
var errBusy = errors.New("locked by another process")

// target is an output that is being written beside its place.
type target struct {
	out  string
	file *os.File
}

func newTarget(out string) (*target, error) {
	dir := filepath.Dir(out)
	if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // G301: the umask decides, as for any output
		return nil, Explain("make the output directory "+dir, err)
	}
	for {
		name := filepath.Join(dir, tempPrefix+rand.Text()+tempSuffix)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // G302, G304: as above
		if err != nil {
			return nil, Explain("write to "+dir, err)
		}
		busy := lock(f)
		_, gone := os.Lstat(name)
		if !errors.Is(busy, errBusy) && !errors.Is(gone, fs.ErrNotExist) {
			return &target{out: out, file: f}, nil
		}
		_ = f.Close() // a sweep found it before it was locked
	}
}

// discard removes what was not committed. It may follow commit.
func (t *target) discard() {
	_ = t.file.Close()           // closed already if committed
	_ = os.Remove(t.file.Name()) // gone already if committed
}

// commit puts the file in its place, on disk. It returns true if the same content
// is there already.
func (t *target) commit(overwrite bool) (unchanged bool, err error) {
	if err := t.sync(); err != nil {
		return false, Explain("write "+t.out, err)
	}
	if overwrite {
		err = os.Rename(t.file.Name(), t.out)
	} else {
		err = settle(t.file.Name(), t.out)
	}
	if errors.Is(err, fs.ErrExist) && !overwrite {
		if same(t.file.Name(), t.out) {
			return true, nil
		}
		return false, fmt.Errorf("write %s: %w", t.out, ErrExists)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("write %s: %w", t.out, ErrSwept)
	}
	if err != nil {
		return false, Explain("write "+t.out, err)
	}
	if err := syncDir(filepath.Dir(t.out)); err != nil {
		return false, Explain("write "+t.out, err)
	}
	return false, nil
}

// sync writes the file to disk. It stays open where it is locked, as closing
// would let it be swept.
func (t *target) sync() error {
	err := t.file.Sync()
	if !locks {
		err = errors.Join(err, t.file.Close())
	}
	return err
}

// settle gives the file its name if nothing has it: a link, as renaming replaces.
func settle(temp, out string) error {
	err := os.Link(temp, out)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// Some file systems know no links. There the look before leaves a gap of
	// microseconds in which another process could put its own.
	if _, err := os.Lstat(out); err == nil {
		return fs.ErrExist
	}
	return os.Rename(temp, out)
}

// same reports whether two files hold the same bytes.
func same(a, b string) bool {
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	if errA != nil || errB != nil || !ib.Mode().IsRegular() || ia.Size() != ib.Size() {
		return false
	}
	fa, err := os.Open(a) //nolint:gosec // G304: our own file
	if err != nil {
		return false
	}
	defer fa.Close()      //nolint:errcheck // only read
	fb, err := os.Open(b) //nolint:gosec // G304: the output that the caller names
	if err != nil {
		return false
	}
	defer fb.Close() //nolint:errcheck // only read
	bufA, bufB := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, errA := io.ReadFull(fa, bufA)
		m, errB := io.ReadFull(fb, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return ended(errA) && ended(errB)
		}
	}
}

func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// syncDir makes the new name survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // G304: the directory that the caller names
	if err != nil {
		return err
	}
	err = d.Sync()
	// Some file systems cannot sync directories, and need not.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Sweep removes what killed processes left half written in dir. Where a lock does
// not tell that its writer lives, as on some network file systems, that is what is
// older than age. A dir that is not there is clean.
func Sweep(dir string, age time.Duration) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	var errs []error
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if err := sweep(filepath.Join(dir, e.Name()), age); err != nil && !errors.Is(err, fs.ErrNotExist) { // else gone meanwhile
			errs = append(errs, fmt.Errorf("sweep %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// sweep removes one temporary file if nobody writes it.
func sweep(name string, age time.Duration) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0) //nolint:gosec // G304: a name that newTarget chooses
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // not written; ends the lock once the file is gone
	switch err := lock(f); {
	case errors.Is(err, errBusy):
		return nil
	case err != nil:
		info, err := f.Stat()
		if err != nil || time.Since(info.ModTime()) < age {
			return err
		}
	}
	return os.Remove(name)
}

// Explain adds to an error of the file system what was tried and what to do.
func Explain(what string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		remedy = ": give access to it, or choose another place"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = ": free some space, or choose another place"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		remedy = ": a part of that path is a file; choose another place"
	case errors.Is(err, fs.ErrNotExist):
		remedy = ": check the path"
	}
	return fmt.Errorf("%s: %w%s", what, err, remedy)
}

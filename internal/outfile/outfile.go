// Package outfile writes results to files that are there whole or not at all.
package outfile

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/faena-dev/faena/internal/remedy"
)

// Check tells whether Write of name, of about so many bytes, would go, as far as
// that can be known before: it is for the time before a long computation. It
// leaves nothing behind, and what is there as it is.
func Check(name string, size int64) error {
	t, err := find(name)
	if err == nil && t.special {
		return nil // to open a pipe would wait for its reader
	}
	if err == nil {
		err = remedy.Room(filepath.Dir(t.path), size)
	}
	var f *os.File
	if err == nil {
		f, err = t.create()
	}
	if err != nil {
		return wrap(name, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// wrap says what was tried and what to do.
func wrap(name string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // its name stands before it, or says nothing to anybody
	}
	return fmt.Errorf("write to %s: %w", name, remedy.Disk(err))
}

// Write gives fn a buffered writer, and what is written to it becomes the content
// of the file, all at once and on disk: until then, and after an error, it is what
// it was. A file that is there keeps its mode and may be named by a symbolic link;
// devices and pipes are written to directly.
func Write(name string, fn func(io.Writer) error) error {
	t, err := find(name)
	if err == nil && t.special {
		err = t.direct(fn)
	} else if err == nil {
		err = t.replace(fn)
	}
	if err != nil {
		return wrap(name, err)
	}
	return nil
}

// target is where a name leads.
type target struct {
	path    string
	mode    fs.FileMode // of the file that is there; 0 if there is none
	special bool        // no regular file
}

var errDirectory = errors.New("it is a directory: name a file in it")

func find(name string) (target, error) {
	path, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(name)
	}
	if err != nil {
		return target{}, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return target{}, err
	case info.IsDir():
		return target{}, errDirectory
	case !info.Mode().IsRegular():
		return target{path: path, special: true}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // one that is not to be written must not be replaced
	if err != nil {
		return target{}, err
	}
	return target{path: path, mode: info.Mode().Perm()}, f.Close()
}

// links is how many symbolic links are followed at most.
const links = 40

// missing is where a name leads at which there is nothing: itself, or where links lead.
func missing(name string) (target, error) {
	for range links {
		to, err := os.Readlink(name)
		if err != nil {
			return target{path: name}, nil //nolint:nilerr // no link; whether it can be made is seen when it is
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
	}
	return target{}, syscall.ELOOP
}

// create makes an empty file beside the target.
func (t target) create() (*os.File, error) {
	path := filepath.Join(filepath.Dir(t.path), "."+filepath.Base(t.path)+"."+rand.Text()[:8])
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // less what the umask says, as any program's output
}

func (t target) replace(fn func(io.Writer) error) error {
	f, err := t.create()
	if err != nil {
		return err
	}
	err = fill(f, fn)
	if err == nil && t.mode != 0 {
		err = f.Chmod(t.mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), t.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(t.path))
}

func (t target) direct(fn func(io.Writer) error) error {
	f, err := os.OpenFile(t.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(fill(f, fn), f.Close())
}

func fill(f *os.File, fn func(io.Writer) error) error {
	w := bufio.NewWriterSize(f, 1<<16)
	if err := fn(w); err != nil {
		return err
	}
	return w.Flush()
}

// syncDir makes a rename last. Not all systems can open a directory for that.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // where the caller's file is
	if err != nil {
		return nil //nolint:nilerr // the file itself is whole and on disk
	}
	_ = d.Sync() // nor can all sync it
	return d.Close()
}

// Package linefile writes results to a file line by line, so that a process that
// was killed meanwhile can be followed by one that goes on.
package linefile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/faena-dev/faena/internal/remedy"
)

var errDirectory = errors.New("it is a directory: name a file in it")

// Check tells whether Create or Continue of name would go, as far as that can be
// known before. It leaves nothing behind, and what is there as it is.
func Check(name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var f *os.File
		if f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666); err == nil { //nolint:gosec // less what the umask says, as any program's output
			err = errors.Join(f.Close(), os.Remove(name))
		}
	case err != nil:
	case info.IsDir():
		err = errDirectory
	case info.Mode().IsRegular(): // to open a pipe would wait for its reader
		var f *os.File
		if f, err = os.OpenFile(name, os.O_WRONLY, 0); err == nil { //nolint:gosec // the caller's file
			err = f.Close()
		}
	}
	return wrap(name, err)
}

// File is a file of lines. It must not be used concurrently.
type File struct {
	f       *os.File
	name    string
	regular bool
}

// Create opens a file, without what it had.
func Create(name string) (*File, error) {
	w, _, err := open(name, false)
	return w, wrap(name, err)
}

// Continue opens a file to go on with it, and tells how many lines it has. What
// stands behind the last line's end is cut off. A file that is not there is made,
// and a device or pipe has no lines.
func Continue(name string) (w *File, lines int, err error) {
	w, lines, err = open(name, true)
	return w, lines, wrap(name, err)
}

func open(name string, goOn bool) (*File, int, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return nil, 0, errDirectory
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0) //nolint:gosec // the caller's file
		return &File{f: f, name: name}, 0, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666) //nolint:gosec // less what the umask says, as any program's output
	if err != nil {
		return nil, 0, err
	}
	lines, end := 0, int64(0)
	if goOn {
		lines, end, err = count(f)
	}
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return &File{f: f, name: name, regular: true}, lines, nil
}

// count counts lines, and tells where the last one ends.
func count(r io.Reader) (lines int, end int64, err error) {
	b := bufio.NewReaderSize(r, 1<<16)
	at := int64(0)
	for {
		part, err := b.ReadSlice('\n')
		at += int64(len(part))
		if bytes.HasSuffix(part, []byte("\n")) {
			lines, end = lines+1, at
		}
		switch {
		case errors.Is(err, io.EOF):
			return lines, end, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return 0, 0, err
		}
	}
}

// Write writes whole lines.
func (w *File) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, wrap(w.name, err)
}

// Close puts what was written on disk.
func (w *File) Close() error {
	var err error
	if w.regular {
		err = w.f.Sync()
	}
	return wrap(w.name, errors.Join(err, w.f.Close()))
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the name stands before it
	}
	return fmt.Errorf("write to %s: %w", name, remedy.Disk(err))
}

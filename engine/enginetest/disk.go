package enginetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// disk is what is safe from a power cut: copies of a directory, each as of a
// sync. The engine gets them as they were, whatever the file system did.
type disk struct {
	mu   sync.Mutex
	at   string // where copies are kept
	n    int
	now  time.Time         // by the file system's clock
	last string            // the newest that a living process has made
	was  map[string]copied // files of the newest, by path
}

// copied is a file as it was when it was copied to a path.
type copied struct {
	to   string
	size int64
	time time.Time
}

// settled is the age from which a file's time tells whether it has changed.
const settled = 20 * time.Millisecond

// sync copies the directory; that counts unless its process has died.
func (d *disk) sync(dir string, l *life) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	to := filepath.Join(d.at, strconv.Itoa(d.n))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	i, err := os.Stat(to)
	if err != nil {
		return err
	}
	d.now = i.ModTime()
	is := map[string]copied{}
	if err := d.copy(to, dir, is); err != nil {
		return err
	}
	if l.dead.Load() { // the power went before the sync was done
		return nil
	}
	d.last, d.was = to, is
	return nil
}

// restore makes the directory as it was synced last.
func (d *disk) restore(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == "" { // never
		return os.MkdirAll(dir, 0o700)
	}
	return os.CopyFS(dir, os.DirFS(d.last))
}

// copy copies a directory in use: what goes meanwhile is left out, what has not
// changed since the last copy is linked to it.
func (d *disk) copy(to, from string, is map[string]copied) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	all, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range all {
		src, dst := filepath.Join(from, f.Name()), filepath.Join(to, f.Name())
		if f.IsDir() {
			err = d.copy(dst, src, is)
		} else {
			err = d.file(dst, src, is)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (d *disk) file(dst, src string, is map[string]copied) error {
	i, err := os.Stat(src)
	if err != nil {
		return err
	}
	now := copied{dst, i.Size(), i.ModTime()}
	is[src] = now
	if was, ok := d.was[src]; ok && was.size == now.size && was.time.Equal(now.time) && d.now.Sub(now.time) > settled {
		return os.Link(was.to, dst)
	}
	data, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o600)
}

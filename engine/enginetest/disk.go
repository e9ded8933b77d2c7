package enginetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// disk is what is safe from a power cut: a directory as of the last sync, in
// memory.
type disk struct {
	mu  sync.Mutex
	was map[string]stored // by path in the directory
}

// stored is a file, or a directory, as of a sync.
type stored struct {
	dir  bool
	data []byte
	time time.Time
	old  bool // the time tells whether the file has changed
}

// settledAfter is the age from which a file's time tells whether it has changed
// since: those of many systems are coarse.
const settledAfter = 20 * time.Millisecond

// sync reads the directory; that counts unless its process has died meanwhile.
func (d *disk) sync(dir string, l *life) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := fileTime(dir)
	if err != nil {
		return err
	}
	is := map[string]stored{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = d.read(is, path, path[len(dir):], e, now)
		}
		if errors.Is(err, fs.ErrNotExist) { // the directory is in use
			return nil
		}
		return err
	})
	if err == nil && !l.dead.Load() {
		d.was = is
	}
	return err
}

// fileTime is what the file system's clock says: a test's is another.
func fileTime(dir string) (time.Time, error) {
	probe := dir + ".now"
	if err := os.WriteFile(probe, nil, 0o600); err != nil {
		return time.Time{}, err
	}
	i, err := os.Stat(probe)
	if err != nil {
		return time.Time{}, err
	}
	return i.ModTime(), nil
}

func (d *disk) read(is map[string]stored, path, name string, e fs.DirEntry, now time.Time) error {
	i, err := e.Info()
	if err != nil {
		return err
	}
	s := stored{dir: i.IsDir(), time: i.ModTime(), old: now.Sub(i.ModTime()) > settledAfter}
	if was, ok := d.was[name]; ok && was.old && was.time.Equal(s.time) && len(was.data) == int(i.Size()) {
		s.data = was.data
	} else if !s.dir {
		if s.data, err = os.ReadFile(path); err != nil {
			return err
		}
	}
	is[name] = s
	return nil
}

// restore makes a directory that is as it was synced last.
func (d *disk) restore(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, s := range d.was {
		path := dir + name
		at := filepath.Dir(path)
		if s.dir {
			at = path
		}
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		if s.dir {
			continue
		}
		if err := os.WriteFile(path, s.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

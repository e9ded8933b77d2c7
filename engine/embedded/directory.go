package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Files of a data directory.
const (
	lockFile    = "lock"
	formatFile  = "format.json"
	secretFile  = "secret"
	addressFile = "address.json"
	bootFile    = "boot"
)

// format is what wrote the directory.
type format struct {
	Format int `json:"format"`
}

// formatVersion is the layout of directories that this program writes.
const formatVersion = 1

// directory is a data directory that this process owns.
type directory struct {
	dir    string
	lock   *os.File
	boot   string
	unsure bool // power may have been lost since it was open last
	clean  bool // it was closed in order
}

func openDirectory(dir, boot string) (*directory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &engine.Error{Code: engine.CodeInvalid, Op: "make the data directory", Err: fmt.Errorf("%w: choose another directory", err)}
	}
	d := &directory{dir: dir, boot: boot}
	if d.boot == "" {
		d.boot = bootID()
	}
	var err error
	for try := 0; ; try++ {
		if d.lock, err = lock(d.path(lockFile)); !errors.Is(err, errLocked) || try == 5 {
			break
		}
		time.Sleep(20 * time.Millisecond) // somebody may only look whether it is taken
	}
	if err != nil {
		if errors.Is(err, errLocked) {
			err = &engine.Error{Code: engine.CodeConflict, Op: "open " + dir, Err: errors.New("another process uses this data directory: end it, or choose another directory")}
		}
		return nil, err
	}
	if err := d.check(); err != nil {
		d.lock.Close() //nolint:errcheck,gosec // the first error counts
		return nil, err
	}
	return d, nil
}

// unmade is the directory in which the first one on the way to a data directory
// would be made, or itself if it is there; empty if it has been used before.
func unmade(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err == nil {
		return ""
	}
	for {
		_, err := os.Stat(dir)
		if err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir || !errors.Is(err, fs.ErrNotExist) { // to make it says more
			return ""
		}
		dir = up
	}
}

func (d *directory) path(name string) string { return filepath.Join(d.dir, name) }

// check reads who wrote the directory last and marks it as in use.
func (d *directory) check() error {
	b, err := os.ReadFile(d.path(formatFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if b, err = json.Marshal(format{formatVersion}); err == nil {
			err = writeFile(d.path(formatFile), b)
		}
		if err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("read the data directory's format: %w", err)
	default:
		var f format
		if err := json.Unmarshal(b, &f); err != nil {
			return &engine.Error{Code: engine.CodeConflict, Op: "open " + d.dir, Err: fmt.Errorf("%s is damaged (%w): restore it from a backup, or write {\"format\":%d} into it if no newer version has used the directory", formatFile, err, formatVersion)}
		}
		if f.Format > formatVersion {
			return &engine.Error{Code: engine.CodeVersion, Op: "open " + d.dir, Err: fmt.Errorf("its format %d is newer than this program's %d: run the newer version", f.Format, formatVersion)}
		}
	}
	last, err := os.ReadFile(d.path(bootFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the data directory's boot: %w", err)
	}
	switch s := strings.TrimSpace(string(last)); s {
	case "":
	case clean:
		d.clean = true
	default:
		d.unsure = s != d.boot || d.boot == ""
	}
	return writeFile(d.path(bootFile), []byte(d.boot))
}

// clean stands in the boot file while nobody has the directory open.
const clean = "clean"

// dropDeliveries deletes, when power may have been lost, what the server noted of
// deliveries: it may be empty or from another moment, and a server that cannot
// read it does without the consumer. All that stands in the queues is delivered
// again, and asked about.
func (d *directory) dropDeliveries() error {
	if !d.unsure {
		return nil
	}
	names, err := d.deliveries()
	if err != nil {
		return err
	}
	return drop(names)
}

// deliveries are the files of what the server noted of deliveries, each in a
// directory named for its consumer, two below one named for the stream.
func (d *directory) deliveries() ([]string, error) {
	names, err := filepath.Glob(d.path("store/jetstream/*/streams/*/obs/*/o.dat"))
	if err != nil {
		return nil, fmt.Errorf("look for notes of deliveries: %w", err)
	}
	return names, nil
}

func drop(names []string) error {
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("drop notes of deliveries: %w", err)
		}
	}
	return nil
}

// secret is the token of connections, made once.
func (d *directory) secret() (string, error) {
	b, err := os.ReadFile(d.path(secretFile))
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	s := newSecret()
	if err := writeFile(d.path(secretFile), []byte(s)); err != nil {
		return "", err
	}
	return s, nil
}

func (d *directory) publishAddress(url, secret string) error {
	b, err := json.Marshal(Address{url, secret}) //nolint:gosec // the file is the owner's alone
	if err != nil {
		return fmt.Errorf("write the address: %w", err)
	}
	return writeFile(d.path(addressFile), b)
}

// close leaves the directory to others; ended well says that the streams were
// closed in order.
func (d *directory) close(well bool) error {
	var err error
	if rerr := os.Remove(d.path(addressFile)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = fmt.Errorf("remove the address: %w", rerr)
	}
	if well {
		if sync, serr := d.syncer(); serr == nil {
			if serr := sync(); serr != nil {
				return errors.Join(err, serr, d.lock.Close())
			}
		}
		err = errors.Join(err, writeFile(d.path(bootFile), []byte(clean)))
	}
	return errors.Join(err, d.lock.Close())
}

// writeFile replaces a file whole; only its owner may read it. After a power cut
// there is the old one or the new one, and not an empty one. An error names it.
func writeFile(path string, data []byte) error {
	tmp := path + ".tmp"
	err := writeSynced(tmp, data)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	return err
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // in the data directory
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

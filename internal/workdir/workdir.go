// Package workdir keeps the directories of commands that do their work by
// themselves: one for each call, locked while its process lives, removed when
// the work is done, and found again when the process ended before.
package workdir

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/faena-dev/faena/internal/remedy"
)

// What branches callers.
var (
	ErrNoID     = errors.New("that is no id of a call: want its name, - and 8 letters and digits")
	ErrNotFound = errors.New("nothing of that id was left behind")
	ErrRunning  = errors.New("its process is still running")
)

// Job is what is known of a call: enough to make it again.
type Job struct {
	ID      string    `json:"id"`
	Args    []string  `json:"args"` // of the program, its name left out
	Cwd     string    `json:"cwd"`  // what relative paths in Args count from
	Started time.Time `json:"started"`
	PID     int       `json:"pid"`            // of the process that had it last
	Runs    []string  `json:"runs,omitempty"` // that were submitted, in order

	Server    string `json:"server,omitempty"`     // that does the work, without a secret; empty if the process does
	TokenFile string `json:"token_file,omitempty"` // with the server's secret
}

// Entry is a job in a list.
type Entry struct {
	Job
	Running bool `json:"running"` // its process lives: nothing to resume
}

// Dir is a job's directory, held by this process until Close or Remove. The zero
// Dir is none: it remembers what it is told until then.
type Dir struct {
	Job
	path string
	lock *os.File
}

const (
	jobFile  = "job.json"
	lockFile = "lock"
	dataDir  = "data"
	gone     = ".gone-" // prefix of directories being removed
)

// Create makes a directory below root, and root if it is missing, for a job of
// which its maker says the arguments and the server. The id is the name and letters
// made by chance, so two calls never meet.
func Create(root, name string, j Job) (*Dir, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", root, err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	j.ID, j.Args, j.Cwd = name+"-"+strings.ToLower(rand.Text()[:idLetters]), slices.Clone(j.Args), cwd
	j.Started, j.PID = time.Now().UTC(), os.Getpid()
	d := &Dir{Job: j}
	d.path = filepath.Join(root, d.ID)
	if err := os.Mkdir(d.path, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for the work: %w", err)
	}
	if d.lock, err = lock(filepath.Join(d.path, lockFile)); err == nil {
		err = d.save()
	}
	if err != nil {
		return nil, errors.Join(err, d.Remove())
	}
	return d, nil
}

// Open takes over a directory left behind. What cannot be an id gives ErrNoID, an
// id that is not there ErrNotFound, one whose process lives ErrRunning.
func Open(root, id string) (*Dir, error) {
	if !shaped(id) {
		return nil, ErrNoID
	}
	d := &Dir{path: filepath.Join(root, id)}
	if _, err := os.Stat(filepath.Join(d.path, jobFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	var err error
	if d.lock, err = lock(filepath.Join(d.path, lockFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, err
	}
	if d.Job, err = read(d.path); err != nil { // removed before the lock was ours, perhaps
		return nil, errors.Join(err, d.Close())
	}
	d.PID = os.Getpid()
	if err := d.save(); err != nil && !remedy.Full(err) { // to give it up makes space, and to resume it fails later if it must
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// List tells the jobs below root, oldest first; a root that is missing has none.
// It finishes removals that a crash cut short.
func List(root string) ([]Entry, error) {
	names, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list what was left behind: %w", err)
	}
	var out []Entry
	for _, n := range names {
		path := filepath.Join(root, n.Name())
		if strings.HasPrefix(n.Name(), gone) {
			os.RemoveAll(path) //nolint:errcheck,gosec // the next list tries again
			continue
		}
		if !valid(n.Name()) {
			continue
		}
		job, err := read(path)
		if errors.Is(err, ErrNotFound) {
			continue // just being made, or nothing was ever begun
		}
		if err != nil {
			return nil, err
		}
		e := Entry{Job: job}
		e.Running, err = held(filepath.Join(path, lockFile))
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return a.Started.Compare(b.Started) })
	return out, nil
}

// Data is where the job's own data goes.
func (d *Dir) Data() string { return filepath.Join(d.path, dataDir) }

// SetRuns remembers what was submitted.
func (d *Dir) SetRuns(ids []string) error {
	d.Runs = slices.Clone(ids)
	if d.lock == nil {
		return nil
	}
	return d.save()
}

// Close lets others take the directory over; Remove deletes it. After either
// neither does anything.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	err := d.lock.Close()
	d.lock = nil
	return err
}

// Remove deletes the directory, first from lists.
func (d *Dir) Remove() error {
	if d.lock == nil {
		return nil
	}
	trash := filepath.Join(filepath.Dir(d.path), gone+filepath.Base(d.path))
	if err := os.Rename(d.path, trash); err != nil {
		return errors.Join(fmt.Errorf("remove %s: %w", d.path, err), d.Close())
	}
	err := d.Close()
	if rerr := os.RemoveAll(trash); rerr != nil {
		err = errors.Join(err, fmt.Errorf("remove %s: %w", trash, rerr))
	}
	return err
}

// save replaces the job's file whole.
func (d *Dir) save() error {
	b, err := json.MarshalIndent(d.Job, "", "\t")
	if err != nil {
		return fmt.Errorf("write the job: %w", err)
	}
	tmp := filepath.Join(d.path, jobFile+".tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		os.Remove(tmp) //nolint:errcheck,gosec // the first error counts
		return fmt.Errorf("write the job: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(d.path, jobFile)); err != nil {
		return fmt.Errorf("write the job: %w", err)
	}
	return nil
}

func read(path string) (Job, error) {
	var j Job
	b, err := os.ReadFile(filepath.Join(path, jobFile)) //nolint:gosec // below the caller's root
	if errors.Is(err, fs.ErrNotExist) {
		return j, ErrNotFound
	}
	if err != nil {
		return j, fmt.Errorf("read the job: %w", err)
	}
	if err := json.Unmarshal(b, &j); err != nil || j.ID != filepath.Base(path) {
		return j, fmt.Errorf("%s is damaged: remove the directory", filepath.Join(path, jobFile))
	}
	return j, nil
}

// idLetters is how many letters made by chance an id ends with.
const idLetters = 8

// shaped tells whether Create may have made an id.
func shaped(id string) bool {
	name := len(id) - idLetters - 1
	return valid(id) && name > 0 && id[name] == '-' && !strings.ContainsAny(id[name+1:], "0189-")
}

// valid keeps an id from being a path.
func valid(id string) bool {
	return id != "" && id[0] != '.' && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

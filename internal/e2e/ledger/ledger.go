// Package ledger is how tests judge faena from the outside. Processes append
// what they do and what they are shown to files that faena knows nothing of;
// Check compares these with what faena says in the end.
package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Kind is what an entry tells of.
type Kind string

// The kinds of entries.
const (
	Acked     Kind = "acked"     // a client's runs were accepted
	Refused   Kind = "refused"   // a client's runs were not, or it is open whether they were
	Started   Kind = "started"   // a handler begins
	Ended     Kind = "ended"     // a handler is about to return
	Cancelled Kind = "cancelled" // a client's cancel was answered
	Shown     Kind = "shown"     // a client was shown a run's end
)

// Entry is one line of a ledger.
type Entry struct {
	At      int64    `json:"at"`  // nanoseconds of the machine's monotonic clock
	Who     string   `json:"who"` // the process
	Kind    Kind     `json:"kind"`
	IDs     []string `json:"ids,omitempty"` // of runs; a batch has many
	Plan    string   `json:"plan,omitempty"`
	Attempt int      `json:"attempt,omitempty"`
	State   string   `json:"state,omitempty"`    // terminal state, or how a handler ends
	Value   string   `json:"value,omitempty"`    // result, or the code of a failure
	Batch   string   `json:"batch,omitempty"`    // of runs submitted together
	NotTill int64    `json:"not_till,omitempty"` // before which they must not start
}

// Writer appends entries, each by a single write. It may be used concurrently.
type Writer struct {
	who string
	now func() int64
	mu  sync.Mutex
	w   io.Writer
}

// New makes a writer over w, for the process who. A nil now is the machine's
// monotonic clock.
func New(w io.Writer, who string, now func() int64) *Writer {
	if now == nil {
		now = Now
	}
	return &Writer{who: who, now: now, w: w}
}

// Add stamps an entry and writes it. When it returns the entry outlives the
// process.
func (w *Writer) Add(e Entry) error {
	e.Who = w.who
	w.mu.Lock()
	defer w.mu.Unlock()
	e.At = w.now()
	b, err := json.Marshal(e)
	if err == nil {
		_, err = w.w.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write to the ledger: %w", err)
	}
	return nil
}

// Read reads one ledger. A last line without its end is left out: its writer was
// killed while it wrote.
func Read(r io.Reader) ([]Entry, error) {
	var out []Entry
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		var e Entry
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return nil, fmt.Errorf("read the ledger's line %d: %w", n, err)
		}
		out = append(out, e)
	}
}

// ReadAll reads all ledgers of a directory.
func ReadAll(dir string) ([]Entry, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.ledger"))
	if err != nil {
		return nil, fmt.Errorf("list ledgers: %w", err)
	}
	var out []Entry
	for _, name := range names {
		b, err := os.ReadFile(name) //nolint:gosec // the test's directory
		if err != nil {
			return nil, fmt.Errorf("read a ledger: %w", err)
		}
		es, err := Read(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		out = append(out, es...)
	}
	return out, nil
}

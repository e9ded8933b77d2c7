// Package imaging is the built-in task that changes pictures: grayscale, blur,
// sharpen, edges, resize and thumbnail, alone or in chains, from JPEG, PNG, GIF
// and WebP. It is written as a user of faena would write it: two tasks and their
// handlers.
//
//	err := node.Handle(imaging.Handlers(imaging.Options{})...)
//	sum, err := imaging.Batch.Run(ctx, node, imaging.Input{
//		Files: []string{"/photos/a.jpg", "/photos/b.png"}, Out: "/photos/small",
//		Settings: imaging.Settings{Filter: "resize:1600,sharpen"},
//	})
//
// A run of [Batch] plans where all outputs go, refuses what cannot go well before
// anything is done, and has each file processed by a child run of [Process], a
// bounded number of them at a time. A bad file fails its own child for good, and
// the summary says why; the others go on. What had finished when a worker died is
// not done again.
//
// An output is there whole or not at all, no input is ever written to, and another
// file in an output's place stays unless overwriting is allowed. A file that holds
// the very same is taken for the output: so a run that is executed again, because
// its worker died after writing and before saying so, comes to the same end.
//
// Files are read and written by the worker that executes the run. All paths are
// absolute, for workers may have other working directories, and every worker that
// takes the tasks must see the files at these paths. Whoever may submit these
// tasks may read pictures and write files with the worker's permissions.
package imaging

import (
	"errors"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/file"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// Queue is where the runs of this package's tasks wait.
const Queue = "image"

// A batch that goes on after days finds what its children have done.
const (
	keepDone   = 7 * 24 * time.Hour
	keepFailed = 30 * 24 * time.Hour
)

var (
	// Process changes one picture. What is wrong with the file, the filter or the
	// output fails the run at once with CodePermanent; what may pass, such as a full
	// disk, is tried three times.
	Process = faena.Define[File, Done]("image",
		faena.Queue(Queue), faena.Retry(3, time.Second), faena.Timeout(time.Hour), faena.Keep(keepDone, keepFailed))

	// Batch changes many pictures. It succeeds also if some of them fail, or all:
	// the summary tells. It fails at once, with CodePermanent and before anything is
	// written, if the filter is wrong, an output would replace an input or another, or nothing can be written to the output directory. It
	// takes as long as the files take together.
	Batch = faena.Define[Input, Summary]("images",
		faena.Queue(Queue), faena.Retry(3, time.Second), faena.Timeout(0), faena.Keep(keepDone, keepFailed))
)

// Settings are what a single file and a batch have in common.
type Settings struct {
	// Filter is a chain of filters, as package filter describes them:
	// "resize:1600,sharpen".
	Filter string `json:"filter"`
	// Quality is that of JPEG outputs, 1 to 100; default 90.
	Quality int `json:"quality,omitempty"`
	// Overwrite allows replacing files in the outputs' places, but never an input;
	// default false.
	Overwrite bool `json:"overwrite,omitempty"`
	// MaxPixels is the most pixels that a picture may have at any step, all frames
	// together; default 100 million. A worker may allow less, see Options.
	MaxPixels int64 `json:"max_pixels,omitempty"`
	// MaxBytes is the longest input; default 256 MiB. A worker may allow less.
	MaxBytes int64 `json:"max_bytes,omitempty"`
}

// File says what to do with one file.
type File struct {
	// In is what to read, an absolute path.
	In string `json:"in"`
	// Out is what to write, an absolute path; its extension says the format. The
	// directory is made if there is none.
	Out string `json:"out"`
	Settings
}

// Done says what was done to a file.
type Done struct {
	// Format is that of the output: jpeg, png or gif.
	Format codec.Format `json:"format"`
	// WidthIn and HeightIn are those of the upright input.
	WidthIn  int `json:"width_in"`
	HeightIn int `json:"height_in"`
	// Width and Height are those of the output.
	Width  int `json:"width"`
	Height int `json:"height"`
	// Frames is 1, or the frames of an animation.
	Frames int `json:"frames"`
	// BytesIn and Bytes are the lengths of input and output.
	BytesIn int64 `json:"bytes_in"`
	Bytes   int64 `json:"bytes"`
	// SHA256 is that of the output, in hexadecimal.
	SHA256 string `json:"sha256"`
	// Unchanged says that the same output was there already.
	Unchanged bool `json:"unchanged,omitempty"`
	// ElapsedMS is what the file took, waiting for memory included.
	ElapsedMS int64 `json:"elapsed_ms"`
}

// Input says what to do with many files.
type Input struct {
	// Files are what to read, absolute paths. One given twice is processed once.
	Files []string `json:"files"`
	// Out is the directory to write to, an absolute path; it is made if there is
	// none. See Plan for the names in it.
	Out string `json:"out"`
	Settings
}

// Outcome is how one file of a batch ended.
type Outcome struct {
	In  string `json:"in"`
	Out string `json:"out"`
	// Run is the child run that processed it.
	Run faena.ID `json:"run,omitzero"`
	// Error says why it failed; empty if it did not.
	Error string `json:"error,omitempty"`
	// Done is what was done; nil if it failed.
	*Done
}

// Summary is how a batch ended.
type Summary struct {
	// Files is how many there were, Succeeded and Failed how they ended.
	Files     int `json:"files"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	// BytesIn and Bytes are the lengths of the inputs that succeeded and of their
	// outputs.
	BytesIn int64 `json:"bytes_in"`
	Bytes   int64 `json:"bytes"`
	// Outcomes are those of all files, in the order of the input.
	Outcomes []Outcome `json:"outcomes"`
}

// Add counts one file.
func (s *Summary) Add(o Outcome) {
	s.Files++
	if o.Done == nil {
		s.Failed++
	} else {
		s.Succeeded++
		s.BytesIn += o.BytesIn
		s.Bytes += o.Bytes
	}
	s.Outcomes = append(s.Outcomes, o)
}

// What a run may ask for where Options say nothing.
const (
	MostPixels = 500_000_000 // as MaxPixels
	MostBytes  = 2 << 30     // as MaxBytes
)

// Options configure the handlers; the zero value works.
type Options struct {
	// Workers is how many goroutines work on one picture; default
	// runtime.GOMAXPROCS.
	Workers int
	// Budget is how many pixels all runs together hold in memory: one that does not
	// fit waits, and one that never would goes alone. A filter's input and output
	// count both, and a pixel takes 4 to 8 bytes, or twice that with 16 bits per
	// sample. The bytes of the files being read come on top, and garbage: to shrink
	// photographs of 24 million pixels took 0.6 GB one at a time, and 0.9 GB with a
	// budget of 100 million. Default 30 million for each of runtime.GOMAXPROCS.
	Budget int64
	// MaxPixels is the most that a run may ask for as its MaxPixels; default
	// MostPixels.
	MaxPixels int64
	// MaxBytes is the most that a run may ask for as its MaxBytes; default MostBytes.
	MaxBytes int64
}

// Handlers are the handlers of both tasks, for one node.Handle: a node that takes
// Batch should take its children, too. Those of one call share one budget, so a
// process calls it once.
func Handlers(o Options) []faena.Handler {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Budget <= 0 {
		o.Budget = 30_000_000 * int64(runtime.GOMAXPROCS(0))
	}
	if o.MaxPixels <= 0 {
		o.MaxPixels = MostPixels
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = MostBytes
	}
	h := &handlers{Options: o, budget: file.NewBudget(o.Budget), pool: new(raster.Pool)}
	return []faena.Handler{Process.WithCheck(h.process, h.checkFile), Batch.WithCheck(h.batch, h.checkBatch)}
}

// handlers are what the runs of a process share.
type handlers struct {
	Options
	budget *file.Budget
	pool   *raster.Pool

	mu    sync.Mutex           // of what follows
	swept map[string]time.Time // when, by directory
}

// hopeless marks the errors that no further attempt mends: all but those of the
// system that may pass.
func hopeless(err error) error {
	if errors.Is(err, file.ErrSwept) {
		return err
	}
	e, system := errors.AsType[syscall.Errno](err)
	if !system {
		return faena.Permanent(err)
	}
	switch e {
	case syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EEXIST, syscall.ENOTDIR, syscall.EISDIR,
		syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL:
		return faena.Permanent(err)
	default:
		return err
	}
}

// Package file takes pictures from file to file: it plans the names of outputs,
// and runs a chain of filters on one file so that the output is there whole or
// not at all.
package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/filter"
	"github.com/faena-dev/faena/tasks/imaging/raster"
)

// What stands in the way of an output, for errors.Is.
var (
	// ErrInput: the output is an input.
	ErrInput = errors.New("the output would replace an input: choose another output directory")
	// ErrExists: there is another file in the output's place.
	ErrExists = errors.New("the output exists and differs: remove it, let it be replaced (--overwrite, in JSON overwrite), or choose another output directory")
	// ErrSwept: somebody removed the half-written output. It goes away by trying
	// again.
	ErrSwept = errors.New("the half-written output was removed meanwhile: try again")
)

// DefaultMaxBytes is the longest input unless another limit is set: 256 MiB.
const DefaultMaxBytes = 256 << 20

// Options says how to process. The zero value is ready, but bounds the memory of
// one picture only.
type Options struct {
	// MaxPixels is the most pixels that a picture may have before, between and
	// after the filters, all frames together. Default codec.DefaultMaxPixels.
	MaxPixels int64
	// MaxBytes is the longest input. Default DefaultMaxBytes.
	MaxBytes int64
	// Quality is that of JPEG outputs, 1 to 100. Default codec.DefaultQuality.
	Quality int
	// Overwrite allows replacing an existing output, but never the input.
	// Default false.
	Overwrite bool
	// Workers is how many bands of rows of one picture go at the same time.
	// Default 1.
	Workers int
	// Budget bounds the pixels in memory over all calls that share it, input and
	// output of a filter counted both. One takes some 4 to 8 bytes, with 16 bits
	// per sample twice that. Default none.
	Budget *Budget
	// Pool gives and takes the memory of pictures. Default none.
	Pool *raster.Pool
}

// Result says what was done to one file.
type Result struct {
	Item
	// Format is that of the output.
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
	// ElapsedMS includes waiting for the budget.
	ElapsedMS int64 `json:"elapsed_ms"`
}

// Process runs the chain on the file in and writes the file out, in the format
// of out's extension, or of the input (PNG for WebP) if that says nothing.
//
// The output appears whole, synced to disk, or not at all; its directory is made
// if there is none. The input is never touched. An output that is there already
// and is the same counts as done, so a call may be repeated; one that differs is
// ErrExists unless Overwrite is set. Errors name the file and what to do; those
// of package codec mean that trying again is of no use.
func Process(ctx context.Context, in, out string, chain filter.Chain, opts Options) (Result, error) {
	start := time.Now()
	p := &process{opts: opts, chain: chain, res: Result{Item: Item{In: in, Out: out}}}
	if err := p.run(ctx); err != nil {
		return Result{}, fmt.Errorf("%s: %w", in, err)
	}
	p.res.ElapsedMS = time.Since(start).Milliseconds()
	return p.res, nil
}

// process is one call of Process.
type process struct {
	opts  Options
	chain filter.Chain
	res   Result
	data  []byte
	head  codec.Header
	size  filter.Size
}

func (p *process) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := p.load(); err != nil {
		return err
	}
	if err := p.decide(); err != nil {
		return err
	}
	release, err := p.opts.Budget.Acquire(ctx, p.size.Peak*int64(p.head.Frames))
	if err != nil {
		return fmt.Errorf("wait for memory: %w", err)
	}
	defer release()
	// Before the work, which would be in vain if nothing can be written.
	t, err := newTarget(p.res.Out)
	if err != nil {
		return err
	}
	defer t.discard()
	pic, err := p.filtered(ctx)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range pic.Frames {
			p.opts.Pool.Put(f.Image)
		}
	}()
	sum := &tally{h: sha256.New()}
	if err := codec.Encode(ctx, io.MultiWriter(t.file, sum), pic, p.res.Format, p.opts.Quality); err != nil {
		return Explain("write "+p.res.Out, err)
	}
	if p.res.Unchanged, err = t.commit(p.opts.Overwrite); err != nil {
		return err
	}
	p.res.Bytes, p.res.SHA256 = sum.n, hex.EncodeToString(sum.h.Sum(nil))
	return nil
}

// load reads the input, if it is a file of bearable length and not the output.
func (p *process) load() error {
	// A pipe or a device would block on opening.
	info, err := os.Stat(p.res.In)
	if err != nil {
		return Explain("open", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("this is not a file but %s: name the files in it", kind(info))
	}
	limit := p.opts.MaxBytes
	if limit <= 0 {
		limit = DefaultMaxBytes
	}
	if info.Size() > limit {
		return fmt.Errorf("%w: %d bytes are over the limit of %d: raise it (--max-bytes, in JSON max_bytes) if you trust the file",
			codec.ErrTooLarge, info.Size(), limit)
	}
	if there, err := os.Stat(p.res.Out); err == nil {
		if os.SameFile(info, there) {
			return ErrInput
		}
		if there.IsDir() {
			return fmt.Errorf("write %s: there is a directory of that name: choose another output directory", p.res.Out)
		}
	}
	p.data, err = read(p.res.In, limit)
	if err != nil {
		return Explain("read", err)
	}
	p.res.BytesIn = int64(len(p.data))
	return nil
}

func kind(info os.FileInfo) string {
	if info.IsDir() {
		return "a directory"
	}
	return "a pipe or device"
}

// read reads at most limit bytes, should the file have grown meanwhile.
func read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // G304: reading the file that the caller names is what this is for
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(f, limit))
}

// decide reads the header and settles format and sizes before any pixel.
func (p *process) decide() error {
	var err error
	if p.head, err = codec.Probe(p.data); err != nil {
		return err
	}
	if err := p.head.Check(p.opts.MaxPixels); err != nil {
		return err
	}
	if p.size, err = p.chain.Size(p.head.Width, p.head.Height); err != nil {
		return err
	}
	most := p.opts.MaxPixels
	if most <= 0 {
		most = codec.DefaultMaxPixels
	}
	if n := p.size.Pixels * int64(p.head.Frames); n > most && n > p.head.Pixels() {
		return fmt.Errorf("%w: %s would make %s of it, over the limit of %s: ask for a smaller size or raise it (--max-pixels, in JSON max_pixels)",
			codec.ErrTooLarge, p.chain, codec.Megapixels(n), codec.Megapixels(most))
	}
	named, ok := codec.FormatOf(p.res.Out)
	if !ok {
		named = p.head.Format
	}
	p.res.Format = named.Output()
	if ok && named != p.res.Format {
		return fmt.Errorf("write %s: %s is only read: name the output .%s", p.res.Out, named, p.res.Format)
	}
	if p.head.Frames > 1 && p.res.Format != codec.GIF {
		return fmt.Errorf("write %s: the input has %d frames, which do not go into one %s: name the output .gif",
			p.res.Out, p.head.Frames, p.res.Format)
	}
	p.res.WidthIn, p.res.HeightIn, p.res.Frames = p.head.Width, p.head.Height, p.head.Frames
	p.res.Width, p.res.Height = p.size.Width, p.size.Height
	return nil
}

// filtered decodes and runs the chain on every frame.
func (p *process) filtered(ctx context.Context) (*codec.Picture, error) {
	pic, err := codec.Decode(ctx, p.data, codec.Options{
		MaxPixels: p.opts.MaxPixels, Workers: p.opts.Workers, Pool: p.opts.Pool,
	})
	if err != nil {
		return nil, err
	}
	p.data = nil // no longer needed, and not small
	env := filter.Env{Workers: p.opts.Workers, Pool: p.opts.Pool}
	for i := range pic.Frames {
		pic.Frames[i].Image, err = p.chain.Apply(ctx, pic.Frames[i].Image, env)
		if err != nil {
			return nil, err
		}
	}
	return pic, nil
}

// tally counts and hashes what is written.
type tally struct {
	h hash.Hash
	n int64
}

func (t *tally) Write(p []byte) (int, error) {
	t.n += int64(len(p))
	return t.h.Write(p)
}

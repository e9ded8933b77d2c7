package imaging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/faena-dev/faena/tasks/imaging/codec"
	"github.com/faena-dev/faena/tasks/imaging/file"
	"github.com/faena-dev/faena/tasks/imaging/filter"
)

// Plan says what a batch does with each file, in the order of the input, and
// checks all of it that can be known without reading the files: settings, paths,
// names, and that the output directory can be written to. It makes that directory
// and nothing else.
//
// Outputs are named as package file's Plan does: as their inputs, WebP becoming
// PNG, in directories as the inputs' where two names are the same, by their full
// names where they still are. What would replace an input, or by way of links
// between directories another output, is an error. A file in an output's place is none: it may be the
// output of an earlier attempt, which only processing tells.
func Plan(in Input) ([]File, error) {
	items, err := in.named()
	if err != nil {
		return nil, err
	}
	if err := apart(items); err != nil {
		return nil, err
	}
	if err := writable(in.Out, items); err != nil {
		return nil, err
	}
	files := make([]File, len(items))
	for i, it := range items {
		files[i] = File{In: it.In, Out: it.Out, Settings: in.Settings}
	}
	return files, nil
}

// named checks what can be known without looking at any file, and names the
// outputs.
func (in Input) named() ([]file.Item, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	for _, name := range append([]string{in.Out}, in.Files...) {
		if err := absolute(name); err != nil {
			return nil, err
		}
	}
	return file.Plan(in.Files, in.Out)
}

// check refuses settings that are wrong for any file.
func (s Settings) check() error {
	if _, err := filter.Parse(s.Filter); err != nil {
		return err
	}
	if s.Quality < 0 || s.Quality > 100 {
		return fmt.Errorf("quality %d: want 1 to 100, or none for %d", s.Quality, codec.DefaultQuality)
	}
	if s.MaxPixels < 0 {
		return fmt.Errorf("max_pixels %d: want no negative limit", s.MaxPixels)
	}
	if s.MaxBytes < 0 {
		return fmt.Errorf("max_bytes %d: want no negative limit", s.MaxBytes)
	}
	return nil
}

func absolute(name string) error {
	if name == "" || filepath.IsAbs(name) {
		return nil // package file says what is wrong with an empty name
	}
	return fmt.Errorf("%s: want an absolute path, as workers may have another working directory", name)
}

// apart finds the inputs and outputs that links between directories make one.
func apart(items []file.Item) error {
	known := map[string]string{}
	place := func(name string) string { return filepath.Join(follow(filepath.Dir(name), known), filepath.Base(name)) }
	inputs := make(map[string]bool, len(items))
	for _, it := range items {
		inputs[place(it.In)] = true
	}
	outputs := make(map[string]string, len(items))
	for _, it := range items {
		out := place(it.Out)
		if inputs[out] {
			return fmt.Errorf("%s: %w", it.Out, file.ErrInput)
		}
		if first, taken := outputs[out]; taken {
			return fmt.Errorf("%s and %s would both become %s: rename one, or give them different output directories", first, it.In, out)
		}
		outputs[out] = it.In
	}
	return nil
}

// follow gives a directory without links, as far as it exists.
func follow(dir string, known map[string]string) string {
	if path, ok := known[dir]; ok {
		return path
	}
	path, err := filepath.EvalSymlinks(dir)
	if err != nil {
		path = dir
		if up := filepath.Dir(dir); up != dir {
			path = filepath.Join(follow(up, known), filepath.Base(dir))
		}
	}
	known[dir] = path
	return path
}

// writable makes the output directory, and tries to write there and to those of
// the outputs' directories that exist.
func writable(out string, items []file.Item) error {
	if err := os.MkdirAll(out, 0o777); err != nil { //nolint:gosec // the umask decides, as for any output
		return file.Explain("make the output directory", err)
	}
	tried := map[string]bool{}
	for _, dir := range append([]file.Item{{Out: filepath.Join(out, "any")}}, items...) {
		dir := filepath.Dir(dir.Out)
		if tried[dir] {
			continue
		}
		tried[dir] = true
		if err := try(dir); err != nil && (dir == filepath.Clean(out) || !errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("write to the output directory %s: %w: give access to it, or choose another", dir, err)
		}
	}
	return nil
}

// try writes a file and removes it. Its name is one that is swept, should this
// process die in between.
func try(dir string) error {
	f, err := os.CreateTemp(dir, ".faena-*.tmp")
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			return e.Err // its name says nothing to anybody
		}
		return err
	}
	err = errors.Join(f.Close(), os.Remove(f.Name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // swept already
	}
	return err
}

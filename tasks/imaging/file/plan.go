package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/faena-dev/faena/tasks/imaging/codec"
)

// Item is one file to process.
type Item struct {
	// In and Out are paths as given and joined, cleaned.
	In  string `json:"in"`
	Out string `json:"out"`
}

// Plan names an output in outDir for each input, in the order given. Outputs keep
// the names of their inputs, except that WebP, which is not written, becomes PNG.
// If two names are the same all outputs lie in directories as the inputs do below
// their common parent. An input given twice is planned once.
//
// Names that still clash, and an output that is one of the inputs, are errors
// that say what to do. Plan looks at no file.
func Plan(inputs []string, outDir string) ([]Item, error) {
	if len(inputs) == 0 {
		return nil, errors.New("no picture given: name one or more files")
	}
	if outDir == "" {
		return nil, errors.New("no output directory given: name one")
	}
	ins, err := distinct(inputs)
	if err != nil {
		return nil, err
	}
	flat := func(p path) string { return filepath.Base(p.given) }
	items, clash := place(ins, outDir, flat)
	if clash != nil {
		root := parent(ins)
		items, clash = place(ins, outDir, func(p path) string {
			rel, err := filepath.Rel(root, p.abs)
			if err != nil { // on another volume
				return flat(p)
			}
			return rel
		})
	}
	if clash != nil {
		return nil, clash
	}
	return items, notInputs(ins, items)
}

// path is an input as it was given and in full.
type path struct{ given, abs string }

func distinct(inputs []string) ([]path, error) {
	seen := make(map[string]bool, len(inputs))
	var out []path
	for _, in := range inputs {
		if in == "" {
			return nil, errors.New("an empty file name: leave it out")
		}
		abs, err := filepath.Abs(in)
		if err != nil {
			return nil, fmt.Errorf("locate %s: %w", in, err)
		}
		if !seen[abs] {
			seen[abs] = true
			out = append(out, path{given: filepath.Clean(in), abs: abs})
		}
	}
	return out, nil
}

// place names the outputs; the error names the first two that are the same.
func place(ins []path, outDir string, name func(path) string) ([]Item, error) {
	by := make(map[string]string, len(ins))
	items := make([]Item, 0, len(ins))
	for _, p := range ins {
		out := filepath.Join(outDir, writable(name(p)))
		if first, taken := by[out]; taken {
			return nil, fmt.Errorf("%s and %s would both become %s: rename one, or give them different output directories",
				first, p.given, out)
		}
		by[out] = p.given
		items = append(items, Item{In: p.given, Out: out})
	}
	return items, nil
}

// writable replaces the extension of a format that is only read.
func writable(name string) string {
	if f, ok := codec.FormatOf(name); ok && f != f.Output() {
		return strings.TrimSuffix(name, filepath.Ext(name)) + "." + string(f.Output())
	}
	return name
}

// parent returns the deepest directory that all inputs lie in.
func parent(ins []path) string {
	dir := filepath.Dir(ins[0].abs)
	for _, p := range ins[1:] {
		for !within(dir, p.abs) {
			dir = filepath.Dir(dir)
		}
	}
	return dir
}

func within(dir, abs string) bool {
	up := filepath.Dir(dir) == dir // nothing lies above a root
	return up || strings.HasPrefix(abs, dir+string(os.PathSeparator))
}

// notInputs refuses outputs that are inputs by name. Links are found when the
// file is processed.
func notInputs(ins []path, items []Item) error {
	taken := make(map[string]bool, len(ins))
	for _, p := range ins {
		taken[p.abs] = true
	}
	for _, it := range items {
		abs, err := filepath.Abs(it.Out)
		if err != nil {
			return fmt.Errorf("locate %s: %w", it.Out, err)
		}
		if taken[abs] {
			return fmt.Errorf("%s: %w", it.Out, ErrInput)
		}
	}
	return nil
}

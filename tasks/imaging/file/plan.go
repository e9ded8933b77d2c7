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
// their common parent. Where that does not part them, WebP keeps its full name:
// a.webp becomes a.webp.png beside a.png, with another .png if that is taken, too.
// The order of the inputs makes no difference. An input given twice is planned
// once.
//
// An output that is one of the inputs is an error that says what to do. Plan looks
// at no file.
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
	outs := place(ins, outDir, flat)
	if len(clashing(outs)) > 0 {
		root := parent(ins)
		outs = place(ins, outDir, func(p path) string {
			rel, err := filepath.Rel(root, p.abs)
			if err != nil { // on another volume
				return flat(p)
			}
			return rel
		})
	}
	if err := part(outs); err != nil {
		return nil, err
	}
	items := make([]Item, len(outs))
	for i, o := range outs {
		items[i] = Item{In: ins[i].given, Out: o.name()}
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

// output is what an input becomes.
type output struct {
	path string // as the input is called
	to   string // the extension of another format, empty if it keeps its own
	full int    // how often to is added to the full name; 0 puts it in the place of its own
}

func (o output) name() string {
	switch {
	case o.to == "":
		return o.path
	case o.full == 0:
		return strings.TrimSuffix(o.path, filepath.Ext(o.path)) + o.to
	default:
		return o.path + strings.Repeat(o.to, o.full)
	}
}

func place(ins []path, outDir string, name func(path) string) []output {
	outs := make([]output, len(ins))
	for i, p := range ins {
		outs[i].path = filepath.Join(outDir, name(p))
		if f, ok := codec.FormatOf(outs[i].path); ok && f != f.Output() {
			outs[i].to = "." + string(f.Output())
		}
	}
	return outs
}

// clashing are the outputs whose name is not theirs alone, by number.
func clashing(outs []output) []int {
	by := make(map[string]int, len(outs))
	for _, o := range outs {
		by[o.name()]++
	}
	var all []int
	for i, o := range outs {
		if by[o.name()] > 1 {
			all = append(all, i)
		}
	}
	return all
}

// part gives outputs longer names until each has its own. That ends: full names
// clash with no other full name, only with names that stay.
func part(outs []output) error {
	for {
		same := clashing(outs)
		if len(same) == 0 {
			return nil
		}
		changed := false
		for _, i := range same {
			if outs[i].to != "" {
				outs[i].full++
				changed = true
			}
		}
		if !changed {
			return fmt.Errorf("several inputs would become %s: rename one, or give them different output directories", outs[same[0]].name())
		}
	}
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

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
	"github.com/faena-dev/faena/tasks/imaging"
)

// images is the command of the imaging tasks.
func images() direct {
	return direct{
		use: "image FILTER[,FILTER...] FILE... --out DIR", short: "Change pictures: grayscale, blur, sharpen, edges, resize, thumbnail",
		long: `Change pictures and write them to a directory: JPEG, PNG and GIF as they are,
WebP as PNG, turned upright. The colours of a JPEG are written at half the
resolution in both directions (4:2:0), whatever the input and the quality. Filters:

    grayscale
    blur:SIGMA                       1 is slight, 10 is much
    sharpen[:AMOUNT[:SIGMA]]
    edges
    resize:W  resize:xH  resize:WxH  a side left out follows in proportion
    thumbnail:N  thumbnail:WxH       to fit in, and never larger than it was

Outputs are named as their inputs, in subdirectories if two names are the same;
beside a.png of the same directory a.webp becomes a.webp.png.
An output is there whole or not at all, inputs are never written to, and what is
in an output's place stays unless --overwrite is given; the very same output is
no failure.

There is one line for each file, as it is done. A file that cannot be processed is
told of and the others go on; the exit code is then 1. With --server the files are
read and written by its workers, which must see them at the same paths.`,
		example: `  faena image thumbnail:256 *.jpg --out thumbs
  faena image resize:1600,sharpen:0.5 photos/*/*.jpg --out web --quality 85
  faena image grayscale scan.webp --out gray -o json`,
		first:    []string{"grayscale", "blur:", "sharpen", "edges", "resize:", "thumbnail:"},
		handlers: func() []faena.Handler { return imaging.Handlers(imaging.Options{}) },
		setup: func(flags *pflag.FlagSet) func([]string) (job, error) {
			var in imaging.Input
			flags.StringVar(&in.Out, "out", "", "`DIR` to write to; it is made if there is none")
			flags.IntVar(&in.Quality, "quality", 0, "quality of JPEG outputs, 1 to 100 (default 90)")
			flags.BoolVar(&in.Overwrite, "overwrite", false, "replace files that are in the outputs' places")
			flags.Int64Var(&in.MaxPixels, "max-pixels", 0, "most pixels of a picture, at most 500 million (default 100 million)")
			flags.Int64Var(&in.MaxBytes, "max-bytes", 0, "longest file in bytes, at most 2 GiB (default 256 MiB)")
			format := formatFlag(flags)
			return func(args []string) (job, error) {
				in := in
				if err := imageInput(&in, args); err != nil {
					return nil, err
				}
				for name, most := range map[string]int64{"quality": 100, "max-pixels": imaging.MostPixels, "max-bytes": imaging.MostBytes} {
					if err := bounded(flags, name, 1, most); err != nil {
						return nil, err
					}
				}
				files, err := imaging.Plan(in)
				if err != nil {
					return nil, unwritable(err)
				}
				return imageJob(files, format), nil
			}
		},
	}
}

// imageInput takes the arguments, and makes paths absolute: workers may have
// other working directories.
func imageInput(in *imaging.Input, args []string) error {
	if len(args) < 2 {
		return usage("want a filter and one or more files, as in faena image thumbnail:256 *.jpg --out thumbs")
	}
	if in.Out == "" {
		return usage("want --out DIR to write to")
	}
	in.Filter = args[0]
	in.Files = make([]string, len(args)-1)
	for i, name := range append([]string{in.Out}, args[1:]...) {
		if name != "" { // else Plan complains
			abs, err := filepath.Abs(name)
			if err != nil {
				return usage("locate %s: %w", name, err)
			}
			name = abs
		}
		if i == 0 {
			in.Out = name
		} else {
			in.Files[i-1] = name
		}
	}
	return nil
}

func imageJob(files []imaging.File, format *format) job {
	w := &work[imaging.File, imaging.Done]{task: imaging.Process, inputs: files, called: "files"}
	var sum imaging.Summary
	w.each = func(out console, in imaging.File, v imaging.Done, err error) error {
		o := in.Outcome(faena.ID{}, v, err)
		sum.Add(o)
		if format.json() {
			return printLine(out.out, o)
		}
		_, err = fmt.Fprintln(out.out, imageLine(o))
		return err
	}
	w.last = func(out console) error {
		if !format.json() {
			if _, err := fmt.Fprintln(out.out, imageSummary(&sum)); err != nil {
				return err
			}
		}
		if sum.Failed > 0 {
			return &fault{exitFailed, fmt.Errorf("%d of %s failed", sum.Failed, count(sum.Files, "file"))}
		}
		return nil
	}
	return w
}

// imageLine is what became of one file.
func imageLine(o imaging.Outcome) string {
	in, out := screen.Clean(near(o.In)), screen.Clean(near(o.Out))
	if o.Done == nil {
		return "failed " + in + ": " + screen.Clean(o.Error)
	}
	line := fmt.Sprintf("ok     %s → %s, %dx%d, %d ms", in, out, o.Width, o.Height, o.ElapsedMS)
	if o.Frames > 1 {
		line += fmt.Sprintf(", %d frames", o.Frames)
	}
	if o.Unchanged {
		line += ", it was there already"
	}
	return line
}

func imageSummary(s *imaging.Summary) string {
	text := fmt.Sprintf("%s: %d done, %d failed", count(s.Files, "file"), s.Succeeded, s.Failed)
	if s.Succeeded > 0 {
		text += fmt.Sprintf(", %s → %s", byteSize(s.BytesIn), byteSize(s.Bytes))
	}
	return text
}

// near is a path as seen from here, if it lies below.
func near(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(here, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return path
	}
	return rel
}

// byteSize is a length for people.
func byteSize(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, names := float64(n)/unit, "kMGTPE"
	for v >= unit {
		v, names = v/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %cB", v, names[0])
}

package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/outfile"
	"github.com/faena-dev/faena/tasks/factorial"
	"github.com/faena-dev/faena/tasks/factorial/product"
	"github.com/faena-dev/faena/tasks/factorial/size"
)

// factorials is the command of the factorial task.
func factorials() direct {
	return direct{
		use: "factorial N", short: "Compute N!, all digits of it",
		long: `Print the factorial of N in base ten, and nothing else, to standard output or a
file. The file is there whole or not at all, and replaces what had its name.

What would not fit in memory is refused at once, with an estimate and exit code 2.
A server refuses by a run that fails; the exit code is the same.`,
		example: `  faena factorial 1000
  faena factorial 1000000 -o million.txt
  faena factorial --digits 1000000000`,
		handlers: func() []faena.Handler { return factorial.Handlers(factorial.Options{}) },
		parts:    []string{factorial.Part.Name(), factorial.Multiply.Name(), factorial.Divide.Name(), factorial.Write.Name()},
		refused:  factorialRefused,
		setup: func(flags *pflag.FlagSet) func([]string) (job, error) {
			name := flags.StringP("output", "o", "-", "`FILE` to write to; - is standard output")
			digits := flags.Bool("digits", false, "print only how many digits it has; for any N up to 500000000000000000")
			return func(args []string) (job, error) {
				if len(args) != 1 {
					return nil, usage("want one N, as in faena factorial 1000")
				}
				n, err := strconv.ParseInt(args[0], 10, 64)
				if errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(args[0], "-") {
					return nil, beyond(args[0])
				}
				if err != nil || n < 0 {
					return nil, usage("N %q: want a whole number that is not negative", args[0])
				}
				in := factorial.Input{N: n, Digits: *digits}
				check := factorial.Options{}.Check
				if flags.Lookup("server").Value.String() != "" { // a server has a memory of its own
					check = factorial.Input.Check
				}
				if err := check(in); err != nil {
					return nil, usage("%w", err)
				}
				if err := fileNamed(*name); err != nil {
					return nil, err
				}
				if *name != "-" {
					if err := outfile.Check(*name, textSize(in)); err != nil {
						return nil, unwritable(err)
					}
				}
				return factorialJob(in, *name), nil
			}
		},
	}
}

// beyond refuses an N that is no int64.
func beyond(n string) error {
	const digits = "--digits goes up to 500000000000000000"
	v, err := strconv.ParseFloat(n, 64)
	if err != nil {
		return usage("N is too large: no machine has the memory for its factorial; " + digits)
	}
	return usage("N %s is too large: its factorial needs %s; %s", n, size.Near(v), digits)
}

// factorialRefused tells whether N was refused by whoever was to compute it: that is
// what a permanent failure means, unless the result was found to be wrong.
func factorialRefused(task string, err error) bool {
	return task == factorial.Compute.Name() && faena.CodeOf(err) == faena.CodePermanent && !strings.Contains(err.Error(), product.ErrWrong.Error())
}

// textSize is about how long the text of a result is; what cannot be computed is
// refused elsewhere.
func textSize(in factorial.Input) int64 {
	digits, err := size.Digits(in.N)
	if err != nil || in.Digits {
		return 1
	}
	return digits
}

func factorialJob(in factorial.Input, name string) job {
	w := &work[factorial.Input, factorial.Output]{task: factorial.Compute, inputs: []factorial.Input{in}}
	var result factorial.Output
	w.each = func(_ console, _ factorial.Input, v factorial.Output, err error) error {
		if factorialRefused(w.task.Name(), err) {
			return usage("%w", err)
		}
		if err != nil {
			return &fault{exitFailed, err}
		}
		result = v
		return nil
	}
	w.last = func(out console) error {
		if name == "-" {
			return result.Print(out.out)
		}
		return outfile.Write(name, result.Print)
	}
	return w
}

package filter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxSpec bounds the length of a specification; the longest useful one is shorter.
const maxSpec = 1024

// Parse reads a specification: filters separated by commas, each a name with
// arguments after colons, as in "resize:1600,sharpen:0.5:1". An error names what
// was given, what is accepted, and an example.
func Parse(spec string) (Chain, error) {
	if len(spec) > maxSpec {
		return Chain{}, fmt.Errorf("the filters take %d characters: at most %d are accepted", len(spec), maxSpec)
	}
	if strings.TrimSpace(spec) == "" {
		return Chain{}, errors.New("no filter given: name one or more separated by commas, as in resize:1600,sharpen")
	}
	parts := strings.Split(spec, ",")
	if len(parts) > MaxSteps {
		return Chain{}, fmt.Errorf("%d filters given: at most %d go in one chain", len(parts), MaxSteps)
	}
	var c Chain
	for _, p := range parts {
		s, err := parseStep(strings.TrimSpace(p))
		if err != nil {
			return Chain{}, err
		}
		c.steps = append(c.steps, s)
	}
	return c, nil
}

func parseStep(spec string) (step, error) {
	name, rest, has := strings.Cut(spec, ":")
	var args []string
	if has {
		args = strings.Split(rest, ":")
	}
	switch name {
	case Grayscale:
		return grayscale{}, none(spec, args)
	case Edges:
		return edges{}, none(spec, args)
	case Blur:
		if len(args) != 1 {
			return nil, fmt.Errorf("%q: blur takes one argument, the sigma in pixels, as in blur:2.5", spec)
		}
		sigma, err := number(spec, "sigma", args[0], MinSigma, MaxSigma, "blur:2.5")
		return blur{sigma: sigma}, err
	case Sharpen:
		return parseSharpen(spec, args)
	case Resize:
		return parseResize(spec, args)
	case Thumbnail:
		return parseThumbnail(spec, args)
	case "":
		return nil, errors.New("an empty filter: is there a comma too many? As in resize:1600,sharpen")
	}
	return nil, fmt.Errorf("unknown filter %q: there are %s, %s, %s, %s, %s and %s",
		name, Grayscale, Blur, Sharpen, Edges, Resize, Thumbnail)
}

func none(spec string, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q: this filter takes no argument", spec)
	}
	return nil
}

func parseSharpen(spec string, args []string) (step, error) {
	const example = "sharpen:0.8:1.5"
	s := sharpen{amount: 1, sigma: 1}
	var err error
	if len(args) > 2 {
		return nil, fmt.Errorf("%q: sharpen takes at most an amount and a sigma, as in %s", spec, example)
	}
	if len(args) > 0 {
		if s.amount, err = number(spec, "amount", args[0], MinAmount, MaxAmount, example); err != nil {
			return nil, err
		}
	}
	if len(args) > 1 {
		if s.sigma, err = number(spec, "sigma", args[1], MinSigma, MaxSigma, example); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func parseResize(spec string, args []string) (step, error) {
	const example = "resize:1600, resize:x900 or resize:1600x900"
	if len(args) != 1 {
		return nil, fmt.Errorf("%q: resize takes one argument, the size, as in %s", spec, example)
	}
	w, h, both := strings.Cut(args[0], "x")
	var s resize
	var err error
	if w != "" || !both {
		if s.width, err = side(spec, w, example); err != nil {
			return nil, err
		}
	}
	if both {
		if s.height, err = side(spec, h, example); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func parseThumbnail(spec string, args []string) (step, error) {
	const example = "thumbnail:256 or thumbnail:320x240"
	if len(args) != 1 {
		return nil, fmt.Errorf("%q: thumbnail takes one argument, the size to fit in, as in %s", spec, example)
	}
	w, h, both := strings.Cut(args[0], "x")
	if !both {
		h = w
	}
	var s thumbnail
	var err error
	if s.width, err = side(spec, w, example); err != nil {
		return nil, err
	}
	if s.height, err = side(spec, h, example); err != nil {
		return nil, err
	}
	return s, nil
}

// side reads a length in pixels.
func side(spec, arg, example string) (int, error) {
	n, err := strconv.ParseUint(arg, 10, 32)
	if err != nil || n < 1 || n > MaxSide {
		return 0, fmt.Errorf("%q: a side is a whole number of pixels from 1 to %d, as in %s", spec, MaxSide, example)
	}
	return int(n), nil
}

// number reads a decimal number in [lo, hi].
func number(spec, what, arg string, lo, hi float64, example string) (float64, error) {
	v, err := strconv.ParseFloat(arg, 64)
	// Written so that NaN is refused too.
	if err != nil || !(v >= lo && v <= hi) {
		return 0, fmt.Errorf("%q: the %s is a number from %v to %v, as in %s", spec, what, lo, hi, example)
	}
	return v, nil
}

// format writes a number as number reads it.
func format(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
)

// maxInput is the most bytes of an input, as Options.MaxInput has it by default.
const maxInput = 64 << 20

// readMost is how much is read of one: white space around it does not count.
const readMost = maxInput + 1<<10

// readInput gives the JSON that --input names. It waits for standard input no
// longer than ctx lasts.
func readInput(ctx context.Context, arg string, stdin io.Reader) (json.RawMessage, error) {
	data, from := []byte(arg), "--input"
	var err error
	switch {
	case arg == "-":
		from = "standard input"
		data, err = readWhile(ctx, stdin)
	case strings.HasPrefix(arg, "@"):
		from = arg[1:]
		data, err = readNamed(ctx, from)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if _, told := errors.AsType[*fault](err); told {
		return nil, err
	}
	if err != nil {
		return nil, usage("read the input: %w", err)
	}
	if whole := len(data) < readMost; !whole {
		return nil, oversized("more than " + strconv.Itoa(maxInput))
	}
	if data = bytes.TrimSpace(data); len(data) > maxInput {
		return nil, oversized(strconv.Itoa(len(data)))
	}
	var raw json.RawMessage // which takes any JSON; a number, say, may be too large for Go's
	if err := json.Unmarshal(data, &raw); err != nil {
		if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, usage("%s is not JSON: %w, at byte %d; a text needs double quotes of its own, as in '\"text\"'", from, err, bad.Offset)
		}
		return nil, usage("%s is not JSON: %w", from, err)
	}
	return raw, nil
}

// readNamed reads a file, which may be a pipe that nobody writes to.
func readNamed(ctx context.Context, name string) ([]byte, error) {
	type opened struct {
		f   *os.File
		err error
	}
	ready := make(chan opened, 1)
	go func() {
		f, err := os.Open(name) //nolint:gosec // the user names it
		ready <- opened{f, err}
	}()
	select {
	case o := <-ready:
		if o.err != nil {
			return nil, o.err //nolint:wrapcheck // it names the file
		}
		defer o.f.Close() //nolint:errcheck // it was read from only
		if i, err := o.f.Stat(); err == nil && i.Mode().IsRegular() && i.Size() > readMost {
			return nil, oversized(strconv.FormatInt(i.Size(), 10))
		}
		return readWhile(ctx, o.f)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readWhile reads what may be an input, and not much more. The read that is under
// way when ctx ends is left behind: nothing can end it.
func readWhile(ctx context.Context, r io.Reader) ([]byte, error) {
	type part struct {
		data []byte
		err  error
	}
	got := make(chan part, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(r, readMost))
		got <- part{data, err}
	}()
	select {
	case p := <-got:
		return p.data, p.err //nolint:wrapcheck // of a file, which it names
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func oversized(size string) error {
	return usage("the input has %s bytes, and a run's may have %d: put it into a file that the workers can read, and give the run its path", size, maxInput)
}

package factorial_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/factorial"
)

func TestComputeRefusesAtOnce(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{})
	handle(t, node, factorial.Options{Memory: 1 << 30, MaxOutput: 100_000})
	for _, c := range []struct {
		in   factorial.Input
		code faena.Code
		want []string
	}{
		{factorial.Input{N: -1}, faena.CodePermanent, []string{"-1", "negative"}},
		{factorial.Input{N: -1, Digits: true}, faena.CodePermanent, []string{"-1", "negative"}},
		{factorial.Input{N: 1e12}, faena.CodePermanent, []string{"1000000000000", "needs about", "1.0 GiB is available", "free, or count its digits alone by --digits"}},
		{factorial.Input{N: 1e18}, faena.CodePermanent, []string{"1000000000000000000", "needs more than 1 EiB of memory", "too large"}},
		{factorial.Input{N: 1e17}, faena.CodePermanent, []string{"the limit is 1099511627776; count its digits alone by --digits"}},
		{factorial.Input{N: 1 << 62}, faena.CodePermanent, []string{"needs more than 1 EiB of memory (its decimal text alone has more than 1 EiB)", "the limit is 1099511627776"}},
		{factorial.Input{N: 50_000}, faena.CodePermanent, []string{"213237", "100000"}},
	} {
		out, err := factorial.Compute.Run(t.Context(), node, c.in)
		if code := faena.CodeOf(err); code != c.code {
			t.Errorf("Compute(%+v) = %v, %v with code %q, want %q", c.in, out, err, code, c.code)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Compute(%+v) = %v, want %q in it", c.in, err, want)
			}
		}
	}
}

// An input without n was taken for 0, and one that no machine can compute was
// stored.
func TestInputNamesN(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{})
	handle(t, node, factorial.Options{})
	for in, want := range map[string]string{
		`{}`:                                     `field "n" is missing`,
		`null`:                                   `field "n" is missing`,
		`{"digits":true}`:                        `field "n" is missing`,
		`{"n":null}`:                             `field "n" is missing`,
		`{"n":"a"}`:                              `field "n": want a whole number, got text`,
		`{"n":1.5}`:                              `field "n": want a whole number, got 1.5`,
		`[]`:                                     `want an object such as {"n": 5}, got a list`,
		`{"n":-1}`:                               "factorial of -1: n is negative",
		`{"n":9223372036854775807}`:              `needs more than 1 EiB`,
		`{"n":99999999999999999999}`:             `want a whole number from`,
		`{"n":-1,"digits":true}`:                 "n is negative",
		`{"n":500000000000000001,"digits":true}`: "the limit is 500000000000000000",
		`{"n":500000000000000000,"digits":true}`: "",
		`{"n":0}`:                                "",
		`{"n":3,"more":{}}`:                      "",
	} {
		_, err := node.Submit(t.Context(), "factorial", json.RawMessage(in))
		if want == "" {
			if err != nil {
				t.Errorf("Submit(%s) = %v, want nil", in, err)
			}
			continue
		}
		if faena.CodeOf(err) != faena.CodeInput || !strings.Contains(err.Error(), want) {
			t.Errorf("Submit(%s) = %v, want code input and %q", in, err, want)
		}
	}
	var in factorial.Input
	if err := json.Unmarshal([]byte(`{"n":7,"digits":true}`), &in); err != nil || in != (factorial.Input{N: 7, Digits: true}) {
		t.Errorf("Unmarshal = %+v, %v, want both fields", in, err)
	}
}

// Check says before a run what the run would say.
func TestCheck(t *testing.T) {
	t.Parallel()
	o := factorial.Options{Memory: 1 << 30}
	for in, want := range map[factorial.Input]string{
		{N: 100_000}:                "",
		{N: -1}:                     "negative",
		{N: 1e12}:                   "needs about",
		{N: 1e12, Digits: true}:     "",
		{N: 1e18, Digits: true}:     "the limit is 500000000000000000",
		{N: 5e17, Digits: true}:     "",
		{N: 5e17 + 1, Digits: true}: "the limit is 500000000000000000",
		{N: 1<<63 - 1}:              "more than 1 EiB of memory",
	} {
		err := o.Check(in)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%+v) = %v, want %q in it", in, err, want)
		}
	}
	o = factorial.Options{Memory: 1 << 60}
	if _, ok := errors.AsType[*factorial.OutputError](o.Check(factorial.Input{N: 200_000_000})); !ok {
		t.Errorf("Check of 200 000 000 = %v, want an OutputError", o.Check(factorial.Input{N: 200_000_000}))
	}
}

// Without the option it is the machine's memory that counts.
func TestComputeKnowsTheMachine(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{})
	handle(t, node, factorial.Options{})
	out, err := factorial.Compute.Run(t.Context(), node, factorial.Input{N: 1e12})
	if err == nil || faena.CodeOf(err) != faena.CodePermanent || !strings.Contains(err.Error(), "TiB") {
		t.Errorf("Compute(1e12) = %v, %v, want a permanent error that names TiB", out, err)
	}
	_, err = node.Submit(t.Context(), factorial.Compute.Name(), json.RawMessage(`{"n":"many"}`))
	if faena.CodeOf(err) != faena.CodeInput {
		t.Errorf("Submit of a wrong type = %v, want CodeInput", err)
	}
}

func TestDigitsOnly(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{})
	handle(t, node, factorial.Options{Memory: 1})
	for n, want := range map[int64]int64{0: 1, 20: 19, 1_000_000: 5_565_709, 1e15: 14_565_705_518_096_757} {
		out, err := factorial.Compute.Run(t.Context(), node, factorial.Input{N: n, Digits: true})
		if err != nil || out != (factorial.Output{N: n, Digits: want}) {
			t.Errorf("Compute(%d, digits) = %+v, %v, want %d", n, out, err, want)
		}
	}
}

func TestChildrenRefuseNonsense(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{})
	handle(t, node, factorial.Options{})
	if _, err := factorial.Multiply.Run(t.Context(), node, factorial.Pair{}); faena.CodeOf(err) != faena.CodePermanent {
		t.Errorf("Multiply of nothing = %v, want a permanent error", err)
	}
	if _, err := factorial.Divide.Run(t.Context(), node, factorial.Division{}); faena.CodeOf(err) != faena.CodePermanent {
		t.Errorf("Divide of nothing = %v, want a permanent error", err)
	}
}

// Cancelling a run ends its children, those under way and those in the queue.
func TestCancelEndsTheChildren(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{Slots: 2})
	begun := make(chan struct{}, 100)
	node.Use(func(next faena.Next) faena.Next {
		return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
			if c.Task() == factorial.Part.Name() {
				begun <- struct{}{}
				<-ctx.Done() // as long as it goes on nobody can finish
			}
			return next(ctx, c)
		}
	})
	handle(t, node, factorial.Options{})
	fut, err := factorial.Compute.Go(t.Context(), node, factorial.Input{N: 1_000_000})
	if err != nil {
		t.Fatalf("Go = %v", err)
	}
	<-begun
	if err := fut.Cancel(t.Context()); err != nil {
		t.Fatalf("Cancel = %v", err)
	}
	if _, err := fut.Get(t.Context()); faena.CodeOf(err) != faena.CodeCancelled {
		t.Errorf("Get = %v, want code %q", err, faena.CodeCancelled)
	}
	children := 0
	for in, err := range node.List(t.Context(), faena.Query{Task: factorial.Part.Name()}) {
		if err != nil {
			t.Fatalf("List = %v", err)
		}
		children++
		child, err := faena.Attach[factorial.Value](t.Context(), node, in.ID)
		if err != nil {
			t.Fatalf("Attach = %v", err)
		}
		if _, err := child.Get(t.Context()); faena.CodeOf(err) != faena.CodeCancelled {
			t.Errorf("child %s: Get = %v, want code %q", in.ID, err, faena.CodeCancelled)
		}
	}
	if children == 0 {
		t.Error("the run has no children, want some")
	}
}

// A look at the memory reads a dozen files, and cost a small factorial fifty times
// what it takes itself.
func TestSmallFactorialsDoNotLookAtMemory(t *testing.T) { //nolint:paralleltest // counts allocations
	const most = 150 // a look takes some 300
	got := testing.AllocsPerRun(20, func() {
		if err := (factorial.Options{}).Check(factorial.Input{N: 50}); err != nil {
			t.Errorf("Check = %v, want nil", err)
		}
	})
	if got > most {
		t.Errorf("Check takes %v allocations, want at most %v", got, most)
	}
}

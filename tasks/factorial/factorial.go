// Package factorial is the built-in task that computes n! exactly. It is written
// as a user of faena would write it: five tasks and their handlers.
//
//	err := node.Handle(factorial.Handlers(factorial.Options{})...)
//	out, err := factorial.Compute.Run(ctx, node, factorial.Input{N: 1_000_000})
//
// A run of [Compute] checks first that the result has room. A small factorial it
// computes by itself. A larger one it cuts into parts by n alone, has each
// computed by a child run of [Part], and has the products multiplied, two at a
// time along a tree, by child runs of [Multiply]; so all slots of all workers
// have something to do, and what a worker had finished when it died is not done
// again, because the run, executed again, finds its children. The children are
// told each other's ids and not their values: a value is stored once and read
// once, and the parent sees only the last. That one it checks against a
// computation of another kind. The decimal text is by far the longest step, about
// two thirds of the whole: a long number is halved by child runs of [Divide], and
// their halves again, into pieces that child runs of [Write] write in base ten, so
// that of this step, too, a worker that dies costs only what it had under way.
package factorial

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/factorial/product"
	"github.com/faena-dev/faena/tasks/factorial/size"
)

// Queue is where the runs of this package's tasks wait.
const Queue = "factorial"

// attemptTime bounds an attempt. By its estimate 10^8 takes an hour and a half on
// two cores.
const attemptTime = 24 * time.Hour

var (
	// Compute computes a factorial. A run whose N is negative, or so large that
	// memory or the output's bound would not do, fails at once with
	// CodePermanent, and its error names what is needed and what there is.
	Compute = faena.Define[Input, Output]("factorial",
		faena.Queue(Queue), faena.Retry(3, time.Second), faena.Timeout(attemptTime))

	// Part computes one part of a plan. It is for the children of Compute.
	Part = faena.Define[product.Part, Value]("factorial.part",
		faena.Queue(Queue), faena.Retry(3, time.Second), faena.Timeout(attemptTime), keepValues())

	// Multiply multiplies the outputs of two runs. It is for the children of Compute.
	Multiply = faena.Define[Pair, Value]("factorial.multiply",
		faena.Queue(Queue), faena.Retry(3, time.Second), faena.Timeout(attemptTime), keepValues())

	// Divide divides the output of a run, or half of it, by a power of ten. It is for
	// the children of Compute.
	Divide = faena.Define[Division, Halves]("factorial.divide",
		faena.Queue(Queue), faena.Retry(3, time.Second), faena.Timeout(attemptTime), keepValues())

	// Write writes half of the output of a run of Divide in base ten. It is for the
	// children of Compute.
	Write = faena.Define[Half, string]("factorial.write",
		faena.Queue(Queue), faena.Retry(3, time.Second), faena.Timeout(attemptTime), keepValues())
)

// keepValues is how long the children's values stay: all of them together are
// several times the result, and the run that needs them may have to begin again.
func keepValues() faena.Option { return faena.Keep(6*time.Hour, attemptTime) }

// Input says what to compute.
type Input struct {
	// N is the number whose factorial is wanted.
	N int64 `json:"n"`
	// Digits asks for the number of digits only, which takes no time for any N up
	// to 5·10¹⁷.
	Digits bool `json:"digits,omitempty"`
}

// UnmarshalJSON refuses an input that names no N: the factorial of 0 is not what
// whoever forgot it wants.
func (in *Input) UnmarshalJSON(b []byte) error {
	var v struct {
		N      *int64 `json:"n"`
		Digits bool   `json:"digits,omitempty"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if v.N == nil {
		return errors.New(`field "n" is missing: want the whole number whose factorial is to be computed`)
	}
	*in = Input{N: *v.N, Digits: v.Digits}
	return nil
}

// Output is what a run of Compute gives.
type Output struct {
	N int64 `json:"n"`
	// Digits is how many decimal digits the factorial has.
	Digits int64 `json:"digits"`
	// Decimal is the factorial in base ten; empty if only Digits was asked for.
	Decimal string `json:"decimal,omitempty"`
}

// Value is a large natural number on its way between runs: its bytes, the highest
// first, which JSON makes a third longer. To encode 10 MB took 70 ms and to decode
// it 140 ms.
type Value struct {
	Bytes []byte `json:"bytes"`
}

func valueOf(x *big.Int) Value { return Value{x.Bytes()} }

func (v Value) number() *big.Int { return new(big.Int).SetBytes(v.Bytes) }

// Pair names the runs whose outputs are to be multiplied.
type Pair struct {
	Left  faena.ID `json:"left"`
	Right faena.ID `json:"right"`
	// Beside is how many such products are computed at the same time: they share
	// the processors.
	Beside int `json:"beside"`
}

// Options configure the handlers; the zero value works.
type Options struct {
	// Workers is the most goroutines that a run computes with where no other run
	// is beside it; default runtime.GOMAXPROCS.
	Workers int
	// Memory is how many bytes a factorial may be estimated to take; default what
	// is available when the run begins.
	Memory uint64
	// MaxOutput is the most bytes of decimal text, no more than the node's own
	// MaxOutput less the few bytes around it; default 1 GiB less 1 KiB.
	MaxOutput int64
}

// Handlers are the handlers of all tasks here, for one node.Handle: a node that
// takes Compute should take its children, too.
func Handlers(o Options) []faena.Handler {
	return []faena.Handler{
		Compute.WithCheck(o.compute, Input.Check), Part.With(o.part), Multiply.With(o.multiply), Divide.With(o.divide), Write.With(o.write),
	}
}

// Check tells why no handler would take the input, whatever memory it has: N is
// negative or beyond all bounds.
func (in Input) Check() error {
	switch {
	case in.N < 0:
		return fmt.Errorf("factorial of %d: %w: want a whole number from 0 on", in.N, product.ErrNegative)
	case in.Digits:
		_, err := size.Digits(in.N)
		return err
	case in.N > product.MaxN:
		return fmt.Errorf("factorial of %d needs %s: %w: the limit is %d%s",
			in.N, size.Of(in.N), product.ErrTooLarge, int64(product.MaxN), size.Instead(in.N, "; "))
	}
	return nil
}

// Check tells why handlers of these options would refuse an input now: N is
// negative, or so large that memory or the output's bound would not do.
func (o Options) Check(in Input) error {
	if err := in.Check(); err != nil || in.Digits {
		return err
	}
	if err := o.fits(in.N); err != nil {
		return err
	}
	digits, err := size.Digits(in.N)
	if err != nil {
		return err
	}
	if most := cmp.Or(max(o.MaxOutput, 0), defaultOutput); digits > most {
		return &OutputError{in.N, digits, most}
	}
	return nil
}

// fits tells whether there is memory for a factorial.
func (o Options) fits(n int64) error {
	need := size.Of(n)
	need.Peak += storeFactor * need.Decimal
	have := size.Memory{Bytes: o.Memory, Source: "the memory option"}
	if o.Memory <= 0 {
		if need.Peak-size.Of(0).Peak <= unasked { // to look costs far more than a small factorial
			return nil
		}
		have = size.Available()
	}
	if need.Peak > float64(have.Bytes) {
		return &size.MemoryError{N: n, Estimate: need, Available: have}
	}
	return nil
}

// unasked is how many bytes beside what any factorial takes are there for sure.
const unasked = 1 << 20

const (
	// defaultOutput leaves room for what stands around the decimal.
	defaultOutput = 1<<30 - 1<<10
	// storeFactor is how many more bytes it takes, for each byte of the text, to
	// encode, store and read the values and the result. The process had 28 MB when
	// idle, and at most, on two cores, 139 MB at 10^6 and 295 MB at 3·10^6.
	storeFactor = 10
)

// OutputError says that a factorial's text is longer than an output may be.
type OutputError struct {
	N         int64
	Digits    int64
	MaxOutput int64
}

// Error names both lengths.
func (e *OutputError) Error() string {
	return fmt.Sprintf("factorial of %d has %d decimal digits, and an output has room for %d", e.N, e.Digits, e.MaxOutput)
}

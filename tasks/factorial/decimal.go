package factorial

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/factorial/bignum"
	"github.com/faena-dev/faena/tasks/factorial/product"
)

const (
	// splitDigits is the most digits that are written in base ten at once: to divide
	// less among children takes longer than it saves.
	splitDigits = 6_000_000
	// pieceDigits is the most digits of a piece of more, a second's work.
	pieceDigits = 3_500_000
)

// pieces says how a number of so many digits is written: it is halved so many
// times, into pieces of so many digits. It is the same on all machines, as parts.
func pieces(digits int64) (halvings int, each int64) {
	for digits > splitDigits && digits>>halvings > pieceDigits {
		halvings++
	}
	return halvings, (digits + 1<<halvings - 1) >> halvings
}

// Half names a half of the output of a run of Divide.
type Half struct {
	Of  faena.ID `json:"of"`
	Low bool     `json:"low,omitempty"`
}

// Division says what to divide by 10^Digits.
type Division struct {
	Half
	// N, if it is not 0, says that Half.Of is no run of Divide but the last one of
	// Multiply for N!, to which the factors 2 are to be added.
	N int64 `json:"n,omitempty"`
	// Fives is the run whose output is 5^Digits.
	Fives  faena.ID `json:"fives"`
	Digits int64    `json:"digits"`
	// Beside is how many such divisions are computed at the same time.
	Beside int `json:"beside"`
}

// Halves are the quotient and the remainder of a Division.
type Halves struct {
	High Value `json:"high"`
	Low  Value `json:"low"`
}

// divide is the handler of Divide.
func (o Options) divide(ctx context.Context, d Division) (Halves, error) {
	if d.Beside < 1 || d.Digits < 1 || d.N < 0 || d.N > product.MaxN {
		return Halves{}, faena.Permanent(fmt.Errorf("divide %s by 10^%d, one of %d beside each other: it makes no sense", d.Of, d.Digits, d.Beside))
	}
	x, err := d.dividend(ctx)
	if err != nil {
		return Halves{}, err
	}
	fives, err := output[Value](ctx, d.Fives)
	if err != nil {
		return Halves{}, err
	}
	pool := bignum.NewPool(o.options(d.Beside, nil).Workers)
	span := bignum.Track(func(done float64) { faena.Progress(ctx, done, "") })
	q, r, err := pool.Split(ctx, x, fives.number(), int(d.Digits), span)
	if err != nil {
		return Halves{}, fmt.Errorf("divide %d bits by 10^%d: %w", x.BitLen(), d.Digits, err)
	}
	return Halves{valueOf(q), valueOf(r)}, nil
}

func (d Division) dividend(ctx context.Context) (*big.Int, error) {
	if d.N == 0 {
		return d.number(ctx)
	}
	odd, err := output[Value](ctx, d.Of)
	if err != nil {
		return nil, err
	}
	return product.Finish(d.N, odd.number()), nil
}

func (h Half) number(ctx context.Context) (*big.Int, error) {
	both, err := output[Halves](ctx, h.Of)
	if err != nil {
		return nil, err
	}
	if h.Low {
		return both.Low.number(), nil
	}
	return both.High.number(), nil
}

// write is the handler of Write. As with parts there are enough for all processors.
func (o Options) write(ctx context.Context, h Half) (string, error) {
	x, err := h.number(ctx)
	if err != nil {
		return "", err
	}
	span := bignum.Track(func(done float64) { faena.Progress(ctx, done, "") })
	text, err := bignum.NewPool(1).Decimal(ctx, x, span)
	if err != nil {
		return "", fmt.Errorf("write %d bits in base ten: %w", x.BitLen(), err)
	}
	return string(text), nil
}

// The shares of the powers of ten, and of a halving of what then is to come.
const (
	powerShare  = 0.1
	divideShare = 1.0 / 3
)

// write has n! written in base ten by children; odd is the run whose output is n!
// without its factors 2.
func (f family) write(ctx context.Context, n int64, odd faena.ID, digits int64) (string, error) {
	halvings, each := pieces(digits)
	fives, err := f.powers(ctx, each, halvings)
	if err != nil {
		return "", err
	}
	done, left := powerShare, 1-powerShare
	var halves []Half
	for i := halvings - 1; i >= 0; i-- {
		d := Division{Half: Half{Of: odd}, N: n, Fives: fives[i], Digits: each << i, Beside: 1}
		if halves, err = f.halve(ctx, d, halves, done, left*divideShare); err != nil {
			return "", err
		}
		done, left = done+left*divideShare, left*(1-divideShare)
	}
	texts, err := Write.Batch(ctx, f.node, halves)
	if err != nil {
		return "", err
	}
	if err := wait(ctx, f, texts, done, left); err != nil {
		return "", err
	}
	all, err := faena.All(ctx, texts...)
	return joined(all, int(each)), err
}

// powers has 5^each, 5^(2·each), … computed, so many of them.
func (f family) powers(ctx context.Context, each int64, count int) ([]faena.ID, error) {
	share := powerShare / float64(count)
	first, err := Part.Go(ctx, f.node, product.Fives(each))
	for ids := []faena.ID(nil); ; {
		if err == nil {
			err = wait(ctx, f, []*faena.Future[Value]{first}, share*float64(len(ids)), share)
		}
		if err != nil {
			return nil, err
		}
		if ids = append(ids, first.ID()); len(ids) == count {
			return ids, nil
		}
		first, err = Multiply.Go(ctx, f.node, Pair{first.ID(), first.ID(), 1})
	}
}

// halve has all of whole divided as d says, or what d names if there is none.
func (f family) halve(ctx context.Context, d Division, whole []Half, done, share float64) ([]Half, error) {
	divisions := []Division{d}
	if whole != nil {
		divisions = make([]Division, len(whole))
	}
	for i, h := range whole {
		divisions[i] = Division{Half: h, Fives: d.Fives, Digits: d.Digits, Beside: len(whole)}
	}
	runs, err := Divide.Batch(ctx, f.node, divisions)
	if err != nil {
		return nil, err
	}
	halves := make([]Half, 0, 2*len(runs))
	for _, r := range runs {
		halves = append(halves, Half{Of: r.ID()}, Half{Of: r.ID(), Low: true})
	}
	return halves, wait(ctx, f, runs, done, share)
}

// joined is all texts in a row, each but the first filled up to so many digits.
func joined(texts []string, each int) string {
	var b strings.Builder
	b.Grow(len(texts) * each)
	for i, text := range texts {
		if i > 0 {
			b.WriteString(strings.Repeat("0", max(each-len(text), 0)))
		}
		b.WriteString(text)
	}
	return b.String()
}

package bignum_test

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
)

func ones(n int) *big.Int {
	x := new(big.Int).Lsh(big.NewInt(1), uint(n))
	return x.Sub(x, big.NewInt(1))
}

func TestDivideAgainstMathBig(t *testing.T) {
	t.Parallel()
	const n = 64 * 3000 * 4 // two halvings
	r := rand.New(rand.NewPCG(9, 10))
	top := new(big.Int).Lsh(big.NewInt(1), n-1)
	half := new(big.Int).Lsh(ones(n/2), n/2)
	p := bignum.NewPool(2)
	for name, b := range map[string]*big.Int{
		"random":          number(r, n),
		"smallest":        top,
		"smallest and 1":  new(big.Int).Add(top, big.NewInt(1)),
		"largest":         ones(n),
		"high half ones":  half,
		"low half ones":   new(big.Int).Add(top, ones(n/2)),
		"of no good size": number(r, n-3),
	} {
		for what, q := range map[string]*big.Int{
			"zero": {}, "one": big.NewInt(1), "random": number(r, b.BitLen()), "largest": ones(b.BitLen()), "sparse": new(big.Int).Lsh(big.NewInt(1), n/2),
		} {
			for rest, d := range map[string]*big.Int{"none": {}, "largest": new(big.Int).Sub(b, big.NewInt(1))} {
				if b.BitLen() < q.BitLen() {
					continue
				}
				a := new(big.Int).Mul(q, b)
				a.Add(a, d)
				gotQ, gotR, err := bignum.Divide(t.Context(), p, a, b)
				if err != nil {
					t.Fatal(err)
				}
				if gotQ.Cmp(q) != 0 || gotR.Cmp(d) != 0 {
					t.Errorf("divide with the divisor %s, quotient %s and remainder %s is wrong", name, what, rest)
				}
			}
		}
	}
}

func TestSplitAgainstMathBig(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	p := bignum.NewPool(2)
	for _, digits := range []int64{1, 19, 20_000, 57_799, 57_800, 250_001, 700_000} {
		five, ten := new(big.Int).Exp(big.NewInt(5), big.NewInt(digits), nil), new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil)
		square := new(big.Int).Mul(ten, ten)
		for _, x := range []*big.Int{
			{}, big.NewInt(7), ten, new(big.Int).Sub(ten, big.NewInt(1)), new(big.Int).Sub(square, big.NewInt(1)), number(r, square.BitLen()-1),
		} {
			q, rest, err := p.Split(t.Context(), x, five, int(digits), bignum.Span{})
			if err != nil {
				t.Fatal(err)
			}
			if wantQ, wantR := new(big.Int).QuoRem(x, ten, new(big.Int)); q.Cmp(wantQ) != 0 || rest.Cmp(wantR) != 0 {
				t.Errorf("Split of a number of %d bits by 10^%d is wrong", x.BitLen(), digits)
			}
		}
	}
}

// The carries of these products run through many words.
func TestMulOfExtremes(t *testing.T) {
	t.Parallel()
	p := bignum.NewPool(2)
	var xs []*big.Int
	for _, n := range []int{96_000, 64 * 1500 * 3, 64*1501*3 - 1, 64 * 5000} {
		power := new(big.Int).Lsh(big.NewInt(1), uint(n))
		xs = append(xs, ones(n), power, new(big.Int).Add(power, big.NewInt(1)), new(big.Int).Lsh(ones(n/3), uint(n/3)))
	}
	for _, x := range xs {
		for _, y := range xs {
			got, err := p.Mul(t.Context(), x, y, bignum.Span{})
			if err != nil {
				t.Fatal(err)
			}
			if want := new(big.Int).Mul(x, y); got.Cmp(want) != 0 {
				t.Errorf("Mul of %d by %d bits is wrong", x.BitLen(), y.BitLen())
			}
		}
	}
}

func TestProgressAndDefaults(t *testing.T) {
	t.Parallel()
	p := bignum.NewPool(0)
	if p.Workers() < 1 {
		t.Errorf("Workers() = %d", p.Workers())
	}
	last := 0.0
	span := bignum.Track(func(done float64) {
		if done <= last || done > 1 {
			t.Errorf("progress goes from %v to %v", last, done)
		}
		last = done
	})
	if _, err := p.Decimal(t.Context(), ones(2_000_000), span); err != nil {
		t.Fatal(err)
	}
	if last < 0.95 {
		t.Errorf("progress ends at %v, want nearly 1", last)
	}
	if span.Finish(); last != 1 {
		t.Errorf("progress after Finish = %v, want 1", last)
	}
}

package product_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
	"github.com/faena-dev/faena/tasks/factorial/product"
)

// factorial computes n! in k parts, each sent through JSON and back.
func factorial(tb testing.TB, n int64, k int, opt product.Options) *big.Int {
	tb.Helper()
	parts, err := product.Plan(tb.Context(), n, k)
	if err != nil {
		tb.Fatal(err)
	}
	values := make([]*big.Int, len(parts))
	for i, p := range parts {
		b, err := json.Marshal(p)
		if err != nil {
			tb.Fatal(err)
		}
		var got product.Part
		if err := json.Unmarshal(b, &got); err != nil {
			tb.Fatal(err)
		}
		if values[i], err = got.Product(tb.Context(), opt); err != nil {
			tb.Fatal(err)
		}
	}
	odd, err := product.Combine(tb.Context(), values, opt)
	if err != nil {
		tb.Fatal(err)
	}
	return product.Finish(n, odd)
}

func TestSmallFactorials(t *testing.T) {
	t.Parallel()
	want := big.NewInt(1)
	for n := range int64(2001) {
		if n > 0 {
			want.Mul(want, big.NewInt(n))
		}
		for _, k := range []int{1, 2, 3, 7, 64, 100_000} {
			if k >= 64 && n%31 != 0 {
				continue
			}
			if got := factorial(t, n, k, product.Options{}); got.Cmp(want) != 0 {
				t.Fatalf("factorial of %d in %d parts = %v, want %v", n, k, got, want)
			}
		}
	}
	if mul := new(big.Int).MulRange(1, 2000); want.Cmp(mul) != 0 {
		t.Errorf("2000! = %v, want %v", want, mul)
	}
}

// golden holds the length and the SHA-256 of n! in base ten, of GMP 6.2.1, by
// Debian's python3-gmpy2 2.1.2:
//
//	/usr/bin/python3 -c 'import hashlib, gmpy2
//	for n in (0, 1, 20, 1000, 100000, 1000000):
//	    s = gmpy2.fac(n).digits(10)
//	    print(n, len(s), hashlib.sha256(s.encode()).hexdigest())'
var golden = []struct {
	n      int64
	digits int
	sha256 string
}{
	{0, 1, "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},
	{1, 1, "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},
	{20, 19, "0f90a83d6efa0e58870635bedb7ca3eff1bdde520d4a98f83c8fec4c6b864611"},
	{1000, 2568, "cc336cf135d690c1105664b3b859db66b940db51cd66cf891fee120584cf7873"},
	{100_000, 456_574, "820239691ef9b4887957093bb745a1ac33d3184b272db3e9a0d0a37062a13399"},
	{1_000_000, 5_565_709, "32d5a0e34b2278db851ac1afead8c05f33ad91c3efce871f5dd66805743e0914"},
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, g := range golden {
		x := factorial(t, g.n, 16, product.Options{})
		if err := product.Verify(t.Context(), g.n, x, product.Options{}); err != nil {
			t.Error(err)
		}
		text, err := bignum.NewPool(0).Decimal(t.Context(), x, bignum.Span{})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if got := hex.EncodeToString(sum[:]); len(text) != g.digits || got != g.sha256 {
			t.Errorf("factorial of %d has %d digits, SHA-256 %s, want %d, %s", g.n, len(text), got, g.digits, g.sha256)
		}
	}
}

func TestPlanIsBalancedAndComplete(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1000, 10_007, 1_000_000} {
		for _, k := range []int{1, 2, 13, 64} {
			parts, err := product.Plan(t.Context(), n, k)
			if err != nil {
				t.Fatal(err)
			}
			if len(parts) != k {
				t.Fatalf("Plan(%d, %d) has %d parts", n, k, len(parts))
			}
			var total int64
			for i, p := range parts {
				total += p.Bits
				if i > 0 && p.From != parts[i-1].To {
					t.Errorf("Plan(%d, %d): part %d starts at %+v, the one before ends at %+v", n, k, i, p.From, parts[i-1].To)
				}
			}
			for i, p := range parts {
				if mean := total / int64(k); p.Bits < mean-64 || p.Bits > mean+64 {
					t.Errorf("Plan(%d, %d): part %d has %d bits, the mean is %d", n, k, i, p.Bits, mean)
				}
			}
			if again, err := product.Plan(t.Context(), n, k); err != nil || !cmp.Equal(parts, again) {
				t.Errorf("Plan(%d, %d) differs from itself: %v", n, k, cmp.Diff(parts, again))
			}
		}
	}
}

// A plan must be the same on all machines and in later versions: a run that is
// executed again finds its children by it.
func TestPlanNeverChanges(t *testing.T) {
	t.Parallel()
	parts, err := product.Plan(t.Context(), 1_000_000, 64)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if got, want := hex.EncodeToString(sum[:8]), "b0e025bef3696742"; got != want {
		t.Errorf("Plan(1000000, 64) has the SHA-256 %s…, want %s…", got, want)
	}
}

func TestPartBitsAreTheLength(t *testing.T) {
	t.Parallel()
	parts, err := product.Plan(t.Context(), 50_000, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		x, err := p.Product(t.Context(), product.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := int64(x.BitLen()); p.Bits > got || p.Bits < got-got/50-64 {
			t.Errorf("the part %+v has %d bits", p, got)
		}
	}
}

func TestFivesIsAPowerOfFive(t *testing.T) {
	t.Parallel()
	for _, k := range []int64{1, 2, 3, 4, 5, 6, 24, 25, 1000, 65_535, 65_536} {
		part := product.Fives(k)
		got, err := part.Product(t.Context(), product.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if want := new(big.Int).Exp(big.NewInt(5), big.NewInt(k), nil); got.Cmp(want) != 0 {
			t.Errorf("the product of Fives(%d) has %d bits, want 5^%d with %d", k, got.BitLen(), k, want.BitLen())
		}
		if got, want := part.Bits, int64(got.BitLen()); got > want || got < want-want/50-3 {
			t.Errorf("Fives(%d).Bits = %d, want about %d", k, got, want)
		}
	}
}

func TestTreeMultipliesAll(t *testing.T) {
	t.Parallel()
	for k := range 70 {
		want, values, levels := big.NewInt(1), []*big.Int{}, map[int]int{}
		for i := range k {
			values = append(values, big.NewInt(int64(2*i+3)))
			want.Mul(want, values[i])
		}
		all, used := slices.Clone(values), map[int]bool{}
		for i, s := range product.Tree(k) {
			if s.Out != k+i || used[s.Left] || used[s.Right] || s.Level != 0 && s.Level <= max(levels[s.Left], levels[s.Right]) {
				t.Fatalf("Tree(%d): step %d is %+v", k, i, s)
			}
			used[s.Left], used[s.Right], levels[s.Out] = true, true, s.Level
			all = append(all, new(big.Int).Mul(all[s.Left], all[s.Right]))
		}
		if k > 0 && all[len(all)-1].Cmp(want) != 0 {
			t.Errorf("Tree(%d) gives %v, want %v", k, all[len(all)-1], want)
		}
		got, err := product.Combine(t.Context(), values, product.Options{})
		if err != nil || got.Cmp(want) != 0 {
			t.Errorf("Combine of %d values = %v, %v, want %v", k, got, err, want)
		}
	}
}

func TestVerifyFindsWrongNumbers(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 2, 30, 3000, 200_000} {
		right, err := product.Factorial(t.Context(), n, product.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := product.Verify(t.Context(), n, right, product.Options{Workers: 3}); err != nil {
			t.Errorf("Verify(%d, %d!) = %v", n, n, err)
		}
		wrong := map[string]*big.Int{
			"one more":            new(big.Int).Add(right, big.NewInt(1)),
			"a word up":           new(big.Int).Lsh(right, 64),
			"61 bits up":          new(big.Int).Lsh(right, 61),
			"a flipped bit":       new(big.Int).SetBit(right, right.BitLen()/2+1, 1-right.Bit(right.BitLen()/2+1)),
			"the next one":        new(big.Int).Mul(right, big.NewInt(n+2)),
			"of the other sign":   new(big.Int).Neg(right),
			"nothing":             new(big.Int),
			"right modulo 2^61-1": new(big.Int).Add(right, big.NewInt(1<<61-1)),
		}
		for what, x := range wrong {
			if err := product.Verify(t.Context(), n, x, product.Options{}); !errors.Is(err, product.ErrWrong) {
				t.Errorf("Verify(%d, %s) = %v, want %v", n, what, err, product.ErrWrong)
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	ctx, opt := t.Context(), product.Options{}
	for n, want := range map[int64]error{-1: product.ErrNegative, -1 << 63: product.ErrNegative, product.MaxN + 1: product.ErrTooLarge, 1<<63 - 1: product.ErrTooLarge} {
		if _, err := product.Plan(ctx, n, 1); !errors.Is(err, want) {
			t.Errorf("Plan(%d) = %v, want %v", n, err, want)
		}
		if _, err := product.Factorial(ctx, n, opt); !errors.Is(err, want) {
			t.Errorf("Factorial(%d) = %v, want %v", n, err, want)
		}
		if err := product.Verify(ctx, n, big.NewInt(1), opt); !errors.Is(err, want) {
			t.Errorf("Verify(%d) = %v, want %v", n, err, want)
		}
		if _, err := (product.Part{N: n}).Product(ctx, opt); !errors.Is(err, want) {
			t.Errorf("Product of a part for %d = %v, want %v", n, err, want)
		}
	}
	for _, k := range []int{0, -1, product.MaxParts + 1} {
		if _, err := product.Plan(ctx, 10, k); !errors.Is(err, product.ErrPart) {
			t.Errorf("Plan(10, %d) = %v, want %v", k, err, product.ErrPart)
		}
	}
	f := func(prime, skip int64) product.Factor { return product.Factor{Prime: prime, Skip: skip} }
	for _, p := range []product.Part{
		{},
		{N: 10},
		{N: 10, From: f(3, 0), To: f(3, 0)},
		{N: 10, From: f(5, 0), To: f(3, 1)},
		{N: 10, From: f(3, -1), To: f(11, 0)},
		{N: 10, From: f(2, 0), To: f(11, 0)},
		{N: 10, From: f(3, 0), To: f(1<<62, 0)},
	} {
		if _, err := p.Product(ctx, opt); !errors.Is(err, product.ErrPart) {
			t.Errorf("Product of %+v = %v, want %v", p, err, product.ErrPart)
		}
	}
}

// TestCancel ends the context at various points of the progress and expects each
// computation to end with it.
func TestCancel(t *testing.T) {
	t.Parallel()
	const n = 150_000
	odd := factorial(t, n, 1, product.Options{})
	work := map[string]func(context.Context, product.Options) error{
		"part": func(ctx context.Context, opt product.Options) error {
			_, err := product.Factorial(ctx, n, opt)
			return err
		},
		"combine": func(ctx context.Context, opt product.Options) error {
			_, err := product.Combine(ctx, []*big.Int{odd, odd, odd}, opt)
			return err
		},
		"decimal": func(ctx context.Context, opt product.Options) error {
			_, err := bignum.NewPool(opt.Workers).Decimal(ctx, odd, bignum.Track(opt.Progress))
			return err
		},
		"verify": func(ctx context.Context, opt product.Options) error {
			return product.Verify(ctx, 10*n, new(big.Int), opt)
		},
	}
	for what, f := range work {
		for _, at := range []float64{0.05, 0.5, 0.8} {
			ctx, cancel := context.WithCancel(t.Context())
			last := 0.0
			err := f(ctx, product.Options{Progress: func(done float64) {
				if last = done; done >= at {
					cancel()
				}
			}})
			if !errors.Is(err, context.Canceled) || last < at || last > at+0.2 {
				t.Errorf("%s, cancelled at %v: progress %v, error %v", what, at, last, err)
			}
			cancel()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f(ctx, product.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled before: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := product.Plan(ctx, n, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("Plan, cancelled before: %v", err)
	}
}

func TestProgressEndsAtOne(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 2, 3, 100, 30_000, 200_000} {
		for _, k := range []int{1, 5} {
			last, calls := 0.0, 0
			watch := product.Options{Progress: func(done float64) {
				if done <= last || done > 1 {
					t.Errorf("progress of %d in %d parts goes from %v to %v", n, k, last, done)
				}
				last = done
				calls++
			}}
			parts, err := product.Plan(t.Context(), n, k)
			if err != nil {
				t.Fatal(err)
			}
			values := make([]*big.Int, len(parts))
			for i, p := range parts {
				last = 0
				if values[i], err = p.Product(t.Context(), watch); err != nil || last != 1 {
					t.Errorf("progress of part %d of %d ends at %v, error %v", i, n, last, err)
				}
			}
			last = 0
			x, err := product.Combine(t.Context(), values, watch)
			if err != nil || last != 1 {
				t.Errorf("progress of Combine for %d ends at %v, error %v", n, last, err)
			}
			last, calls = 0, 0
			if err := product.Verify(t.Context(), n, product.Finish(n, x), watch); err != nil || last != 1 {
				t.Errorf("progress of Verify for %d ends at %v, error %v", n, last, err)
			}
		}
	}
}

func TestOneWorkerIsEnough(t *testing.T) {
	t.Parallel()
	want := factorial(t, 60_000, 1, product.Options{Workers: 8})
	if got := factorial(t, 60_000, 5, product.Options{Workers: 1}); got.Cmp(want) != 0 {
		t.Error("60000! differs between 1 and 8 workers")
	}
}

func BenchmarkFactorial(b *testing.B) {
	for _, n := range []int64{10_000, 100_000, 1_000_000} {
		for _, workers := range []int{1, runtime.GOMAXPROCS(0)} {
			opt := product.Options{Workers: workers}
			suffix := strconv.FormatInt(n, 10) + "/workers=" + strconv.Itoa(workers)
			b.Run("whole/"+suffix, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := product.Factorial(b.Context(), n, opt); err != nil {
						b.Fatal(err)
					}
				}
			})
			parts, err := product.Plan(b.Context(), n, 16)
			if err != nil {
				b.Fatal(err)
			}
			values := make([]*big.Int, len(parts))
			b.Run("parts/"+suffix, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for i, p := range parts {
						if values[i], err = p.Product(b.Context(), opt); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
			b.Run("combine/"+suffix, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := product.Combine(b.Context(), slices.Clone(values), opt); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run("verify/"+strconv.FormatInt(n, 10), func(b *testing.B) {
			x, err := product.Factorial(b.Context(), n, product.Options{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := product.Verify(b.Context(), n, x, product.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

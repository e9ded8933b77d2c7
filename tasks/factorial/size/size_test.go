package size_test

import (
	"errors"
	"math/big"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/faena-dev/faena/tasks/factorial/product"
	"github.com/faena-dev/faena/tasks/factorial/size"
)

func TestDigitsOfSmallFactorials(t *testing.T) {
	t.Parallel()
	x, limit := big.NewInt(1), big.NewInt(10)
	want := int64(1)
	for n := range int64(5000) {
		x.Mul(x, big.NewInt(max(n, 1)))
		for x.Cmp(limit) >= 0 {
			limit.Mul(limit, big.NewInt(10))
			want++
		}
		if got, err := size.Digits(n); err != nil || got != want {
			t.Fatalf("Digits(%d) = %d, %v, want %d", n, got, err, want)
		}
	}
}

// TestDigits compares with MPFR's log-gamma at 500 bits, by Debian's
// python3-gmpy2 2.1.2:
//
//	/usr/bin/python3 -c 'import gmpy2
//	gmpy2.get_context().precision = 500
//	print(int(gmpy2.floor(gmpy2.lngamma(gmpy2.mpfr(N)+1)/gmpy2.log(gmpy2.mpfr(10))))+1)'
//
// The last ones are those up to 300000 that are next to a power of ten.
func TestDigits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, want int64 }{
		{1000, 2568},
		{10_000, 35660},
		{100_000, 456574},
		{1_000_000, 5565709},
		{10_000_000, 65657060},
		{100_000_000, 756570557},
		{1_000_000_000, 8565705523},
		{10_000_000_000, 95657055187},
		{100_000_000_000, 1056570551816},
		{1_000_000_000_000, 11565705518104},
		{10_000_000_000_000, 125657055180975},
		{100_000_000_000_000, 1356570551809683},
		{1_000_000_000_000_000, 14565705518096757},
		{10_000_000_000_000_000, 155657055180967491},
		{100_000_000_000_000_000, 1656570551809674827},
		{1 << 40, 12761927388952},
		{1<<50 - 1, 16457510087028453},
		{123_456_789_012_345_678, 2056446956221538710},
		{500_000_000_000_000_000, 8632337761216383498},
		{258_335, 1285967},
		{165_535, 792022},
		{108_965, 501568},
		{17_411, 66278},
		{227_471, 1119759},
		{296_739, 1494998},
	} {
		if got, err := size.Digits(c.n); err != nil || got != c.want {
			t.Errorf("Digits(%d) = %d, %v, want %d", c.n, got, err, c.want)
		}
	}
}

func TestDigitsOfBadInput(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]error{-1: product.ErrNegative, -1 << 63: product.ErrNegative, 600_000_000_000_000_000: product.ErrTooLarge, 1<<63 - 1: product.ErrTooLarge} {
		if got, err := size.Digits(n); !errors.Is(err, want) {
			t.Errorf("Digits(%d) = %d, %v, want %v", n, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	have := size.Memory{Bytes: 1 << 30, Source: "test"}
	for _, n := range []int64{0, 1, 1000, 1_000_000, 5_000_000} {
		if err := size.Check(n, have); err != nil {
			t.Errorf("Check(%d) = %v, want nil", n, err)
		}
	}
	for _, n := range []int64{100_000_000, 1_000_000_000_000, 1<<63 - 1} {
		err := size.Check(n, have)
		var e *size.MemoryError
		if !errors.As(err, &e) || e.N != n || e.Available != have || e.Estimate != size.Of(n) {
			t.Errorf("Check(%d) = %v, want a MemoryError", n, err)
			continue
		}
		if text := e.Error(); !strings.Contains(text, "1.0 GiB") || !strings.Contains(text, "needs ") {
			t.Errorf("Check(%d) = %q", n, text)
		}
	}
	if err := size.Check(-1, have); !errors.Is(err, product.ErrNegative) {
		t.Errorf("Check(-1) = %v, want %v", err, product.ErrNegative)
	}
}

func TestEstimateGrows(t *testing.T) {
	t.Parallel()
	last := size.Of(0)
	for n := int64(1); n > 0 && n < 1<<62; n *= 3 {
		e := size.Of(n)
		if e.Result < last.Result || e.Decimal < last.Decimal || e.Peak < last.Peak || e.Time < last.Time || e.Time < 0 {
			t.Errorf("Of(%d) = %+v, smaller than %+v", n, e, last)
		}
		last = e
		if digits, err := size.Digits(n); err == nil && (e.Decimal < float64(digits)*0.999 || e.Decimal > float64(digits)*1.001+1) {
			t.Errorf("Of(%d).Decimal = %v, want %d", n, e.Decimal, digits)
		}
	}
	if e := size.Of(1_000_000); e.Time < 100*time.Millisecond || e.Time > time.Minute {
		t.Errorf("Of(1000000).Time = %v", e.Time)
	}
}

func TestAvailable(t *testing.T) {
	t.Parallel()
	m := size.Available()
	if m.Bytes < 1<<20 || m.Bytes > 1<<50 || m.Source == "" {
		t.Errorf("Available() = %+v", m)
	}
}

func TestFromFiles(t *testing.T) {
	t.Parallel()
	const meminfo = "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:    4000 kB\n"
	const v2 = "sys/fs/cgroup/"
	const v1 = "sys/fs/cgroup/memory/"
	for name, c := range map[string]struct {
		files map[string]string
		want  size.Memory
	}{
		"nothing": {nil, size.Memory{Bytes: 1 << 30, Source: "assumed"}},
		"system":  {map[string]string{"proc/meminfo": meminfo}, size.Memory{Bytes: 4000 << 10, Source: "MemAvailable"}},
		"no limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", v2 + "a/memory.max": "max\n", v2 + "a/memory.current": "5\n",
		}, size.Memory{Bytes: 4000 << 10, Source: "MemAvailable"}},
		"limit with cache": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", v2 + "a/memory.max": "1000\n", v2 + "a/memory.current": "500\n",
			v2 + "a/memory.stat": "anon 400\ninactive_file 100\n",
		}, size.Memory{Bytes: 600, Source: "memory.max of /a"}},
		"above": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			v2 + "a/b/memory.max": "900", v2 + "a/b/memory.current": "100", v2 + "a/memory.max": "1000", v2 + "a/memory.current": "700",
		}, size.Memory{Bytes: 300, Source: "memory.max of /a"}},
		"container": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/elsewhere/x\n", v2 + "memory.max": "1000", v2 + "memory.current": "1500",
		}, size.Memory{Bytes: 0, Source: "memory.max of /"}},
		"version 1": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/a\n4:hugetlb,memory:/a\n0::/\n",
			v1 + "a/memory.limit_in_bytes": "2000", v1 + "a/memory.usage_in_bytes": "1500", v1 + "a/memory.stat": "total_inactive_file 250\n",
		}, size.Memory{Bytes: 750, Source: "memory.limit_in_bytes of /a"}},
		"version 1 without limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n", v1 + "memory.limit_in_bytes": "9223372036854771712", v1 + "memory.usage_in_bytes": "1500",
		}, size.Memory{Bytes: 4000 << 10, Source: "MemAvailable"}},
		"rubbish": {map[string]string{"proc/meminfo": "MemAvailable:\n", "proc/self/cgroup": "x\n::\n0::../../..\n"}, size.Memory{Bytes: 1 << 30, Source: "assumed"}},
	} {
		root := fstest.MapFS{}
		for file, text := range c.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := size.FromFiles(root); got != c.want {
			t.Errorf("%s: FromFiles = %+v, want %+v", name, got, c.want)
		}
	}
}

// peakOf names the variable that makes the test binary compute a factorial and
// print how much memory it took.
const peakOf = "FACTORIAL_PEAK_OF"

func TestMain(m *testing.M) {
	if text := os.Getenv(peakOf); text != "" {
		if err := printPeak(text); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func TestPeakIsBelowTheEstimate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process is read from /proc")
	}
	if raced {
		t.Skip("the race detector takes memory of its own")
	}
	for _, n := range []int64{100_000, 400_000} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), peakOf+"="+strconv.FormatInt(n, 10))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		peak, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			t.Fatal(err)
		}
		if e := size.Of(n).Peak; peak > e || peak < e/10 {
			t.Errorf("the factorial of %d took %.0f bytes, the estimate is %.0f", n, peak, e)
		}
	}
}

func BenchmarkDigits(b *testing.B) {
	for b.Loop() {
		if _, err := size.Digits(1_000_000_000_000_000); err != nil {
			b.Fatal(err)
		}
	}
}

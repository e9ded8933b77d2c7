package size

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/faena-dev/faena/tasks/factorial/product"
)

// Estimate says what the computation of a factorial takes.
type Estimate struct {
	// Result is the size of the number in memory, in bytes, and Decimal that of its
	// decimal text.
	Result  float64 `json:"result_bytes"`
	Decimal float64 `json:"decimal_bytes"`
	// Peak is the most memory that one process holds while it computes the number and
	// its text, in bytes, with Go's default garbage collection and GOMAXPROCS
	// goroutines: about a third more than was measured.
	Peak float64 `json:"peak_bytes"`
	// Time is a guess: it knows the number of cores but not their speed, and may well
	// be wrong by a factor of three.
	Time time.Duration `json:"time_ns"`
}

// Measured with product and bignum in one process on two cores, number and text:
// the most resident memory, and the time, under some other load.
//
//	n        result    1 goroutine  2             8             32
//	10^5      0.19 MB               11 MB  0.12 s   8 MB
//	10^6      2.31 MB  44 MB        42 MB  3.4 s   72 MB         80 MB
//	3·10^6    7.53 MB              128 MB         160 MB
//	5·10^6   13.01 MB              234 MB  44 s
const (
	peakBase    = 16 << 20
	peakWorkers = 2 << 20 // for each goroutine
	peakFactor  = 22      // for each byte of the result
	timeBytes   = 2.31e6
	timeSeconds = 3.4 // for timeBytes
	timePower   = 1.5
	timeWorkers = 2
	mostWorkers = 4 // the divisions of the decimal text do not use more
)

// Of returns the estimate for n!, instantly for any n. It is zero for n < 0.
func Of(n int64) Estimate { return Near(float64(n)) }

// Near is Of for an n that need not be one of int64.
func Near(n float64) Estimate {
	if !(n >= 0) {
		return Estimate{}
	}
	length := bitLength(n)
	result := length/8 + 8
	workers := runtime.GOMAXPROCS(0)
	seconds := timeSeconds * math.Pow(result/timeBytes, timePower) * timeWorkers / float64(min(workers, mostWorkers))
	return Estimate{
		Result:  result,
		Decimal: math.Floor(length*math.Log10(2)) + 1,
		Peak:    peakBase + peakWorkers*float64(workers) + peakFactor*result,
		Time:    time.Duration(min(seconds*1e9, math.MaxInt64/2)),
	}
}

// String tells what it takes of memory.
func (e Estimate) String() string {
	return fmt.Sprintf("%s of memory (its decimal text alone has %s)", about(e.Peak), bytesText(e.Decimal))
}

// Memory says how much memory a process could still take, and what says so.
type Memory struct {
	Bytes  uint64 `json:"bytes"`
	Source string `json:"source"`
}

// fallback is what is taken to be there if nothing can be found out.
const fallback = 1 << 30

// Available returns how much more memory this process can take before it is killed,
// starts to swap, or passes the limit set for the Go runtime: the least of what
// bounds it. Where the system cannot be asked (so far only Linux can) 1 GiB is
// assumed.
func Available() Memory {
	m := system()
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		m = m.atMost(Memory{uint64(max(limit, 0)), "GOMEMLIMIT"})
	}
	if strconv.IntSize == 32 {
		m = m.atMost(Memory{fallback, "32-bit address space"})
	}
	return m
}

func (m Memory) atMost(other Memory) Memory {
	if other.Bytes < m.Bytes {
		return other
	}
	return m
}

// MemoryError says that a factorial needs more memory than there is.
type MemoryError struct {
	N         int64
	Estimate  Estimate
	Available Memory
}

// Error names the estimate and what is available, and says what to do.
func (e *MemoryError) Error() string {
	return fmt.Sprintf("factorial of %d needs %s, and %s is available (%s): run it where that much is free%s",
		e.N, e.Estimate, bytesText(float64(e.Available.Bytes)), e.Available.Source, Instead(e.N, ", or "))
}

// Instead says, behind and, what can be had of a factorial that is too large: the
// number of its digits. Where not even that can, it is empty.
func Instead(n int64, and string) string {
	if n > MaxN {
		return ""
	}
	return and + "count its digits alone by --digits (in JSON digits)"
}

// Check returns a *MemoryError if n! needs more memory than is available, and
// product.ErrNegative, wrapped, for n < 0.
func Check(n int64, available Memory) error {
	if n < 0 {
		return fmt.Errorf("factorial of %d: %w", n, product.ErrNegative)
	}
	if e := Of(n); e.Peak > float64(available.Bytes) {
		return &MemoryError{N: n, Estimate: e, Available: available}
	}
	return nil
}

// most is the largest unit that people know, in bytes.
const most = 1 << 60

func about(b float64) string {
	if b >= most {
		return bytesText(b)
	}
	return "about " + bytesText(b)
}

func bytesText(b float64) string {
	if b >= most {
		return "more than 1 EiB"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for b >= 1024 && i < len(units)-1 {
		b /= 1024
		i++
	}
	return strconv.FormatFloat(b, 'f', 1, 64) + " " + units[i]
}

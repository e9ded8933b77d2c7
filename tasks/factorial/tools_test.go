//go:build e2e

package factorial_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/factorial"
)

// script prints the length and the SHA-256 of each argument's factorial, of GMP.
const script = `
import hashlib, sys, gmpy2
for n in sys.argv[1:]:
    s = gmpy2.fac(int(n)).digits(10)
    print(n, len(s), hashlib.sha256(s.encode()).hexdigest())
`

// The text that a run gives is that of GMP. It needs Debian's python3-gmpy2:
// make test-tools installs it.
func TestFactorialsAgreeWithOtherTools(t *testing.T) {
	t.Parallel()
	numbers := []int64{0, 1, 2, 20, 21, 999, 1000, 4096, 65_537, 100_000, 300_007, 1_000_000, 1_100_000}
	args := []string{"-c", script}
	for _, n := range numbers {
		args = append(args, strconv.FormatInt(n, 10))
	}
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("python3 with gmpy2: %v: make test-tools installs python3-gmpy2\n%s", err, out)
	}
	want := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(want) != len(numbers) {
		t.Fatalf("GMP gave %d factorials, want %d:\n%s", len(want), len(numbers), out)
	}
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{})
	handle(t, node, factorial.Options{})
	for i, n := range numbers {
		got, err := factorial.Compute.Run(t.Context(), node, factorial.Input{N: n})
		if err != nil {
			t.Fatalf("Compute(%d) = %v", n, err)
		}
		sum := sha256.Sum256([]byte(got.Decimal))
		line := strconv.FormatInt(n, 10) + " " + strconv.FormatInt(got.Digits, 10) + " " + hex.EncodeToString(sum[:])
		if line != want[i] {
			t.Errorf("n, digits and SHA-256 = %s, want %s", line, want[i])
		}
	}
}

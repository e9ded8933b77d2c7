package factorial_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/factorial"
)

// open gives a node with an engine in dir, both closed at the test's end.
func open(t *testing.T, dir string, o faena.Options) *faena.Node {
	t.Helper()
	eng, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	node, err := faena.Open(t.Context(), eng, o)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return node
}

func handle(t *testing.T, node *faena.Node, o factorial.Options) {
	t.Helper()
	if err := node.Handle(factorial.Handlers(o)...); err != nil {
		t.Fatalf("Handle = %v", err)
	}
}

// sum is the SHA-256 of a text.
func sum(text string) string {
	b := sha256.Sum256([]byte(text))
	return hex.EncodeToString(b[:])
}

// golden is from the tests of package product, which say where it comes from.
var golden = []struct {
	n        int64
	digits   int64
	children int
	sha256   string
}{
	{0, 1, 0, "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},
	{1, 1, 0, "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},
	{20, 19, 0, "0f90a83d6efa0e58870635bedb7ca3eff1bdde520d4a98f83c8fec4c6b864611"},
	{1000, 2568, 0, "cc336cf135d690c1105664b3b859db66b940db51cd66cf891fee120584cf7873"},
	{100_000, 456_574, 2, "820239691ef9b4887957093bb745a1ac33d3184b272db3e9a0d0a37062a13399"},
	{1_000_000, 5_565_709, 34 + 33, "32d5a0e34b2278db851ac1afead8c05f33ad91c3efce871f5dd66805743e0914"},
}

// One slot, so that a run that does not give it back while it waits would hang.
func TestComputeGivesTheFactorial(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{Slots: 1})
	var children atomic.Int32
	node.Use(func(next faena.Next) faena.Next {
		return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
			if !c.Parent().IsZero() {
				children.Add(1)
			}
			return next(ctx, c)
		}
	})
	handle(t, node, factorial.Options{})
	for _, g := range golden {
		children.Store(0)
		out, err := factorial.Compute.Run(t.Context(), node, factorial.Input{N: g.n})
		if err != nil {
			t.Fatalf("Compute(%d) = %v", g.n, err)
		}
		if got := sum(out.Decimal); out.N != g.n || out.Digits != g.digits || got != g.sha256 {
			t.Errorf("Compute(%d) = %d, %d digits, SHA-256 %s, want %d, %s", g.n, out.N, out.Digits, got, g.digits, g.sha256)
		}
		if got := int(children.Load()); got != g.children {
			t.Errorf("Compute(%d) took %d children, want %d", g.n, got, g.children)
		}
	}
}

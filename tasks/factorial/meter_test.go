package factorial_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/faenatest"
	"github.com/faena-dev/faena/tasks/factorial"
)

func TestMeter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		m := factorial.NewMeter(func(done float64, text string) { got = append(got, fmt.Sprintf("%.3f %s", done, text)) })
		m.Enter(0.2, "a")
		m.Report(0.5) // at once: done by an earlier attempt
		time.Sleep(10 * time.Second)
		m.Report(0.55) // too little to say
		m.Report(1)
		m.Report(0.7) // late news
		m.Enter(0.8, "b")
		time.Sleep(10 * time.Second)
		m.Report(0.5)
		time.Sleep(10 * time.Second)
		m.Report(1)
		want := []string{
			"0.000 a", "0.100 a", "0.110 a", "0.200 a, about 1m20s left", "0.200 a, about 1m20s left", "0.200 b, about 1m20s left",
			"0.600 b, about 16s left", "1.000 b, about 0s left",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("the meter told (-want +got):\n%s", d)
		}
		for text, want := range map[string]string{"b, about 16s left": "b", "a": "a", "": ""} {
			if got := factorial.Step(text); got != want {
				t.Errorf("Step(%q) = %q, want %q", text, got, want)
			}
		}
	})
}

// A plan's number of parts must be the same for ever: a run that goes on under a
// newer version finds its children by it.
func TestPartsNeverChange(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]int{0: 0, 1: 0, 10_000: 0, 50_000: 1, 100_000: 2, 300_000: 9, 1_000_000: 34, 10_000_000: 256, 1 << 40: 256} {
		if got := factorial.Parts(n); got != want {
			t.Errorf("Parts(%d) = %d, want %d", n, got, want)
		}
	}
}

// The same holds for the pieces that it is written in.
func TestPiecesNeverChange(t *testing.T) {
	t.Parallel()
	for digits, want := range map[int64][2]int64{
		1: {0, 1}, 1_000_000: {0, 1_000_000}, 5_565_709: {0, 5_565_709}, 6_000_000: {0, 6_000_000}, 6_000_001: {1, 3_000_001},
		24_626_000: {3, 3_078_250}, 24_626_001: {3, 3_078_251}, 11_733_475: {2, 2_933_369}, 756_570_557: {8, 2_955_354},
	} {
		halvings, each := factorial.Pieces(digits)
		if got := [2]int64{int64(halvings), each}; got != want {
			t.Errorf("Pieces(%d) = %d, want %d", digits, got, want)
		}
		if each<<halvings < digits || each<<halvings-each >= digits {
			t.Errorf("Pieces(%d) = %d: the first piece is empty, or they are too short", digits, want)
		}
	}
}

// A piece that begins with zeros is told without.
func TestJoinedFillsUp(t *testing.T) {
	t.Parallel()
	if got, want := factorial.Joined([]string{"12", "0", "3456", "78"}, 4), "12000034560078"; got != want {
		t.Errorf("Joined = %s, want %s", got, want)
	}
}

// In a bubble all is as outside, and what a run says on its way only grows.
func TestProgressGrows(t *testing.T) {
	t.Parallel()
	faenatest.Bubble(t, func(t *testing.T, eng engine.Engine) {
		node, err := faena.Open(t.Context(), eng, faena.Options{Slots: 2})
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		defer node.Close() //nolint:errcheck // the test is over
		handle(t, node, factorial.Options{})
		fut, err := factorial.Compute.Go(t.Context(), node, factorial.Input{N: resumeN})
		if err != nil {
			t.Fatalf("Go = %v", err)
		}
		last := 0.0
		for in, err := range node.Watch(t.Context(), fut.ID()) {
			if err != nil {
				t.Fatalf("Watch = %v", err)
			}
			if p := in.Progress; p != nil {
				if p.Done < last || p.Done > 1 || strings.TrimSpace(p.Text) == "" {
					t.Errorf("progress %+v after %v", *p, last)
				}
				last = p.Done
			}
		}
		out, err := fut.Get(t.Context())
		if err != nil || out.Digits != int64(len(out.Decimal)) || out.Digits < 1_000_000 {
			t.Errorf("Compute(%d) = %d digits, %v", resumeN, out.Digits, err)
		}
	})
}

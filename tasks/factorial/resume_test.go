package factorial_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/factorial"
	"github.com/faena-dev/faena/tasks/factorial/product"
)

// These name the variables that make the test binary a worker to be killed: its
// data directory, what to compute, and after how many children it gets stuck.
const (
	victimDir   = "FACTORIAL_VICTIM"
	victimN     = "FACTORIAL_VICTIM_N"
	victimAfter = "FACTORIAL_VICTIM_AFTER"
)

// resumeN has 9 parts and 8 products of them.
const (
	resumeN     = 300_000
	resumeParts = 9
)

// piecesN has 39 parts, 38 products of them, a power of five, a division and two
// pieces in base ten. The sum is that of its text by GMP.
const (
	piecesN      = 1_100_000
	piecesNumber = 39 + 38
	piecesSum    = "1f2f1fa0472148c0ef7ee3a4497b978892d7ee385ea777d29cc0f10f5799e56c"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim works until the given number of children have succeeded, tells the run's
// id, and waits to be killed: the children that begin after that never end.
func victim(dir string) error {
	ctx := context.Background()
	after, err := strconv.Atoi(os.Getenv(victimAfter))
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(os.Getenv(victimN), 10, 64)
	if err != nil {
		return err
	}
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		return err
	}
	node, err := faena.Open(ctx, eng, faena.Options{Slots: 2})
	if err != nil {
		return err
	}
	var (
		mu    sync.Mutex
		begun []faena.ID
	)
	node.Use(func(next faena.Next) faena.Next {
		return func(inner context.Context, c *faena.Call) (json.RawMessage, error) {
			if c.Parent().IsZero() {
				return next(inner, c)
			}
			mu.Lock()
			stuck := len(begun) == after
			if !stuck {
				begun = append(begun, c.ID())
			}
			mu.Unlock()
			if !stuck {
				return next(inner, c)
			}
			for _, id := range begun { // which nobody changes any more
				f, err := faena.Attach[json.RawMessage](ctx, node, id)
				if err == nil {
					_, err = f.Get(ctx) // keeps the slot: it is not the attempt's context
				}
				if err != nil {
					return nil, err
				}
			}
			fmt.Fprintln(os.Stdout, c.Parent()) //nolint:errcheck // then the test hears nothing, and fails
			<-inner.Done()
			return nil, inner.Err()
		}
	})
	if err := node.Handle(factorial.Handlers(factorial.Options{})...); err != nil {
		return err
	}
	if _, err := factorial.Compute.Run(ctx, node, factorial.Input{N: n}); err != nil {
		return err
	}
	return fmt.Errorf("it ended before it was killed")
}

// killed lets a victim work in dir, kills it and gives the id of the run.
func killed(t *testing.T, dir string, n int64, after int) faena.ID {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), victimDir+"="+dir, victimN+"="+strconv.FormatInt(n, 10), victimAfter+"="+strconv.Itoa(after))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill() // an error says that it has ended, and then there was no line
	_ = cmd.Wait()
	if err != nil {
		t.Fatalf("the worker ended by itself: %v", err)
	}
	id, err := faena.ParseID(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// After kill -9 no child that had ended is executed again, and the result is right.
func TestResumeAfterKill(t *testing.T) {
	t.Parallel()
	x, err := product.Factorial(t.Context(), resumeN, product.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := sum(x.String())
	for name, c := range map[string]struct {
		n               int64
		after, children int
		want            string
	}{
		"parts":     {resumeN, 6, 2*resumeParts - 1, want},
		"products":  {resumeN, resumeParts + 5, 2*resumeParts - 1, want},
		"divisions": {piecesN, piecesNumber + 1, piecesNumber + 4, piecesSum},
		"pieces":    {piecesN, piecesNumber + 3, piecesNumber + 4, piecesSum},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			id := killed(t, dir, c.n, c.after)
			node := open(t, dir, faena.Options{Slots: 2})
			done := map[faena.ID]bool{}
			for in, err := range node.List(t.Context(), faena.Query{States: []faena.State{faena.Succeeded}}) {
				if err != nil {
					t.Fatalf("List = %v", err)
				}
				done[in.ID] = true
			}
			if len(done) != c.after {
				t.Fatalf("%d children had succeeded, want %d", len(done), c.after)
			}
			var (
				mu       sync.Mutex
				executed = map[faena.ID]int{}
			)
			node.Use(func(next faena.Next) faena.Next {
				return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
					if !c.Parent().IsZero() {
						mu.Lock()
						executed[c.ID()]++
						mu.Unlock()
					}
					return next(ctx, c)
				}
			})
			handle(t, node, factorial.Options{})
			fut, err := faena.Attach[factorial.Output](t.Context(), node, id)
			if err != nil {
				t.Fatalf("Attach = %v", err)
			}
			out, err := fut.Get(t.Context())
			if err != nil {
				t.Fatalf("Get = %v", err)
			}
			if got := sum(out.Decimal); got != c.want {
				t.Errorf("the result has %d digits and the SHA-256 %s, want %s", len(out.Decimal), got, c.want)
			}
			mu.Lock()
			defer mu.Unlock()
			for child, n := range executed {
				if done[child] {
					t.Errorf("child %s had succeeded and was executed again, %d times", child, n)
				}
			}
			if got, want := len(executed), c.children-c.after; got != want {
				t.Errorf("%d children were executed after the kill, want %d", got, want)
			}
		})
	}
}

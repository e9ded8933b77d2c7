package imaging_test

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
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/imaging"
)

// victimDir names the variable that makes the test binary a worker to be killed:
// in its directory are data and inputs.
const victimDir = "IMAGING_VICTIM"

// In the victim so many files finish; the next one's output is written, and
// nobody learns of it. The first is no picture.
const (
	resumeFiles = 12
	resumeAfter = 5
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

func resumeInput(dir string) imaging.Input {
	in := imaging.Input{Out: filepath.Join(dir, "out"), Settings: imaging.Settings{Filter: "resize:20"}}
	for i := range resumeFiles {
		in.Files = append(in.Files, filepath.Join(dir, "in", strconv.Itoa(i)+".png"))
	}
	return in
}

func victim(dir string) error {
	ctx := context.Background()
	saved := make(chan struct{})
	once := sync.OnceFunc(func() { close(saved) })
	eng, err := embedded.Open(ctx, embedded.Options{
		Dir: filepath.Join(dir, "data"), Durability: embedded.Fast,
		Hook: func(w engine.Write, after bool) error {
			if w == engine.WriteCheckpoint && after {
				once()
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	node, err := faena.Open(ctx, eng, faena.Options{Slots: 1})
	if err != nil {
		return err
	}
	var begun []faena.ID // one slot: one after the other
	node.Use(func(next faena.Next) faena.Next {
		return func(inner context.Context, c *faena.Call) (json.RawMessage, error) {
			if c.Parent().IsZero() {
				return next(inner, c)
			}
			out, err := next(inner, c)
			if err != nil || len(begun) < resumeAfter {
				begun = append(begun, c.ID())
				return out, err
			}
			for _, id := range begun {
				f, err := faena.Attach[json.RawMessage](ctx, node, id)
				if err == nil {
					<-f.Done()
				}
			}
			<-saved
			fmt.Fprintln(os.Stdout, c.Parent(), c.ID()) //nolint:errcheck // then the test hears nothing, and fails
			<-inner.Done()
			return nil, inner.Err()
		}
	})
	if err := node.Handle(imaging.Handlers(imaging.Options{})...); err != nil {
		return err
	}
	if _, err := imaging.Batch.Run(ctx, node, resumeInput(dir)); err != nil {
		return err
	}
	return fmt.Errorf("it ended before it was killed")
}

// killed lets a victim work in dir, kills it and gives the ids of the batch and of
// the child whose output is there without its result.
func killed(t *testing.T, dir string) (batch, doubtful faena.ID) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
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
	ids := strings.Fields(line)
	for i, id := range []*faena.ID{&batch, &doubtful} {
		if *id, err = faena.ParseID(ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	return batch, doubtful
}

// After kill -9 no file that had succeeded or failed is processed again, and one
// whose output was there comes to the same end.
func TestResumeAfterKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := resumeInput(dir)
	write(t, []byte("no picture"), in.Files[0])
	for i, name := range in.Files[1:] {
		write(t, pngOf(t, 40, 30, i), name)
	}
	id, doubtful := killed(t, dir)
	write(t, []byte("half written"), in.Out, ".faena-DEAD.tmp")

	before := map[string]os.FileInfo{}
	for name := range tree(t, in.Out) {
		info, err := os.Stat(filepath.Join(in.Out, name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = info
	}
	if got := len(before); got != resumeAfter+1 { // one of those that ended has no output, then the doubtful and the planted one
		t.Fatalf("the killed worker left %d files, want %d", got, resumeAfter+1)
	}
	node := open(t, filepath.Join(dir, "data"), faena.Options{Slots: 2})
	ended := map[faena.ID]bool{}
	q := faena.Query{Task: imaging.Process.Name(), States: []faena.State{faena.Succeeded, faena.Failed}}
	for in, err := range node.List(t.Context(), q) {
		if err != nil {
			t.Fatalf("List = %v", err)
		}
		ended[in.ID] = true
	}
	if len(ended) != resumeAfter {
		t.Fatalf("%d children had ended, want %d", len(ended), resumeAfter)
	}
	var (
		mu       sync.Mutex
		executed = map[faena.ID]int{}
		inputs   = map[string]int{}
	)
	node.Use(func(next faena.Next) faena.Next {
		return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
			if !c.Parent().IsZero() {
				var f imaging.File
				if err := json.Unmarshal(c.Input(), &f); err != nil {
					return nil, err
				}
				mu.Lock()
				executed[c.ID()]++
				inputs[f.In]++
				mu.Unlock()
			}
			return next(ctx, c)
		}
	})
	handle(t, node, imaging.Options{})
	fut, err := faena.Attach[imaging.Summary](t.Context(), node, id)
	if err != nil {
		t.Fatalf("Attach = %v", err)
	}
	sum, err := fut.Get(t.Context())
	if err != nil {
		t.Fatalf("Get = %v", err)
	}
	if sum.Files != resumeFiles || sum.Failed != 1 || !strings.Contains(sum.Outcomes[0].Error, "not a picture") {
		t.Errorf("the batch ended as %+v, want %d files, of which the first failed", sum, resumeFiles)
	}
	mu.Lock()
	defer mu.Unlock()
	for child := range executed {
		if ended[child] {
			t.Errorf("child %s had ended and was executed again", child)
		}
	}
	if got, want := len(executed), resumeFiles-resumeAfter; got != want || len(inputs) != want || inputs[in.Files[0]] != 0 {
		t.Errorf("%d children were executed after the kill for %v, want %d, and not for %s", got, inputs, want, in.Files[0])
	}
	for _, o := range sum.Outcomes[1:] {
		if o.Done == nil || o.Unchanged != (o.Run == doubtful) {
			t.Errorf("%s ended as %+v, %q, want it unchanged only if it was in doubt", o.In, o.Done, o.Error)
		}
	}
	after := tree(t, in.Out)
	if len(after) != resumeFiles-1 {
		t.Errorf("%d files in the output directory, want the %d outputs alone", len(after), resumeFiles-1)
	}
	for name, was := range before {
		is, err := os.Stat(filepath.Join(in.Out, name))
		if strings.HasSuffix(name, ".tmp") {
			continue
		}
		if err != nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) {
			t.Errorf("%s was written again: %v", name, err)
		}
	}
}

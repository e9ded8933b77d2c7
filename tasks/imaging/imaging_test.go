package imaging_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/imaging"
	"github.com/faena-dev/faena/tasks/imaging/codec"
)

// One slot, so that a batch that does not give it back while it waits would hang;
// and a budget that no picture fits in, so that each goes alone.
func TestBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node := open(t, filepath.Join(dir, "data"), faena.Options{Slots: 1})
	handle(t, node, imaging.Options{Budget: 1})
	webp, err := os.ReadFile(filepath.Join("codec", "testdata", "lossy.webp"))
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(dir, "in")
	photo := jpegOf(t, 90, 60, 3)
	files := []string{
		write(t, photo, in, "a.jpg"),
		write(t, photo[:len(photo)/2], in, "cut.jpg"),
		write(t, turned(photo), in, "turned.jpg"),
		write(t, pngOf(t, 80, 40, 5), in, "b.png"),
		write(t, []byte("no picture"), in, "text.png"),
		write(t, gifOf(t, 60, 60, 3), in, "c.gif"),
		filepath.Join(in, "none.png"),
		write(t, webp, in, "d.webp"),
		write(t, bomb(), in, "bomb.png"),
	}
	before := tree(t, in)
	out := filepath.Join(dir, "out")
	sum, err := imaging.Batch.Run(t.Context(), node, imaging.Input{
		Files: append(files, files[0]), Out: out, Settings: imaging.Settings{Filter: "grayscale,resize:30"},
	})
	if err != nil {
		t.Fatalf("Batch = %v", err)
	}
	if sum.Files != 9 || sum.Succeeded != 5 || sum.Failed != 4 {
		t.Errorf("Batch: %d files, %d succeeded, %d failed, want 9, 5, 4", sum.Files, sum.Succeeded, sum.Failed)
	}
	if diff := cmp.Diff(before, tree(t, in)); diff != "" {
		t.Errorf("the inputs changed (-before +after):\n%s", diff)
	}
	for i, want := range []struct {
		name          string
		format        codec.Format
		width, height int
		frames        int
		err           string
	}{
		{"a.jpg", codec.JPEG, 30, 20, 1, ""},
		{"cut.jpg", "", 0, 0, 0, "damaged"},
		{"turned.jpg", codec.JPEG, 30, 45, 1, ""},
		{"b.png", codec.PNG, 30, 15, 1, ""},
		{"text.png", "", 0, 0, 0, "not a picture"},
		{"c.gif", codec.GIF, 30, 30, 3, ""},
		{"none.png", "", 0, 0, 0, "no such file"},
		{"d.png", codec.PNG, 30, 0, 1, ""},
		{"bomb.png", "", 0, 0, 0, "30000x30000"},
	} {
		o := sum.Outcomes[i]
		if o.In != files[i] || o.Out != filepath.Join(out, want.name) || o.Run.IsZero() {
			t.Errorf("outcome %d is of %s to %s by run %s, want %s to %s", i, o.In, o.Out, o.Run, files[i], want.name)
		}
		if want.err != "" {
			if o.Done != nil || !strings.Contains(o.Error, want.err) || strings.HasPrefix(o.Error, files[i]) {
				t.Errorf("%s: %+v, %q, want an error that says %q without the file", files[i], o.Done, o.Error, want.err)
			}
			child, err := faena.Attach[imaging.Done](t.Context(), node, o.Run)
			if err != nil {
				t.Fatalf("Attach = %v", err)
			}
			if _, err := child.Get(t.Context()); faena.CodeOf(err) != faena.CodePermanent {
				t.Errorf("%s: its run ended with %v, want code %q", files[i], err, faena.CodePermanent)
			}
			continue
		}
		if o.Done == nil || o.Error != "" {
			t.Errorf("%s: error %q, want none", files[i], o.Error)
			continue
		}
		data, err := os.ReadFile(o.Out)
		if err != nil {
			t.Fatal(err)
		}
		h, err := codec.Probe(data)
		if err != nil || h.Format != want.format || h.Width != want.width || want.height > 0 && h.Height != want.height || h.Frames != want.frames {
			t.Errorf("%s is %+v, %v, want %+v", o.Out, h, err, want)
		}
		if o.Width != h.Width || o.Height != h.Height || o.Frames != h.Frames || o.Bytes != int64(len(data)) {
			t.Errorf("%s: told %+v, it is %+v", o.Out, *o.Done, h)
		}
	}
	if got := len(tree(t, out)); got != 5 {
		t.Errorf("%d files in the output directory, want the 5 outputs alone", got)
	}
}

// What a batch told is the same after a trip through JSON, failed files included,
// and those do not speak of sizes.
func TestOutcomeJSON(t *testing.T) {
	t.Parallel()
	var s imaging.Summary
	f := imaging.File{In: "/a.png", Out: "/b.png"}
	s.Add(f.Outcome(faena.ID{1}, imaging.Done{Width: 3, Bytes: 7, BytesIn: 9}, nil))
	s.Add(f.Outcome(faena.ID{2}, imaging.Done{}, &faena.Error{Code: faena.CodePermanent, Op: "run image", Err: os.ErrNotExist}))
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back imaging.Summary
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Errorf("the summary changed (-before +after):\n%s", diff)
	}
	if n := strings.Count(string(data), `"width"`); n != 1 {
		t.Errorf("%s has %d widths, want 1", data, n)
	}
	if s.Files != 2 || s.Bytes != 7 || s.BytesIn != 9 || s.Outcomes[1].Error != "file does not exist" {
		t.Errorf("the summary is %s", data)
	}
}

// What can be known before is refused before: the run fails for good, and nothing
// is written.
func TestBatchRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node := open(t, filepath.Join(dir, "data"), faena.Options{})
	handle(t, node, imaging.Options{})
	in := filepath.Join(dir, "in")
	a := write(t, pngOf(t, 9, 9, 1), in, "a.png")
	b := write(t, pngOf(t, 9, 9, 2), in, "sub", "a.png")
	other := write(t, pngOf(t, 9, 9, 3), in, "sub", "b.png")
	for link, to := range map[string]string{"mirror/sub": in + "/sub", "twice/x": dir + "/place", "twice/y": dir + "/place"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/place", 0o755); err != nil {
		t.Fatal(err)
	}
	x := write(t, pngOf(t, 9, 9, 4), in, "x", "a.png")
	y := write(t, pngOf(t, 9, 9, 5), in, "y", "a.png")
	before := tree(t, in)
	for _, c := range []struct {
		name string
		in   imaging.Input
		want []string
	}{
		{"filter", imaging.Input{Files: []string{a}, Out: dir + "/out", Settings: imaging.Settings{Filter: "sepia"}}, []string{"sepia", "grayscale"}},
		{"no filter", imaging.Input{Files: []string{a}, Out: dir + "/out", Settings: imaging.Settings{Filter: " "}}, []string{"no filter"}},
		{"quality", imaging.Input{Files: []string{a}, Out: dir + "/out", Settings: imaging.Settings{Quality: 101}}, []string{"101", "1 to 100"}},
		{"limit", imaging.Input{Files: []string{a}, Out: dir + "/out", Settings: imaging.Settings{MaxPixels: -1}}, []string{"max_pixels -1: "}},
		{"relative", imaging.Input{Files: []string{"a.png"}, Out: dir + "/out"}, []string{"a.png", "absolute"}},
		{"relative out", imaging.Input{Files: []string{a}, Out: "out"}, []string{"out", "absolute"}},
		{"no out", imaging.Input{Files: []string{a}}, []string{"no output directory"}},
		{"no files", imaging.Input{Out: dir + "/out"}, []string{"no picture"}},
		{"input", imaging.Input{Files: []string{a}, Out: in}, []string{"replace an input"}},
		{"input by a link", imaging.Input{Files: []string{a, b, other}, Out: dir + "/mirror", Settings: imaging.Settings{Overwrite: true}}, []string{"replace an input"}},
		{"clash by links", imaging.Input{Files: []string{x, y}, Out: dir + "/twice"}, []string{"would both become", "place/a.png"}},
		{"below a file", imaging.Input{Files: []string{a}, Out: b + "/out"}, []string{"output directory", "not a directory"}},
		{"a file", imaging.Input{Files: []string{a}, Out: b}, []string{"output directory", "not a directory"}},
		{"no place to write", imaging.Input{Files: []string{a}, Out: "/proc"}, []string{"output directory /proc", "choose another"}},
	} {
		if c.in.Filter == "" {
			c.in.Filter = "edges"
		}
		sum, err := imaging.Batch.Run(t.Context(), node, c.in)
		if faena.CodeOf(err) != faena.CodePermanent {
			t.Errorf("Batch(%s) = %+v, %v, want code %q", c.name, sum, err, faena.CodePermanent)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Batch(%s) = %v, want %q in it", c.name, err, want)
			}
		}
	}
	if diff := cmp.Diff(before, tree(t, in)); diff != "" {
		t.Errorf("the inputs changed (-before +after):\n%s", diff)
	}
	if _, err := os.Stat(dir + "/out"); !os.IsNotExist(err) {
		t.Errorf("the output directory was made: %v", err)
	}
}

func TestPlanWithoutPermission(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := imaging.Plan(imaging.Input{
		Files: []string{"/a.png"}, Out: filepath.Join(dir, "out"), Settings: imaging.Settings{Filter: "edges"},
	})
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Plan = %v, want permission denied", err)
	}
}

// Inputs that could not go well were stored, and failed.
func TestSubmitRefuses(t *testing.T) {
	t.Parallel()
	node := open(t, filepath.Join(t.TempDir(), "data"), faena.Options{})
	handle(t, node, imaging.Options{})
	for _, c := range []struct{ task, in, want string }{
		{"image", `{}`, "no filter given"},
		{"image", `null`, "no filter given"},
		{"image", `{"filter":"edges"}`, `field "in" is missing`},
		{"image", `{"filter":"edges","in":"/a.png"}`, `field "out" is missing`},
		{"image", `{"filter":"edges","in":"a.png","out":"/b.png"}`, "want an absolute path"},
		{"image", `{"filter":"sepia","in":"/a.png","out":"/b.png"}`, `unknown filter "sepia"`},
		{"image", `{"filter":"edges","in":"/a.png","out":"/b.png","max_pixels":999999999999}`, "at most 500000000"},
		{"image", `{"filter":5}`, `field "filter": want text, got a number`},
		{"image", `[]`, `want an object such as {"in": "…", "out": "…", "filter": "…"}, got a list`},
		{"images", `{}`, "no filter given"},
		{"images", `{"filter":"edges","files":["/a.png"]}`, "no output directory"},
		{"images", `{"filter":"edges","out":"/b"}`, "no picture"},
		{"images", `{"filter":"edges","files":["/a.png"],"out":"/b","max_bytes":2147483649}`, "at most 2147483648"},
	} {
		_, err := node.Submit(t.Context(), c.task, json.RawMessage(c.in))
		if faena.CodeOf(err) != faena.CodeInput || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Submit(%s, %s) = %v, want code input and %q", c.task, c.in, err, c.want)
		}
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node := open(t, filepath.Join(dir, "data"), faena.Options{})
	handle(t, node, imaging.Options{MaxPixels: 200})
	in := write(t, pngOf(t, 12, 10, 1), dir, "in.png")
	out := filepath.Join(dir, "out.png")
	edges := imaging.Settings{Filter: "edges"}
	for _, c := range []struct {
		name string
		file imaging.File
		want string
	}{
		{"relative", imaging.File{In: "in.png", Out: out, Settings: edges}, "absolute"},
		{"nowhere", imaging.File{In: in, Settings: edges}, "missing"},
		{"filter", imaging.File{In: in, Out: out, Settings: imaging.Settings{Filter: "edges:9"}}, "no argument"},
		{"small limit", imaging.File{In: in, Out: out, Settings: imaging.Settings{Filter: "edges", MaxPixels: 119}}, "over the limit"},
		{"large limit", imaging.File{In: in, Out: out, Settings: imaging.Settings{Filter: "edges", MaxPixels: 201}}, "at most 200"},
		{"the worker's limit", imaging.File{In: in, Out: out, Settings: imaging.Settings{Filter: "resize:20x20"}}, "over the limit"},
		{"onto itself", imaging.File{In: in, Out: in, Settings: imaging.Settings{Filter: "edges", Overwrite: true}}, "replace an input"},
	} {
		done, err := imaging.Process.Run(t.Context(), node, c.file)
		if faena.CodeOf(err) != faena.CodePermanent || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Process(%s) = %+v, %v, want code %q and %q in it", c.name, done, err, faena.CodePermanent, c.want)
		}
	}
	good := imaging.File{In: in, Out: out, Settings: edges}
	for _, unchanged := range []bool{false, true} {
		done, err := imaging.Process.Run(t.Context(), node, good)
		if err != nil || done.Unchanged != unchanged {
			t.Errorf("Process = %+v, %v, want unchanged %t", done, err, unchanged)
		}
	}
	good.Filter = "blur:1"
	if _, err := imaging.Process.Run(t.Context(), node, good); faena.CodeOf(err) != faena.CodePermanent {
		t.Errorf("Process(in the place of another) = %v, want code %q", err, faena.CodePermanent)
	}
	good.Overwrite = true
	if done, err := imaging.Process.Run(t.Context(), node, good); err != nil || done.Unchanged {
		t.Errorf("Process(overwriting) = %+v, %v, want another output", done, err)
	}
}

// Cancelling a batch ends its children, those under way and those in the queue,
// and leaves nothing half done.
func TestCancel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node := open(t, filepath.Join(dir, "data"), faena.Options{Slots: 2})
	var (
		mu   sync.Mutex
		seen int
	)
	begun := make(chan struct{})
	node.Use(func(next faena.Next) faena.Next {
		return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
			if c.Task() == imaging.Process.Name() {
				mu.Lock()
				seen++
				n := seen
				mu.Unlock()
				if n == 4 {
					close(begun)
				}
				if n >= 4 {
					<-ctx.Done()
				}
			}
			return next(ctx, c)
		}
	})
	handle(t, node, imaging.Options{})
	var files []string
	for i := range 20 {
		files = append(files, write(t, pngOf(t, 30, 20, i), dir, "in", string(rune('a'+i))+".png"))
	}
	out := filepath.Join(dir, "out")
	fut, err := imaging.Batch.Go(t.Context(), node, imaging.Input{Files: files, Out: out, Settings: imaging.Settings{Filter: "edges"}})
	if err != nil {
		t.Fatalf("Go = %v", err)
	}
	<-begun
	if err := fut.Cancel(t.Context()); err != nil {
		t.Fatalf("Cancel = %v", err)
	}
	if _, err := fut.Get(t.Context()); faena.CodeOf(err) != faena.CodeCancelled {
		t.Errorf("Get = %v, want code %q", err, faena.CodeCancelled)
	}
	states := map[faena.State]int{}
	for in, err := range node.List(t.Context(), faena.Query{Task: imaging.Process.Name()}) {
		if err != nil {
			t.Fatalf("List = %v", err)
		}
		child, err := faena.Attach[imaging.Done](t.Context(), node, in.ID)
		if err != nil {
			t.Fatalf("Attach = %v", err)
		}
		switch _, err := child.Get(t.Context()); faena.CodeOf(err) {
		case "":
			states[faena.Succeeded]++
		case faena.CodeCancelled:
			states[faena.Cancelled]++
		default:
			t.Errorf("child %s ended with %v", in.ID, err)
		}
	}
	if states[faena.Succeeded]+states[faena.Cancelled] != 20 || states[faena.Cancelled] < 17 {
		t.Errorf("the children ended as %v, want 20, of which 17 or more were cancelled", states)
	}
	for name := range tree(t, out) {
		if !slices.Contains(files, filepath.Join(dir, "in", name)) {
			t.Errorf("%s was left in the output directory", name)
		}
	}
}

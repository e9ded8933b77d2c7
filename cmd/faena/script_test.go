package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/faena-dev/faena"
	main "github.com/faena-dev/faena/cmd/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"faena": main.Main})
}

// TestScripts executes the program as a user would: each script has a state
// directory of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("NO_COLOR", "1")
			e.Setenv("GOMAXPROCS", "2") // slots, and so how much is under way when something is killed
			pictures, err := filepath.Abs("../../tasks/imaging/codec/testdata")
			e.Setenv("PICTURES", pictures)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "lines": lines, "left": left, "perm": perm, "env-from": envFrom,
			"site": site, "urls": urls,
			"more": more, "forget": forget, "port": port, "fetch": fetch, "post": post, "bare": bare, "others": others, "weak": weak, "interrupt": interrupt, "unread": unread,
			"cutoff": cutoff,
			"once":   once, "disk": disk, "crowd": crowd,
		},
		Condition: condition,
	})
}

// exits CODE COMMAND... executes a command that has to end with that code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// until PATTERN COMMAND... executes a command until its output matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[0])
	repeat(ts, strings.Join(args, " "), func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && re.MatchString(ts.ReadFile("stdout"))
	})
}

// lines N FILE waits until a file has N lines; ! lines N FILE checks that it
// never got more.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := func() int { return lineCount(ts, ts.MkAbs(args[1])) }
	if neg {
		if g := got(); g > n {
			ts.Fatalf("%s has %d lines, want at most %d", args[1], g, n)
		}
		return
	}
	repeat(ts, strings.Join(args, " lines of "), func() bool { return got() >= n })
}

// lineCount is how many lines a file has; one that is not there has none.
func lineCount(ts *testscript.TestScript, path string) int {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		ts.Check(err)
	}
	return strings.Count(string(b), "\n")
}

// left VAR sets a variable to the id of the only work that was left behind.
func left(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("faena", "resume", "-o", "json"))
	var all []struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &all))
	if len(all) != 1 {
		ts.Fatalf("%d pieces of work were left behind, want 1", len(all))
	}
	ts.Setenv(args[0], all[0].ID)
}

// perm MODE FILE checks who may read a file.
func perm(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// site VAR N DELAY serves a site of N pages, each DELAY late, and sets a variable
// to its address.
func site(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	delay, err := time.ParseDuration(args[2])
	ts.Check(err)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/robots.txt" || r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		i, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/")) // the start is 0
		late := time.NewTimer(delay)
		defer late.Stop()
		select {
		case <-late.C:
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "text/html")
		var body strings.Builder
		fmt.Fprintf(&body, "<title>page %d</title>", i)
		for _, to := range []int{i + 1, 2*i + 1, 3*i + 2} {
			fmt.Fprintf(&body, "<a href=/%s>x</a>", strings.TrimPrefix(strconv.Itoa(to%n), "0"))
		}
		_, _ = w.Write([]byte(body.String()))
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// urls N FILE checks that the lines of a file are of N different pages.
func urls(ts *testscript.TestScript, _ bool, args []string) {
	seen := map[string]bool{}
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		var p struct{ URL string }
		ts.Check(json.Unmarshal([]byte(line), &p))
		seen[p.URL] = true
	}
	if strconv.Itoa(len(seen)) != args[0] {
		ts.Fatalf("%s has %d different pages, want %s", args[1], len(seen), args[0])
	}
}

// repeat tries until it is done, for a minute and a half at most.
func repeat(ts *testscript.TestScript, what string, done func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("waited in vain for %s", what)
		}
	}
}

// env-from VAR FILE sets a variable to what a file says.
func envFrom(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// forget ID takes the runs out of a job's file, as if its process had died
// between submitting them and noting that.
func forget(ts *testscript.TestScript, _ bool, args []string) {
	path := filepath.Join(ts.Getenv("XDG_STATE_HOME"), "faena", "work", args[0], "job.json")
	b, err := os.ReadFile(path)
	ts.Check(err)
	var job map[string]any
	ts.Check(json.Unmarshal(b, &job))
	if job["runs"] == nil {
		ts.Fatalf("%s names no runs", path)
	}
	delete(job, "runs")
	b, err = json.Marshal(job)
	ts.Check(err)
	ts.Check(os.WriteFile(path, b, 0o600))
}

// more FILE waits until a file has grown by a line.
func more(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	repeat(ts, "more in "+args[0], func() bool {
		now, err := os.ReadFile(ts.MkAbs(args[0]))
		ts.Check(err)
		return len(now) > len(b)
	})
}

// port VAR sets a variable to a port that is free.
func port(ts *testscript.TestScript, _ bool, args []string) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	_, p, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], p)
}

// fetch STATUS URL gets an address, which has to answer, until it does so with
// that status.
func fetch(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	repeat(ts, args[0]+" from "+args[1], func() bool {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, args[1], nil)
		ts.Check(err)
		res, err := http.DefaultClient.Do(req)
		ts.Check(err)
		ts.Check(res.Body.Close())
		return res.StatusCode == want
	})
}

// bare starts a server that executes nothing, and makes it the one to use.
func bare(ts *testscript.TestScript, _ bool, _ []string) { listening(ts, "bare") }

// others starts a server of another program's, with a task of its own.
func others(ts *testscript.TestScript, _ bool, _ []string) {
	node, err := faena.Open(context.Background(), listening(ts, "others"), faena.Options{Logger: slog.New(slog.DiscardHandler)})
	ts.Check(err)
	ts.Defer(func() { ts.Check(node.Close()) })
	type in struct {
		Count int `json:"count"`
	}
	ts.Check(node.Handle(faena.Define[in, int]("theirs").With(func(_ context.Context, v in) (int, error) { return v.Count, nil })))
}

func listening(ts *testscript.TestScript, name string) *embedded.Engine {
	dir := ts.MkAbs(name)
	eng, err := embedded.Open(context.Background(), embedded.Options{
		Dir: dir, Durability: embedded.Fast, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
	})
	ts.Check(err)
	ts.Defer(func() { ts.Check(eng.Close()) })
	at, err := embedded.Find(dir)
	ts.Check(err)
	ts.Setenv("FAENA_SERVER", at.URL)
	ts.Setenv("FAENA_TOKEN", at.Secret)
	return eng
}

// post FILE URL JSON sends JSON to an address and keeps the answer in a file.
func post(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, args[1], strings.NewReader(args[2]))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	b, err := io.ReadAll(res.Body)
	ts.Check(errors.Join(err, res.Body.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// once TOLD LOG checks that each word that was told, as in "a!", was said once.
func once(ts *testscript.TestScript, _ bool, args []string) {
	said := strings.Fields(ts.ReadFile(args[1]))
	told := strings.Fields(ts.ReadFile(args[0]))
	if len(told) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
	for _, word := range told {
		n := 0
		for _, s := range said {
			if s+"!" == word {
				n++
			}
		}
		if n != 1 {
			ts.Fatalf("%s was said %d times, want once", word, n)
		}
	}
}

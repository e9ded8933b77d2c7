package main_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// weak VAR sets a variable to a directory in memory, where nothing survives a
// power cut.
func weak(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp("/dev/shm", "faena-test-")
	ts.Check(err)
	ts.Defer(func() { ts.Check(os.RemoveAll(dir)) })
	ts.Setenv(args[0], dir)
}

// interrupt CODE FILE AGAIN COMMAND... executes a command, sends it SIGINT once
// FILE has grown by a line, and once more when its standard error matches AGAIN,
// unless that is empty. It has to end with the code; what it said is in a file
// named said.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	underWay(ts, args[0], args[1], args[3:], func(p *os.Process, said *shared) {
		ts.Check(p.Signal(syscall.SIGINT))
		if args[2] == "" {
			return
		}
		re := regexp.MustCompile(args[2])
		repeat(ts, args[2]+" on standard error", func() bool { return re.Match(said.bytes()) })
		time.Sleep(150 * time.Millisecond) // at once it would be taken for the same
		ts.Check(p.Signal(syscall.SIGINT))
	})
}

// unread CODE COMMAND... executes a command, of whose output a byte is read and no
// more, sends it SIGINT then, and sets ID to what it can be resumed by. It has to
// end with the code within ten seconds.
func unread(ts *testscript.TestScript, _ bool, args []string) {
	r, w, err := os.Pipe()
	ts.Check(err)
	defer r.Close() //nolint:errcheck // it was read from only
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	var said shared
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = environ(ts), ts.MkAbs("."), w, &said
	ts.Check(cmd.Start())
	ts.Check(w.Close())
	_, err = r.Read(make([]byte, 1))
	ts.Check(err)
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	late := time.AfterFunc(10*time.Second, cancel)
	defer late.Stop()
	_ = cmd.Wait() // the code tells
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("exit code %s, want %s; it said\n%s", got, args[0], said.bytes())
	}
	id := regexp.MustCompile(`resume by: faena resume (\S+)`).FindSubmatch(said.bytes())
	if id == nil {
		ts.Fatalf("it said\n%swant how to resume it", said.bytes())
	}
	ts.Setenv("ID", string(id[1]))
}

// underWay executes a command, does something once FILE has grown by a line, and
// waits for its end, with that code.
func underWay(ts *testscript.TestScript, code, path string, args []string, do func(*os.Process, *shared)) {
	want, err := strconv.Atoi(code)
	ts.Check(err)
	file := ts.MkAbs(path)
	before := lineCount(ts, file)
	var said shared
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = environ(ts), ts.MkAbs("."), &said
	ts.Check(cmd.Start())
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		ts.Check(os.WriteFile(ts.MkAbs("said"), said.bytes(), 0o600))
	}()
	repeat(ts, "a line in "+path, func() bool { return lineCount(ts, file) > before })
	do(cmd.Process, &said)
	err, ended = cmd.Wait(), true
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		ts.Check(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d; it said\n%s", got, want, said.bytes())
	}
}

// environ is the script's environment, as far as the program looks at it.
func environ(ts *testscript.TestScript) []string {
	all := os.Environ()
	for _, name := range []string{"XDG_STATE_HOME", "NO_COLOR", "GOMAXPROCS", "FAENA_SERVER", "FAENA_TOKEN", "HOME", "PATH"} {
		all = append(all, name+"="+ts.Getenv(name))
	}
	return all
}

// shared is a buffer that is read while it is written to.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

package main_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// condition tells a script what it can do: [mount] is to mount file systems.
func condition(name string) (bool, error) {
	if name != "mount" {
		return false, fmt.Errorf("unknown condition %s", name)
	}
	return mayMount(), nil
}

// mayMount tries: not every root may.
func mayMount() bool {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return false
	}
	dir, err := os.MkdirTemp("", "faena-test-")
	if err != nil {
		return false
	}
	defer os.Remove(dir) //nolint:errcheck // it is empty
	return mount("size=1m", dir) == nil && unmount(dir) == nil
}

func mount(options, dir string) error {
	return exec.CommandContext(context.Background(), "mount", "-t", "tmpfs", "-o", options, "faena-test", dir).Run()
}

func unmount(dir string) error {
	return exec.CommandContext(context.Background(), "umount", "-l", dir).Run()
}

// disk VAR SIZE sets a variable to a small file system of its own.
func disk(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp("", "faena-test-")
	ts.Check(err)
	ts.Defer(func() { ts.Check(os.Remove(dir)) })
	ts.Check(mount("size="+args[1], dir))
	ts.Defer(func() { ts.Check(unmount(dir)) })
	ts.Setenv(args[0], dir)
}

// crowd CODE FILE DIR SIGNAL COMMAND... executes a command, fills the file system
// of DIR once FILE has grown by a line, and then sends the signal of that name, if
// it is not empty. It has to end with the code; what it said is in a file named
// said. What filled the file system is DIR/ballast.
func crowd(ts *testscript.TestScript, _ bool, args []string) {
	underWay(ts, args[0], args[1], args[4:], func(p *os.Process, _ *shared) {
		ts.Check(fill(filepath.Join(args[2], "ballast")))
		if args[3] == "TERM" {
			ts.Check(p.Signal(syscall.SIGTERM))
		}
	})
}

// fill writes a file until its file system is full.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for block := make([]byte, 64<<10); len(block) > 0; {
		_, err := f.Write(block)
		if errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // to the last byte
		} else if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

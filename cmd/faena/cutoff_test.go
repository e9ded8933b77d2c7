package main_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// submits is a message that stores a run.
var submits = regexp.MustCompile(`PUB faena\.q\.`)

// cutoff CODE COMMAND... executes a command on the server of $FAENA_SERVER, whose
// answers do not reach it any more once it has submitted a run, and interrupts it
// then. It has to end with the code; ID is set to the run that it tells of, and SAID
// to what it said. Its address of the server is good for later commands.
func cutoff(ts *testscript.TestScript, _ bool, args []string) {
	at, err := url.Parse(ts.Getenv("FAENA_SERVER"))
	ts.Check(err)
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ts.Check(l.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	var said shared
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = append(environ(ts), "FAENA_SERVER=nats://"+l.Addr().String()), ts.MkAbs("."), &said
	ts.Check(cmd.Start())
	go relay(l, at.Host, func() { _ = cmd.Process.Signal(syscall.SIGINT) })
	if _, ok := errors.AsType[*exec.ExitError](cmd.Wait()); !ok {
		ts.Fatalf("it ended well; it said\n%s", said.bytes())
	}
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("exit code %s, want %s; it said\n%s", got, args[0], said.bytes())
	}
	id := regexp.MustCompile(`is open: faena runs get (\S+) tells, and faena runs cancel (\S+) ends it`).FindSubmatch(said.bytes())
	if id == nil {
		ts.Fatalf("it said\n%swant the run that may be stored", said.bytes())
	}
	ts.Setenv("ID", string(id[1]))
	ts.Setenv("SAID", string(said.bytes()))
}

// relay takes connections to a server. On those that were there before the first
// run was submitted nothing comes from it after that, and it calls then.
func relay(l net.Listener, server string, then func()) {
	var cut atomic.Bool
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		there, err := new(net.Dialer).DialContext(context.Background(), "tcp", server)
		if err != nil {
			return
		}
		later := cut.Load()
		go pass(there, client, func(p []byte, on func()) {
			first := !later && submits.Match(p) && !cut.Swap(true)
			on()
			if first {
				then()
			}
		})
		go pass(client, there, func(_ []byte, on func()) {
			if later || !cut.Load() {
				on()
			}
		})
	}
}

// pass gives what it reads to a function that may hand it on.
func pass(to, from net.Conn, each func(p []byte, on func())) {
	defer from.Close() //nolint:errcheck // of a test
	defer to.Close()   //nolint:errcheck // of a test
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		each(buf[:n], func() { _, err = to.Write(buf[:n]) })
		if err != nil {
			return
		}
	}
}

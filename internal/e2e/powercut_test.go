//go:build powercut && linux

package e2e_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/internal/e2e/ledger"
)

// The file system whose power is cut: an ext4 in a file, mounted by loop.
const (
	ext4Shutdown = 0x8004587D // EXT4_IOC_SHUTDOWN
	goingLog     = 1          // what the journal holds still gets to disk
	goingNothing = 2          // nothing does
	imageSize    = 1 << 30
)

// disk is a mounted image.
type disk struct{ image, dir string }

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a file system of its own needs root")
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("no mkfs.ext4 here: install e2fsprogs")
	}
	base := t.TempDir()
	d := &disk{filepath.Join(base, "disk.img"), filepath.Join(base, "mnt")}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(d.image)
	if err == nil {
		err = f.Truncate(imageSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := command(t, "mkfs.ext4", "-q", "-F", d.image); err != nil {
		t.Fatal(err)
	}
	if err := command(t, "mount", "-o", "loop", d.image, d.dir); err != nil {
		t.Skip("no loop mounts here: " + err.Error())
	}
	t.Cleanup(func() { d.unmount(t) })
	return d
}

func command(t *testing.T, name string, args ...string) error {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:noctx // short, and needed in cleanups
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}

// unmount tries for a while: the kernel lets go of a killed process's files late.
func (d *disk) unmount(t *testing.T) {
	t.Helper()
	var err error
	for range 100 {
		if err = command(t, "umount", d.dir); err == nil {
			return
		}
		timer := time.NewTimer(50 * time.Millisecond)
		<-timer.C
	}
	t.Error(err)
}

// cut takes the power away while processes run, and gives it back. It returns
// the moment: nothing was told after it.
func (d *disk) cut(t *testing.T, ps ...*process) int64 {
	t.Helper()
	for _, p := range ps { // else they would go on after the end of the world
		p.freeze(t)
	}
	at := ledger.Now()
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	how := uint32(goingLog + rand.IntN(2))
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, int(how)); err != nil {
		t.Fatalf("shut the file system down: %v", err)
	}
	_ = f.Close()
	for _, p := range ps {
		p.kill()
	}
	d.unmount(t)
	if err := command(t, "mount", "-o", "loop", d.image, d.dir); err != nil {
		t.Fatal(err)
	}
	return at
}

// freeze stops every thread of a process, or leaves it in a system call that
// does not return.
func (p *process) freeze(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	for {
		names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil || len(names) == 0 {
			t.Fatalf("look at the threads of %s: %v", p.Name, err)
		}
		moving := false
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				continue // the thread has ended
			}
			s := string(b[strings.LastIndexByte(string(b), ')')+1:])
			moving = moving || !strings.HasPrefix(s, " T") && !strings.HasPrefix(s, " D")
		}
		if !moving {
			return
		}
	}
}

// piped starts a role whose ledger is a pipe that this process copies to another
// file system. The returned channel is closed when all has been copied.
func (c *cluster) piped(r role) (*process, <-chan struct{}) {
	c.t.Helper()
	c.number++
	who := fmt.Sprintf("%s-%d", r.Name, c.number)
	f, err := os.Create(ledgerPath(c.books, who))
	if err != nil {
		c.t.Fatal(err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(f, in) // ends with the process
		_ = in.Close()
		_ = f.Close()
	}()
	p := c.startWith(r, who, out)
	_ = out.Close()
	return p, copied
}

// cuts takes the power away n times under load and returns when, and what the ledgers
// and the record hold in the end.
func cuts(t *testing.T, durability string, n int) (at []int64, es []ledger.Entry, first, again []ledger.Final) {
	t.Helper()
	d := newDisk(t)
	c := newCluster(t, filepath.Join(d.dir, "data"))
	server := role{Name: "serve", Serve: true, Work: true, Slots: 4, Durability: durability, Client: &load{Callers: 6, Rate: 30, Big: true}}
	client := role{Name: "client", Client: &load{Callers: 4, Rate: 30, Big: true}}
	for i := range n {
		server.Boot = "boot-" + strconv.Itoa(i)
		server.Attach = c.open(500)
		s, copied := c.piped(server)
		ps, pipes := []*process{s}, []<-chan struct{}{copied}
		if i%3 != 2 { // else in the middle of the recovery
			s.await(t)
		}
		p, copied := c.piped(client)
		ps, pipes = append(ps, p), append(pipes, copied)
		pause(t.Context(), 100*time.Millisecond+rand.N(3500*time.Millisecond))
		at = append(at, d.cut(t, ps...))
		for _, ch := range pipes {
			wait(t, ch, 10*time.Second, "the ledgers")
		}
	}
	final := role{Name: "serve", Serve: true, Work: true, Slots: 4, Durability: durability, Boot: "last"}
	s := c.up(final)
	node := c.connect()
	c.drained(node, 60*time.Second)
	first = c.record(node)
	s.stop(t)
	final.Work = false
	c.up(final)
	return at, c.entries(), first, c.record(c.connect())
}

// TestPowerCut cuts the power under load: in strict mode nothing acknowledged and
// nothing shown is missing. FAENA_E2E_CUTS changes the number of cuts.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	n := number(t, "FAENA_E2E_CUTS", 20)
	at, es, first, again := cuts(t, embedded.Strict, n)
	t.Logf("%d power cuts", len(at))
	report(t, ledger.Check(es, first, again, ledger.Rules{CancelLag: time.Second, Lag: 500 * time.Millisecond, Deaths: fewestDeaths}))
}

// mayLose is how much fast mode may lose.
const mayLose = time.Second

// TestPowerCutFast is the same in fast mode: only the last second may be
// missing, and nothing older is lost or neither queued nor finished. Judged by
// the rules of strict mode it must lose something: so the test can fail.
func TestPowerCutFast(t *testing.T) {
	t.Parallel()
	n := number(t, "FAENA_E2E_CUTS", 20)
	at, es, first, again := cuts(t, embedded.Fast, n)
	t.Logf("%d power cuts", len(at))
	rules := ledger.Rules{CancelLag: time.Second, Lag: 500 * time.Millisecond, Deaths: fewestDeaths, Cuts: at, Window: mayLose}
	report(t, ledger.Check(es, first, again, rules))
	rules.Cuts = nil
	control := ledger.Check(es, first, again, rules)
	t.Logf("by the rules of strict mode %d findings", len(control.Bad))
	if len(control.Bad) == 0 {
		t.Error("fast mode lost nothing by the rules of strict mode: the cuts do not cut, or the check does not see")
	}
}

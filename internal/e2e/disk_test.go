//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
	"github.com/faena-dev/faena/internal/e2e/ledger"
)

// smallDisk mounts a file system of its own, or skips.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("faena-e2e", dir, "tmpfs", 0, "size="+size); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("this root may not mount: " + err.Error())
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the file system is full, or has only so much left.
func fill(t *testing.T, dir string, leave uint64) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it is to be deleted
	block := make([]byte, 64<<10)
	for {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		if s.Bavail*uint64(s.Bsize) <= leave {
			return path
		}
		if _, err := f.Write(block); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				return path
			}
			t.Fatal(err)
		}
	}
}

// A disk that is full when an engine opens is said to be, whatever failed first.
func TestFullDiskAtStart(t *testing.T) {
	t.Parallel()
	for _, leave := range []uint64{0, 128 << 10} {
		disk := smallDisk(t, "8m")
		fill(t, disk, leave)
		eng, err := embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(disk, "data"), Durability: embedded.Fast})
		if err == nil { // there was room enough to start, if for no run
			status, serr := eng.Status(t.Context())
			if err := errors.Join(serr, eng.Close()); err != nil || status.Accepting || leave == 0 {
				t.Errorf("with %d bytes free Open = nil, then %+v, %v, want an error, or an engine that accepts nothing", leave, status, err)
			}
			continue
		}
		for _, once := range []string{"write", "another", "open index"} {
			if strings.Count(err.Error(), once) > 1 {
				t.Errorf("with %d bytes free Open = %v, want %q once", leave, err, once)
			}
		}
		if faena.CodeOf(err) != faena.CodeFull || !strings.Contains(err.Error(), "is full: free some space, or choose another directory") {
			t.Errorf("with %d bytes free Open = %v (%s), want code full and what to do", leave, err, faena.CodeOf(err))
		}
	}
}

// TestFullDisk fills the disk under load, first below the margin and then up to
// the last byte, and gives the space back: nothing acknowledged is lost.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "192m")
	c := newCluster(t, filepath.Join(disk, "data"))
	server := role{Name: "serve", Serve: true, Durability: embedded.Fast, Work: true, Slots: 4, Client: &load{Callers: 4, Rate: 50}}
	c.up(server)
	c.up(role{Name: "worker", Work: true, Slots: 4})
	client := c.up(role{Name: "client", Client: &load{Callers: 4, Rate: 50}})
	node := c.connect()
	busy := func(more int) {
		n := acked(c.entries()) + more
		c.until(20*time.Second, "load", func() bool { return acked(c.entries()) >= n })
	}
	refused := func() map[string]int {
		by := map[string]int{}
		for _, e := range c.entries() {
			if e.Kind == ledger.Refused {
				by[e.Value]++
			}
		}
		return by
	}
	busy(500)

	ballast := fill(t, disk, 4<<20+256<<10) // under the margin, and room for results
	c.until(20*time.Second, "a refusal", func() bool { return refused()[string(faena.CodeFull)] > 0 })
	status, err := node.Status(t.Context())
	if err != nil || status.Accepting {
		t.Errorf("Status() = %+v, %v, want one that does not accept", status, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	busy(500)

	ballast = fill(t, disk, 0)
	pause(t.Context(), 3*time.Second)
	before := acked(c.entries())
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	busy(500)
	t.Logf("acknowledged %d before the second time there was space, refused %v", before, refused())
	client.stop(t)
	c.all[0].stop(t)
	last := c.up(role{Name: "serve", Serve: true, Durability: embedded.Fast, Work: true, Slots: 4})
	node = c.connect()
	c.drained(node, 90*time.Second)
	first := c.record(node)
	last.stop(t)
	c.up(role{Name: "serve", Serve: true, Durability: embedded.Fast})
	report(t, ledger.Check(c.entries(), first, c.record(c.connect()), ledger.Rules{CancelLag: time.Second, Lag: 500 * time.Millisecond}))
}

// A disk on which no more files can be made is full, however many bytes are free.
func TestNoMoreFiles(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "64m,nr_inodes=600")
	c := newCluster(t, filepath.Join(disk, "data"))
	c.up(role{Name: "serve", Serve: true, Durability: embedded.Fast, Work: true, Slots: 2})
	node := c.connect()
	accepts := func(want bool) {
		c.until(20*time.Second, fmt.Sprint("accepting ", want), func() bool {
			s, err := node.Status(t.Context())
			return err == nil && s.Accepting == want
		})
	}
	accepts(true)
	before, err := jobTask.Go(t.Context(), node, job{Plan: planOK})
	if err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(disk, "ballast")
	if err := os.Mkdir(ballast, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(ballast, strconv.Itoa(i)), nil, 0o600); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				break
			}
			t.Fatal(err)
		}
	}
	accepts(false)
	if _, err := jobTask.Go(t.Context(), node, job{Plan: planOK}); faena.CodeOf(err) != faena.CodeFull || !strings.Contains(err.Error(), "inodes") {
		t.Errorf("Submit = %v, want code full, and that it is for inodes", err)
	}
	if err := os.RemoveAll(ballast); err != nil {
		t.Fatal(err)
	}
	accepts(true)
	if got, err := before.Get(t.Context()); err != nil || got == "" {
		t.Errorf("Get = %q, %v, want a result", got, err)
	}
	c.until(20*time.Second, "a new run", func() bool { // other processes are told a moment later
		got, err := jobTask.Run(t.Context(), node, job{Plan: planOK})
		return err == nil && got != ""
	})
}

// TestRefusals checks the errors of what cannot be opened.
func TestRefusals(t *testing.T) {
	t.Parallel()
	open := func(o embedded.Options) error {
		eng, err := embedded.Open(t.Context(), o)
		if err == nil {
			_ = eng.Close()
		}
		return err
	}
	used := newCluster(t, "")
	used.up(role{Name: "serve", Serve: true})
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "format.json"), []byte(`{"format":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := embedded.Find(used.dir)
	if err != nil {
		t.Fatal(err)
	}
	_, unreachable := natsengine.Connect(t.Context(), "nats://127.0.0.1:1", natsengine.Options{})
	_, stranger := natsengine.Connect(t.Context(), at.URL, natsengine.Options{Token: "wrong"})
	_, nobody := embedded.Find(t.TempDir())
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // the test ends
	for _, tt := range []struct {
		what string
		err  error
		code faena.Code
		says string
	}{
		{"a data directory in use", open(embedded.Options{Dir: used.dir}), faena.CodeConflict, "another process uses this data directory"},
		{"a newer version's directory", open(embedded.Options{Dir: newer}), faena.CodeVersion, "run the newer version"},
		{"an address in use", open(embedded.Options{Dir: t.TempDir(), Listen: taken.Addr().String()}), faena.CodeConflict, "choose another address"},
		{"an unreachable server", unreachable, faena.CodeUnavailable, "127.0.0.1:1"},
		{"a wrong secret", stranger, faena.CodeUnavailable, "secret"},
		{"a directory nobody serves", nobody, faena.CodeUnavailable, "start one"},
	} {
		if faena.CodeOf(tt.err) != tt.code || !strings.Contains(tt.err.Error(), tt.says) {
			t.Errorf("%s = %v (%s), want %s and %q", tt.what, tt.err, faena.CodeOf(tt.err), tt.code, tt.says)
			continue
		}
		t.Logf("%s: %v", tt.what, tt.err)
	}
}

// TestDiskFilledByWork lets a small disk be filled by nothing but work: what was
// accepted is executed all the same, because what is done with is deleted in time
// and results wait for that.
func TestDiskFilledByWork(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(smallDisk(t, "160m"), "data")
	eng, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		t.Fatal(err)
	}
	node, err := faena.Open(t.Context(), eng, faena.Options{Slots: 4})
	if err != nil {
		t.Fatal(err)
	}
	big := faena.Define[string, string]("big")
	if err := node.Handle(big.With(func(ctx context.Context, in string) (string, error) {
		pause(ctx, 15*time.Millisecond)
		return in, nil
	})); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []*faena.Future[string]
	var refused error
	var wg sync.WaitGroup
	until, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for range 8 {
		wg.Go(func() {
			for {
				f, err := big.Go(until, node, strings.Repeat("x", 30_000))
				mu.Lock()
				if err != nil {
					refused = err
					mu.Unlock()
					return
				}
				all = append(all, f)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if faena.CodeOf(refused) != faena.CodeFull {
		t.Errorf("Go on a disk without room = %v, want code full", refused)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for i, f := range all {
		if _, err := f.Get(ctx); err != nil {
			t.Fatalf("run %d of %d = %v, want its result", i, len(all), err)
		}
	}
	t.Logf("%d runs accepted before the disk was full, all executed", len(all))
	if err := errors.Join(node.Close(), eng.Close()); err != nil {
		t.Errorf("Close = %v", err)
	}
}

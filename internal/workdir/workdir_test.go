package workdir_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/internal/workdir"
)

func TestLifeOfADirectory(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "work")
	args := []string{"sum", "--far", "1"}
	d, err := workdir.Create(root, "sum", workdir.Job{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workdir.Open(root, d.ID); !errors.Is(err, workdir.ErrRunning) {
		t.Errorf("Open of a held directory = %v, want ErrRunning", err)
	}
	if got := list(t, root); len(got) != 1 || !got[0].Running {
		t.Errorf("List with a held directory = %+v, want it running", got)
	}
	if err := d.SetRuns([]string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := list(t, root); len(got) != 1 || got[0].Running {
		t.Errorf("List with a directory left behind = %+v, want it not running", got)
	}
	again, err := workdir.Open(root, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{args, {"a", "b"}}, [][]string{again.Args, again.Runs}); diff != "" {
		t.Errorf("job read again (-want +got):\n%s", diff)
	}
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := workdir.Open(root, d.ID); !errors.Is(err, workdir.ErrNotFound) {
		t.Errorf("Open of a removed directory = %v, want ErrNotFound", err)
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Errorf("after Remove %d directories are left, want none", len(left))
	}
	if err := again.Remove(); err != nil {
		t.Errorf("second Remove = %v, want nil", err)
	}
}

func TestIDsAreNoPaths(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	outside, err := workdir.Create(filepath.Join(root, "other"), "sum", workdir.Job{})
	if err != nil {
		t.Fatal(err)
	}
	if err := outside.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", ".", "..", "../other/" + outside.ID, "Sum-x", ".gone-a"} {
		if _, err := workdir.Open(filepath.Join(root, "work"), id); !errors.Is(err, workdir.ErrNoID) {
			t.Errorf("Open(%q) = %v, want ErrNoID", id, err)
		}
	}
}

// A crash between the renaming and the deleting must not leave rubbish for ever.
func TestListFinishesRemovals(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, ".gone-sum-x", "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "sum-begun"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := list(t, root); len(got) != 0 {
		t.Errorf("List = %+v, want nothing", got)
	}
	if _, err := os.Stat(filepath.Join(root, ".gone-sum-x")); !os.IsNotExist(err) {
		t.Errorf("Stat of a removal cut short = %v, want it gone", err)
	}
}

func TestListOfNothing(t *testing.T) {
	t.Parallel()
	if got := list(t, filepath.Join(t.TempDir(), "missing")); len(got) != 0 {
		t.Errorf("List = %+v, want nothing", got)
	}
}

func TestDamagedJobIsNamed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := workdir.Create(root, "sum", workdir.Job{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, d.ID, "job.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := workdir.List(root); err == nil {
		t.Error("List with a damaged job = nil error, want one")
	}
}

func list(t *testing.T, root string) []workdir.Entry {
	t.Helper()
	got, err := workdir.List(root)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

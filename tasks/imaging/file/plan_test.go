package file_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/imaging/file"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   []string
		want []file.Item
	}{
		{"flat", []string{"a/x.jpg", "b/y.PNG"}, []file.Item{{In: "a/x.jpg", Out: "out/x.jpg"}, {In: "b/y.PNG", Out: "out/y.PNG"}}},
		{"webp", []string{"a.webp", "b.WebP"}, []file.Item{{In: "a.webp", Out: "out/a.png"}, {In: "b.WebP", Out: "out/b.png"}}},
		{"no extension", []string{"photo"}, []file.Item{{In: "photo", Out: "out/photo"}}},
		{"twice", []string{"x.jpg", "./x.jpg", "d/../x.jpg"}, []file.Item{{In: "x.jpg", Out: "out/x.jpg"}}},
		{
			"mirrored",
			[]string{"p/a/x.jpg", "p/b/x.jpg", "p/y.jpg"},
			[]file.Item{{In: "p/a/x.jpg", Out: "out/a/x.jpg"}, {In: "p/b/x.jpg", Out: "out/b/x.jpg"}, {In: "p/y.jpg", Out: "out/y.jpg"}},
		},
		{
			"mirrored from above",
			[]string{"../a/x.jpg", "../b/x.jpg"},
			[]file.Item{{In: "../a/x.jpg", Out: "out/a/x.jpg"}, {In: "../b/x.jpg", Out: "out/b/x.jpg"}},
		},
		{
			"mirrored from the root",
			[]string{"/a/x.jpg", "/b/x.jpg"},
			[]file.Item{{In: "/a/x.jpg", Out: "out/a/x.jpg"}, {In: "/b/x.jpg", Out: "out/b/x.jpg"}},
		},
		{
			"directories with a common beginning",
			[]string{"/p/ab/x.jpg", "/p/a/x.jpg"},
			[]file.Item{{In: "/p/ab/x.jpg", Out: "out/ab/x.jpg"}, {In: "/p/a/x.jpg", Out: "out/a/x.jpg"}},
		},
	} {
		got, err := file.Plan(c.in, "out")
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("Plan(%s) = %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, out string
		in        []string
		says      string
	}{
		{"no input", "out", nil, "name one or more files"},
		{"no directory", "", []string{"a.jpg"}, "no output directory"},
		{"empty name", "out", []string{"a.jpg", ""}, "leave it out"},
		{"clash", "out", []string{"a.webp", "a.png"}, "a.webp and a.png would both become " + filepath.Join("out", "a.png")},
		{"own directory", ".", []string{"a.jpg"}, "choose another output directory"},
		{"directory of another", "d", []string{"a.jpg", "d/a.jpg"}, "choose another output directory"},
	} {
		got, err := file.Plan(c.in, c.out)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Plan(%s) = %v, %v, want an error that says %q", c.name, got, err, c.says)
		}
	}
	if _, err := file.Plan([]string{"a.jpg"}, "."); !errors.Is(err, file.ErrInput) {
		t.Errorf("Plan(into its own directory) = %v, want ErrInput", err)
	}
}

package file_test

import (
	"errors"
	"slices"
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
		{"one stem", []string{"a.webp", "a.png"}, []file.Item{{In: "a.webp", Out: "out/a.webp.png"}, {In: "a.png", Out: "out/a.png"}}},
		{"one stem, read only", []string{"a.webp", "a.WEBP"}, []file.Item{{In: "a.webp", Out: "out/a.webp.png"}, {In: "a.WEBP", Out: "out/a.WEBP.png"}}},
		{
			"one stem in two directories",
			[]string{"a/x.png", "b/x.webp"},
			[]file.Item{{In: "a/x.png", Out: "out/a/x.png"}, {In: "b/x.webp", Out: "out/b/x.png"}},
		},
		{
			"one stem in one of two directories",
			[]string{"a/x.png", "b/y.jpg", "a/x.webp"},
			[]file.Item{{In: "a/x.png", Out: "out/a/x.png"}, {In: "b/y.jpg", Out: "out/b/y.jpg"}, {In: "a/x.webp", Out: "out/a/x.webp.png"}},
		},
		{
			"full name taken",
			[]string{"a.webp", "a.png", "a.webp.png", "b.webp"},
			[]file.Item{{In: "a.webp", Out: "out/a.webp.png.png"}, {In: "a.png", Out: "out/a.png"}, {In: "a.webp.png", Out: "out/a.webp.png"}, {In: "b.webp", Out: "out/b.png"}},
		},
		{
			"full name taken by what is changed, too",
			[]string{"a.webp", "a.png", "a.webp.webp"},
			[]file.Item{{In: "a.webp", Out: "out/a.webp.png.png"}, {In: "a.png", Out: "out/a.png"}, {In: "a.webp.webp", Out: "out/a.webp.webp.png"}},
		},
	} {
		got, err := file.Plan(c.in, "out")
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("Plan(%s) = %v (-want +got):\n%s", c.name, err, diff)
		}
		slices.Reverse(c.in)
		got, err = file.Plan(c.in, "out")
		slices.Reverse(got)
		if diff := cmp.Diff(c.want, got); c.name != "twice" && (diff != "" || err != nil) {
			t.Errorf("Plan(%s, reversed) = %v (-want +got):\n%s", c.name, err, diff)
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

package filter_test

import (
	"strings"
	"testing"

	"github.com/faena-dev/faena/tasks/imaging/filter"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"grayscale":                 "grayscale",
		"edges":                     "edges",
		"blur:2":                    "blur:2",
		"blur:2.50":                 "blur:2.5",
		"blur:1e1":                  "blur:10",
		"sharpen":                   "sharpen",
		"sharpen:1:1":               "sharpen",
		"sharpen:0.5":               "sharpen:0.5",
		"sharpen:1:2":               "sharpen:1:2",
		"resize:1600":               "resize:1600",
		"resize:x900":               "resize:x900",
		"resize:1600x900":           "resize:1600x900",
		"thumbnail:256":             "thumbnail:256",
		"thumbnail:256x256":         "thumbnail:256",
		"thumbnail:320x240":         "thumbnail:320x240",
		"grayscale,blur:1,edges":    "grayscale,blur:1,edges",
		"resize:65535,thumbnail:1":  "resize:65535,thumbnail:1",
		"\tresize:1600 , sharpen\n": "resize:1600,sharpen",
	} {
		c, err := filter.Parse(spec)
		if err != nil || c.String() != want {
			t.Errorf("Parse(%q) = %q, %v, want %q", spec, c, err, want)
		}
	}
}

func TestParseErrorsSayWhatIsAccepted(t *testing.T) {
	t.Parallel()
	for spec, says := range map[string]string{
		"":                           "resize:1600,sharpen",
		"  ":                         "resize:1600,sharpen",
		"blurr:2":                    "grayscale, blur, sharpen, edges, resize and thumbnail",
		"Blur:2":                     `unknown filter "Blur"`,
		"blur":                       "as in blur:2.5",
		"blur:":                      "from 0.1 to 100, as in blur:2.5",
		"blur:0":                     "from 0.1 to 100",
		"blur:-1":                    "from 0.1 to 100",
		"blur:100.1":                 "from 0.1 to 100",
		"blur:NaN":                   "from 0.1 to 100",
		"blur:Inf":                   "from 0.1 to 100",
		"blur:1:2":                   "one argument",
		"sharpen:0":                  "amount is a number from 0.01 to 10, as in sharpen:0.8:1.5",
		"sharpen:1:0":                "sigma is a number from 0.1 to 100",
		"sharpen:1:1:1":              "at most an amount and a sigma",
		"grayscale:1":                "takes no argument",
		"edges:1":                    "takes no argument",
		"resize":                     "resize:1600, resize:x900 or resize:1600x900",
		"resize:0":                   "from 1 to 65535",
		"resize:65536":               "from 1 to 65535",
		"resize:-5":                  "from 1 to 65535",
		"resize:x":                   "from 1 to 65535",
		"resize:10x":                 "from 1 to 65535",
		"resize:1x2x3":               "from 1 to 65535",
		"resize:":                    "from 1 to 65535",
		"thumbnail":                  "thumbnail:256 or thumbnail:320x240",
		"thumbnail:x5":               "from 1 to 65535",
		"blur:1,,edges":              "comma too many",
		"edges,":                     "comma too many",
		strings.Repeat("edges,", 17): "at most 16",
		strings.Repeat("e", 1025):    "at most 1024",
	} {
		c, err := filter.Parse(spec)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Parse(%q) = %q, %v, want an error that says %q", spec, c, err, says)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec string
		w, h int
		want filter.Size
	}{
		{"blur:1", 40, 30, filter.Size{Width: 40, Height: 30, Pixels: 1200, Peak: 2400}},
		{"resize:20", 40, 30, filter.Size{Width: 20, Height: 15, Pixels: 1200, Peak: 1500}},
		{"resize:x60", 40, 30, filter.Size{Width: 80, Height: 60, Pixels: 4800, Peak: 6000}},
		{"resize:7x3", 40, 30, filter.Size{Width: 7, Height: 3, Pixels: 1200, Peak: 1221}},
		{"resize:1", 10, 1000, filter.Size{Width: 1, Height: 100, Pixels: 10000, Peak: 10100}},
		{"resize:1", 1000, 10, filter.Size{Width: 1, Height: 1, Pixels: 10000, Peak: 10001}},
		{"thumbnail:10", 40, 30, filter.Size{Width: 10, Height: 8, Pixels: 1200, Peak: 1280}},
		{"thumbnail:10", 30, 40, filter.Size{Width: 8, Height: 10, Pixels: 1200, Peak: 1280}},
		{"thumbnail:100", 40, 30, filter.Size{Width: 40, Height: 30, Pixels: 1200, Peak: 2400}},
		{"thumbnail:40x10", 40, 30, filter.Size{Width: 13, Height: 10, Pixels: 1200, Peak: 1330}},
		{"thumbnail:5", 10000, 3, filter.Size{Width: 5, Height: 1, Pixels: 30000, Peak: 30005}},
		{"resize:100x100,thumbnail:2", 1, 1, filter.Size{Width: 2, Height: 2, Pixels: 10000, Peak: 10004}},
	} {
		got, err := parse(t, c.spec).Size(c.w, c.h)
		if err != nil || got != c.want {
			t.Errorf("Size(%s of %dx%d) = %+v, %v, want %+v", c.spec, c.w, c.h, got, err, c.want)
		}
	}
	_, err := parse(t, "blur:1,resize:60000").Size(10, 1000)
	if err == nil || !strings.Contains(err.Error(), "resize:60000 would make 60000x6000000") {
		t.Errorf("Size(resize:60000 of 10x1000) = %v, want an error that names the filter and the size", err)
	}
}

// What Parse accepts has a shortest form that means the same and is stable.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"blur:2.5", "sharpen:1:2,edges", "resize:x9", "thumbnail:3x4", "grayscale, resize:7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		c, err := filter.Parse(spec)
		if err != nil {
			return
		}
		again, err := filter.Parse(c.String())
		if err != nil || again.String() != c.String() {
			t.Errorf("Parse(%q) = %q, and Parse of that = %q, %v", spec, c, again, err)
		}
		if s, err := c.Size(640, 480); err == nil && (s.Width < 1 || s.Height < 1) {
			t.Errorf("Size(%q) = %+v, want sides above 0", spec, s)
		}
	})
}

package arch_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The brackets keep the patterns from matching themselves.
const (
	machinePath  = `(?:^|[^A-Za-z0-9_.:/-])/(?:roo[t]|wor[k]|far[m]|hom[e]/[A-Za-z_][A-Za-z0-9_-]*|User[s]/[A-Za-z][A-Za-z0-9_-]*)/`
	registryHost = `(?i)\b(?:(?:prox[y]|su[m]|inde[x])\.golang\.org|gopro[x]y\.(?:io|cn)|registr[y]\.npmjs\.org|(?:files\.)?py[p]i\.(?:org|python)|(?:de[b]|securit[y])\.debian\.org|docke[r]\.io|ghc[r]\.io|qua[y]\.io|gc[r]\.io|crate[s]\.io|rubygem[s]\.org)\b`
)

// A path of somebody's machine or the host of a registry works for nobody else.
func TestNamesNoMachine(t *testing.T) {
	t.Parallel()
	forbidden := map[string]*regexp.Regexp{
		"a path of one machine":  regexp.MustCompile(machinePath),
		"the host of a registry": regexp.MustCompile(registryHost),
	}
	walk(t, func(p string) {
		text, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 { // not a text
			return
		}
		n := 0
		for line := range bytes.Lines(text) {
			n++
			for what, re := range forbidden {
				if hit := re.Find(line); hit != nil {
					t.Errorf("%s:%d names %s: %q", p, n, what, hit)
				}
			}
		}
	})
}

func TestForbiddenPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{machinePath, `dir := "/` + `root/x"`, true},
		{machinePath, "/" + "work/main is here", true},
		{machinePath, "cd /" + "home/ana/src", true},
		{machinePath, "http://a.test/" + "home/ana/", false},
		{machinePath, "./" + "work/main", false},
		{machinePath, "net/" + "work/x", false},
		{machinePath, "the root/leaf", false},
		{registryHost, "GOPROXY=https://proxy." + "golang.org,direct", true},
		{registryHost, "FROM docker." + "io/library/alpine", true},
		{registryHost, "https://pkg.go.dev/time", false},
	} {
		if got := regexp.MustCompile(c.pattern).MatchString(c.text); got != c.want {
			t.Errorf("%q found in %q: %t, want %t", c.pattern, c.text, got, c.want)
		}
	}
}

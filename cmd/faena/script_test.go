package main_test

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	main "github.com/faena-dev/faena/cmd/faena"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"faena": main.Main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}

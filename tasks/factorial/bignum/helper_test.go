package bignum_test

import (
	"fmt"
	"strings"
)

// name joins a benchmark's parameters to its name.
func name(parts ...any) string {
	return strings.ReplaceAll(strings.TrimSpace(fmt.Sprintln(parts...)), " ", "/")
}

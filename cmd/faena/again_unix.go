//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// again starts the program anew in this process, with the same arguments: all
// that it had open is closed as by a crash. It returns only if that failed.
func again() error {
	exe, err := os.Executable()
	if err == nil {
		err = syscall.Exec(exe, os.Args, os.Environ()) //nolint:gosec // itself
	}
	return fmt.Errorf("start again in this process: %w", err)
}

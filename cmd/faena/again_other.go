//go:build !unix

package main

import "errors"

// again cannot start the program anew in this process here.
func again() error { return errors.ErrUnsupported }

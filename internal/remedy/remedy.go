// Package remedy says what to do about errors of file systems.
package remedy

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// advised is an error that says what to do about it.
type advised struct {
	err  error
	text string
}

func (e *advised) Error() string { return e.err.Error() + ": " + e.text }
func (e *advised) Unwrap() error { return e.err }

// Disk adds to an error what can be done about it, if that is known and it does
// not say so already. The Disk of nil is nil.
func Disk(err error) error {
	if _, there := errors.AsType[*advised](err); there || err == nil {
		return err
	}
	var text string
	switch {
	case errors.Is(err, syscall.EFBIG):
		text = "raise the limit on the length of files (ulimit -f), or choose another place"
	case Full(err):
		text = "free some space, or choose another place"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		text = "give access to it, or choose another place"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST):
		text = "a part of that path is a file: choose another place"
	case errors.Is(err, syscall.EISDIR):
		text = "name a file in it"
	case errors.Is(err, fs.ErrNotExist):
		text = "make its directory, or choose another place"
	default:
		return err
	}
	return &advised{err, text}
}

// Full tells whether an error is for want of space, or for a limit on it.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// Room tells whether need bytes may go to the file system of a directory: an
// error for which Full holds if not. Where that cannot be known, they may.
func Room(dir string, need int64) error {
	have, known := free(dir)
	if !known || need <= have {
		return nil
	}
	return fmt.Errorf("%w: %d bytes are needed, and %d are free", syscall.ENOSPC, need, have)
}

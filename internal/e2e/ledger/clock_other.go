//go:build !linux

package ledger

import "time"

// Now is the machine's clock in nanoseconds.
func Now() int64 { return time.Now().UnixNano() }

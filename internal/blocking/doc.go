// Package blocking makes system calls that are known to block for long.
//
// Go's scheduler lets a goroutine keep its processor (a P, of which there are
// GOMAXPROCS) in a system call, in the hope that it returns soon, and looks for
// those that did not at intervals of up to 10 ms. A sync of a disk takes less, so
// that on two cores half of the machine may stand still for the time of every
// sync, while other goroutines are ready to run.
package blocking

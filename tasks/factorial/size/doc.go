// Package size tells how large n! is, how much memory and time it takes to
// compute, and whether this machine has that memory, without computing it.
package size

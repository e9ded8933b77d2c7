// Package e2e holds tests of faena from the outside: real processes that are
// really killed, in real time, judged by what they wrote down meanwhile. The tag
// e2e builds the tests that need nothing but this machine, the tag powercut those
// that cut the power of a file system of their own and need root.
package e2e

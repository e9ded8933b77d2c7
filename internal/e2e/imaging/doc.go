// Package imaging holds end-to-end tests that compare the filters with other
// tools on real photographs. They run with the build tag e2e.
package imaging

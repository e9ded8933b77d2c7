//go:build !race

package size_test

const raced = false

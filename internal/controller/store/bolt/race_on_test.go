//go:build race

package bolt

const raced = true

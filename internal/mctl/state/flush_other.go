//go:build !linux

package state

import "syscall"

// Flush makes durable what was written, as far as the system does that at one call.
func Flush(string) error { syscall.Sync(); return nil }

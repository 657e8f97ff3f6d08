//go:build !linux

package shell

import "syscall"

// endsWithUs can't be asked of other kernels.
func endsWithUs() *syscall.SysProcAttr { return nil }

package shell

import "syscall"

// endsWithUs has the kernel end a program when we end, as it would by an interrupt: what it started itself goes with it.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

package tpmtest

import "syscall"

// dying has a process end with this one. The kernel does it when the starting thread ends, which may be never: Close kills too.
func dying() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

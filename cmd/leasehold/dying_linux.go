package main

import "syscall"

// dying has a program asked to end when this one is gone, kill -9 included: by the signal that it gets when its lease is lost. The kernel sends it when the thread
// ends that started the program, and to nobody whom the program itself started; one that runs as another user than it was started as gets none.
func dying() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

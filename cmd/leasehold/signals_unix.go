//go:build unix

package main

import (
	"os"
	"syscall"
)

// passedOn are the signals that a program hears which runs under a lease.
func passedOn() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGWINCH}
}

// resizes says that a signal is about the size of the terminal.
func resizes(s os.Signal) bool { return s == syscall.SIGWINCH }

// stop asks a program to end.
func stop(child *os.Process) { child.Signal(syscall.SIGTERM) }

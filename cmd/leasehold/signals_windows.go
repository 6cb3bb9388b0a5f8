package main

import (
	"os"
	"syscall"
)

// passedOn are the signals that there are on Windows.
func passedOn() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func resizes(os.Signal) bool { return false }

// stop ends a program: nobody can be asked to there.
func stop(child *os.Process) { child.Kill() }

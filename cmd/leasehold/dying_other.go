//go:build !linux

package main

import "syscall"

// dying does nothing here: no other system of ours tells a process that its parent is gone.
func dying() *syscall.SysProcAttr { return nil }

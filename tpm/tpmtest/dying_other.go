//go:build !linux

package tpmtest

import "syscall"

// dying is nothing where processes are not tied: Close kills.
func dying() *syscall.SysProcAttr { return nil }

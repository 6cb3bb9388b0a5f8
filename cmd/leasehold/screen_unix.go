//go:build unix

package main

import "github.com/gdamore/tcell/v2"

// newScreen is the terminal that standard input and output are.
func newScreen() (tcell.Screen, error) {
	tty, err := tcell.NewStdIoTty()
	if err != nil {
		return nil, err
	}
	return tcell.NewTerminfoScreenFromTty(tty)
}

package main

import "github.com/gdamore/tcell/v2"

// newScreen is the console that the program was started in.
func newScreen() (tcell.Screen, error) { return tcell.NewConsoleScreen() }

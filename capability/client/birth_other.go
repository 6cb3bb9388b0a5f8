//go:build !linux

package client

import "os"

// birth is not known here: a file that was copied is not told from the one that was written.
func birth(*os.File) born { return born{} }

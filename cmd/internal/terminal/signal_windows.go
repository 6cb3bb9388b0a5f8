package terminal

import "os"

// endBy ends this program as an interrupt does there.
func endBy(os.Signal) { os.Exit(1) }

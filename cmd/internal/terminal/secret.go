package terminal

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// ReadSecret reads a line from a terminal without showing it. A signal that ends the program while it waits finds the terminal as it was before: one that echoes. One that
// the program was started to ignore, as nohup does, ends nothing, and nothing is shown for it.
func ReadSecret(fd int) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case s := <-signals:
			term.Restore(fd, before)
			signal.Reset(s)
			endBy(s) // now with its own effect, which is what the shell is told
		case <-done:
		}
	}()
	defer close(done)
	defer signal.Stop(signals)
	return term.ReadPassword(fd)
}

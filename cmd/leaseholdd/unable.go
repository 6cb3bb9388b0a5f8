package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
	"github.com/leasehold/leasehold/tpm"
)

// The service manager holds the sockets also while the daemon cannot start, so whoever asks would wait for an answer that nobody gives. A daemon that cannot start therefore says why on the socket of
// administrators, where status, the text console and every other command hear it, before it ends and is started again.

const (
	// unablePatience is how long it says so: then the start is tried again, which no cause but that of a TPM is looked at for.
	unablePatience = 30 * time.Second
	unableLook     = time.Second // between two looks for a TPM that comes late
)

// unable says why nothing is served on the socket of administrators that was passed in, and gives it back, or nothing where it was told to stop: nothing has failed then but the start, which it has said.
// A daemon that has sockets of its own ends at once: nobody waits at them.
func unable(ctx context.Context, f flags, admin net.Listener, cause error) error {
	if admin == nil {
		return cause
	}
	problem, log := problemOf(cause), systemd.NewLogging("leaseholdd", os.Stderr, slog.LevelInfo).Logger()
	log.Error(problem.Text, "code", problem.Code.String(), "next", problem.Code.Entry().Next)
	if err := systemd.Status("cannot start - " + problem.Text + "; next: " + problem.Code.Entry().Next); err != nil {
		log.Warn("the service manager does not hear", "cause", err.Error())
	}
	server := unixServer(unableToServe(problem))
	go server.Serve(admin)
	defer server.Close()
	end := time.NewTimer(unablePatience)
	defer end.Stop()
	look := time.NewTicker(unableLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			systemd.Stopping()
			return nil
		case <-end.C:
			return cause
		case <-look.C:
			if ofTPM(problem.Code) && answersAt(f.tpm) {
				return cause
			}
		}
	}
}

// problemOf is why a start failed, as an answer says it.
func problemOf(cause error) *console.Problem {
	if r := (*capability.Refusal)(nil); !errors.As(cause, &r) {
		if code := terminal.CodeOf(cause); code != 0 {
			cause = capability.Refuse(code, "", "%v", cause)
		}
	}
	return console.ProblemOf(cause)
}

// unableToServe answers everything with a problem.
func unableToServe(p *console.Problem) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Connection", "close") // the next daemon answers the next question
		w.WriteHeader(http.StatusServiceUnavailable)
		json.NewEncoder(w).Encode(p)
	})
}

// ofTPM are the causes that a TPM which comes late takes away.
func ofTPM(c capability.Code) bool {
	return c == capability.ErrNoTPM || c == capability.ErrTPMAbsent || c == capability.ErrTPMAccess || c == capability.ErrOldTPM
}

func answersAt(address string) bool {
	device, err := tpm.Open(address)
	if err == nil {
		device.Close()
	}
	return err == nil
}

// kernelTPMs is where the kernel says what TPMs there are.
const kernelTPMs = "/sys/class/tpm"

// onlyOld says that the kernel has a TPM, and none of 2.0: those have no resource manager, and so no device of that kind.
func onlyOld(dir string) bool {
	names, err := filepath.Glob(filepath.Join(dir, "tpm*", "tpm_version_major"))
	if err != nil || len(names) == 0 {
		return false
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(b)) != "1" {
			return false
		}
	}
	return true
}

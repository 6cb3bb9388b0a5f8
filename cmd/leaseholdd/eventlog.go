package main

import (
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/leasehold/leasehold/tpm/attest"
)

// firmwareLog is where the kernel shows the event log of the machine's first TPM. Only root may read it, or whom root lets.
const firmwareLog = "/sys/kernel/security/tpm0/binary_bios_measurements"

// ofItsTPM says whether a log is wanted at all, and could be that of the TPM: the machine's own log says nothing of one behind a socket.
func ofItsTPM(path, tpm string) bool {
	return path != "" && (path != firmwareLog || strings.HasPrefix(tpm, "/dev/"))
}

// eventLog reads what firmware and boot loader say they measured; nil where nobody says it: no log, one that this account may not read, one too long for a request, or another TPM than that of the machine.
func eventLog(path, tpm string) []byte {
	if !ofItsTPM(path, tpm) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, attest.MaxEventLogBytes+1))
	if err != nil || len(b) > attest.MaxEventLogBytes {
		return nil
	}
	return b
}

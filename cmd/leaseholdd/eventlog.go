package main

import (
	"io"
	"os"
	"strings"

	"github.com/leasehold/leasehold/tpm/attest"
)

// firmwareLog is where the kernel shows the event log of the machine's first TPM. Only root may read it, or whom root lets.
const firmwareLog = "/sys/kernel/security/tpm0/binary_bios_measurements"

// eventLog reads what firmware and boot loader say they measured; nil where nobody says it: no log, one that this account may not read, one too long for a request, or another TPM than that of the machine.
func eventLog(path, tpm string) []byte {
	if path == "" || path == firmwareLog && !strings.HasPrefix(tpm, "/dev/") {
		return nil
	}
	f, err := os.Open(path)
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

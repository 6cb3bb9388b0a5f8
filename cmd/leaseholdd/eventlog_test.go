package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/leasehold/leasehold/tpm/attest"
)

func TestEventLog(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, n int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte{7}, n), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, path, tpm string
		want            int
	}{
		{"named", write("log", 500), "unix:/run/tpm", 500},
		{"the longest", write("longest", attest.MaxEventLogBytes), "/dev/tpmrm0", attest.MaxEventLogBytes},
		{"one byte more", write("longer", attest.MaxEventLogBytes+1), "/dev/tpmrm0", 0},
		{"empty", write("empty", 0), "/dev/tpmrm0", 0},
		{"none is there", filepath.Join(dir, "absent"), "/dev/tpmrm0", 0},
		{"a directory", dir, "/dev/tpmrm0", 0},
		{"switched off", "", "/dev/tpmrm0", 0},
		{"the machine's, beside another TPM", firmwareLog, "unix:/run/tpm", 0},
	} {
		if b := eventLog(c.path, c.tpm); len(b) != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, len(b), c.want)
		}
	}
}

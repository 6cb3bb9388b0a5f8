package main

import (
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

// newToken makes a token in software with that label and the PIN 1234.
func newToken(t *testing.T, label string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", "1234").CombinedOutput(); err != nil {
		t.Fatalf("%v (make deps): %s", err, out)
	}
}

// A key that the token made signs Ed25519 as everybody verifies it, and is the same key the next time; nothing else opens.
func TestToken(t *testing.T) {
	newToken(t, "producer")
	for what, row := range map[string]struct{ module, label, pin, says string }{
		"no driver":       {"/nothing.so", "producer", "1234", "no PKCS#11 driver"},
		"another label":   {softHSM, "other", "1234", "has the label"},
		"a wrong PIN":     {softHSM, "producer", "4321", "log in"},
		"no key in there": {softHSM, "producer", "1234", "no Ed25519 key"},
	} {
		if h, err := openToken(row.module, row.label, "signing", []byte(row.pin), false); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", what, err)
			if h != nil {
				h.close()
			}
		}
	}
	var public []byte
	for _, generate := range []bool{true, false, true} {
		h, err := openToken(softHSM, "producer", "signing", []byte("1234"), generate)
		if err != nil {
			t.Fatal(err)
		}
		if public == nil {
			public = h.Public()
		}
		for _, m := range [][]byte{[]byte("m"), make([]byte, 1<<20)} {
			sig, err := h.Sign(m)
			if err != nil || !ed25519.Verify(public, m, sig) {
				t.Errorf("%d bytes: %x, %v", len(m), sig, err)
			}
		}
		h.close()
	}
}

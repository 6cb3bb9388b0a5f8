package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// Keys of clients: what is listed, what the daemon is asked for, and what is refused before anything is sent.
func TestKeys(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("GET keys", []console.ClientKey{
		{SHA256: strings.Repeat("7F", 32), Kind: wire.KeyRSA2048, Name: "WS-7", Since: 1795161600}, {SHA256: strings.Repeat("91", 32), Kind: wire.KeyEd25519, Since: 1795161700},
	})
	m.prints("keys", "keys", 0)
	if _, stdout, _ := m.run("__complete", "keys", "remove", "7f"); !strings.HasPrefix(stdout, strings.Repeat("7F", 32)+"\tWS-7\n") || strings.Contains(stdout, "9191") {
		t.Errorf("%q", stdout)
	}
	secret := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public, err := x509.MarshalPKIXPublicKey(secret.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"good.der": public, "private.der": private, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), "noise": []byte("noise")} {
		m.put(name, b)
	}
	asked := func(what string) string {
		d.mu.Lock()
		defer d.mu.Unlock()
		body := string(d.bodies[what])
		delete(d.bodies, what)
		return body
	}
	d.says("POST keys", console.ClientKey{SHA256: strings.Repeat("AB", 32), Kind: wire.KeyEd25519, Name: "WS 8", Since: 1795161600})
	if status, stdout, stderr := m.run("keys", "add", "good.der", "--name", "WS 8"); status != 0 || !strings.Contains(stdout, "WS 8") || asked("POST keys") != string(public) {
		t.Errorf("%d %s%s", status, stdout, stderr)
	}
	for file, code := range map[string]capability.Code{"private.der": capability.ErrKeyPrivate, "key.pem": capability.ErrKeyPEM, "noise": capability.ErrKeyForm, "none": capability.ErrFileRead} {
		status, _, stderr := m.run("keys", "add", file)
		if status != code.Entry().Exit || asked("POST keys") != "" {
			t.Errorf("%s: %d, or it was sent", file, status)
		}
		fourLines(t, file, stderr, code)
	}
	d.says("DELETE keys/ab", struct{}{})
	if status, stdout, stderr := m.run("keys", "remove", "ab"); status != 0 || stdout != "AB is not registered any more\n" {
		t.Errorf("%d %s%s", status, stdout, stderr)
	}
}

// A client writes the public half of its own key, which is the one it shows, and writes over nothing.
func TestKeyExport(t *testing.T) {
	m := newMachine(t)
	p := newProducer(t, 1)
	m.put("producer.lht", p.trust)
	args := []string{"keys", "export", "-o", "own.der", "--dir", "device", "--trust", "producer.lht"}
	status, stdout, stderr := m.run(args...)
	file, err := os.ReadFile(filepath.Join(m.dir, "own.der"))
	if err != nil || status != 0 || stdout != "" {
		t.Fatalf("%d %s%s, %v", status, stdout, stderr, err)
	}
	kind, digest, err := wire.ReadClientKey(file)
	if err != nil || kind != wire.KeyEd25519 || stderr != fmt.Sprintf("Ed25519, SHA-256 %X\n", digest) {
		t.Errorf("%s %q, %v", kind, stderr, err)
	}
	if status, _, _ := m.run(args...); status != capability.ErrFileRead.Entry().Exit {
		t.Errorf("written over: %d", status)
	}
	args[3] = "-"
	if status, stdout, _ := m.run(args...); status != 0 || stdout != string(file) {
		t.Errorf("the same key again: %d, %d bytes", status, len(stdout))
	}
}

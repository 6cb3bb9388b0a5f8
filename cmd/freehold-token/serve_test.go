package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// message is a Sig_structure whose protected header has that type.
func message(typ string, change func([]byte)) []byte {
	header := slices.Concat([]byte{0xa3, 0x01, 0x32, 0x04, 0x50}, bytes.Repeat([]byte{7}, 16), []byte{0x10, 0x78, byte(len(typ))}, []byte(typ))
	if change != nil {
		change(header)
	}
	return slices.Concat([]byte("\x84\x6aSignature1\x58"), []byte{byte(len(header))}, header, []byte{0x40, 0x43, 1, 2, 3})
}

func name(kind string) string { return "application/vnd.leasehold." + kind + "+cose" }

// Only what a signing key signs is signed: above all no certificate of another key.
func TestSignable(t *testing.T) {
	good := message(name("response"), nil)
	for what, row := range map[string]struct {
		b  []byte
		ok bool
	}{
		"a response":                {good, true},
		"an appliance certificate":  {message(name("appliance"), nil), true},
		"a key request":             {message(name("key-request"), nil), true},
		"an update":                 {message(name("update"), nil), true},
		"a key certificate":         {message(name("key"), nil), false},
		"a group":                   {message(name("group"), nil), false},
		"a type that ends alike":    {message("x"+name("response"), nil), false},
		"ML-DSA-87":                 {message(name("response"), func(h []byte) { h[2] = 0x38 }), false},
		"another label":             {message(name("response"), func(h []byte) { h[3] = 5 }), false},
		"a countersignature":        {bytes.Replace(good, []byte("Signature1"), []byte("Signature2"), 1), false},
		"its first byte":            {good[:1], false},
		"cut in the header":         {good[:40], false},
		"a header of another form":  {append([]byte("\x84\x6aSignature1\x59\x00"), good[13:]...), false},
		"nothing":                   {nil, false},
		"a header that is too long": {append([]byte("\x84\x6aSignature1\x58\xff"), good[14:]...), false},
	} {
		if got := signable(row.b); got != row.ok {
			t.Errorf("%s: %t", what, got)
		}
	}
}

func TestRate(t *testing.T) {
	at := func(hour int) time.Time { return time.Unix(int64(hour)*3600+59, 0) }
	day := 24 * 20000
	for what, row := range map[string]struct {
		hour, day int
		at        []int
		refused   []int // indices
	}{
		"none":                 {0, 0, []int{day, day, day}, nil},
		"two in an hour":       {2, 0, []int{day, day, day, day + 1, day + 1, day + 1}, []int{2, 5}},
		"three in a day":       {0, 3, []int{day, day + 1, day + 2, day + 3, day + 24, day + 24, day + 24, day + 24}, []int{3, 7}},
		"both":                 {2, 3, []int{day, day, day, day + 1, day + 2}, []int{2, 4}},
		"a clock that is back": {1, 0, []int{day + 1, day + 1}, []int{1}},
	} {
		r := &rate{hour: row.hour, day: row.day}
		var refused []int
		for n, h := range row.at {
			if r.take(at(h)) != nil {
				refused = append(refused, n)
			}
		}
		if !slices.Equal(refused, row.refused) {
			t.Errorf("%s: %v are refused, expected are %v", what, refused, row.refused)
		}
	}
}

// paper is a token that may be pulled out.
type paper struct {
	key  ed25519.PrivateKey
	gone bool
}

func (p *paper) Public() []byte { return p.key.Public().(ed25519.PublicKey) }

func (p *paper) Sign(message []byte) ([]byte, error) {
	if p.gone {
		return nil, errors.New("pulled out")
	}
	return ed25519.Sign(p.key, message), nil
}

func start(t *testing.T, s *server) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := listen(path, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, s) }()
	t.Cleanup(func() {
		cancel()
		l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return path
}

// ask sends bytes and gives the code and body of the answer.
func ask(t *testing.T, path string, b []byte) (byte, []byte) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	c.Write(b)
	c.(*net.UnixConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if len(answer) < 5 || int(binary.BigEndian.Uint32(answer)) != len(answer)-4 {
		t.Fatalf("an answer of %d bytes, %v", len(answer), err)
	}
	return answer[4], answer[5:]
}

func question(what byte, body []byte) []byte {
	return slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(1+len(body))), []byte{what}, body)
}

func TestServe(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	token := &paper{key: key}
	s := &server{key: token, uid: uint32(os.Getuid()), rate: &rate{}, now: time.Now}
	path := start(t, s)
	good := message(name("response"), nil)
	if code, b := ask(t, path, question(askPublic, nil)); code != 0 || !bytes.Equal(b, token.Public()) {
		t.Errorf("public key: %d, %x", code, b)
	}
	if code, b := ask(t, path, question(askSign, good)); code != 0 || !ed25519.Verify(key.Public().(ed25519.PublicKey), good, b) {
		t.Errorf("signature: %d, %x", code, b)
	}
	for what, row := range map[string]struct {
		b    []byte
		says string
	}{
		"a certificate":        {question(askSign, message(name("key"), nil)), "not one of the things"},
		"an unknown question":  {question(9, nil), "not known"},
		"a public key of what": {question(askPublic, []byte{1}), "not known"},
		"no length":            {[]byte{0, 0}, "EOF"},
		"a length of nothing":  {[]byte{0, 0, 0, 0, 1}, "where 1 to"},
		"a length of too much": {[]byte{0xff, 0xff, 0xff, 0xff, askSign}, "where 1 to"},
		"less than announced":  {question(askSign, good)[:60], "EOF"},
	} {
		if code, b := ask(t, path, row.b); code != 1 || !strings.Contains(string(b), row.says) {
			t.Errorf("%s: %d, %q", what, code, b)
		}
	}
	s.turn.Lock()
	token.gone = true
	s.turn.Unlock()
	if code, b := ask(t, path, question(askSign, good)); code != 1 || string(b) != "pulled out" {
		t.Errorf("without the token: %d, %q", code, b)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if _, err := listen(path, os.Getuid()); err == nil {
		t.Error("a second program listens in the place of the first")
	}
}

// Somebody else of this machine gets nothing, not even the public key.
func TestPeer(t *testing.T) {
	s := &server{key: &paper{key: ed25519.NewKeyFromSeed(make([]byte, 32))}, uid: uint32(os.Getuid() + 1), rate: &rate{}, now: time.Now}
	path := start(t, s)
	for _, b := range [][]byte{question(askPublic, nil), question(askSign, message(name("response"), nil))} {
		if code, said := ask(t, path, b); code != 1 || !strings.Contains(string(said), "may not ask") {
			t.Errorf("%d, %q", code, said)
		}
	}
}

func TestCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("1234\r\nmore"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"--module", "m", "--token", "t", "--socket", "s"}
	for what, row := range map[string]struct {
		args []string
		ok   bool
	}{
		"a PIN file":       {append(slices.Clone(good), "--pin-file", file), true},
		"no PIN":           {good, false},
		"two PINs":         {append(slices.Clone(good), "--pin-file", file, "--pin-fd", "3"), false},
		"a PIN as a word":  {append(slices.Clone(good), "--pin-file", file, "1234"), false},
		"no token":         {[]string{"--module", "m", "--socket", "s", "--pin-file", file}, false},
		"a negative rate":  {append(slices.Clone(good), "--pin-file", file, "--per-day", "-1"), false},
		"an unknown flag":  {append(slices.Clone(good), "--pin-file", file, "--pin", "1234"), false},
		"a PIN descriptor": {append(slices.Clone(good), "--pin-fd", "7"), true},
	} {
		if _, err := parse(row.args); (err == nil) != row.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	o := &options{pinFile: file, pinFD: -1}
	if pin, err := o.pin(); err != nil || string(pin) != "1234" {
		t.Errorf("%q, %v", pin, err)
	}
	for what, content := range map[string]string{"empty": "", "an empty line": "\n1234", "too long": strings.Repeat("1", maxPIN+1)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if pin, err := o.pin(); err == nil {
			t.Errorf("%s: %q", what, pin)
		}
	}
	if _, err := listen(file, os.Getuid()); err == nil {
		t.Error("a plain file is taken for an old socket")
	}
}

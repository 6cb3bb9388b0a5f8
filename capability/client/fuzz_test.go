package client

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/leasehold/leasehold/capability/wire"
)

// FuzzInspect: whatever file it is, an inspection says what it is or what is wrong with it, and only a signature that holds is called good.
func FuzzInspect(f *testing.F) {
	p := newProducer(f, 1)
	trust, err := p.codec.DecodeTrust(p.trust)
	if err != nil {
		f.Fatal(err)
	}
	files, err := filepath.Glob("../wire/testdata/vectors/*-file-*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		var v struct{ Hex string }
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		if err != nil {
			f.Fatal(err)
		}
		if b, err = hex.DecodeString(v.Hex); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(p.trust)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, trust := range []*wire.Trust{nil, trust} {
			in, err := Inspect(b, trust)
			switch {
			case in == nil:
				t.Fatal("no inspection")
			case err != nil && (in.Signature != Bad || in.Code == 0 || in.Why == ""):
				t.Fatalf("%v, and it says %s %s %q", err, in.Signature, in.Code, in.Why)
			}
		}
	})
}

// FuzzStore: whatever the directory of a client holds, nothing is held by it that no appliance has signed, and the next answer repairs it.
func FuzzStore(f *testing.F) {
	s := newServer(f, newProducer(f, 1), item("render", "1.0", 9))
	from := f.TempDir()
	c := s.client(from)
	if _, err := c.Acquire(f.Context(), "render", Count(2), Keep()); err != nil {
		f.Fatal(err)
	}
	c.Close()
	s.set(true)
	whole, err := os.ReadFile(filepath.Join(from, stateFile))
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{whole, whole[:len(whole)/2], nil, append(bytes.Clone(whole), 0), {0xa0}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, stateFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := New(Options{Server: "nobody:1", Trust: s.producer.trust, Dir: dir, Alias: "ws-1", Dial: s.dial, judge: judgeSaid})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held, err := c.Held(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range held {
			if h.Feature != "render" || h.Count > 2 {
				t.Fatalf("%+v is held", h)
			}
		}
	})
}

// What a machine is bound by was written by anybody: it opens or not, and never anything else.
func FuzzUnbind(f *testing.F) {
	file, err := bind(wire.New(), workstation(1), []byte("content"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		content, missing, err := unbind(wire.New(), b, workstation(1))
		if err == nil && (content == nil || missing == nil) {
			t.Error("it opens, and there is nothing in it")
		}
	})
}

package client

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// What is bound opens exactly where the rest of its machine weighs three: every subset of a machine with two cards and two disks, beside everything of another one.
func TestBound(t *testing.T) {
	all := []hostid.ID{{Type: hostid.BoardUUID, Value: "U"}, {Type: hostid.Ethernet, Value: "N1"}, {Type: hostid.Ethernet, Value: "N2"}, {Type: hostid.Disk, Value: "D1"}, {Type: hostid.Disk, Value: "D2"}}
	file, err := bind(wire.New(), machineOfIDs(all...), []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	for set := range 1 << len(all) {
		for _, others := range [][]hostid.ID{nil, secondaries(workstation(7))} {
			var left []hostid.ID
			for i, id := range all {
				if set>>i&1 != 0 {
					left = append(left, id)
				}
			}
			content, missing, err := unbind(wire.New(), file, machineOfIDs(append(slices.Clone(left), others...)...))
			if opens := hostid.Score(all, left) >= boundNeeds; opens != (err == nil) || opens != bytes.Equal(content, []byte("content")) {
				t.Errorf("%v is left, %d others: %q, %v", left, len(others), content, err)
			}
			if no := (*unbound)(nil); err != nil && (!errors.As(err, &no) || no.score != hostid.Score(all, left) || no.most != 5) {
				t.Errorf("%v is left: %v", left, err)
			}
			if err == nil && (len(missing.gone) != len(all)-len(left) || missing.better(machineOfIDs(left...)) != (len(left) < len(all) && hostid.Score(left, left) == 5)) {
				t.Errorf("%v is left, and what has changed is %v", left, missing.gone)
			}
		}
	}
}

// Ten thousand machines that drift: nothing opens below three, everything from three on.
func TestBoundDrifts(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 41))
	kinds := []hostid.Type{hostid.BoardUUID, hostid.VMUUID, hostid.Ethernet, hostid.Disk, hostid.Flexid9, hostid.String}
	draw := func() (ids []hostid.ID) {
		for range 1 + rng.IntN(6) {
			ids = append(ids, hostid.ID{Type: kinds[rng.IntN(len(kinds))], Value: string(rune('A' + rng.IntN(4)))})
		}
		return ids
	}
	opened, refused, unboundable := 0, 0, 0
	for range 10_000 {
		was, is := draw(), draw()
		file, err := bind(wire.New(), machineOfIDs(was...), []byte("content"))
		before, after := secondaries(machineOfIDs(was...)), secondaries(machineOfIDs(is...))
		if (err == nil) != (hostid.Score(before, before) >= boundNeeds) {
			t.Fatalf("%v: %v", was, err)
		}
		if err != nil {
			unboundable++
			continue
		}
		_, _, err = unbind(wire.New(), file, machineOfIDs(is...))
		if (err == nil) != (hostid.Score(before, after) >= boundNeeds) {
			t.Fatalf("%v, then %v: %v", was, is, err)
		}
		if err == nil {
			opened++
		} else {
			refused++
		}
	}
	if opened == 0 || refused == 0 || unboundable == 0 {
		t.Errorf("%d opened, %d refused, %d could not be bound", opened, refused, unboundable)
	}
}

// What has a flaw, is worthless or no ID binds nothing.
func TestBoundFlaws(t *testing.T) {
	m := workstation(1)
	m.Findings[1].Flaw = "USB network adapter"
	m.Findings[2].Strength = hostid.Worthless
	if _, err := bind(wire.New(), m, []byte("x")); !errors.Is(err, ErrTooLittle) {
		t.Error(err)
	}
	file, err := bind(wire.New(), workstation(1), []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if content, _, err := unbind(wire.New(), bad, workstation(1)); err == nil && !bytes.Equal(content, []byte("content")) {
			t.Errorf("byte %d changed: %q", i, content)
		}
		if _, _, err := unbind(wire.New(), file[:i], workstation(1)); err == nil {
			t.Errorf("%d bytes open", i)
		}
	}
	for _, secret := range []string{"4C4C4544", "S3R1AL", "0200000"} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("the file tells %s", secret)
		}
	}
}

// A device's key is kept as the machine allows: bound to what it shows, and on another machine that has the same name all the same a copy is another device.
func TestDeviceKeyIsBound(t *testing.T) {
	a := capabilitytest.New(t, capabilitytest.Item("render", 4))
	open := func(dir string, m hostid.Machine) *Client {
		t.Helper()
		c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, machine: "one", Machine: m})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dir := t.TempDir()
	plain := open(dir, hostid.Machine{})
	if _, err := os.Stat(filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	bound := open(dir, workstation(1)) // what was there is bound from now on, and stays who it is
	if _, err := os.Stat(filepath.Join(dir, keyFile)); !gone(err) || bound.Host() != plain.Host() {
		t.Errorf("the key is still there for everybody: %v", err)
	}
	for _, place := range []int{0, 1, 2} { // one part after the other is exchanged
		m := workstation(1)
		for i := range place + 1 {
			m.Findings[i] = workstation(2).Findings[i]
		}
		if c := open(dir, m); c.Host() != plain.Host() {
			t.Errorf("after %d changes it is another device", place+1)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	// A program that was not told what the machine is does not take it for another.
	if _, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, machine: "one"}); !errors.Is(err, ErrBinding) || HowKept(dir) != KeptByMachine {
		t.Errorf("without a machine: %v", err)
	}
	other := open(copied, workstation(3))
	if other.Host() == plain.Host() {
		t.Error("a copy on another machine is the same device")
	}
	if again := open(copied, workstation(3)); again.Host() != other.Host() {
		t.Error("it is another device each time")
	}
	a.Down()
	if _, err := other.Acquire(t.Context(), "render"); !errors.Is(err, ErrBinding) || !strings.Contains(err.Error(), "score 0 of 5") {
		t.Errorf("without a server it does not say that it is a copy: %v", err)
	}
}

func gone(err error) bool { return errors.Is(err, os.ErrNotExist) }

// keys are a TPM's, modeled.
type testKeys map[string]crypto.Signer

func (k testKeys) NewKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	blob := make([]byte, 8)
	crand.Read(blob)
	k[string(blob)] = key
	return blob, err
}

func (k testKeys) OpenKey(blob []byte) (crypto.Signer, error) {
	if key, ok := k[string(blob)]; ok {
		return key, nil
	}
	return nil, fmt.Errorf("%w: no such key", ErrOtherMachine)
}

// A device's key can be in a TPM: then the directory holds nothing that another machine could use.
func TestDeviceKeyInATPM(t *testing.T) {
	a := capabilitytest.New(t, capabilitytest.Item("render", 4))
	open := func(dir string, keys KeyMaker) (*Client, error) {
		c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, machine: "one", Keys: keys})
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
	dir, mine := t.TempDir(), testKeys{}
	c, err := open(dir, mine)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire(t.Context(), "render"); err != nil {
		t.Fatal(err)
	}
	if again, err := open(dir, mine); err != nil || again.Host() != c.Host() || HowKept(dir) != KeptInTPM {
		t.Errorf("%s, %v", HowKept(dir), err)
	}
	if other, err := open(dir, testKeys{}); err != nil || other.Host() == c.Host() {
		t.Errorf("with another TPM it is the same device: %v", err)
	}
	if _, err := open(dir, nil); !errors.Is(err, sentinel(capability.ErrTPMAbsent)) {
		t.Errorf("without one: %v", err)
	}
}

// A machine that shows too little to open a bound key, to this account for instance, is not another device, unless it is told to be one.
func TestTooLittleIsNoNewDevice(t *testing.T) {
	a := capabilitytest.New(t, capabilitytest.Item("render", 4))
	dir := t.TempDir()
	open := func(m hostid.Machine, anew bool) (*Client, error) {
		c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, Machine: m, NewDevice: anew, machine: "one"})
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
	first, err := open(workstation(1), false)
	if err != nil {
		t.Fatal(err)
	}
	little := workstation(1)
	little.Findings = little.Findings[1:2] // the network card alone
	if _, err := open(little, false); !errors.Is(err, ErrBinding) || !errors.Is(err, ErrTooLittle) {
		t.Errorf("it shows too little: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, machinesDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another device was made: %v", err)
	}
	if c, err := open(little, true); err != nil || c.Host() == first.Host() {
		t.Errorf("told to be another device: %v", err)
	}
	if c, err := open(workstation(1), false); err != nil || c.Host() != first.Host() {
		t.Errorf("the first one is lost: %v", err)
	}
}

// fits against every way to give each claim its counts, one by one.
func TestFits(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 42))
	users := []string{"", "", "ana", "bob"}
	yes, no := 0, 0
	for range 20_000 {
		var items []capability.LineItem
		for range 1 + rng.IntN(4) {
			items = append(items, capability.LineItem{Feature: "f", Version: capability.Version{Major: uint32(rng.IntN(4))}, Count: rng.Uint32N(3), Copies: 1, User: users[rng.IntN(4)]})
		}
		var claims []claim
		for range 1 + rng.IntN(4) {
			claims = append(claims, claim{Feature: "f", Version: capability.Version{Major: uint32(rng.IntN(4))}, Count: 1 + rng.Uint32N(2), User: users[rng.IntN(4)]})
		}
		want := assignable(items, claims)
		if got := fits(items, claims, "f"); got != want {
			t.Fatalf("%+v\n%+v\nfits: %t, want %t", items, claims, got, want)
		}
		if want {
			yes++
		} else {
			no++
		}
		ok := served(items, claims)
		var kept []claim
		for i, c := range claims {
			if ok[i] {
				kept = append(kept, c)
			}
		}
		if !fits(items, kept, "f") || want && slices.Contains(ok, false) {
			t.Fatalf("%+v\n%+v\nserved %v", items, claims, ok)
		}
	}
	if yes < 1000 || no < 1000 {
		t.Errorf("%d fit and %d do not", yes, no)
	}
}

// assignable tries every item for every count of every claim.
func assignable(items []capability.LineItem, claims []claim) bool {
	if len(claims) == 0 {
		return true
	}
	c := claims[0]
	if c.Count == 0 {
		return assignable(items, claims[1:])
	}
	rest := slices.Clone(claims)
	rest[0].Count--
	for i, it := range items {
		if it.Count == 0 || it.Version.Compare(c.Version) < 0 || it.User != "" && it.User != c.User {
			continue
		}
		less := slices.Clone(items)
		less[i].Count--
		if assignable(less, rest) {
			return true
		}
	}
	return false
}

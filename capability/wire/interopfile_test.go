package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// The second reader follows an answer in a file from the producer's root to the seat that is lent, after the appliance has another serving key too, and believes no
// file that answers another request, device or time.
func TestSecondReaderFollowsAnAnswerFile(t *testing.T) {
	a := capabilitytest.New(t, capabilitytest.Item("render:2026.1", 2))
	trust, err := wire.New().DecodeTrust(a.Trust())
	if err != nil {
		t.Fatal(err)
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host := hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(public))
	ask := func(number uint64, count uint32) said {
		t.Helper()
		r := capability.Request{Version: 1, Hosts: []hostid.ID{host}, Atomic: true, Number: number, Producer: wire.New().Fingerprint(trust.Root), Desired: []capability.Desired{{Feature: "render", Count: count}}}
		rand.Read(r.Correlation[:])
		file, _, err := wire.New().SignClientRequest(rand.Reader, key, &r)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := a.AnswerFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return said{Trust: a.Trust(), Now: time.Now().Unix(), ClientFile: file, AnswerFile: answer}
	}
	lent := ask(1, 1)
	a.Restart()
	h := listen(t, lent)
	if h.File == nil || h.File.Status != 0 || len(h.File.Rights) != 1 || h.File.Rights[0].Feature != "render" || h.File.Rights[0].Count != 1 {
		t.Fatalf("lent: %+v", h)
	}
	back := ask(2, 0)
	if h := listen(t, back); h.File == nil || h.File.Status != int(capability.StatusReturned) || len(h.File.Rights) != 0 || a.Used("render") != 0 {
		t.Fatalf("given back: %+v, %d in use", h, a.Used("render"))
	}
	other := capabilitytest.New(t, capabilitytest.Item("render:2026.1", 2))
	for what, lie := range map[string]func(*said){
		"another producer":             func(s *said) { s.Trust = other.Trust() },
		"the answer to another file":   func(s *said) { s.AnswerFile = back.AnswerFile },
		"another byte":                 func(s *said) { s.AnswerFile = flippedAt(s.AnswerFile, -2) },
		"a byte more":                  func(s *said) { s.AnswerFile = append(bytes.Clone(s.AnswerFile), 0) },
		"the request":                  func(s *said) { s.AnswerFile = s.ClientFile },
		"a year later":                 func(s *said) { s.Now += 366 * 86400 },
		"another byte in the request":  func(s *said) { s.ClientFile = flippedAt(s.ClientFile, -2) },
		"an answer without its answer": func(s *said) { s.AnswerFile = s.AnswerFile[:len(s.AnswerFile)-40] },
	} {
		s := lent
		if lie(&s); listen(t, s).Refused == "" {
			t.Errorf("%s was believed", what)
		}
	}
	t.Log("2 answers of a running appliance followed from files: 1 seat lent, 1 given back; 8 lies refused")
}

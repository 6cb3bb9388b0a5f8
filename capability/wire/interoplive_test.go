package wire_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/capabilitytest"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// What real programs say, as bytes, to the second reader (testdata/interop/live.mjs).
type said struct {
	Trust        octets     `json:"trust"`
	Now          int64      `json:"now"`
	Device       octets     `json:"device,omitempty"`
	TLS          octets     `json:"tls,omitempty"`
	Frames       []exchange `json:"frames,omitempty"`
	RequestFile  octets     `json:"requestFile,omitempty"`
	ResponseFile octets     `json:"responseFile,omitempty"`
	Box          octets     `json:"box,omitempty"`
	ClientFile   octets     `json:"clientFile,omitempty"`
	AnswerFile   octets     `json:"answerFile,omitempty"`
}

type exchange struct {
	Sent     octets `json:"sent"`
	Received octets `json:"received"`
}

// octets are hex in JSON.
type octets []byte

func (o octets) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(o)), nil }

// heard is what the second reader may believe of it.
type heard struct {
	Refused string
	Answers []understood
	File    *understood
}

type understood struct {
	Status int
	Serial uint64
	Rights []struct {
		Feature string
		Count   int
	}
	Items []struct {
		Feature       string
		Count, Copies int
	}
	Lines []struct {
		Status, Count int
		Denial        refusal
	}
	Denials []refusal
}

type refusal struct {
	Code    int
	Subject string
	Asked   int
	Used    int
	Holders []struct{ Name string }
}

func listen(t *testing.T, s said) (h heard) {
	t.Helper()
	in, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	lines, ok := wire.SecondReader(t, in, "live.mjs")
	if err := json.Unmarshal(lines[0], &h); err != nil || ok != (h.Refused == "") {
		t.Fatalf("%v: %s", err, lines[0])
	}
	return h
}

// visitor is a client that was written with the document in one hand: it writes frames and keeps what comes back.
type visitor struct {
	t    *testing.T
	conn *tls.Conn
	said said
	host hostid.ID
}

func visit(t *testing.T, a *capabilitytest.Appliance) *visitor {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", a.Server(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{wire.ALPN},
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	v := &visitor{t: t, conn: conn, host: hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(public)),
		said: said{Trust: a.Trust(), Now: time.Now().Unix(), Device: spki, TLS: conn.ConnectionState().PeerCertificates[0].Raw}}
	v.send(wire.New().Ask())
	return v
}

func (v *visitor) send(frame []byte) {
	v.t.Helper()
	if _, err := v.conn.Write(frame); err != nil {
		v.t.Fatal(err)
	}
	var head [4]byte
	if _, err := io.ReadFull(v.conn, head[:]); err != nil {
		v.t.Fatal(err)
	}
	body := make([]byte, int(head[2])<<8|int(head[3]))
	if _, err := io.ReadFull(v.conn, body); err != nil {
		v.t.Fatal(err)
	}
	v.said.Frames = append(v.said.Frames, exchange{frame, append(head[:], body...)})
}

func (v *visitor) ask(desired ...capability.Desired) {
	v.t.Helper()
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{v.host}, Desired: desired, Applied: uint64(len(v.said.Frames) - 1)}
	rand.Read(r.Correlation[:])
	v.send(wire.New().Frame(wire.MessageRequest, &r))
}

// The second reader follows a real appliance from the producer's root to each answer, believes what was granted and what was refused, and believes nothing that
// was not said to this client on this connection.
func TestSecondReaderFollowsAnAppliance(t *testing.T) {
	a := capabilitytest.New(t, capabilitytest.Item("render:2026.1", 2))
	first, second := visit(t, a), visit(t, a)
	first.ask(capability.Desired{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 2})
	first.ask(capability.Desired{Feature: "render", Count: 2}, capability.Desired{Feature: "mesh", Count: 1})
	second.ask(capability.Desired{Feature: "render", Count: 1})

	h := listen(t, first.said)
	if h.Refused != "" || len(h.Answers) != 2 {
		t.Fatalf("%+v", h)
	}
	if r := h.Answers[0].Rights; h.Answers[0].Status != 0 || len(r) != 1 || r[0].Feature != "render" || r[0].Count != 2 {
		t.Errorf("granted: %+v", h.Answers[0])
	}
	if n := h.Answers[1]; n.Status != int(capability.StatusPartly) || len(n.Lines) != 2 || n.Lines[1].Denial.Code != int(capability.ErrNotEntitled) || n.Lines[1].Denial.Subject != "mesh" {
		t.Errorf("partly refused: %+v", n)
	}
	h = listen(t, second.said)
	if h.Refused != "" || len(h.Answers) != 1 || len(h.Answers[0].Rights) != 0 || h.Answers[0].Lines[0].Denial.Code != int(capability.ErrNoSeat) || h.Answers[0].Lines[0].Denial.Used != 2 {
		t.Errorf("refused: %+v", h)
	}

	other := capabilitytest.New(t, capabilitytest.Item("render:2026.1", 2))
	elsewhere := visit(t, other)
	elsewhere.ask(capability.Desired{Feature: "render", Count: 1})
	flipped := bytes.Clone(first.said.Frames[1].Received)
	flipped[len(flipped)/3] ^= 1
	for what, lie := range map[string]func(*said){
		"another producer":             func(s *said) { s.Trust = other.Trust() },
		"another server's certificate": func(s *said) { s.TLS = elsewhere.said.TLS },
		"another device's key":         func(s *said) { s.Device = second.said.Device },
		"the answer to another":        func(s *said) { s.Frames[1].Received = second.said.Frames[1].Received },
		"the answer of another server": func(s *said) { s.Frames[1].Received = elsewhere.said.Frames[1].Received },
		"the answer before":            func(s *said) { s.Frames[2].Received = s.Frames[1].Received },
		"an answer before the chain":   func(s *said) { s.Frames = s.Frames[1:] },
		"another byte":                 func(s *said) { s.Frames[1].Received = flipped },
	} {
		s := first.said
		s.Frames = append([]exchange{}, first.said.Frames...)
		if lie(&s); listen(t, s).Refused == "" {
			t.Errorf("%s was believed", what)
		}
	}
	t.Log("3 answers of a running appliance followed from the root: 1 grant, 2 refusals believed; 8 lies refused")
}

// station is a machine without a TPM, made of its two keys.
type station struct {
	key        ed25519.PrivateKey
	box        *ecdh.PrivateKey
	host       hostid.ID
	root       capability.Digest
	n, applied uint64
	life       capability.LifeID
}

func newStation(t *testing.T, root capability.Digest) *station {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	box, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &station{key: key, box: box, host: hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(public)), root: root}
	rand.Read(s.life[:])
	return s
}

func (s *station) request(t *testing.T, desired ...capability.Desired) []byte {
	t.Helper()
	s.n++
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{s.host}, Desired: desired, Number: s.n, Applied: s.applied, Life: s.life, Producer: s.root}
	rand.Read(r.Correlation[:])
	file, _, err := wire.New().SignRequest(&r, wire.AlgEd25519, wire.DeviceKeyID(s.key.Public().(ed25519.PublicKey)), func(d capability.Digest) ([]byte, error) {
		return wire.SignAsDevice(s.key, s.box.PublicKey(), d), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// The second reader opens what a real back office answers to a machine without a TPM, and what it refuses.
func TestSecondReaderOpensAResponseFile(t *testing.T) {
	place, pass, now := backoffice.Dir(t.TempDir()), []byte("correct horse battery"), capability.At(time.Now())
	policy := entitlement.DefaultPolicy("Example Works")
	policy.MinimumTier = entitlement.Software
	if _, err := backoffice.Create(place, pass, backoffice.Setup{Policy: policy, KeyName: "producer-A", Cost: backoffice.Cost{Passes: 1, Memory: 64, Threads: 1}, By: "operator"}, now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	office, err := backoffice.Open(place, pass, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer office.Close()
	bundle, _, err := backoffice.Trust(place)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := wire.New().DecodeTrust(bundle)
	if err != nil {
		t.Fatal(err)
	}
	view, err := office.Entitle(entitlement.Item{Customer: "ACME Works", Product: "Render Pro", Copies: 3, Features: []entitlement.Feature{{Name: "render", Version: capability.Version{Major: 2026, Minor: 1}, PerCopy: 2}}}, "operator", now)
	if err != nil {
		t.Fatal(err)
	}
	machine := newStation(t, wire.New().Fingerprint(trust.Root))
	answer := func(desired ...capability.Desired) said {
		t.Helper()
		s := said{Trust: bundle, Now: int64(now), RequestFile: machine.request(t, desired...), Box: machine.box.Bytes()}
		res, err := office.RespondTo(s.RequestFile, backoffice.Order{By: "operator"}, now)
		if err != nil {
			t.Fatal(err)
		}
		s.ResponseFile = res.File
		return s
	}

	granted := answer(capability.Desired{ActivationID: view.ActivationID, Count: 2})
	h := listen(t, granted)
	if h.File == nil || h.File.Status != 0 || h.File.Serial != 1 || len(h.File.Items) != 1 || h.File.Items[0].Feature != "render" || h.File.Items[0].Count != 4 || h.File.Items[0].Copies != 2 {
		t.Fatalf("granted: %+v", h)
	}
	machine.applied = h.File.Serial
	refused := answer(capability.Desired{ActivationID: view.ActivationID, Count: 4})
	h = listen(t, refused)
	if h.File == nil || h.File.Status != int(capability.StatusPartly) || len(h.File.Items) != 1 || h.File.Items[0].Count != 4 || len(h.File.Lines) != 1 || h.File.Lines[0].Denial.Code == 0 || h.File.Lines[0].Denial.Asked != 4 {
		t.Errorf("refused: %+v", h)
	}
	stranger := newStation(t, wire.New().Fingerprint(trust.Root))
	for what, lie := range map[string]func(*said){
		"another box key":     func(s *said) { s.Box = stranger.box.Bytes() },
		"another request":     func(s *said) { s.RequestFile = refused.RequestFile },
		"another machine":     func(s *said) { s.RequestFile = stranger.request(t) },
		"too late":            func(s *said) { s.Now += 10 * 366 * 86400 },
		"a byte more":         func(s *said) { s.ResponseFile = append(bytes.Clone(s.ResponseFile), 0) },
		"the end is missing":  func(s *said) { s.ResponseFile = s.ResponseFile[:len(s.ResponseFile)-1] },
		"a trust bundle's":    func(s *said) { s.ResponseFile = s.Trust },
		"another's signature": func(s *said) { s.ResponseFile = flippedAt(s.ResponseFile, -2) },
	} {
		s := granted
		if lie(&s); !strings.Contains(listen(t, s).Refused, ":") {
			t.Errorf("%s was believed", what)
		}
	}
	t.Log("2 response files of a back office opened from the document: 1 grant, 1 refusal; 8 lies refused")
}

func flippedAt(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[len(b)+i] ^= 1
	return b
}

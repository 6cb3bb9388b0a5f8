package tpm_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

func identify(t *testing.T, d *tpm.Device) *attest.Identity {
	t.Helper()
	data := []byte("digest of a request")
	e, err := d.Evidence(attest.Request, data)
	must(t, err)
	id, err := attest.Verify(e, attest.Request, data)
	must(t, err)
	return id
}

func wrap(t *testing.T, id *attest.Identity, content []byte) *attest.Wrapped {
	t.Helper()
	w, err := attest.Wrap(rand.Reader, id, content)
	must(t, err)
	return w
}

func TestEvidence(t *testing.T) {
	pool, err := tpmtest.Roots()
	must(t, err)
	now := time.Now()
	for _, c := range []struct {
		name         string
		certificates []tpmtest.Certificate
		tier         attest.Tier
	}{
		{"P-256 certificate", []tpmtest.Certificate{tpmtest.P256}, attest.Hardware},
		{"RSA certificate", []tpmtest.Certificate{tpmtest.RSA}, attest.Hardware},
		{"both", []tpmtest.Certificate{tpmtest.RSA, tpmtest.P256}, attest.Hardware},
		{"none", []tpmtest.Certificate{tpmtest.None}, attest.Software},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, d := machine(t, c.certificates...)
			extend(t, m, 11)
			e, err := d.Evidence(attest.Request, []byte("data"))
			must(t, err)
			e, err = attest.DecodeEvidence(e.Encode())
			must(t, err)
			if _, err := attest.Verify(e, attest.Session, []byte("data")); err == nil {
				t.Error("evidence for a request passes for a session")
			}
			id, err := attest.Verify(e, attest.Request, []byte("data"))
			must(t, err)
			pcrs, err := d.BootState()
			must(t, err)
			host, err := d.HostID()
			must(t, err)
			clock, err := d.Clock()
			must(t, err)
			info, err := d.Info()
			must(t, err)
			if !bytes.Equal(id.PCRs, pcrs) || id.HostID != host || id.Clock.Resets != clock.Resets || id.Clock.Elapsed > clock.Elapsed || id.Firmware != info.Firmware {
				t.Errorf("identity %+v, device says PCRs %x, host %v, clock %+v, %+v", id, pcrs, host, clock, info)
			}
			if tier, err := attest.TierOf(id, attest.Roots{Hardware: pool}, now); tier != c.tier || err != nil {
				t.Errorf("tier is %v, %v, want %v", tier, err, c.tier)
			}
			content := secret()
			w, err := attest.DecodeWrapped(wrap(t, id, content).Encode())
			must(t, err)
			if w.RSA.Present() != (c.name == "RSA certificate" || c.name == "both") {
				t.Errorf("a credential for the RSA key: %v", w.RSA.Present())
			}
			for range 2 { // the same response opens again
				if got, err := d.Activate(w); err != nil || !bytes.Equal(got, content) {
					t.Errorf("activate: %x, %v", got, err)
				}
			}
		})
	}
}

func TestHostIDStays(t *testing.T) {
	m, d := machine(t)
	before := identify(t, d)
	for name, event := range map[string]func() error{"power cut": m.Cut, "power cycle": m.PowerCycle, "restart": m.Restart, "clear": m.Clear} {
		must(t, event())
		after := identify(t, d)
		if after.HostID != before.HostID || !bytes.Equal(after.AKName, before.AKName) {
			t.Errorf("%s: host %v, key %x, was %v, %x", name, after.HostID, after.AKName, before.HostID, before.AKName)
		}
	}
}

// TestActivateElsewhere: a response opens on its TPM, also cleared, and on a copy
// of it; nowhere else.
func TestActivateElsewhere(t *testing.T) {
	m, d := machine(t, tpmtest.RSA)
	_, other := machine(t, tpmtest.RSA)
	id, otherID := identify(t, d), identify(t, other)
	content := secret()
	w := wrap(t, id, content)
	if got, err := other.Activate(w); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("another TPM: %x, %v, want %v", got, err, tpm.ErrNotOurs)
	}
	disguised := *w
	disguised.HostID = otherID.HostID
	if got, err := other.Activate(&disguised); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("another TPM, with its host ID written in: %x, %v, want %v", got, err, tpm.ErrNotOurs)
	}
	clone := m.Clone(t)
	if got, err := clone.Device(t).Activate(w); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a copy of the TPM: %x, %v", got, err)
	}
	must(t, m.Clear())
	if got, err := d.Activate(w); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the TPM after it was cleared: %x, %v", got, err)
	}
	// An AK of one machine with the EK of another opens on neither.
	chimera := *otherID
	chimera.EK, chimera.HostID, chimera.EKCertificates = id.EK, id.HostID, id.EKCertificates
	w = wrap(t, &chimera, content)
	for name, d := range map[string]*tpm.Device{"EK's": d, "AK's": other} {
		if got, err := d.Activate(w); !errors.Is(err, tpm.ErrNotOurs) {
			t.Errorf("chimera on the %s machine: %x, %v, want %v", name, got, err, tpm.ErrNotOurs)
		}
	}
}

// TestCopiedCertificate: with another machine's RSA certificate a machine may
// look like hardware, but opens nothing.
func TestCopiedCertificate(t *testing.T) {
	_, maker := machine(t, tpmtest.RSA)
	_, forger := machine(t, tpmtest.RSA)
	forged := identify(t, forger)
	forged.EKCertificates = identify(t, maker).EKCertificates
	if got, err := forger.Activate(wrap(t, forged, secret())); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("%x, %v, want %v", got, err, tpm.ErrNotOurs)
	}
	// The TPM whose error said FAILURE is well.
	if _, err := forger.HostID(); err != nil {
		t.Error(err)
	}
}

func TestWrapFlipped(t *testing.T) {
	_, d := machine(t, tpmtest.P256)
	b := wrap(t, identify(t, d), secret()).Encode()
	for i := range b {
		forged := bytes.Clone(b)
		forged[i] ^= 0x04
		w, err := attest.DecodeWrapped(forged)
		if err != nil {
			continue
		}
		if got, err := d.Activate(w); !errors.Is(err, tpm.ErrNotOurs) {
			t.Errorf("byte %d flipped: %x, %v, want %v", i, got, err, tpm.ErrNotOurs)
		}
	}
}

// TestOddCertificates: what a verifier would refuse is left out of the evidence,
// what follows the certificate is cut off.
func TestOddCertificates(t *testing.T) {
	_, plain := machine(t, tpmtest.P256)
	of := identify(t, plain).EKCertificates[0]
	for _, c := range []struct {
		name  string
		index tpm2.TPMHandle
		data  []byte
		want  int
	}{
		{"another machine's", 0x01C0000A, of.Raw, 0},
		{"not a certificate", 0x01C00002, []byte("\x30\x03abc"), 0},
		{"noise", 0x01C00002, []byte{0xff, 0xff, 0xff, 0xff}, 0},
	} {
		m, d := machine(t, tpmtest.None)
		must(t, m.WriteNV(c.index, c.data))
		if got := len(identify(t, d).EKCertificates); got != c.want {
			t.Errorf("%s: %d certificates, want %d", c.name, got, c.want)
		}
	}
	// A padded one, longer than one NV read.
	m, d := machine(t, tpmtest.None)
	a, err := tpmtest.TheAuthority()
	must(t, err)
	id := identify(t, d)
	ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](id.EK)
	must(t, err)
	public, err := tpm2.Pub(*ek)
	must(t, err)
	der, err := a.Certify(public, func(c *x509.Certificate) {
		c.OCSPServer = []string{"http://" + string(bytes.Repeat([]byte("x"), 1200))}
	})
	must(t, err)
	must(t, m.WriteNV(0x01C0000A, append(bytes.Clone(der), bytes.Repeat([]byte{0xff}, 100)...)))
	if got := identify(t, d).EKCertificates; len(got) != 1 || !bytes.Equal(got[0].Raw, der) {
		t.Errorf("padded: %d certificates", len(got))
	}
}

func TestSession(t *testing.T) {
	_, d := machine(t)
	id := identify(t, d)
	serving := bytes.Repeat([]byte{7}, 32)
	e, err := d.Session(serving)
	must(t, err)
	b := e.Encode()
	if len(b) >= 400 {
		t.Errorf("a session statement has %d bytes", len(b))
	}
	e, err = attest.DecodeEvidence(b)
	must(t, err)
	must(t, attest.VerifySession(id.AK, e, serving))
	if err := attest.VerifySession(id.AK, e, serving[1:]); err == nil {
		t.Error("verifies for another key")
	}
	whole, err := d.Evidence(attest.Session, serving)
	must(t, err)
	must(t, attest.VerifySession(id.AK, whole, serving))
	request, err := d.Evidence(attest.Request, serving)
	must(t, err)
	if err := attest.VerifySession(id.AK, request, serving); err == nil {
		t.Error("a request passes for a session")
	}
	_, other := machine(t)
	if err := attest.VerifySession(identify(t, other).AK, e, serving); err == nil {
		t.Error("verifies against another machine's key")
	}
}

func TestCertifyEpoch(t *testing.T) {
	_, d := machine(t)
	v := provision(t, d)
	id := identify(t, d)
	data := []byte("digest of a return")
	for range 2 {
		p, err := d.CertifyEpoch(attest.EpochIndex, data)
		must(t, err)
		p, err = attest.DecodeEpochProof(p.Encode())
		must(t, err)
		at, err := attest.VerifyEpoch(p, &attest.Identity{AK: id.AK}, data)
		if err != nil || at != v.epoch {
			t.Errorf("epoch %d, %v, want %d", at, err, v.epoch)
		}
		if _, err := attest.VerifyEpoch(p, id, []byte("another return")); err == nil {
			t.Error("verifies for another return")
		}
		must(t, v.Advance(v.root, v.epoch))
		v.epoch++
	}
	if _, err := d.CertifyEpoch(attest.EpochIndex+1, data); !errors.Is(err, tpm.ErrCounter) {
		t.Errorf("certify an index that is not there: %v, want %v", err, tpm.ErrCounter)
	}
}

// TestClockEvents are what moves the clock and its counts, as the TPM has them.
func TestClockEvents(t *testing.T) {
	for _, c := range []struct {
		name     string
		event    func(*tpmtest.TPM) error
		resets   uint32
		restarts uint32
		goesOn   bool
	}{
		{"nothing", func(*tpmtest.TPM) error { return nil }, 0, 0, true},
		{"orderly shutdown and start", (*tpmtest.TPM).PowerCycle, 1, 0, true},
		{"power cut", (*tpmtest.TPM).Cut, 1, 0, false},
		{"restart", (*tpmtest.TPM).Restart, 0, 1, true},
		{"resume", (*tpmtest.TPM).Resume, 0, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, d := machine(t, tpmtest.None)
			before, err := d.Clock()
			must(t, err)
			must(t, c.event(m))
			after, err := d.Clock()
			must(t, err)
			if after.Resets != before.Resets+c.resets || after.Restarts != before.Restarts+c.restarts {
				t.Errorf("counts are %+v, were %+v", after, before)
			}
			if c.goesOn && after.Elapsed < before.Elapsed {
				t.Errorf("clock is %v, was %v", after.Elapsed, before.Elapsed)
			}
			now := time.Now()
			mark := attest.Mark{Wall: now, Max: now, Clock: before}
			if got := mark.Judge(now, after, time.Minute); got != attest.OK && !(got == attest.Unsafe && !c.goesOn) {
				t.Errorf("verdict is %v", got)
			}
		})
	}
	m, d := machine(t, tpmtest.None)
	must(t, m.PowerCycle())
	before, err := d.Clock()
	must(t, err)
	must(t, m.Clear())
	after, err := d.Clock()
	must(t, err)
	if after.Resets != 0 || after.Restarts != 0 {
		t.Errorf("counts of a cleared TPM are %+v", after)
	}
	now := time.Now()
	if got := (attest.Mark{Wall: now, Max: now, Clock: before}).Judge(now, after, time.Minute); got != attest.Replaced {
		t.Errorf("verdict on a cleared TPM is %v, want %v", got, attest.Replaced)
	}
}

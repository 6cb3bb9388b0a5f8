package tpm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// TestBootState: what is sealed opens in signed boot states only, and an update
// needs a signature and no new seal.
func TestBootState(t *testing.T) {
	for pcr, matters := range map[int]bool{0: false, 7: true, 8: false, 11: true, 12: true, 14: false, 15: false, 16: false, 23: false} {
		m, d := machine(t, tpmtest.None)
		v := provision(t, d)
		extend(t, m, pcr)
		if !matters {
			v.opens(t, v.now, v.epoch)
			continue
		}
		v.refuses(t, v.now, v.epoch, tpm.ErrBootState)
		v.sign(t) // the update brings its signature
		v.opens(t, v.now, v.epoch)
		must(t, m.Cut()) // and the old boot state is back
		v.opens(t, v.now, v.epoch)
	}
}

func TestBootKey(t *testing.T) {
	_, d := machine(t, tpmtest.None)
	v := provision(t, d)
	other := unprovisioned(t, d)
	for _, c := range []struct {
		name   string
		key    attest.BootKey
		signed []attest.SignedState
	}{
		{"nothing signed", v.key, nil},
		{"signed by another key", v.key, other.signed},
		{"another key", other.key, other.signed},
		{"another reference", attest.BootKey{Public: v.key.Public, Ref: []byte("another")}, v.signed},
		{"signature flipped", v.key, func() []attest.SignedState {
			s := v.signed[0]
			s.Signature = bytes.Clone(s.Signature)
			s.Signature[40] ^= 1
			return []attest.SignedState{s}
		}()},
		{"no key", attest.BootKey{}, v.signed},
	} {
		b := d.Binding(attest.EpochIndex, attest.RunningPCR, c.key, c.signed)
		if got, err := b.Unseal(v.now, v.epoch); !errors.Is(err, tpm.ErrBootState) {
			t.Errorf("%s: %x, %v, want %v", c.name, got, err, tpm.ErrBootState)
		}
	}
	// A list may hold states of others beside ours.
	v.signed = append(append([]attest.SignedState(nil), other.signed...), v.signed...)
	v.reopen(d)
	v.opens(t, v.now, v.epoch)
}

// TestPCRChanged: a PCR extended in the middle of unsealing ends its policy
// session; unsealing starts again, three times.
func TestPCRChanged(t *testing.T) {
	for _, c := range []struct {
		times int
		want  error
	}{{2, nil}, {3, tpm.ErrUnavailable}} {
		m, d := machine(t, tpmtest.None)
		v := provision(t, d)
		times := c.times
		bus := &tpmtest.Faulty{TPM: m.Bus(), Fault: func(_ int, command []byte) ([]byte, error) {
			if tpmtest.Command(command) == 0x0000015E && times > 0 { // TPM2_Unseal
				times--
				extend(t, m, 14)
			}
			return nil, nil
		}}
		faulty, err := tpm.New(bus)
		must(t, err)
		v.reopen(faulty)
		got, err := v.Unseal(v.now, v.epoch)
		if c.want == nil && (err != nil || !bytes.Equal(got, v.root)) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%d times: %x, %v, want %v", c.times, got, err, c.want)
		}
	}
}

func TestOtherTPM(t *testing.T) {
	_, d := machine(t, tpmtest.None)
	_, other := machine(t, tpmtest.None)
	v := provision(t, d)
	settings, err := d.Setup().Seal(v.root, 1)
	must(t, err)
	stolen := provision(t, other)
	stolen.refuses(t, v.now, v.epoch, tpm.ErrNotOurs)
	if _, err := other.Setup().Unseal(settings, 1); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("settings: %v, want %v", err, tpm.ErrNotOurs)
	}
	// The Name in the blob is ours to write: the TPM refuses what is under it.
	disguised := append(bytes.Clone(stolen.now[:35]), v.now[35:]...)
	stolen.refuses(t, disguised, v.epoch, tpm.ErrNotOurs)
}

func TestSetup(t *testing.T) {
	m, d := machine(t, tpmtest.None)
	root := secret()
	s := d.Setup()
	blob, err := s.Seal(root, 5)
	must(t, err)
	extend(t, m, 7) // no boot state
	must(t, m.Cut())
	if got, err := s.Unseal(blob, 5); err != nil || !bytes.Equal(got, root) {
		t.Fatalf("unseal: %x, %v", got, err)
	}
	if _, err := s.Unseal(blob, 6); !errors.Is(err, tpm.ErrEpoch) {
		t.Errorf("unseal for another number: %v, want %v", err, tpm.ErrEpoch)
	}
	forged := bytes.Clone(blob)
	forged[42] = 6 // last byte of the epoch
	if got, err := s.Unseal(forged, 6); !errors.Is(err, tpm.ErrEpoch) {
		t.Errorf("unseal with the number changed in the blob: %x, %v, want %v", got, err, tpm.ErrEpoch)
	}
	v := provision(t, d)
	if got, err := s.Unseal(v.now, v.epoch); err == nil {
		t.Errorf("a vault's blob opens without a boot state: %x", got)
	}
	if got, err := v.Unseal(blob, 5); err == nil {
		t.Errorf("a setup blob opens as a vault's: %x", got)
	}
	relabeled := bytes.Clone(v.now)
	relabeled[0] = blob[0]
	if got, err := s.Unseal(relabeled, v.epoch); err == nil {
		t.Errorf("a vault's blob opens as a setup blob: %x", got)
	}
}

// TestBlobFlipped flips every byte: nothing but the secret ever comes out, and
// each refusal has a name or says the blob is malformed.
func TestBlobFlipped(t *testing.T) {
	_, d := machine(t, tpmtest.None)
	v := provision(t, d)
	settings, err := d.Setup().Seal(v.root, 1)
	must(t, err)
	for i := range v.now {
		forged := bytes.Clone(v.now)
		forged[i] ^= 0x41
		if got, err := v.Unseal(forged, v.epoch); err == nil {
			t.Errorf("byte %d flipped: %x", i, got)
		} else if errors.Is(err, tpm.ErrUnavailable) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	for i := range settings {
		forged := bytes.Clone(settings)
		forged[i] ^= 0x41
		if got, err := d.Setup().Unseal(forged, 1); err == nil {
			t.Errorf("byte %d of settings flipped: %x", i, got)
		} else if errors.Is(err, tpm.ErrUnavailable) {
			t.Errorf("byte %d of settings flipped: %v", i, err)
		}
	}
	for n := range v.now {
		if _, err := v.Unseal(v.now[:n], v.epoch); err == nil {
			t.Errorf("the first %d bytes open", n)
		}
	}
	if _, err := v.Unseal(append(bytes.Clone(v.now), 0), v.epoch); err == nil {
		t.Error("opens with a byte left over")
	}
}

func TestSecretLength(t *testing.T) {
	_, d := machine(t, tpmtest.None)
	v := provision(t, d)
	for _, n := range []int{0, 31, 33, 128} {
		short := make([]byte, n)
		if _, err := v.Seal(short, v.epoch); err == nil {
			t.Errorf("seal %d bytes", n)
		}
		if _, err := v.Provision(short); err == nil {
			t.Errorf("provision with %d bytes", n)
		}
		if err := v.Advance(short, v.epoch); err == nil {
			t.Errorf("advance with %d bytes", n)
		}
		if _, err := d.Setup().Seal(short, 1); err == nil {
			t.Errorf("seal %d bytes of settings", n)
		}
	}
}

// TestBus: nothing secret crosses the bus in the clear.
func TestBus(t *testing.T) {
	m := tpmtest.Start(t, tpmtest.P256) // with an RSA certificate the content key would cross in two shares
	bus := &tpmtest.Recorder{TPM: m.Bus()}
	d, err := tpm.New(bus)
	must(t, err)
	v := provision(t, d)
	v.opens(t, v.now, v.epoch)
	must(t, v.Advance(v.root, v.epoch))
	auth, err := tpm.EpochAuth(v.root)
	must(t, err)
	settings, err := d.Setup().Seal(v.root, 1)
	must(t, err)
	_, err = d.Setup().Unseal(settings, 1)
	must(t, err)
	content := secret()
	w := wrap(t, identify(t, d), content)
	if got, err := d.Activate(w); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("activate: %x, %v", got, err)
	}
	for name, canary := range map[string][]byte{"root secret": v.root, "counter's auth value": auth, "content key": content} {
		for at := 0; at+8 <= len(canary); at += 8 {
			if bus.Saw(canary[at : at+8]) {
				t.Errorf("the %s crossed the bus", name)
			}
		}
	}
	// The recorder does see what crosses.
	if !bus.Saw(v.signed[0].Signature[:32]) || !bus.Saw(w.P256.Blob) {
		t.Error("the recorder is blind")
	}
}

func FuzzBlob(f *testing.F) {
	f.Add(append([]byte{0x51}, make([]byte, 46)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := tpm.DecodeSealed(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is encoded again as %x", b, again)
		}
	})
}

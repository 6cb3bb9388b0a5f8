package tpm_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

func TestBindingLife(t *testing.T) {
	m, d := machine(t)
	v := provision(t, d)
	for range 3 {
		v.opens(t, v.now, v.epoch)
		v.refuses(t, v.next, v.epoch+1, tpm.ErrEpoch) // the counter is not there yet
		v.refuses(t, v.now, v.epoch+1, tpm.ErrEpoch)  // not what the blob says
		if err := v.Advance(v.root, v.epoch+1); !errors.Is(err, tpm.ErrEpoch) {
			t.Fatalf("advance from an epoch to come: %v", err)
		}
		must(t, v.Advance(v.root, v.epoch))
		if err := v.Advance(v.root, v.epoch); !errors.Is(err, tpm.ErrEpoch) {
			t.Fatalf("advance twice: %v", err)
		}
		v.epoch++
		if at, err := v.Epoch(); err != nil || at != v.epoch {
			t.Fatalf("epoch is %d, %v, want %d", at, err, v.epoch)
		}
		v.opens(t, v.next, v.epoch)
		v.refuses(t, v.now, v.epoch-1, tpm.ErrEpoch) // the old state never comes back
		v.seal(t)
		must(t, m.Cut())
		v.reopen(d)
	}
	noHandles(t, m)
}

// TestMoves: only who knows the secret is told that it moves the counter, and
// asking moves nothing and locks nobody out, however often it is asked.
func TestMoves(t *testing.T) {
	m, d := machine(t)
	v := unprovisioned(t, d)
	if _, err := v.Moves(v.root); !errors.Is(err, tpm.ErrCounter) {
		t.Fatalf("without a counter: %v", err)
	}
	v.provision(t)
	stranger := bytes.Repeat([]byte{7}, 32)
	for range 40 { // more than any lockout allows
		if moves, err := v.Moves(stranger); err != nil || moves {
			t.Fatalf("a stranger's secret: %v, %v", moves, err)
		}
	}
	for range 3 {
		if moves, err := v.Moves(v.root); err != nil || !moves {
			t.Fatalf("its own secret: %v, %v", moves, err)
		}
		must(t, v.Advance(v.root, v.epoch))
		v.epoch++
	}
	_, err := v.Binding.Provision(stranger)
	must(t, err)
	if moves, err := v.Moves(v.root); err != nil || moves {
		t.Fatalf("the secret of a counter that was made anew: %v, %v", moves, err)
	}
	noHandles(t, m)
}

// TestAuthValueWithZeroOctets: go-tpm computes a wrong HMAC for auth values with
// a zero octet before their end; ours is text.
func TestAuthValueWithZeroOctets(t *testing.T) {
	_, d := machine(t)
	v := unprovisioned(t, d)
	var found int
	for n := uint64(0); found < 3; n++ {
		root := binary.BigEndian.AppendUint64(make([]byte, 24), n)
		raw, err := hkdf.Key(sha256.New, root, nil, "leasehold epoch auth v1", 16)
		must(t, err)
		auth, err := tpm.EpochAuth(root)
		must(t, err)
		if want := fmt.Sprintf("%x", raw); string(auth) != want {
			t.Fatalf("auth value is %q, want %q", auth, want)
		}
		if bytes.IndexByte(raw[:15], 0) < 0 {
			continue
		}
		found++
		v.root = root
		v.provision(t)
		must(t, v.Advance(v.root, v.epoch))
	}
}

// TestProvisionCutShort cuts the power before and after every command of
// provisioning. The next try always succeeds and never with a used value.
func TestProvisionCutShort(t *testing.T) {
	for _, executed := range []bool{false, true} {
		commands := 0
		for cut := 0; ; cut++ {
			m := tpmtest.Start(t, tpmtest.None)
			bus := &tpmtest.Faulty{TPM: m.Bus(), Fault: cutAt(m, cut, executed)}
			d, err := tpm.New(bus)
			if err == nil {
				_, err = d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil).Provision(secret())
			}
			if err == nil { // only to flush was left
				commands = cut
				break
			}
			if !errors.Is(err, tpm.ErrUnavailable) {
				t.Fatalf("cut at command %d: %v", cut, err)
			}
			must(t, m.Boot())
			bus.Fault = func(int, []byte) ([]byte, error) { return nil, nil }
			v := provision(t, m.Device(t))
			v.opens(t, v.now, v.epoch)
			must(t, v.Advance(v.root, v.epoch))
			noHandles(t, m)
		}
		if commands < 8 {
			t.Errorf("%d commands of provisioning were cut, want 8", commands)
		}
	}
}

// cutAt takes the power away at the n-th command, before or after it ran.
func cutAt(m *tpmtest.TPM, at int, executed bool) func(int, []byte) ([]byte, error) {
	return func(n int, command []byte) ([]byte, error) {
		if n < at {
			return nil, nil
		}
		if n == at && executed {
			if _, err := m.Bus().Send(command); err != nil {
				return nil, err
			}
		}
		m.Kill()
		return nil, errors.New("power cut")
	}
}

// TestMoveCutShort cuts the power before and after every command of a move. E is
// then at one of the two epochs, and only that one's blob opens.
func TestMoveCutShort(t *testing.T) {
	m, d := machine(t, tpmtest.None)
	v := provision(t, d)
	var moved, stayed int
	for _, executed := range []bool{false, true} {
		for cut := 0; ; cut++ {
			bus := &tpmtest.Faulty{TPM: m.Bus(), Fault: cutAt(m, cut+1, executed)} // 0 is Startup
			faulty, err := tpm.New(bus)
			must(t, err)
			v.reopen(faulty)
			err = v.Advance(v.root, v.epoch)
			v.reopen(d)
			if err != nil && !errors.Is(err, tpm.ErrUnavailable) {
				t.Fatalf("cut at command %d: %v", cut, err)
			}
			uncut := m.Boot() != nil
			acknowledged := err == nil
			at, err := v.Epoch()
			must(t, err)
			if acknowledged && at != v.epoch+1 {
				t.Fatalf("cut at command %d: epoch is %d, a move from %d was acknowledged", cut, at, v.epoch)
			}
			switch at {
			case v.epoch:
				stayed++
				v.opens(t, v.now, v.epoch)
				v.refuses(t, v.next, v.epoch+1, tpm.ErrEpoch)
			case v.epoch + 1:
				moved++
				v.opens(t, v.next, v.epoch+1)
				v.refuses(t, v.now, v.epoch, tpm.ErrEpoch)
				v.epoch++
				v.seal(t)
			default:
				t.Fatalf("cut at command %d: epoch is %d, was %d", cut, at, v.epoch)
			}
			if uncut {
				break
			}
		}
	}
	if moved == 0 || stayed == 0 {
		t.Errorf("%d cuts after the increment, %d before: want some of each", moved, stayed)
	}
}

// TestCounter: what root can do to the counter is seen and turns nothing back.
func TestCounter(t *testing.T) {
	undefine := func(t *testing.T, m *tpmtest.TPM) {
		t.Helper()
		public, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(attest.EpochIndex)}.Execute(m.Bus())
		must(t, err)
		_, err = tpm2.NVUndefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(attest.EpochIndex), Name: public.NVName},
		}.Execute(m.Bus())
		must(t, err)
	}
	define := func(t *testing.T, m *tpmtest.TPM, public tpm2.TPMSNVPublic) {
		t.Helper()
		public.Attributes.Written = false
		_, err := tpm2.NVDefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			PublicInfo: tpm2.New2B(public),
		}.Execute(m.Bus())
		must(t, err)
	}
	increment := func(t *testing.T, m *tpmtest.TPM) {
		t.Helper()
		index := tpm2.TPMHandle(attest.EpochIndex)
		public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(m.Bus())
		must(t, err)
		_, err = tpm2.NVIncrement{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: public.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
		}.Execute(m.Bus())
		must(t, err)
	}
	for _, c := range []struct {
		name          string
		do            func(*testing.T, *tpmtest.TPM)
		epoch, unseal error // nil epoch: the value has moved on
	}{
		{"missing", undefine, tpm.ErrCounter, tpm.ErrCounter},
		{"not written", func(t *testing.T, m *tpmtest.TPM) {
			undefine(t, m)
			define(t, m, attest.EpochPublic(attest.EpochIndex))
		}, tpm.ErrCounter, tpm.ErrCounter},
		{"re-created as it was", func(t *testing.T, m *tpmtest.TPM) {
			undefine(t, m)
			define(t, m, attest.EpochPublic(attest.EpochIndex))
			increment(t, m)
		}, nil, tpm.ErrEpoch},
		{"re-created as an ordinary index", func(t *testing.T, m *tpmtest.TPM) {
			undefine(t, m)
			public := attest.EpochPublic(attest.EpochIndex)
			public.Attributes.NT, public.Attributes.OwnerWrite = tpm2.TPMNTOrdinary, true
			define(t, m, public)
			written, err := tpm2.NVReadPublic{NVIndex: public.NVIndex}.Execute(m.Bus())
			must(t, err)
			_, err = tpm2.NVWrite{ // any value root likes
				AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
				NVIndex:    tpm2.NamedHandle{Handle: public.NVIndex, Name: written.NVName},
				Data:       tpm2.TPM2BMaxNVBuffer{Buffer: binary.BigEndian.AppendUint64(nil, 1)},
			}.Execute(m.Bus())
			must(t, err)
		}, tpm.ErrCounter, tpm.ErrCounter},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, d := machine(t, tpmtest.None)
			v := provision(t, d)
			c.do(t, m)
			at, err := v.Epoch()
			if c.epoch != nil && !errors.Is(err, c.epoch) {
				t.Errorf("epoch: %d, %v, want %v", at, err, c.epoch)
			}
			if c.epoch == nil && (err != nil || at <= v.epoch) {
				t.Errorf("epoch: %d, %v, want more than %d", at, err, v.epoch)
			}
			v.refuses(t, v.now, v.epoch, c.unseal)
			// Re-created, the counter starts at N+1: a state prepared for it opens,
			// as if its move had been completed, but moves no more, and no start
			// serves without a move.
			if got, err := v.Unseal(v.next, v.epoch+1); err == nil && at != v.epoch+1 {
				t.Errorf("the prepared state of the next epoch opens at %d: %x", at, got)
			}
			// Its auth value is not derived from our secret.
			if err := v.Advance(v.root, at); !errors.Is(err, tpm.ErrCounter) {
				t.Errorf("advance: %v, want %v", err, tpm.ErrCounter)
			}
			if _, err := d.CertifyEpoch(attest.EpochIndex, nil); c.epoch != nil && c.name != "re-created as an ordinary index" && !errors.Is(err, tpm.ErrCounter) {
				t.Errorf("certify: %v, want %v", err, tpm.ErrCounter)
			}
		})
	}
}

// TestProvisionLeavesForeignIndex: an index that is not a counter of ours is not
// removed to make room, though the owner could.
func TestProvisionLeavesForeignIndex(t *testing.T) {
	m, d := machine(t, tpmtest.None)
	index := tpm2.TPMHandle(attest.EpochIndex)
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex:    index,
			NameAlg:    tpm2.TPMAlgSHA256,
			Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, NoDA: true},
			DataSize:   8,
		}),
	}.Execute(m.Bus())
	must(t, err)
	v := unprovisioned(t, d)
	if _, err := v.Provision(v.root); !errors.Is(err, tpm.ErrCounter) {
		t.Fatalf("provision over another's index: %v", err)
	}
	if _, err := (tpm2.NVReadPublic{NVIndex: index}).Execute(m.Bus()); err != nil {
		t.Errorf("the other's index is gone: %v", err)
	}
}

// TestCleared: TPM2_Clear ends the vault and no identity, and turns no counter back.
func TestCleared(t *testing.T) {
	m, d := machine(t)
	v := provision(t, d)
	settings, err := d.Setup().Seal(v.root, 1)
	must(t, err)
	before, err := d.HostID()
	must(t, err)
	must(t, d.Sealed(v.now))
	must(t, m.Clear())
	v.refuses(t, v.now, v.epoch, tpm.ErrNotOurs)
	if err := d.Sealed(v.now); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("a blob of before: %v, want %v", err, tpm.ErrNotOurs)
	}
	if err := d.Sealed(v.now[:9]); err == nil || errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("a blob that is cut: %v", err)
	}
	if _, err := d.Setup().Unseal(settings, 1); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("settings of before: %v, want %v", err, tpm.ErrNotOurs)
	}
	if _, err := v.Epoch(); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("epoch of a binding that knew the storage root key: %v, want %v", err, tpm.ErrNotOurs)
	}
	if _, err := v.Seal(v.root, v.epoch); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("seal under a new storage root key: %v, want %v", err, tpm.ErrNotOurs)
	}
	old := v.epoch
	v.reopen(d)
	if _, err := v.Epoch(); !errors.Is(err, tpm.ErrCounter) {
		t.Errorf("epoch: %v, want %v", err, tpm.ErrCounter)
	}
	after, err := d.HostID()
	if err != nil || after != before {
		t.Errorf("host ID is %v, %v, was %v", after, err, before)
	}
	v.provision(t)
	if v.epoch <= old {
		t.Errorf("first epoch is %d, the counter was at %d before", v.epoch, old)
	}
	v.opens(t, v.now, v.epoch)
	e, err := d.Evidence(attest.Request, nil)
	if err != nil || len(e.EKCertificates) != 1 {
		t.Errorf("evidence of a cleared TPM has %d certificates, %v, want 1", len(e.EKCertificates), err)
	}
}

func TestRunningDigest(t *testing.T) {
	type state struct {
		digest           [32]byte
		resets, restarts uint32
	}
	var zero [32]byte
	for _, c := range []struct {
		name  string
		event func(*tpmtest.TPM) error
		want  func(before state) state
	}{
		{"nothing", func(*tpmtest.TPM) error { return nil }, func(b state) state { return b }},
		{"power cut", (*tpmtest.TPM).Cut, func(b state) state { return state{zero, b.resets + 1, b.restarts} }},
		{"orderly power cycle", (*tpmtest.TPM).PowerCycle, func(b state) state { return state{zero, b.resets + 1, 0} }},
		{"restart without a reset", (*tpmtest.TPM).Restart, func(b state) state { return state{zero, b.resets, b.restarts + 1} }},
		{"suspend and resume", (*tpmtest.TPM).Resume, func(b state) state { return state{b.digest, b.resets, b.restarts + 1} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, d := machine(t, tpmtest.None)
			b := d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
			read := func() (s state) {
				t.Helper()
				var err error
				s.digest, s.resets, s.restarts, err = b.Running()
				must(t, err)
				return s
			}
			want := read()
			if want.digest != zero {
				t.Fatalf("fresh digest is %x", want.digest)
			}
			for i := range 3 {
				group := sha256.Sum256([]byte{byte(i)})
				must(t, b.Extend(group))
				want.digest = sha256.Sum256(append(want.digest[:], group[:]...))
				if got := read(); got != want {
					t.Fatalf("after group %d: %+v, want %+v", i, got, want)
				}
			}
			must(t, c.event(m))
			if got := read(); got != c.want(want) {
				t.Errorf("%+v, want %+v", got, c.want(want))
			}
			_, err := tpm2.PCRReset{PCRHandle: tpm2.AuthHandle{Handle: attest.RunningPCR, Auth: tpm2.PasswordAuth(nil)}}.Execute(m.Bus())
			if !errors.Is(err, tpm2.TPMRCLocality) {
				t.Errorf("reset of the running digest: %v, want %v", err, tpm2.TPMRCLocality)
			}
		})
	}
}

// TestRunningWaitsForNoOperation: a commit group never waits for a quote.
func TestRunningWaitsForNoOperation(t *testing.T) {
	_, d := machine(t, tpmtest.None)
	b := d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
	release := d.HoldOperation()
	defer release()
	must(t, b.Extend([32]byte{1}))
	if _, _, _, err := b.Running(); err != nil {
		t.Error(err)
	}
	if _, err := d.Clock(); err != nil {
		t.Error(err)
	}
	if _, err := d.BootState(); err != nil {
		t.Error(err)
	}
}

func TestRunningPCR(t *testing.T) {
	m := tpmtest.Start(t, tpmtest.None)
	d := m.Device(t)
	for pcr := -1; pcr <= 24; pcr++ {
		b := d.Binding(attest.EpochIndex, pcr, attest.BootKey{}, nil)
		allowed := pcr >= 0 && pcr <= 15 && pcr != 7 && pcr != 11 && pcr != 12
		if err := b.Extend([32]byte{}); (err == nil) != allowed {
			t.Errorf("extend PCR %d: %v", pcr, err)
		}
		if _, _, _, err := b.Running(); (err == nil) != allowed {
			t.Errorf("read PCR %d: %v", pcr, err)
		}
	}
}

// TestMoveInTwoRuns: a TPM that is busy after the increment has the operation run again, which does not move E again, nor take the move for
// another's.
func TestMoveInTwoRuns(t *testing.T) {
	m, plain := machine(t)
	v := provision(t, plain)
	for _, code := range []tpm2.TPMRC{tpm2.TPMRCNVUnavailable, tpm2.TPMRCSessionMemory, tpm2.TPMRCObjectMemory} {
		moved, struck := false, false
		d, err := tpm.New(&tpmtest.Faulty{TPM: m.Bus(), Fault: func(_ int, command []byte) ([]byte, error) {
			if moved && !struck {
				struck = true
				return tpmtest.Refusal(code), nil
			}
			moved = moved || tpmtest.Command(command) == tpm2.TPMCCNVIncrement
			return nil, nil
		}})
		must(t, err)
		v.reopen(d)
		if err := v.Advance(v.root, v.epoch); err != nil || !struck {
			t.Fatalf("%v after the increment: %v", code, err)
		}
		v.epoch++
		if at, err := v.Epoch(); err != nil || at != v.epoch {
			t.Fatalf("epoch is %d, %v, want %d", at, err, v.epoch)
		}
	}
}

package tpm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// operation is everything a Device and a Binding do, over a bus that may fail.
type operation struct {
	name string
	do   func(*tpm.Device, *vault) error
}

func operations(t *testing.T, d *tpm.Device, v *vault) []operation {
	t.Helper()
	settings, err := d.Setup().Seal(v.root, 1)
	must(t, err)
	w := wrap(t, identify(t, d), secret())
	only := func(_ any, err error) error { return err }
	return []operation{
		{"Info", func(d *tpm.Device, _ *vault) error { return only(d.Info()) }},
		{"HostID", func(d *tpm.Device, _ *vault) error { return only(d.HostID()) }},
		{"Evidence", func(d *tpm.Device, _ *vault) error { d.Forget(); return only(d.Evidence(attest.Request, nil)) }},
		{"Session", func(d *tpm.Device, _ *vault) error { return only(d.Session(nil)) }},
		{"CertifyEpoch", func(d *tpm.Device, _ *vault) error { return only(d.CertifyEpoch(attest.EpochIndex, nil)) }},
		{"Activate", func(d *tpm.Device, _ *vault) error { return only(d.Activate(w)) }},
		{"Clock", func(d *tpm.Device, _ *vault) error { return only(d.Clock()) }},
		{"BootState", func(d *tpm.Device, _ *vault) error { return only(d.BootState()) }},
		{"Setup.Seal", func(d *tpm.Device, v *vault) error { return only(d.Setup().Seal(v.root, 1)) }},
		{"Setup.Unseal", func(d *tpm.Device, _ *vault) error { return only(d.Setup().Unseal(settings, 1)) }},
		{"Seal", func(_ *tpm.Device, v *vault) error { return only(v.Seal(v.root, v.epoch)) }},
		{"Unseal", func(_ *tpm.Device, v *vault) error { return only(v.Unseal(v.now, v.epoch)) }},
		{"Epoch", func(_ *tpm.Device, v *vault) error { return only(v.Epoch()) }},
		{"Extend", func(_ *tpm.Device, v *vault) error { return v.Extend([32]byte{1}) }},
		{"Running", func(_ *tpm.Device, v *vault) error { _, _, _, err := v.Running(); return err }},
		{"Advance", func(_ *tpm.Device, v *vault) error { return v.Advance(v.root, v.epoch) }},
		{"Provision", func(_ *tpm.Device, v *vault) error { return only(v.Provision(v.root)) }},
	}
}

// TestFaults injects every fault at every command of every operation. No fault
// panics, none passes for an answer, each is named or is the TPM's own refusal,
// and when it is over the device works and no handle is left.
func TestFaults(t *testing.T) {
	type fault struct {
		name   string
		refuse []byte                                // instead of the command, or
		spoil  func(response []byte) ([]byte, error) // the response of one that ran
		named  error
	}
	fixed := func(b []byte, err error) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return b, err }
	}
	success := func(body string) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
		b = binary.BigEndian.AppendUint32(b, uint32(10+len(body)))
		return append(append(b, 0, 0, 0, 0), body...)
	}
	faults := []fault{
		{name: "EOF", spoil: fixed(nil, io.EOF), named: tpm.ErrUnavailable},
		{name: "nothing", spoil: fixed([]byte{}, nil), named: tpm.ErrUnavailable},
		{name: "five bytes", spoil: fixed([]byte{0x80, 1, 0, 0, 0}, nil), named: tpm.ErrUnavailable},
		{name: "a wrong length", spoil: fixed(append(tpmtest.Refusal(0), 0), nil), named: tpm.ErrUnavailable},
		{name: "success and 0xff", spoil: fixed(success(string(bytes.Repeat([]byte{0xff}, 200))), nil)},
		{name: "success and zeros", spoil: fixed(success(string(make([]byte, 200))), nil)},
		{name: "cut in half", spoil: func(r []byte) ([]byte, error) {
			r = bytes.Clone(r[:10+(len(r)-10)/2])
			binary.BigEndian.PutUint32(r[2:], uint32(len(r)))
			return r, nil
		}},
	}
	for _, code := range []tpm2.TPMRC{
		tpm2.TPMRCFailure, tpm2.TPMRCInitialize, tpm2.TPMRCObjectMemory, tpm2.TPMRCReferenceH0, tpm2.TPMRCNVUnavailable, tpm2.TPMRCRetry,
	} {
		faults = append(faults, fault{name: fmt.Sprintf("%v", code), refuse: tpmtest.Refusal(code), named: tpm.ErrUnavailable})
	}
	for _, code := range []tpm2.TPMRC{
		tpm2.TPMRCLockout, tpm2.TPMRCValue, tpm2.TPMRCHandle, tpm2.TPMRCIntegrity, tpm2.TPMRCPolicyFail, tpm2.TPMRCPolicy, tpm2.TPMRCBadAuth,
	} {
		faults = append(faults, fault{name: fmt.Sprintf("%v", code), refuse: tpmtest.Refusal(code)})
	}

	m, plain := machine(t, tpmtest.Chained)
	bus := &tpmtest.Faulty{TPM: m.Bus(), Fault: func(int, []byte) ([]byte, error) { return nil, nil }}
	d, err := tpm.New(bus)
	must(t, err)
	d.SetWait(func(time.Duration) {})
	v := provision(t, plain)
	v.reopen(d)
	for _, op := range operations(t, plain, v) {
		for _, fault := range faults {
			for at := 0; ; at++ {
				var n int
				var spoiled tpm2.TPMCC
				bus.Fault = func(_ int, command []byte) ([]byte, error) {
					n++
					// Once struck, it stays: what is sent again fails again.
					if n-1 < at || spoiled != 0 && tpmtest.Command(command) != spoiled {
						return nil, nil
					}
					spoiled = tpmtest.Command(command)
					if fault.refuse != nil {
						return fault.refuse, nil
					}
					response, err := m.Bus().Send(command)
					if err != nil {
						return nil, err
					}
					return fault.spoil(response)
				}
				err := op.do(d, v)
				struck := spoiled
				bus.Fault = func(int, []byte) ([]byte, error) { return nil, nil }
				what := fmt.Sprintf("%s: %s at command %d, %v", op.name, fault.name, at, struck)
				judgeFault(t, what, struck, fault.refuse != nil, fault.named, err)

				// What the fault left behind, the next operation mends: after the last
				// fault it runs without one.
				if !slices.Contains([]string{"Advance", "Provision"}, op.name) {
					if struck == 0 {
						break
					}
					continue
				}
				if epoch, err := v.Epoch(); op.name == "Provision" && errors.Is(err, tpm.ErrCounter) {
					v.provision(t)
				} else if err != nil {
					t.Fatalf("%s: then epoch: %v", what, err)
				} else if epoch != v.epoch {
					v.epoch = epoch
					v.seal(t)
				}
				if struck == 0 {
					break
				}
			}
		}
	}
	must(t, plain.FlushAll()) // of answers that were spoiled after they ran
}

func judgeFault(t *testing.T, what string, struck tpm2.TPMCC, refused bool, named, err error) {
	t.Helper()
	if err == nil {
		// Without these the operation is complete: objects are flushed later, and
		// certificates that cannot be read are left out.
		passes := []tpm2.TPMCC{0, tpm2.TPMCCFlushContext, tpm2.TPMCCNVReadPublic, tpm2.TPMCCNVRead, tpm2.TPMCCGetCapability}
		if !refused {
			// These ran; their answers hold nothing, or plain numbers without a session.
			passes = append(passes, tpm2.TPMCCPolicyPCR, tpm2.TPMCCPolicyAuthorize, tpm2.TPMCCReadClock)
		}
		if !slices.Contains(passes, struck) {
			t.Errorf("%s: passes for an answer", what)
		}
		return
	}
	if struck == 0 {
		t.Errorf("%s: %v without a fault", what, err)
	}
	if named != nil && !errors.Is(err, named) && !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("%s: %v, want %v", what, err, named)
	}
	var refusal tpm2.TPMRC
	known := errors.As(err, &refusal)
	for _, name := range []error{tpm.ErrUnavailable, tpm.ErrBootState, tpm.ErrEpoch, tpm.ErrCounter, tpm.ErrNotOurs} {
		known = known || errors.Is(err, name)
	}
	if !known {
		t.Errorf("%s: %v has no name", what, err)
	}
}

// TestCodes is the table of meanings where no real TPM gives the code: the same
// code means something else from another command.
func TestCodes(t *testing.T) {
	m, plain := machine(t)
	v := provision(t, plain)
	w := wrap(t, identify(t, plain), secret())
	unseal := func(_ *tpm.Device, v *vault) error { _, err := v.Unseal(v.now, v.epoch); return err }
	epoch := func(_ *tpm.Device, v *vault) error { _, err := v.Epoch(); return err }
	advance := func(_ *tpm.Device, v *vault) error { return v.Advance(v.root, v.epoch) }
	activate := func(d *tpm.Device, _ *vault) error { _, err := d.Activate(w); return err }
	session := func(d *tpm.Device, _ *vault) error { _, err := d.Session(nil); return err }
	for _, c := range []struct {
		command tpm2.TPMCC
		code    tpm2.TPMRC
		do      func(*tpm.Device, *vault) error
		want    error
	}{
		{tpm2.TPMCCPolicyPCR, tpm2.TPMRCValue + 0x140, unseal, tpm.ErrBootState}, // parameter 1
		{tpm2.TPMCCPolicyAuthorize, tpm2.TPMRCValue, unseal, tpm.ErrBootState},
		{tpm2.TPMCCPolicyAuthorize, tpm2.TPMRCPolicyFail, unseal, tpm.ErrBootState},
		{tpm2.TPMCCVerifySignature, tpm2.TPMRCSignature, unseal, tpm.ErrBootState},
		{tpm2.TPMCCUnseal, tpm2.TPMRCPolicyFail, unseal, tpm.ErrBootState},
		{tpm2.TPMCCPolicyNV, tpm2.TPMRCPolicy, unseal, tpm.ErrEpoch},
		{tpm2.TPMCCPolicyNV, tpm2.TPMRCHandle, unseal, tpm.ErrCounter},
		{tpm2.TPMCCPolicyNV, tpm2.TPMRCNVUninitialized, unseal, tpm.ErrCounter},
		{tpm2.TPMCCNVRead, tpm2.TPMRCHandle, epoch, tpm.ErrCounter},
		{tpm2.TPMCCNVRead, tpm2.TPMRCBadAuth, epoch, tpm.ErrCounter},
		{tpm2.TPMCCNVIncrement, tpm2.TPMRCAuthFail, advance, tpm.ErrCounter},
		{tpm2.TPMCCNVIncrement, tpm2.TPMRCBadAuth, advance, tpm.ErrCounter},
		{tpm2.TPMCCLoad, tpm2.TPMRCIntegrity, unseal, tpm.ErrNotOurs},
		{tpm2.TPMCCActivateCredential, tpm2.TPMRCIntegrity, activate, tpm.ErrNotOurs},
		{tpm2.TPMCCActivateCredential, tpm2.TPMRCFailure, activate, tpm.ErrNotOurs}, // and GetRandom works
		{tpm2.TPMCCQuote, tpm2.TPMRCFailure, session, tpm.ErrUnavailable},
		{tpm2.TPMCCQuote, tpm2.TPMRCObjectMemory, session, tpm.ErrUnavailable},
		{tpm2.TPMCCLoad, tpm2.TPMRCObjectMemory, unseal, tpm.ErrUnavailable},
		{tpm2.TPMCCStartAuthSession, tpm2.TPMRCSessionMemory, unseal, tpm.ErrUnavailable},
		{tpm2.TPMCCNVIncrement, tpm2.TPMRCNVUnavailable, advance, tpm.ErrUnavailable},
		{tpm2.TPMCCUnseal, tpm2.TPMRCReferenceH0, unseal, tpm.ErrUnavailable},
		{tpm2.TPMCCUnseal, tpm2.TPMRCCanceled, unseal, tpm.ErrUnavailable},
	} {
		struck := false
		d, err := tpm.New(&tpmtest.Faulty{TPM: m.Bus(), Fault: func(_ int, command []byte) ([]byte, error) {
			if tpmtest.Command(command) == c.command {
				struck = true
				return tpmtest.Refusal(c.code), nil
			}
			return nil, nil
		}})
		must(t, err)
		v.reopen(d)
		err = c.do(d, v)
		if !struck || !errors.Is(err, c.want) {
			t.Errorf("%v from %v: %v, want %v", c.code, c.command, err, c.want)
		}
		if c.want != tpm.ErrUnavailable && errors.Is(err, tpm.ErrUnavailable) {
			t.Errorf("%v from %v: %v looks temporary", c.code, c.command, err)
		}
	}
	must(t, plain.FlushAll())
}

// TestLeftovers: handles that a dead process left fill the TPM; an operation
// flushes them and goes on, and Open does so at once.
func TestLeftovers(t *testing.T) {
	m, d := machine(t)
	fill := func() {
		t.Helper()
		for {
			if _, err := (tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}).Execute(m.Bus()); err != nil {
				break
			}
		}
		for {
			if _, _, err := tpm2.PolicySession(m.Bus(), tpm2.TPMAlgSHA256, 16); err != nil {
				break
			}
		}
	}
	fill()
	v := provision(t, d)
	v.opens(t, v.now, v.epoch)
	noHandles(t, m)
	fill()
	opened, err := tpm.Open(m.Address())
	must(t, err)
	must(t, opened.Close())
	noHandles(t, m)
	if _, err := opened.HostID(); !errors.Is(err, tpm.ErrUnavailable) {
		t.Errorf("a closed device: %v, want %v", err, tpm.ErrUnavailable)
	}
}

// TestBrokenOff: what an operation could not flush, because the way to the TPM
// broke, the next one does.
func TestBrokenOff(t *testing.T) {
	m, plain := machine(t)
	v := provision(t, plain)
	broken := false
	d, err := tpm.New(&tpmtest.Faulty{TPM: m.Bus(), Fault: func(_ int, command []byte) ([]byte, error) {
		if broken = broken || tpmtest.Command(command) == tpm2.TPMCCUnseal; broken {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, nil
	}})
	must(t, err)
	v.reopen(d)
	if _, err := v.Unseal(v.now, v.epoch); !errors.Is(err, tpm.ErrUnavailable) {
		t.Fatalf("%v, want %v", err, tpm.ErrUnavailable)
	}
	if left, err := m.Handles(); err != nil || len(left) < 3 {
		t.Fatalf("%d handles are left, %v: nothing was broken off", len(left), err)
	}
	if _, err := d.HostID(); !errors.Is(err, tpm.ErrUnavailable) {
		t.Errorf("%v, want %v", err, tpm.ErrUnavailable)
	}
	// The bus is whole again, and with it the device.
	broken = false
	if _, err := d.HostID(); err != nil {
		t.Error(err)
	}
	noHandles(t, m)
}

// TestRestartInBetween: a TPM that restarts under an operation loses its objects;
// the operation begins again.
func TestRestartInBetween(t *testing.T) {
	m, plain := machine(t)
	v := provision(t, plain)
	for at := 2; ; at++ {
		cycled := false
		d, err := tpm.New(&tpmtest.Faulty{TPM: m.Bus(), Fault: func(n int, _ []byte) ([]byte, error) {
			if n == at {
				cycled = true
				return nil, m.PowerCycle()
			}
			return nil, nil
		}})
		must(t, err)
		v.reopen(d)
		got, err := v.Unseal(v.now, v.epoch)
		if err != nil && !errors.Is(err, tpm2.TPMRCHandle) && !errors.Is(err, tpm.ErrUnavailable) && !errors.Is(err, tpm2.TPMRCValue) ||
			err == nil && !bytes.Equal(got, v.root) {
			t.Errorf("restart at command %d: %x, %v", at, got, err)
		}
		v.opens(t, v.now, v.epoch)
		if !cycled {
			break
		}
	}
}

// TestResend: what the TPM asks to have sent again is, for 15 seconds, and then
// its own code goes up.
func TestResend(t *testing.T) {
	m, _ := machine(t)
	for _, c := range []struct {
		times int // -1: always
		want  error
	}{{0, nil}, {1, nil}, {10, nil}, {-1, tpm.ErrUnavailable}} {
		left := c.times
		bus := &tpmtest.Faulty{TPM: m.Bus(), Fault: func(n int, _ []byte) ([]byte, error) {
			if n == 0 || left == 0 {
				return nil, nil
			}
			left--
			return tpmtest.Refusal(tpm2.TPMRCRetry), nil
		}}
		d, err := tpm.New(bus)
		must(t, err)
		var waited, last time.Duration
		d.SetWait(func(w time.Duration) {
			if waited == 0 && w != 5*time.Millisecond || w < last || w > time.Second {
				t.Errorf("waits %v after %v", w, last)
			}
			waited, last = waited+w, w
		})
		before := d.Answers()
		_, err = d.Clock()
		if n := d.Answers() - before; c.times >= 0 && n != uint64(c.times)+1 || c.times < 0 && n < 15 {
			t.Errorf("busy %d times: %d answers are counted", c.times, n)
		}
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%d times: %v, want %v", c.times, err, c.want)
		}
		if c.times < 0 && (waited < 15*time.Second || waited > 16*time.Second || !errors.Is(err, tpm2.TPMRCRetry)) {
			t.Errorf("gave up after %v with %v", waited, err)
		}
	}
}

// TestConcurrent: every goroutine gets its own answers.
func TestConcurrent(t *testing.T) {
	m, d := machine(t, tpmtest.None)
	v := provision(t, d)
	host, err := d.HostID()
	must(t, err)
	done := make(chan error)
	for _, f := range []func() error{
		func() error { _, err := v.Unseal(v.now, v.epoch); return err },
		func() error {
			e, err := v.Epoch()
			if err == nil && e != v.epoch {
				err = fmt.Errorf("epoch is %d, want %d", e, v.epoch)
			}
			return err
		},
		func() error {
			h, err := d.HostID()
			if err == nil && h != host {
				err = fmt.Errorf("host ID is %v, want %v", h, host)
			}
			return err
		},
		func() error { _, err := d.Clock(); return err },
		func() error { _, _, _, err := v.Running(); return err },
		func() error { _, err := d.Evidence(attest.Request, nil); return err },
	} {
		go func() {
			for range 30 {
				if err := f(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	noHandles(t, m)
}

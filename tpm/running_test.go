package tpm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// wiretap keeps what crosses a bus.
type wiretap struct {
	bus       interface{ Send([]byte) ([]byte, error) }
	commands  [][]byte
	responses [][]byte
	change    func(command, response []byte) []byte // nil: nothing
}

func (w *wiretap) Send(command []byte) ([]byte, error) {
	response, err := w.bus.Send(command)
	if w.change != nil && err == nil {
		response = w.change(command, response)
	}
	w.commands, w.responses = append(w.commands, bytes.Clone(command)), append(w.responses, bytes.Clone(response))
	return response, err
}

// The commands of a group are written by hand: they are those that go-tpm writes.
func TestCommandsOfAGroup(t *testing.T) {
	m := tpmtest.Start(t, tpmtest.None)
	ours, theirs := &wiretap{bus: m.Bus()}, &wiretap{bus: m.Bus()}
	d, err := tpm.New(ours)
	must(t, err)
	for _, pcr := range []int{0, 8, attest.RunningPCR} {
		group := [32]byte{1, 2, byte(pcr)}
		b := d.Binding(attest.EpochIndex, pcr, attest.BootKey{}, nil)
		ours.commands, theirs.commands = nil, nil
		must(t, b.Extend(group))
		_, _, _, err = b.Running()
		must(t, err)
		_, err = tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: group[:]}}},
		}.Execute(theirs)
		must(t, err)
		_, err = tpm2.PCRRead{PCRSelectionIn: attest.SelectPCRs(uint(pcr))}.Execute(theirs)
		must(t, err)
		_, err = tpm2.ReadClock{}.Execute(theirs)
		must(t, err)
		if !slices.EqualFunc(ours.commands, theirs.commands, bytes.Equal) {
			t.Errorf("PCR %d:\n%x\n%x", pcr, ours.commands, theirs.commands)
		}
	}
}

// An answer that is cut short anywhere, or says something else than it must, is no reading.
func TestReadingsOfABrokenTPM(t *testing.T) {
	m := tpmtest.Start(t, tpmtest.None)
	w := &wiretap{bus: m.Bus()}
	d, err := tpm.New(w)
	must(t, err)
	b := d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
	w.responses = nil
	_, _, _, err = b.Running()
	must(t, err)
	good := w.responses
	for i, kind := range []tpm2.TPMCC{tpm2.TPMCCPCRRead, tpm2.TPMCCReadClock} {
		broken := map[string][]byte{"another tag": append([]byte{0x80, 0x02}, good[i][2:]...), "more": append(bytes.Clone(good[i]), 0)}
		for n := 10; n < len(good[i]); n++ {
			broken[fmt.Sprintf("the first %d bytes", n)] = bytes.Clone(good[i][:n])
		}
		if kind == tpm2.TPMCCPCRRead {
			for name, at := range map[string]int{"two selections": 17, "another bank": 19, "no digest": len(good[i]) - 35, "a digest of 31 bytes": len(good[i]) - 33} {
				broken[name] = bytes.Clone(good[i])
				broken[name][at]--
			}
		}
		for name, response := range broken {
			binary.BigEndian.PutUint32(response[2:], uint32(len(response)))
			w.change = func(command, r []byte) []byte {
				if tpmtest.Command(command) == kind {
					return response
				}
				return r
			}
			if digest, _, _, err := b.Running(); !errors.Is(err, tpm.ErrUnavailable) || digest != [32]byte{} {
				t.Errorf("%v, %s: %x, %v", kind, name, digest, err)
			}
		}
	}
}

// canned answers as a TPM that takes no time.
type canned struct{ responses map[tpm2.TPMCC][]byte }

func (c canned) Send(command []byte) ([]byte, error) {
	return bytes.Clone(c.responses[tpmtest.Command(command)]), nil
}

// BenchmarkGroup is what a commit group asks of the TPM, without the TPM.
func BenchmarkGroup(b *testing.B) {
	m := tpmtest.Start(b, tpmtest.None)
	w := &wiretap{bus: m.Bus()}
	d, err := tpm.New(w)
	must(b, err)
	group := func(d *tpm.Device) {
		v := d.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
		must(b, v.Extend([32]byte{1}))
		_, _, _, err := v.Running()
		must(b, err)
	}
	group(d)
	c := canned{map[tpm2.TPMCC][]byte{}}
	for i, command := range w.commands {
		c.responses[tpmtest.Command(command)] = w.responses[i]
	}
	if d, err = tpm.New(c); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		group(d)
	}
}

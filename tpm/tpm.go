// Package tpm asks one TPM 2.0 who the machine is, and lets it keep a secret,
// count and tell time. It knows no licenses. All it creates is transient, except
// one NV counter. Start with [Open].
//
// The bytes that leave the machine, and the code that judges them, are in package
// attest. Commands and structures are those of the TCG's TPM 2.0 Library, parts 2
// and 3.
package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/leasehold/leasehold/tpm/attest"
)

// What a caller can do something about. ErrUnavailable and ErrLockout are
// temporary, unlike the others.
var (
	ErrUnavailable = errors.New("tpm does not answer")
	ErrBootState   = errors.New("boot state is not one the producer signed")
	ErrEpoch       = errors.New("sealed to another epoch")
	ErrCounter     = errors.New("epoch counter is missing or was replaced")
	ErrNotOurs     = errors.New("made for another tpm, or before this one was cleared")
	ErrLockout     = errors.New("tpm is locked out")
	ErrPassword    = errors.New("a hierarchy of the tpm has a password")
	ErrOld         = errors.New("it is a tpm 1.2")
)

// DefaultAddress is the kernel's resource manager, which several programs share.
const DefaultAddress = "/dev/tpmrm0"

// Device is one TPM. Its methods are safe for several goroutines. Two locks order
// them: every operation holds the device for itself, because sessions and object
// slots are shared, except that Clock, BootState and a Binding's Extend and
// Running wait for one command at most.
type Device struct {
	link *link
	op   sync.Mutex // held per operation

	// unclean: the last operation broke off where it could not flush; guarded by op.
	unclean bool

	// What does not change while the TPM is there: how much one NV read gives, and
	// the makers' chain; guarded by op, zero and false while unknown.
	chunk     int
	authority [][]byte // see chain
	chained   bool
}

// Open opens a device path, "unix:PATH" or "tcp:ADDR" (an IP address and port).
// Over a socket it takes the TPM for itself and flushes what a dead process left.
func Open(address string) (*Device, error) {
	return openWithin(address, replyTimeout)
}

func openWithin(address string, timeout time.Duration) (*Device, error) {
	w, err := dial(address, timeout)
	if err != nil {
		return nil, fmt.Errorf("open tpm %s: %w", address, err)
	}
	d, err := New(w)
	if err == nil && w.socket {
		err = d.link.flushAll()
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("open tpm %s: %w", address, err)
	}
	return d, nil
}

// is20 are the bits of which every response code of a TPM 2.0 has one, and none of a TPM 1.2 (TPM 2.0 Part 2, 6.6.2), which answers commands that it does not know: 0x00a, or 0x01e to the tag.
const is20 = tpm2.TPMRC(0x180)

// New uses t, which need not be safe for concurrent use: the Device locks it. It
// starts the TPM if its firmware did not.
func New(t transport.TPM) (*Device, error) {
	d := &Device{link: newLink(t)}
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(d.link); err != nil && !errors.Is(err, tpm2.TPMRCInitialize) {
		if old := tpm2.TPMRC(0); errors.As(err, &old) && old&is20 == 0 {
			err = fmt.Errorf("%w: %w", ErrOld, err)
		}
		return nil, explain("start the tpm", err)
	}
	return d, nil
}

// Close waits for the command under way and closes the transport.
func (d *Device) Close() error { return d.link.Close() }

// Answers counts what the TPM has answered, also that it is busy: while it grows,
// an operation that takes long goes on.
func (d *Device) Answers() uint64 { return d.link.answers.Load() }

// Info is what the TPM says of itself: shown, never believed.
type Info struct {
	Maker    string // four letters of the TCG vendor list, as "STM" or "IBM"
	Model    string
	Firmware uint64

	// Lockout is how many wrong authorizations the TPM remembers, MaxTries at
	// how many it locks. Nothing of ours is subject to it.
	Lockout, MaxTries uint32

	// LockoutEnds is, where the TPM is locked out, the longest that it stays so
	// while it has power and nobody tries again; the TPM keeps how much of it has
	// passed to itself. Zero where it is not locked out.
	LockoutEnds time.Duration
}

// Info reads maker, firmware and lockout counter.
func (d *Device) Info() (Info, error) {
	fixed, err := properties(d.link, tpm2.TPMPTManufacturer, 8)
	if err != nil {
		return Info{}, explain("read properties of the tpm", err)
	}
	variable, err := properties(d.link, tpm2.TPMPTLockoutCounter, 3)
	if err != nil {
		return Info{}, explain("read properties of the tpm", err)
	}
	var model string
	for p := tpm2.TPMPTVendorString1; p <= tpm2.TPMPTVendorString4; p++ {
		model += letters(fixed[p])
	}
	info := Info{
		Maker:    letters(fixed[tpm2.TPMPTManufacturer]),
		Model:    strings.Join(strings.Fields(model), " "),
		Firmware: uint64(fixed[tpm2.TPMPTFirmwareVersion1])<<32 | uint64(fixed[tpm2.TPMPTFirmwareVersion2]),
		Lockout:  variable[tpm2.TPMPTLockoutCounter],
		MaxTries: variable[tpm2.TPMPTMaxAuthFail],
	}
	// One try is forgotten per interval (TPM 2.0 Library, part 1, 19.8).
	if over := int64(info.Lockout) - int64(info.MaxTries) + 1; over > 0 && info.MaxTries > 0 {
		info.LockoutEnds = time.Duration(over*int64(variable[tpm2.TPMPTLockoutInterval])) * time.Second
	}
	return info, nil
}

// letters are the printable ASCII characters of a property.
func letters(v uint32) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(binary.BigEndian.AppendUint32(nil, v)))
}

func properties(t transport.TPM, first tpm2.TPMPT, count uint32) (map[tpm2.TPMPT]uint32, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(first), PropertyCount: count}.Execute(t)
	if err != nil {
		return nil, err
	}
	list, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return nil, err
	}
	values := map[tpm2.TPMPT]uint32{}
	for _, p := range list.TPMProperty {
		values[p.Property] = p.Value
	}
	return values, nil
}

// BootState reads PCR 7, 11 and 12, 96 bytes, as evidence quotes them and the
// producer signs them. It waits for one command at most.
func (d *Device) BootState() ([]byte, error) {
	b, err := readPCRs(d.link, 7, 11, 12)
	if err != nil {
		return nil, explain("read the boot state", err)
	}
	return b, nil
}

func readPCRs(t transport.TPM, pcrs ...uint) ([]byte, error) {
	rsp, err := tpm2.PCRRead{PCRSelectionIn: attest.SelectPCRs(pcrs...)}.Execute(t)
	if err != nil {
		return nil, err
	}
	var values []byte
	for _, d := range rsp.PCRValues.Digests {
		values = append(values, d.Buffer...)
	}
	if len(rsp.PCRValues.Digests) != len(pcrs) || len(values) != 32*len(pcrs) {
		return nil, fmt.Errorf("asked for %d PCRs of the SHA-256 bank and got %d, %d bytes", len(pcrs), len(rsp.PCRValues.Digests), len(values))
	}
	return values, nil
}

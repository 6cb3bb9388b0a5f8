package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/tpmfault"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"

	"github.com/leasehold/leasehold/appliance"
)

// opened is trusted storage after its start decision.
type opened struct {
	ledger  *ledger.Ledger
	vault   *storage.Vault
	held    bool
	shared  bool                // the hold is because another used the TPM
	cause   string              // the start decision in words
	lost    *capability.Refusal // why the storage that was here before cannot be used; nil where there was none or it can
	counter func() (uint64, error)
	found   func(boot capability.Boot, proved bool, state []byte) (appliance.Vault, uint64, error)
	archive func(v appliance.Vault, first, last uint64, recovery ledger.RecoveryView) (appliance.Archive, error)
	note    func(key, note []byte) ([]byte, error) // opens the note of a backup
	boot    *appliance.Public                      // that the vault is sealed to; apart, because others keep it, and the journal is not theirs to keep
	states  capability.Boot                        // that the run begins with: of boot, or what is signed ahead for a vault to come
	journal [][]byte                               // entries since the snapshot
	length  int64                                  // of the snapshot
	settled func()
}

// place is the state directory. It holds one of two storages: requests before the first response, sealed to this TPM in any boot state and holding no right;
// vault after it, sealed to this TPM, a signed boot state and the epoch. When both are there and the vault opens, a power cut came between making the vault
// and leaving requests. A vault that cannot be used any more stays as it is while requests beside it ask for its repair; the response to one of them makes
// another vault, and the old one is put aside.
type place struct {
	state  string
	device *tpm.Device
	keys   *storage.Page
	image  appliance.Image
	log    *slog.Logger
}

func (p place) requests() string { return filepath.Join(p.state, "requests") }
func (p place) vault() string    { return filepath.Join(p.state, "vault") }

func (p place) open() (*opened, error) {
	if err := os.MkdirAll(p.state, 0o700); err != nil {
		return nil, err
	}
	lost, err := p.lost()
	if err != nil {
		return nil, err
	}
	if lost == nil {
		if _, err := storage.Public(storage.Dir(p.vault())); err == nil {
			s, err := p.openVault()
			if lost = repairable(err); lost == nil {
				return s, err
			}
		} else if !errors.Is(err, storage.ErrAbsent) {
			if lost = repairable(condition(err)); lost == nil {
				return nil, condition(err)
			}
		}
	}
	s, err := p.openRequests(lost)
	if refusal := repairable(err); refusal != nil {
		// It holds no right. What is lost with it are the numbers of requests, and the back office is asked for a repair.
		if err := p.aside(p.requests()); err != nil {
			return nil, err
		}
		if lost == nil {
			lost = refusal
		}
		s, err = p.openRequests(lost)
	}
	return s, err
}

// lost says why a vault that is not there, or without its header, cannot be used: the TPM has counted for one, or there are files of one.
func (p place) lost() (*capability.Refusal, error) {
	if _, err := storage.Public(storage.Dir(p.vault())); !errors.Is(err, storage.ErrAbsent) {
		return nil, nil
	}
	if _, err := storage.Public(storage.Dir(p.requests())); !errors.Is(err, storage.ErrAbsent) {
		return nil, nil // a vault that is being made may stand beside requests
	}
	names, err := storage.Dir(p.vault()).List()
	names = slices.DeleteFunc(names, func(n string) bool { return n == "lock" }) // which every try to open leaves
	switch {
	case err != nil:
		return nil, condition(err)
	case len(names) > 0:
		return capability.Refuse(capability.ErrCorrupt, "", "the vault has %d files and no header", len(names)), nil
	}
	switch epoch, err := epochOf(p.device); {
	case errors.Is(err, tpm.ErrCounter):
		return nil, nil
	case err != nil:
		return nil, condition(err)
	default:
		return capability.Refuse(capability.ErrStorageGone, "", "the counter is at %d; whatever store it counts for ends when this one is repaired", epoch), nil
	}
}

// repairable is the condition in which an administrator needs a response of the back office to go on, or nil.
func repairable(err error) *capability.Refusal {
	if r, ok := errors.AsType[*capability.Refusal](err); ok {
		switch r.Code {
		case capability.ErrRollback, capability.ErrCorrupt, capability.ErrSealed, capability.ErrCounter, capability.ErrTPMCleared, capability.ErrStorageGone, capability.ErrImageOlder:
			return r
		}
	}
	return nil
}

// aside renames a storage, so that it can be looked at and is in nobody's way. The last of each kind is kept.
func (p place) aside(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil // and what was put aside before stays
	}
	old := dir + ".lost"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	// A cut here has lost nothing: dir is still there.
	return os.Rename(dir, old)
}

// openRequests opens the storage of an appliance without rights, or makes it.
func (p place) openRequests(lost *capability.Refusal) (*opened, error) {
	requests, o := storage.Dir(p.requests()), storage.Options{Sealer: p.device.Setup(), Page: p.keys, Rand: rand.Reader}
	v, r, err := storage.Open(requests, o)
	var s *opened
	if errors.Is(err, storage.ErrAbsent) {
		s = &opened{ledger: ledger.New(), cause: "first start"}
		s.vault, err = storage.Create(requests, o, nil, s.ledger.Snapshot())
	} else if err == nil {
		if s, err = restore(v, r); err != nil {
			v.Close()
			return nil, err
		}
		s.cause = "not activated"
		var sealed appliance.Public // of it the boot states are there
		if len(r.Public) > 0 {
			if err := wire.New().Decode(r.Public, &sealed, storage.MaxPublicBytes); err != nil {
				v.Close()
				return nil, condition(fmt.Errorf("%w: boot states: %w", storage.ErrCorrupt, err))
			}
		}
		s.states = sealed.Boot
	}
	if err != nil {
		return nil, condition(err)
	}
	// A vault that was put aside for the response to come leaves its condition to the ledger.
	if code := s.ledger.Status(ledger.Now{}).Lost; code != 0 && (lost == nil || lost.Code != code) {
		lost = capability.Refuse(code, "", "") // the first cause, whatever its consequences look like by now
	}
	if s.lost = lost; lost != nil {
		s.cause = lost.Code.Entry().Title
	}
	if s.lost == nil {
		if err := p.outlived(s); err != nil {
			s.vault.Close()
			return nil, err
		}
	}
	s.boot = &appliance.Public{}
	s.counter, s.found, s.archive = counter(p.device), p.founder(s.boot), p.openArchive(s.boot)
	s.note = p.openNote(s.boot)
	s.settled = func() { os.RemoveAll(p.requests()) }
	return s, nil
}

// outlived refuses requests that were kept from before a vault that is gone. What is in its directory says nothing, anyone can empty it.
func (p place) outlived(s *opened) error {
	written := s.ledger.Status(ledger.Now{}).Epoch
	epoch, err := epochOf(p.device)
	switch {
	case written == 0 || errors.Is(err, tpm.ErrCounter):
		return nil
	case err != nil:
		return condition(err)
	case !appliance.Untold(written, epoch):
		return capability.Refuse(capability.ErrStorageGone, "", "the counter is at %d, and the first request was written at %d", epoch, written)
	}
	return nil
}

func (p place) openVault() (*opened, error) {
	v, r, err := storage.Open(storage.Dir(p.vault()), p.vaultOptions())
	if err != nil {
		return nil, condition(p.ofAnother(err))
	}
	s, err := restore(v, r)
	if err != nil {
		v.Close()
		return nil, err
	}
	s.boot = &appliance.Public{}
	if err := wire.New().Decode(r.Public, s.boot, storage.MaxPublicBytes); err != nil {
		v.Close()
		return nil, condition(fmt.Errorf("%w: boot states: %w", storage.ErrCorrupt, err))
	}
	s.states, s.archive, s.note = s.boot.Boot, p.openArchive(s.boot), p.openNote(s.boot)
	s.held = r.Verdict == storage.Hold
	s.shared = s.held && !r.Cause.Counts()
	switch {
	case s.held:
		s.cause = "hold: " + r.Cause.String()
	case r.Verdict == storage.Clean:
		s.cause = "exact after a clean stop"
	default:
		s.cause = "exact after a crash"
	}
	if err := os.RemoveAll(p.requests()); err != nil {
		v.Close()
		return nil, err
	}
	return s, nil
}

// ofAnother is why the vault does not open: where the counter is not as it should be, first of all that another TPM sealed the vault, or this one before it was cleared.
func (p place) ofAnother(why error) error {
	if !errors.Is(why, tpm.ErrCounter) && !errors.Is(why, storage.ErrRolledBack) {
		return why
	}
	blob, err := storage.Sealed(storage.Dir(p.vault()))
	if err == nil {
		err = p.device.Sealed(blob)
	}
	if errors.Is(err, tpm.ErrNotOurs) {
		return err
	}
	return why
}

// restore makes the ledger from the snapshot and the entries since, and checks every invariant before anything is served from it.
func restore(v *storage.Vault, r *storage.Restored) (*opened, error) {
	l, err := ledger.Restore(r.Snapshot)
	if err != nil {
		return nil, condition(err)
	}
	codec := wire.New()
	for _, b := range r.Records {
		e, err := ledger.DecodeEntry(codec, b)
		if err != nil {
			return nil, condition(err)
		}
		if err := l.Apply(e); err != nil {
			return nil, condition(err)
		}
	}
	if err := l.Check(); err != nil {
		return nil, condition(err)
	}
	return &opened{ledger: l, vault: v, journal: r.Records, length: int64(len(r.Snapshot))}, nil
}

// counter reads the TPM's epoch counter, and makes one where none is: its value is above every one that this TPM ever had, and stays until the vault
// makes its own. The secret that could move it is thrown away.
func counter(device *tpm.Device) func() (uint64, error) {
	return func() (uint64, error) {
		epoch, err := epochOf(device)
		if !errors.Is(err, tpm.ErrCounter) {
			return epoch, err
		}
		storage.Guard(func() {
			secret := make([]byte, 32)
			rand.Read(secret)
			epoch, err = device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil).Provision(secret)
			clear(secret)
		})
		return epoch, err
	}
}

func epochOf(device *tpm.Device) (uint64, error) {
	return device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil).Epoch()
}

// founder makes the vault when the first response has come, or the one that repairs. Its public part is the producer's word on boot states, which is needed to unseal it, and where the
// counter of images began. A vault that is only closed to this image, because it is too old, is not repaired.
func (p place) founder(sealed *appliance.Public) func(capability.Boot, bool, []byte) (appliance.Vault, uint64, error) {
	return func(boot capability.Boot, proved bool, state []byte) (appliance.Vault, uint64, error) {
		if err := p.newEnough(); err != nil {
			return nil, 0, err
		}
		if _, err := binding(p.device, boot); err != nil {
			return nil, 0, capability.Refuse(capability.ErrResponseForm, "boot", "%v", err)
		}
		if err := p.room(); err != nil {
			return nil, 0, err
		}
		base, err := p.base(proved)
		if err != nil {
			return nil, 0, condition(err)
		}
		*sealed = appliance.Public{Boot: boot, Base: base}
		// What a cut of this very step left is no vault; Create removes it.
		if _, err := storage.Public(storage.Dir(p.vault())); !errors.Is(err, storage.ErrAbsent) {
			if err := errors.Join(p.aside(p.vault()), p.aside(p.archive())); err != nil {
				return nil, 0, err
			}
		}
		// A cut here leaves requests alone, whose ledger knows what became of the vault; the response is imported again.
		v, err := storage.Create(storage.Dir(p.vault()), p.vaultOptions(), wire.New().Encode(*sealed), state)
		if unmade, ok := errors.AsType[*storage.UnmadeError](err); ok {
			return nil, 0, &appliance.UnmadeError{Epoch: unmade.Epoch, Cause: condition(err)}
		} else if err != nil {
			return nil, 0, condition(err)
		}
		return v, base, nil
	}
}

// newEnough refuses an image that is older than the lowest that the vault here lets run. A vault whose public part says nothing of that is lost for another reason.
func (p place) newEnough() error {
	public, err := storage.Public(storage.Dir(p.vault()))
	if err != nil {
		return nil
	}
	var sealed appliance.Public
	if wire.New().Decode(public, &sealed, storage.MaxPublicBytes) != nil {
		return nil
	}
	err = sealed.MayRun(p.image, p.device.Images(attest.ImagesIndex))
	if r, ok := errors.AsType[*capability.Refusal](err); ok && r.Code == capability.ErrImageOlder {
		return err
	}
	return nil
}

// base is where the counter of images began for a vault that is made now: the image that runs is the lowest that may. Where nothing was counted yet that begins with an image that is proved.
func (p place) base(proved bool) (uint64, error) {
	images := p.device.Images(attest.ImagesIndex)
	count, err := images.Count()
	switch {
	case errors.Is(err, tpm.ErrCounter) && !proved:
		return 0, nil
	case errors.Is(err, tpm.ErrCounter):
		return images.Provision()
	case err != nil:
		return 0, err
	case count <= uint64(p.image.Security):
		return count, nil
	}
	return count - uint64(p.image.Security), nil
}

// room refuses to begin a vault that may not fit: once the counter has moved, the response is of no use any more.
func (p place) room() error {
	free, err := freeIn(p.state)
	if err != nil {
		return err
	}
	const need = 4 * storage.DefaultSegmentBytes
	if free < need {
		return capability.Refuse(capability.ErrStorageFull, "", "%d MiB are free in %s, and %d are needed", free>>20, p.state, need>>20)
	}
	return nil
}

// vaultOptions tie a vault to the TPM: the sealer follows the public part, the anchor does not depend on it. An image that is older than those that may run unseals nothing. What is read of that is not
// authenticated yet, and is a moment later: a public part that somebody else wrote opens no vault.
func (p place) vaultOptions() storage.Options {
	device, keys := p.device, p.keys
	return storage.Options{
		SealerFor: func(public []byte) (storage.Sealer, error) {
			var sealed appliance.Public
			if err := wire.New().Decode(public, &sealed, storage.MaxPublicBytes); err != nil {
				return nil, fmt.Errorf("%w: boot states: %w", storage.ErrCorrupt, err)
			}
			if err := sealed.MayRun(p.image, device.Images(attest.ImagesIndex)); err != nil {
				return nil, err
			}
			return binding(device, sealed.Boot)
		},
		Anchor: device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil),
		Page:   keys,
		Rand:   rand.Reader,
	}
}

func binding(device *tpm.Device, boot capability.Boot) (*tpm.Binding, error) {
	k, err := x509.ParsePKIXPublicKey(boot.Key)
	if err != nil {
		return nil, fmt.Errorf("boot key: %w", err)
	}
	public, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("boot key of type %T where P-256 is needed", k)
	}
	key := attest.BootKey{Public: public, Ref: boot.Ref}
	var states []attest.SignedState
	for _, b := range boot.States {
		s, err := attest.DecodeSignedState(b)
		if err != nil {
			return nil, fmt.Errorf("signed boot state: %w", err)
		}
		if err := key.Verify(s); err != nil {
			return nil, fmt.Errorf("signed boot state: %w", err)
		}
		states = append(states, *s)
	}
	if len(states) == 0 {
		return nil, errors.New("no signed boot state")
	}
	return device.Binding(attest.EpochIndex, attest.RunningPCR, key, states), nil
}

// codeOf is the code for an error of storage, TPM or ledger; zero for any other.
func codeOf(err error) capability.Code {
	for _, m := range []struct {
		err  error
		code capability.Code
	}{
		{storage.ErrLocked, capability.ErrStorageLocked},
		{storage.ErrRolledBack, capability.ErrRollback},
		{storage.ErrCorrupt, capability.ErrCorrupt},
		{storage.ErrFull, capability.ErrStorageFull},
		{storage.ErrDisturbed, capability.ErrDisturbed},
		{storage.ErrFileSystem, capability.ErrFileSystem},
		{storage.ErrReadOnly, capability.ErrStorageReadOnly},
		{storage.ErrNoDisk, capability.ErrNoDisk},
		{storage.ErrOwner, capability.ErrStorageOwner},
		{storage.ErrMode, capability.ErrStorageMode},
		{storage.ErrForeign, capability.ErrForeignFile},
	} {
		if errors.Is(err, m.err) {
			return m.code
		}
	}
	switch c := tpmfault.Code(err); {
	case c != 0:
		return c
	case errors.Is(err, ledger.ErrCorrupt):
		return capability.ErrCorrupt
	case errors.Is(err, appliance.ErrStorage):
		return capability.ErrStorage
	}
	return 0
}

// condition is a failure to open trusted storage as a refusal with its code: an administrator can ask about it.
func condition(err error) error {
	c := codeOf(err)
	if c == 0 {
		return err
	}
	return capability.Refuse(c, "", "%v", err)
}

package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm"
)

// archiveKey is what the archive's secret can be had from, beside the vault: the TPM in a signed boot state, and the recovery key.
type archiveKey struct {
	TPM      []byte            `cbor:"1,keyasint,omitempty"`
	Recovery []byte            `cbor:"2,keyasint,omitempty"`
	Number   uint32            `cbor:"3,keyasint,omitzero"` // of the recovery key
	Life     capability.LifeID `cbor:"4,keyasint,omitzero"` // of the vault: in each the numbers begin anew
}

// archive is the archive of a vault. Its secret is derived from the vault's and leads nowhere back.
type archive struct {
	*storage.Archive
	place  place
	boot   *appliance.Public
	number uint32 // of the running recovery key
	life   capability.LifeID
	disk   storage.Disk
	vault  *storage.Vault
	secret []byte
	sealed []byte // the secret, for the TPM
}

// openNote opens the note of a backup of this machine.
func (p place) openNote(boot *appliance.Public) func(key, note []byte) ([]byte, error) {
	return func(key, note []byte) ([]byte, error) {
		var k archiveKey
		if err := wire.New().Decode(key, &k, capability.MaxSigned); err != nil {
			return nil, capability.Refuse(capability.ErrNoArchive, "key", "%v", err)
		}
		if len(boot.States) == 0 {
			return nil, capability.Refuse(capability.ErrNotProvisioned, "", "")
		}
		b, err := binding(p.device, boot.Boot)
		if err != nil {
			return nil, err
		}
		var sealed error
		storage.Guard(func() {
			var secret []byte
			if secret, sealed = b.UnsealBoot(k.TPM); sealed == nil {
				note, err = storage.OpenNote(secret, note)
				clear(secret)
			}
		})
		if errors.Is(sealed, tpm.ErrNotOurs) || errors.Is(sealed, tpm.ErrBootState) {
			return nil, capability.Refuse(capability.ErrRestore, "", "%v", sealed)
		}
		if sealed != nil {
			return nil, condition(sealed)
		}
		if err != nil {
			return nil, capability.Refuse(capability.ErrCorrupt, "note", "%v", err)
		}
		return note, nil
	}
}

func (p place) archive() string { return filepath.Join(p.state, "archive") }

// openArchive opens the archive beside the vault, or makes it. One that is not of this vault, or does not go on where the journal begins, is put aside.
func (p place) openArchive(boot *appliance.Public) func(appliance.Vault, uint64, uint64, ledger.RecoveryView) (appliance.Archive, error) {
	return func(v appliance.Vault, first, last uint64, recovery ledger.RecoveryView) (appliance.Archive, error) {
		vault, ok := v.(*storage.Vault)
		if !ok {
			return nil, fmt.Errorf("an archive of %T", v)
		}
		a := &archive{place: p, disk: storage.Dir(p.archive()), vault: vault, boot: boot, number: recovery.Number, life: recovery.Life}
		var err error
		if a.secret, err = vault.DeriveKey("archive"); err != nil {
			return nil, err
		}
		switch whole, err := a.open(first, last); {
		case err != nil:
			return nil, err
		case whole:
			return a, nil
		}
		return a, a.anew()
	}
}

// anew puts aside what is in the archive's place, and begins another.
func (a *archive) anew() error {
	if _, err := os.Lstat(a.place.archive()); err == nil {
		a.place.log.Warn("the archive cannot go on and was put aside", "directory", a.place.archive()+".lost")
	}
	if err := a.place.aside(a.place.archive()); err != nil {
		return err
	}
	if err := os.Mkdir(a.place.archive(), 0o700); err != nil {
		return err
	}
	b, err := binding(a.place.device, a.boot.Boot)
	if err != nil {
		return err
	}
	storage.Guard(func() { a.sealed, err = b.SealBoot(a.secret) })
	if err != nil {
		return err
	}
	_, key, err := a.recovery(a.number)
	if err != nil {
		return err
	}
	a.Archive, err = storage.CreateArchive(a.disk, a.secret, key, rand.Reader)
	return err
}

// Append is storage.Archive's. An archive that was damaged must not keep the journal from being shortened: another one begins, and the damaged one can be looked at.
func (a *archive) Append(first uint64, entries [][]byte) error {
	err := a.Archive.Append(first, entries)
	if errors.Is(err, storage.ErrCorrupt) {
		if err = a.anew(); err == nil {
			err = a.Archive.Append(first, entries)
		}
	}
	return err
}

// open says whether there is an archive of this vault that goes on at first and does not know more than last.
func (a *archive) open(first, last uint64) (whole bool, err error) {
	if info, err := os.Lstat(a.place.archive()); err == nil && !info.IsDir() {
		return false, nil
	}
	b, err := storage.ArchiveKey(a.disk)
	if errors.Is(err, storage.ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var k archiveKey
	if err := wire.New().Decode(b, &k, capability.MaxSigned); err != nil {
		return false, nil
	}
	a.sealed = k.TPM
	a.Archive, err = storage.OpenArchive(a.disk, a.secret, rand.Reader)
	if err == nil {
		_, err = a.Note()
	}
	if errors.Is(err, storage.ErrCorrupt) {
		return false, nil
	}
	next := a.Next()
	return err == nil && (next == 0 || next >= first && next <= last+1), err
}

// recovery is the recovery key of that number, and the archive's key file with it.
func (a *archive) recovery(number uint32) (capability.RecoveryKey, []byte, error) {
	var key capability.RecoveryKey
	var wrapped []byte
	var err error
	storage.Guard(func() {
		var chance []byte
		if chance, err = a.vault.Derive(fmt.Sprintf("recovery key %d", number), 64); err != nil {
			return
		}
		if key, err = capability.NewRecoveryKey(bytes.NewReader(chance)); err == nil {
			wrapped, err = storage.Wrap(string(key), a.secret, rand.Reader)
		}
	})
	if err != nil {
		return "", nil, err
	}
	return key, wire.New().Encode(archiveKey{TPM: a.sealed, Recovery: wrapped, Number: number, Life: a.life}), nil
}

// Rekey is appliance.Archive's.
func (a *archive) Rekey(number uint32) (capability.RecoveryKey, error) {
	key, file, err := a.recovery(number)
	if err != nil {
		return "", err
	}
	a.number = number
	return key, a.SetKey(file)
}

// Read opens the archive once more, so that it may run beside the appliance's writing.
func (a *archive) Read(from uint64, f func(uint64, []byte) error) error {
	again, err := storage.OpenArchive(a.disk, a.secret, rand.Reader)
	if err != nil {
		return err
	}
	if err = again.Read(from, f); errors.Is(err, storage.ErrCorrupt) {
		err = capability.Refuse(capability.ErrAuditForm, "", "%v", err)
	}
	return err
}

// Package backoffice is freehold's engine: it keeps the producer's keys and book in one directory, judges request files and makes response files.
//
// The rules are package entitlement's and the bytes package wire's; here are the keys, the files and the order of writes. Create makes a back office, Open
// opens it, Respond answers one file. It draws chance from where it is told and is told the time.
//
//	book/        the book, a vault of package storage, sealed with a key inside signing.key
//	history/     the book's older entries, encrypted under a key from the vault
//	keys/        root.key and signing.key, each sealed with the passphrase, signing.key to a TPM where that was asked for; root.key is read only to certify a
//	             signing key and may be kept elsewhere, or made elsewhere and never be here
//	responses/   every response file and the request file it answers, named by the digest of the request
//	evidence/    request files that were refused as a whole, at most 64 of a machine, named by their digest
//	roots/       hardware/ and virtual/: PEM certificates of the authorities that say what an endorsement key is; shipped.pem has those that came with freehold
//	trust.lht    the public keys of the root, for clients and appliances
package backoffice

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm/attest"
)

var (
	// ErrAbsent: the directory holds no back office.
	ErrAbsent = errors.New("no back office is there")
	// ErrPresent: Create was asked for a directory that holds one, or a key or trust bundle of one.
	ErrPresent = errors.New("a back office is there already")
	// ErrBookGone: there are keys or a trust bundle and no book. It is not mounted or was not brought back, or a Create was cut off before anyone was told of it.
	ErrBookGone = errors.New("its keys are there and its book is not")
	// ErrTrust: the trust bundle cannot be read, or does not certify the signing key.
	ErrTrust = errors.New("the trust bundle does not fit the producer's keys")
	// ErrWrite: the disk did not take a change. Nothing was told; what is on the disk shows when it is opened again.
	ErrWrite = errors.New("the disk does not take it")
	// ErrRoots is in the error of certificates that cannot be read.
	ErrRoots = errors.New("not a PEM file of certificates")
)

// Place is where a back office is kept: a disk for each of its directories.
type Place struct {
	Top, Book, History, Keys, Responses, Hardware, Virtual storage.Disk
	// Evidence may be nil: then refused requests are kept in the book only, without their files.
	Evidence storage.Disk

	make   func() error      // makes the directories
	beside func(task func()) // how the vault runs what may run beside it; nil is a goroutine
}

// Dir is the place in a directory of the operating system.
func Dir(dir string) Place {
	path := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	names := []string{path(), path("keys"), path("responses"), path("roots"), path("roots", "hardware"), path("roots", "virtual"), path("evidence")}
	return Place{
		Top: storage.Dir(path()), Book: storage.Dir(path("book")), History: storage.Dir(path("history")), Keys: storage.Dir(path("keys")), Responses: storage.Dir(path("responses")),
		Hardware: storage.Dir(path("roots", "hardware")), Virtual: storage.Dir(path("roots", "virtual")), Evidence: storage.Dir(path("evidence")),
		make: func() error {
			for _, name := range names {
				if err := os.Mkdir(name, 0o700); errors.Is(err, fs.ErrExist) {
					continue
				} else if err != nil {
					return err
				}
				if err := storage.Dir(filepath.Dir(name)).Sync(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

const (
	trustName   = "trust.lht"
	rootName    = "root.key"
	signingName = "signing.key"

	segmentBytes = 16 << 10 // each run of freehold begins one: 30 entries
)

// Setup is what a new back office begins with.
type Setup struct {
	Policy  entitlement.Policy
	KeyName string // of the first signing key, as producer-2026-A
	// Root is that of a root that was made elsewhere and stays there: then no signing key is made here either, until one is requested (RequestKey).
	Root *wire.Trust
	// Hardware and Virtual are PEM files of the authorities of TPM makers and of makers of virtual TPMs. Shipped are those that come with freehold.
	Hardware, Virtual [][]byte
	Shipped           []Authority
	By                string
	Cost              Cost // of guessing the passphrase; zero is DefaultCost
}

// Look says without a passphrase what is at the place: nil for a back office, ErrAbsent for nothing of one, ErrBookGone for the keys of one.
func Look(p Place) error {
	if _, err := storage.Public(p.Book); err == nil {
		return nil
	} else if !errors.Is(err, storage.ErrAbsent) {
		return fmt.Errorf("open the book: %w", err)
	}
	for _, kept := range []struct {
		disk  storage.Disk
		names []string
	}{{p.Keys, []string{rootName, signingName}}, {p.Top, []string{trustName}}} {
		names, err := kept.disk.List()
		if err != nil {
			return err
		}
		for _, name := range kept.names {
			if slices.Contains(names, name) {
				return fmt.Errorf("%w: there is a %s", ErrBookGone, name)
			}
		}
	}
	return ErrAbsent
}

// Free is nil where a back office may be made: no file that cannot be had again is there.
func Free(p Place) error {
	switch err := Look(p); {
	case errors.Is(err, ErrAbsent):
		return nil
	case err == nil:
		return ErrPresent
	case errors.Is(err, ErrBookGone):
		return fmt.Errorf("%w: %w", ErrPresent, err)
	default:
		return err
	}
}

// Create makes a back office where none is, and nothing that is left of one. The order of its writes: keys, roots, trust bundle, book. A cut before the book
// is there leaves ErrBookGone. What cannot be told from keys that were in use is never written over, so somebody who knows must remove it.
func Create(p Place, passphrase []byte, s Setup, now capability.Time, rand io.Reader) (_ *wire.Trust, err error) {
	if err := s.Policy.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("a passphrase of %d bytes; at least %d are needed", len(passphrase), MinPassphrase)
	}
	for _, roots := range [][][]byte{s.Hardware, s.Virtual} {
		for _, pem := range roots {
			if _, err := parseRoots(pem); err != nil {
				return nil, err
			}
		}
	}
	if err := Free(p); err != nil {
		return nil, err
	}
	if p.make != nil {
		if err := p.make(); err != nil {
			return nil, err
		}
	}
	lock, err := p.Keys.Lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := Free(p); err != nil { // nor did another Create make one meanwhile
		return nil, err
	}
	defer func() {
		// What a full disk did not let come to its end can be begun anew. Whether the book is there is asked, because a write that failed may have been made.
		if err != nil && errors.Is(Look(p), ErrBookGone) {
			for _, f := range []struct {
				disk storage.Disk
				name string
			}{{p.Top, trustName}, {p.Keys, signingName}, {p.Keys, rootName}} {
				f.disk.Remove(f.name)
			}
		}
	}()
	c := wire.New()
	trust, secrets, err := createKeys(c, p.Keys, passphrase, &s, now, rand)
	if err != nil {
		return nil, err
	}
	for _, kind := range []struct {
		disk  storage.Disk
		files [][]byte
	}{{p.Hardware, s.Hardware}, {p.Virtual, s.Virtual}} {
		for n, pem := range kind.files {
			if err := put(kind.disk, fmt.Sprintf("%02d.pem", n+1), pem); err != nil {
				return nil, err
			}
		}
	}
	if err := WriteShipped(p, s.Shipped); err != nil {
		return nil, err
	}
	if err := put(p.Top, trustName, c.EncodeTrust(trust)); err != nil {
		return nil, err
	}
	d, err := entitlement.New().Decide(now, entitlement.SetPolicy{Policy: s.Policy, By: s.By})
	if err != nil {
		return nil, err
	}
	fingerprint := c.Fingerprint(trust.Root)
	v, err := storage.Create(p.Book, p.vault(secrets, rand), fingerprint[:], appendEntry(nil, d.Entries[0].Encode(c)))
	if err != nil {
		return nil, err
	}
	return trust, v.Close()
}

func (p Place) vault(s *secrets, rand io.Reader) storage.Options {
	return storage.Options{Sealer: softwareKey{s.Book, rand}, Rand: rand, SegmentBytes: segmentBytes, Go: p.beside}
}

// Trust reads the trust bundle, as it is and decoded. It needs no passphrase.
func Trust(p Place) ([]byte, *wire.Trust, error) {
	b, err := p.Top.Read(trustName, capability.MaxSigned)
	if errors.Is(err, fs.ErrNotExist) {
		if err := Look(p); err != nil {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("%w: there is no %s", ErrTrust, trustName)
	}
	if err != nil {
		return nil, nil, err
	}
	t, err := wire.New().DecodeTrust(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrTrust, trustName, err)
	}
	return b, t, nil
}

// Office is an open back office. It belongs to one goroutine; no other process can open it meanwhile.
type Office struct {
	place   Place
	codec   *wire.Codec
	rand    io.Reader
	trust   *wire.Trust
	secrets *secrets
	signers []signer
	revoked []capability.Digest // signing keys that some certificate here revokes
	boot    *ecdsa.PrivateKey
	roots   attest.Roots

	vault  *storage.Vault
	begun  bool
	failed error // once set, the book in memory may be ahead of the disk, and nothing more is written
	past   past
	// changes counts the entries that were taken in since it was opened, and may change what is read of the book.
	changes uint64
	book    *entitlement.Book
	once    *entitlement.Once    // the key of the next command; nil: it has none
	token   *entitlement.Through // with which the next commands are asked for; nil: without one
	desk    *entitlement.Desk
	seats   uint64 // answers that give a seat which the signing key has signed and no entry counts yet; a crash forgets them
}

// Open opens a back office: it unseals the keys, reads and checks the whole book. Nothing is written before the first change.
func Open(p Place, passphrase []byte, rand io.Reader) (*Office, error) {
	return OpenWith(p, Unlock{Passphrase: passphrase}, rand)
}

// OpenWith is Open with everything that may hold keys.
func OpenWith(p Place, u Unlock, rand io.Reader) (*Office, error) {
	if err := Look(p); err != nil {
		return nil, err
	}
	o := &Office{place: p, codec: wire.New(), rand: rand, book: entitlement.New(), desk: entitlement.NewDesk()}
	var err error
	if _, o.trust, err = Trust(p); err != nil {
		return nil, err
	}
	s, err := openSigning(o.codec, p.Keys, u)
	if err != nil {
		return nil, err
	}
	o.secrets = s
	if err := o.take(s, u.Token); err != nil {
		return nil, err
	}
	if o.roots, err = readRoots(p); err != nil {
		return nil, err
	}
	var r *storage.Restored
	if o.vault, r, err = storage.Open(p.Book, p.vault(s, rand)); err != nil {
		return nil, fmt.Errorf("open the book: %w", err)
	}
	if err := o.restore(r); err != nil {
		return nil, errors.Join(fmt.Errorf("open the book: %w", err), o.vault.Close())
	}
	return o, nil
}

// commit applies entries and makes them durable. They are applied first, because an entry that the book does not take must never be in it: every later opening would stop there. After an
// error in that the book in memory is ahead of the disk, so the office takes nothing more, and is to be opened again. A cut inside leaves all of the entries or none; nobody was told.
func (o *Office) commit(entries ...*entitlement.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if o.failed != nil {
		return fmt.Errorf("open the back office again, a change before this one failed: %w", o.failed)
	}
	first := !o.begun
	if first {
		if err := o.vault.Begin(); err != nil { // and the vault takes nothing more
			o.failed = fmt.Errorf("write the book: %w: %w", ErrWrite, err)
			return o.failed
		}
		o.begun = true
	}
	if o.due(first) {
		if err := o.compact(); errors.Is(err, entitlement.ErrCorrupt) || errors.Is(err, storage.ErrCorrupt) {
			return err
		} else if err != nil {
			return fmt.Errorf("write the book: %w: %w", ErrWrite, err)
		}
	}
	group, read := make([][]byte, len(entries)), make([]*entitlement.Entry, len(entries)) // what will be read is what is applied
	for i, e := range entries {
		group[i] = e.Encode(o.codec)
		var err error
		if read[i], err = entitlement.DecodeEntry(o.codec, group[i]); err != nil {
			return fmt.Errorf("nothing is written, because it could not be read again: %w", err)
		}
	}
	for i, e := range read {
		if err := o.apply(e, group[i]); err != nil {
			o.failed = fmt.Errorf("nothing is written, because the book would not take it: %v", err) // it is not damaged
			return o.failed
		}
	}
	if err := o.vault.Commit(group); err != nil {
		o.failed = fmt.Errorf("write the book: %w: %w", ErrWrite, err)
	}
	return o.failed
}

// Close ends the use of the directory.
func (o *Office) Close() error { return o.vault.Close() }

// Book is the book, to look at.
func (o *Office) Book() *entitlement.Book { return o.book }

// Trust is what clients and appliances embed.
func (o *Office) Trust() *wire.Trust { return o.trust }

// Entitle draws an activation ID for the item and puts it into the book.
func (o *Office) Entitle(i entitlement.Item, by string, now capability.Time) (entitlement.ItemView, error) {
	id, err := capability.NewActivationID(o.rand)
	if err != nil {
		return entitlement.ItemView{}, err
	}
	i.ActivationID = id
	if i.EntitlementID == "" {
		_, length := o.book.Head()
		i.EntitlementID = fmt.Sprintf("ENT-%d-%06d", now.Std().Year(), length)
	}
	d, err := o.do(now, entitlement.Entitle{Item: i, By: by})
	if err != nil {
		return entitlement.ItemView{}, err
	}
	if d.Done != nil {
		id = capability.ActivationID(d.Done.Subject)
	}
	v, _ := o.book.Item(id, now)
	return v, nil
}

// Split draws an activation ID, and takes so many copies that are left of an item into an item of their own.
func (o *Office) Split(id capability.ActivationID, copies uint32, by string, now capability.Time) (entitlement.ItemView, error) {
	to, err := capability.NewActivationID(o.rand)
	if err != nil {
		return entitlement.ItemView{}, err
	}
	change := entitlement.ItemChange{ActivationID: id, Do: entitlement.Split, Copies: copies, To: to}
	d, err := o.do(now, entitlement.ChangeItem{Change: change, By: by})
	if err != nil {
		return entitlement.ItemView{}, err
	}
	if d.Done != nil {
		to = capability.ActivationID(d.Done.Subject)
	}
	v, _ := o.book.Item(to, now)
	return v, nil
}

// AllowBoot has a boot state (the values of PCR 7, 11 and 12) signed into every response from now on.
func (o *Office) AllowBoot(state []byte, note, by string, now capability.Time) error {
	return o.decide(now, entitlement.AllowBoot{State: state, Note: note, By: by})
}

// WithdrawBoot ends that. Where the state was signed before, it stays valid.
func (o *Office) WithdrawBoot(state []byte, by string, now capability.Time) error {
	return o.decide(now, entitlement.WithdrawBoot{State: state, By: by})
}

// Do decides a command that answers no request, and makes what follows durable.
func (o *Office) Do(c entitlement.Command, now capability.Time) error { return o.decide(now, c) }

func (o *Office) decide(now capability.Time, c entitlement.Command) error {
	_, err := o.do(now, c)
	return err
}

// Once puts the commands from here on under a key: those of them that were done before are not done again, and an error of ErrKeyUsed says that something else was.
// Asked is the digest of all that is asked for under it.
func (o *Office) Once(key string, asked capability.Digest) {
	o.once = &entitlement.Once{Key: key, Asked: asked}
}

// Through has the commands from here on asked for with a token of a login: what follows from them says so.
func (o *Office) Through(login string, t entitlement.TokenUsed) {
	o.token = &entitlement.Through{Login: login, Token: t}
}

// asked is a command as it is asked for.
func (o *Office) asked(c entitlement.Command) entitlement.Command {
	if o.token == nil {
		return c
	}
	through := *o.token
	through.Command = c
	return through
}

// do has a command decided and made durable, or finds in Done what came of it before, under its key.
func (o *Office) do(now capability.Time, c entitlement.Command) (*entitlement.Decision, error) {
	c = o.asked(c)
	if o.once != nil {
		once := *o.once
		o.once.Part++
		once.Command = c
		c = once
	}
	d, err := o.book.Decide(now, c)
	if err != nil {
		return nil, err
	}
	return d, o.commit(d.Entries...)
}

// Code is the catalog's code for an error of this package, or zero.
func Code(err error) capability.Code {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	if r := (*RowError)(nil); errors.As(err, &r) {
		return capability.ErrRow
	}
	for _, m := range []struct {
		err  error
		code capability.Code
	}{
		{ErrPassphrase, capability.ErrPassphrase},
		{ErrAbsent, capability.ErrNoOffice},
		{ErrPresent, capability.ErrOfficePresent},
		{ErrBookGone, capability.ErrBookGone},
		{ErrRoots, capability.ErrUsage},
		{ErrKeySealed, capability.ErrKeySealed},
		{ErrNoSigningKey, capability.ErrNoSigningKey},
		{ErrToken, capability.ErrToken},
		{ErrCeremony, capability.ErrKeyRequest},
		{ErrName, capability.ErrUsage},
		{ErrTrust, capability.ErrTrust},
		{storage.ErrLocked, capability.ErrOfficeBusy},
		{storage.ErrFull, capability.ErrBookFull},
		{syscall.ENOSPC, capability.ErrBookFull},
		{storage.ErrCorrupt, capability.ErrBookDamaged},
		{entitlement.ErrCorrupt, capability.ErrBookDamaged},
		{fs.ErrPermission, capability.ErrFileRead},
		{ErrWrite, capability.ErrBookWrite},
		{syscall.EIO, capability.ErrBookWrite},
	} {
		if errors.Is(err, m.err) {
			return m.code
		}
	}
	return wire.Code(err)
}

// put makes a file whole or not at all: a new name, fsync, rename, fsync of the directory. A cut before the rename is durable leaves the old file or none.
func put(d storage.Disk, name string, b []byte) error {
	temp := name + ".new"
	f, err := d.Create(temp)
	if errors.Is(err, fs.ErrExist) { // left by a cut
		if err = d.Remove(temp); err == nil {
			f, err = d.Create(temp)
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w: %w", name, ErrWrite, err)
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Rename(temp, name)
	}
	if err == nil {
		err = d.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w: %w", name, ErrWrite, err)
	}
	return nil
}

func digestOf(file []byte) capability.Digest { return sha256.Sum256(file) }

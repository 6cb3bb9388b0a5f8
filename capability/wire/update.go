package wire

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// Bounds of an update of an appliance's image.
const (
	// MaxSecurity is the highest security version: a machine counts up to it one by one in its TPM.
	MaxSecurity = 4095
	// MaxPart bounds each of the three files, in bytes: a slot for a root has 192 MiB.
	MaxPart = 256 << 20
)

// Update says what an update of an appliance's image consists of. The three files lie beside it; they are nothing without it.
type Update struct {
	Version     string            `cbor:"1,keyasint,omitzero" json:"version"`  // of the release: 2026.2, two to four numbers
	Security    uint32            `cbor:"2,keyasint,omitzero" json:"security"` // rises where what is older must not run any more
	Time        capability.Time   `cbor:"3,keyasint,omitzero" json:"time"`     // when it was signed
	RootHash    capability.Digest `cbor:"4,keyasint,omitzero" json:"rootHash"` // of the root's hash tree: its halves name the two partitions
	Root        UpdatePart        `cbor:"5,keyasint,omitzero" json:"root"`
	Verity      UpdatePart        `cbor:"6,keyasint,omitzero" json:"verity"`
	Kernel      UpdatePart        `cbor:"7,keyasint,omitzero" json:"kernel"` // the unified kernel image
	Certificate []byte            `cbor:"8,keyasint,omitempty" json:"certificate"`
	Boot        capability.Boot   `cbor:"9,keyasint,omitzero" json:"boot,omitzero"` // the states that a machine will be in after it
}

// The names of the files on a stick, in the folders UpdateFolder.
const (
	UpdateFolder = "LEASEHOLD/UPDATE"
	UpdateFile   = "UPDATE.LHU"
	UpdateRoot   = "ROOT.IMG"
	UpdateVerity = "VERITY.IMG"
	UpdateKernel = "KERNEL.EFI"
)

// UpdatePart is one of the files.
type UpdatePart struct {
	Size   uint64            `cbor:"1,keyasint,omitzero" json:"size"` // bytes
	SHA256 capability.Digest `cbor:"2,keyasint,omitzero" json:"sha256"`
}

func releaseForm() *regexp.Regexp {
	return regexp.MustCompile(`^(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){1,3}$`)
}

// CompareReleases is below, at or above zero as release a is before b, the same, or after it. What is missing at the end is zero. Text that is no release is before all that are.
func CompareReleases(a, b string) int {
	x, y := release(a), release(b)
	for i := range x {
		if x[i] != y[i] {
			return x[i] - y[i]
		}
	}
	return 0
}

func release(s string) (numbers [4]int) {
	if !releaseForm().MatchString(s) {
		return [4]int{-1}
	}
	for i, n := range strings.Split(s, ".") {
		numbers[i], _ = strconv.Atoi(n)
	}
	return numbers
}

// Partitions are the UUIDs of the partitions that an update's root and its hash tree go to, as systemd finds them.
func (u *Update) Partitions() (root, verity string) {
	return uuid(u.RootHash[:16]), uuid(u.RootHash[16:])
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Validate checks what an update says without a look at its signatures.
func (u *Update) Validate() error {
	if !releaseForm().MatchString(u.Version) {
		return fmt.Errorf("update: %w: %q is no release", ErrMalformed, u.Version)
	}
	if u.Security == 0 || u.Security > MaxSecurity {
		return fmt.Errorf("update: %w: a security version of %d where 1 to %d are allowed", ErrMalformed, u.Security, MaxSecurity)
	}
	if u.Time <= 0 || u.RootHash == (capability.Digest{}) {
		return fmt.Errorf("update: %w: without a time, or without a root hash", ErrMalformed)
	}
	for _, p := range []UpdatePart{u.Root, u.Verity, u.Kernel} {
		if p.Size == 0 || p.Size > MaxPart || p.SHA256 == (capability.Digest{}) {
			return fmt.Errorf("update: %w: a file of %d bytes where 1 to %d are allowed, or without a digest", ErrMalformed, p.Size, MaxPart)
		}
	}
	if len(u.Certificate) == 0 {
		return fmt.Errorf("update: %w: no key certificate", ErrMalformed)
	}
	if err := u.Boot.Validate(); err != nil {
		return fmt.Errorf("update: %w: boot: %w", ErrMalformed, err)
	}
	return nil
}

// SealUpdate makes the file of an update. Certificate is that of the signer.
func (c *Codec) SealUpdate(signer *ProducerKey, u *Update) ([]byte, error) {
	if err := u.Validate(); err != nil {
		return nil, err
	}
	b, err := c.signTwice(signer, TypUpdate, c.Encode(u), unprotected{})
	if err != nil {
		return nil, err
	}
	if file := append(updateMagic(), b...); len(file) <= capability.MaxSigned {
		return file, nil
	}
	return nil, fmt.Errorf("update: %w: %d bytes where at most %d are allowed", ErrSize, len(b), capability.MaxSigned)
}

// OpenUpdate reads the file of an update and verifies the chain from the root and both signatures: what it gives is the producer's word. Whether the key that signed counts
// no more is StillCounts' to say.
func (c *Codec) OpenUpdate(t *Trust, file []byte) (*Update, *KeyCertificate, error) {
	if len(file) > capability.MaxSigned {
		return nil, nil, fmt.Errorf("update: %w: %d bytes where at most %d are allowed", ErrSize, len(file), capability.MaxSigned)
	}
	b, err := body(file, KindUpdate, updateMagic())
	if err != nil {
		return nil, nil, err
	}
	tw, err := c.openTwice(b, TypUpdate, capability.MaxSigned)
	if err != nil {
		return nil, nil, fmt.Errorf("update: %w", err)
	}
	var u Update
	if err := c.Decode(tw.payload, &u, capability.MaxSigned); err != nil {
		return nil, nil, fmt.Errorf("update: %w", err)
	}
	if err := u.Validate(); err != nil {
		return nil, nil, err
	}
	k, err := c.SigningKey(t, u.Certificate)
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.signedBy(k, tw, "update"); err != nil {
		return nil, nil, err
	}
	return &u, k, k.timely("update", u.Time)
}

package tpm

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// SealBoot seals a secret, 32 bytes, so that it opens on this TPM in a boot state
// that the boot key signed, whatever the counter says: for what holds no right and
// must be readable when the rights are not, like a configuration.
func (b *Binding) SealBoot(secret []byte) ([]byte, error) {
	if err := checkSecret(secret); err != nil {
		return nil, fmt.Errorf("seal the archive: %w", err)
	}
	public, err := b.key.TPMT()
	if err != nil {
		return nil, fmt.Errorf("seal the archive: %w", err)
	}
	keyName, err := tpm2.ObjectName(&public)
	if err != nil {
		return nil, fmt.Errorf("seal the archive: %w", err)
	}
	c, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return nil, fmt.Errorf("seal the archive: %w", err)
	}
	if err := (tpm2.PolicyAuthorize{PolicyRef: tpm2.TPM2BDigest{Buffer: b.key.Ref}, KeySign: *keyName}).Update(c); err != nil {
		return nil, fmt.Errorf("seal the archive: %w", err)
	}
	var sealed *blob
	err = b.d.operate("seal the archive", func() error {
		srk, err := b.d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer b.d.flush(srk.handle)
		sealed, err = b.d.create(srk, tpm2.TPMAObject{}, c.Hash().Digest, secret)
		return err
	})
	if err != nil {
		return nil, err
	}
	sealed.format = formatBoot
	return sealed.encode(), nil
}

// UnsealBoot opens what SealBoot sealed; ErrBootState or ErrNotOurs say what is not
// as it was.
func (b *Binding) UnsealBoot(sealed []byte) ([]byte, error) {
	s, err := open(sealed, formatBoot, 0)
	if err != nil {
		return nil, fmt.Errorf("unseal the archive: %w", err)
	}
	var secret []byte
	err = b.d.operate("unseal the archive", func() (err error) {
		for range 3 { // any extension of another PCR ends a policy session
			if secret, err = b.unsealBoot(s); !errors.Is(err, tpm2.TPMRCPCRChanged) {
				break
			}
		}
		return err
	})
	return secret, err
}

func (b *Binding) unsealBoot(s *blob) ([]byte, error) {
	srk, err := b.d.storageRoot(s.srk)
	if err != nil {
		return nil, err
	}
	defer b.d.flush(srk.handle)
	item, err := b.d.load(srk, s)
	if err != nil {
		return nil, err
	}
	defer b.d.flush(item.handle)
	session, end, err := tpm2.PolicySession(b.d.link, tpm2.TPMAlgSHA256, 16, srk.salted(), tpm2.AESEncryption(128, tpm2.EncryptOut))
	if err != nil {
		return nil, err
	}
	defer end()
	if err := b.authorizeBootState(session.Handle()); err != nil {
		return nil, err
	}
	rsp, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: item.handle, Name: item.name, Auth: session}}.Execute(b.d.link)
	if err != nil {
		return nil, means(err, ErrBootState, tpm2.TPMRCPolicyFail)
	}
	if err := checkSecret(rsp.OutData.Buffer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	return rsp.OutData.Buffer, nil
}

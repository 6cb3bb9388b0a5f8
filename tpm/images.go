package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
)

// MaxRaise is by how much a counter of images rises at once: more would wear the
// TPM's memory for a mistake.
const MaxRaise = 4096

// Images is a counter that remembers the newest security version of the images
// that have proved themselves on this machine. It never goes back; where it began
// is for its owner to remember. The TPM's owner reads and moves it: whoever can do
// more than that, can remove it, which reads as ErrCounter.
type Images struct {
	d     *Device
	index uint32
}

// Images uses the NV counter at index, by default attest.ImagesIndex.
func (d *Device) Images(index uint32) *Images { return &Images{d, index} }

// Count reads the counter. ErrCounter: there is none such as ours.
func (i *Images) Count() (count uint64, err error) {
	err = i.d.operate("read the counter of images", func() error {
		srk, err := i.d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer i.d.flush(srk.handle)
		count, err = i.read(srk)
		return err
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

// Provision defines the counter where there is none, and gives its value. One that
// is there goes on. A cut leaves a counter that was never moved, which the next
// call moves.
func (i *Images) Provision() (count uint64, err error) {
	err = i.d.operate("provision the counter of images", func() error {
		srk, err := i.d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer i.d.flush(srk.handle)
		if count, err = i.read(srk); !errors.Is(err, ErrCounter) {
			return err
		}
		public := attest.ImagesPublic(i.index)
		public.Attributes.Written = false
		_, err = tpm2.NVDefineSpace{AuthHandle: owner(), PublicInfo: tpm2.New2B(public)}.Execute(i.d.link)
		if err != nil && !errors.Is(err, tpm2.TPMRCNVDefined) {
			return counterError(err)
		}
		// The first increment sets Written, which changes the Name.
		fresh, err := tpm2.NVName(&public)
		if err != nil {
			return err
		}
		if err := i.increment(*fresh); err != nil {
			return err
		}
		count, err = i.read(srk)
		return err
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

// Raise moves the counter to a value, one by one, and writes NV each time; a value
// that it has passed changes nothing. After an error it is anywhere up to there, and
// the same call goes on.
func (i *Images) Raise(to uint64) error {
	return i.d.operate("raise the counter of images", func() error {
		srk, err := i.d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer i.d.flush(srk.handle)
		name, err := i.name()
		if err != nil {
			return err
		}
		at, err := i.read(srk)
		if err != nil {
			return err
		}
		if to > at && to-at > MaxRaise {
			return fmt.Errorf("the counter of images is at %d, and does not rise to %d at once", at, to)
		}
		for ; at < to; at++ {
			if err := i.increment(name); err != nil {
				return err
			}
		}
		if at, err = i.read(srk); err == nil && at < to {
			return fmt.Errorf("%w: the counter of images is at %d after it rose to %d", ErrCounter, at, to)
		}
		return err
	})
}

// name is computed and never asked of the TPM: it is what says that the counter is
// a counter.
func (i *Images) name() (tpm2.TPM2BName, error) {
	public := attest.ImagesPublic(i.index)
	name, err := tpm2.NVName(&public)
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	return *name, nil
}

func (i *Images) increment(name tpm2.TPM2BName) error {
	_, err := tpm2.NVIncrement{
		AuthHandle: owner(),
		NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(i.index), Name: name},
	}.Execute(i.d.link)
	return counterError(err)
}

// read takes the value in a salted session, so that nobody on the bus changes it.
func (i *Images) read(srk *key) (uint64, error) {
	name, err := i.name()
	if err != nil {
		return 0, err
	}
	rsp, err := tpm2.NVRead{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: srk.hmac()},
		NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(i.index), Name: name},
		Size:       8,
	}.Execute(i.d.link)
	if err != nil {
		return 0, counterError(err)
	}
	if n := len(rsp.Data.Buffer); n != 8 {
		return 0, fmt.Errorf("%w: it has %d bytes, want 8", ErrCounter, n)
	}
	return binary.BigEndian.Uint64(rsp.Data.Buffer), nil
}

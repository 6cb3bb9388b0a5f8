package tpm_test

import (
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
)

// The counter of images is made once, rises, survives a power cut, and never goes back, not even when it was removed and made anew.
func TestImages(t *testing.T) {
	m, d := machine(t)
	v := provision(t, d) // another counter, which it must leave alone
	i := d.Images(attest.ImagesIndex)
	if _, err := i.Count(); !errors.Is(err, tpm.ErrCounter) {
		t.Fatalf("without a counter: %v", err)
	}
	if err := i.Raise(1); !errors.Is(err, tpm.ErrCounter) {
		t.Fatalf("raise without a counter: %v", err)
	}
	first, err := i.Provision()
	must(t, err)
	count := func(want uint64) {
		t.Helper()
		if got, err := i.Count(); err != nil || got != want {
			t.Fatalf("it is at %d, %v, want %d", got, err, want)
		}
	}
	count(first)
	must(t, i.Raise(first+3))
	count(first + 3)
	must(t, i.Raise(first+1)) // passed
	count(first + 3)
	if again, err := i.Provision(); err != nil || again != first+3 {
		t.Fatalf("provisioned again at %d, %v", again, err)
	}
	if err := i.Raise(first + 3 + tpm.MaxRaise + 1); err == nil {
		t.Fatal("it rises by any number")
	}
	count(first + 3)
	must(t, m.Cut())
	count(first + 3)
	if at, err := v.Epoch(); err != nil || at != v.epoch {
		t.Fatalf("the epoch is %d, %v, want %d", at, err, v.epoch)
	}
	v.opens(t, v.now, v.epoch)

	// Its owner can remove it. What comes instead is higher.
	public := attest.ImagesPublic(attest.ImagesIndex)
	name, err := tpm2.NVName(&public)
	must(t, err)
	_, err = tpm2.NVUndefineSpace{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, NVIndex: tpm2.NamedHandle{Handle: tpm2.TPMHandle(attest.ImagesIndex), Name: *name}}.Execute(m.Bus())
	must(t, err)
	if _, err := i.Count(); !errors.Is(err, tpm.ErrCounter) {
		t.Fatalf("removed: %v", err)
	}
	if again, err := i.Provision(); err != nil || again <= first+3 {
		t.Fatalf("made anew at %d, %v, and was at %d", again, err, first+3)
	}
	noHandles(t, m)
}

// What lies at the index and is no counter such as ours is never taken for one: memory that its owner writes goes back as he likes.
func TestImagesAreCounted(t *testing.T) {
	m, d := machine(t)
	public := attest.ImagesPublic(attest.ImagesIndex)
	public.Attributes.NT, public.Attributes.Written = tpm2.TPMNTOrdinary, false
	_, err := tpm2.NVDefineSpace{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, PublicInfo: tpm2.New2B(public)}.Execute(m.Bus())
	must(t, err)
	i := d.Images(attest.ImagesIndex)
	if n, err := i.Count(); err == nil {
		t.Errorf("it counts %d", n)
	}
	if n, err := i.Provision(); err == nil {
		t.Errorf("provisioned at %d", n)
	}
	if err := i.Raise(1); err == nil {
		t.Error("it rises")
	}
	noHandles(t, m)
}

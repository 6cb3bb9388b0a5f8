package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
)

// update is an update that this producer signed, with boot states for these values of PCR 7.
func (p *producer) update(version string, security uint32, pcr7 ...byte) []byte {
	p.t.Helper()
	part := wire.UpdatePart{Size: 1, SHA256: capability.Digest{1}}
	u := wire.Update{Version: version, Security: security, Time: capability.At(time.Now()), RootHash: capability.Digest{2}, Root: part, Verity: part, Kernel: part, Certificate: p.certificate}
	ref := p.c.Fingerprint(p.trust.Root)
	for _, b := range pcr7 {
		s, err := attest.SignState(rand.Reader, p.boot, ref[:], slices.Concat(bytes.Repeat([]byte{b}, 32), bytes.Repeat([]byte{0x77}, 32), make([]byte, 32)))
		must(p.t, err)
		u.Boot.States = append(u.Boot.States, s.Encode())
	}
	if len(pcr7) > 0 {
		var err error
		u.Boot.Key, err = x509.MarshalPKIXPublicKey(p.boot.Public())
		must(p.t, err)
		u.Boot.Ref = ref[:]
	}
	file, err := p.c.SealUpdate(p.key, &u)
	must(p.t, err)
	return file
}

// ofImage makes the site one that runs an image, activated, with a counter of images in its TPM.
func ofImage(t *testing.T, security uint32) *site {
	t.Helper()
	p := newProducer(t, 1)
	s := newSite(t, p)
	s.a.Image, s.a.Images = Image{"2026.2", security}, s.device.Images(attest.ImagesIndex)
	must(t, respondsOf(s, 0))
	return s
}

// respondsOf brings the first response, which signs the boot state with this value in all its registers.
func respondsOf(s *site, register byte) error {
	t, p := s.p.t, s.p
	t.Helper()
	f, err := s.a.Request(context.Background(), nil, "test")
	must(t, err)
	ref := p.c.Fingerprint(p.trust.Root)
	key, err := x509.MarshalPKIXPublicKey(p.boot.Public())
	must(t, err)
	state, err := attest.SignState(rand.Reader, p.boot, ref[:], bytes.Repeat([]byte{register}, 96))
	must(t, err)
	_, err = s.a.Import(context.Background(), p.respond(f.Bytes, 1, func(r *capability.Response) {
		r.Boot = capability.Boot{Key: key, Ref: ref[:], States: [][]byte{state.Encode()}}
	}, item(t, 1, "render", 2)))
	return err
}

// startsAgain ends the run of a site without a vault, and begins another from what is durable.
func (s *site) startsAgain() {
	t := s.p.t
	t.Helper()
	s.stop()
	<-s.a.Done()
	o := s.a.Options
	var kept Public
	if b := o.Vault.(*memory).public; len(b) > 0 {
		must(t, s.p.c.Decode(b, &kept, 64<<10))
	}
	o.Boot = kept.Boot
	var err error
	s.a, err = New(o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.ended <- s.a.Run(ctx) }()
	t.Cleanup(cancel)
}

// Before the first response there is no vault: the boot states of an update count from its making on, also where the server was started again meanwhile, and so does that the image that runs has proved itself. A
// response that signs the state of another image only makes none.
func TestUpdateBeforeActivation(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, newProducer(t, 1))
	images := s.device.Images(attest.ImagesIndex)
	s.a.Image, s.a.Images = Image{"2026.2", 7}, images
	var no *capability.Refusal
	if err := respondsOf(s, 9); !errors.As(err, &no) || no.Code != capability.ErrResponseState {
		t.Fatalf("a response for another image: %v", err)
	}
	_, err := s.a.Update(ctx, s.p.update("2026.3", 8, 9), true) // of another firmware: nothing is to be kept
	must(t, err)
	_, err = s.a.Update(ctx, s.p.update("2026.3", 8, 9, 0), true)
	must(t, err)
	s.startsAgain()
	_, err = s.a.Proved(ctx)
	must(t, err)
	if _, err := images.Count(); !errors.Is(err, tpm.ErrCounter) {
		t.Fatalf("counted before there is a vault: %v", err)
	}
	must(t, respondsOf(s, 0))
	var public Public
	must(t, s.a.Look(ctx, func(*ledger.Ledger, ledger.Now) { public = s.a.sealed() }))
	if len(public.States) != 2 {
		t.Errorf("%d boot states, want that which runs and that of the update", len(public.States))
	}
	if lowest, err := public.Lowest(images); err != nil || lowest != 7 {
		t.Errorf("%d may run: %v", lowest, err)
	}
}

// An update is judged before anything is kept of it; what is kept is the boot states of this firmware, before this says so.
func TestUpdate(t *testing.T) {
	s := ofImage(t, 7)
	ctx := context.Background()
	for name, c := range map[string]struct {
		file []byte
		code capability.Code
	}{
		"the same release":           {s.p.update("2026.2", 7, 0), capability.UpdateHere},
		"an older release":           {s.p.update("2026.1.9", 7, 0), capability.UpdateHere},
		"a lower security version":   {s.p.update("2026.3", 6, 0), capability.ErrUpdateSecurity},
		"no boot state":              {s.p.update("2026.3", 7), capability.ErrUpdateState},
		"of another firmware":        {s.p.update("2026.3", 7, 9), capability.ErrUpdateState},
		"of another producer":        {newProducer(t, 9).update("2026.3", 7, 0), capability.ErrOtherProducer},
		"changed":                    {flipped(s.p.update("2026.3", 7, 0), -9), capability.ErrOneSignature},
		"cut":                        {s.p.update("2026.3", 7, 0)[:3000], capability.ErrFileCut},
		"no update":                  {[]byte("MZ"), capability.ErrFileKind},
		"of another boot key's word": {otherBoot(t, s.p).update("2026.3", 7, 0), capability.ErrUpdateState},
	} {
		for _, keep := range []bool{false, true} {
			moves := s.vault.moves
			var no *capability.Refusal
			if _, err := s.a.Update(ctx, c.file, keep); !errors.As(err, &no) || no.Code != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
			if s.vault.moves != moves {
				t.Errorf("%s: it was kept", name)
			}
		}
	}
	good := s.p.update("2026.10", 8, 9, 0, 3)
	moves, public := s.vault.moves, s.vault.public
	found, err := s.a.Update(ctx, good, false)
	must(t, err)
	if found.Update.Security != 8 || found.Lowest != 7 || s.vault.moves != moves {
		t.Errorf("%+v, and %d moves", found, s.vault.moves-moves)
	}
	_, err = s.a.Update(ctx, good, true)
	must(t, err)
	var sealed Public
	must(t, s.p.c.Decode(s.vault.public, &sealed, 64<<10))
	if s.vault.moves != moves+1 || bytes.Equal(s.vault.public, public) || len(sealed.States) != 2 {
		t.Errorf("%d moves, and %d boot states", s.vault.moves-moves, len(sealed.States))
	}
	first, err := attest.DecodeSignedState(sealed.States[0])
	must(t, err)
	if !bytes.Equal(first.PCRs[:64], append(make([]byte, 32), bytes.Repeat([]byte{0x77}, 32)...)) {
		t.Errorf("the state of the update is not there: %x", first.PCRs)
	}
	_, err = s.a.Update(ctx, good, true) // known
	must(t, err)
	if s.vault.moves != moves+1 {
		t.Error("the same states move the epoch again")
	}
}

// The counter rises when the image has proved itself, to its security version and never beyond; below it nothing is taken and nothing runs.
func TestProved(t *testing.T) {
	s := ofImage(t, 7)
	ctx := context.Background()
	images := s.device.Images(attest.ImagesIndex)
	if _, err := images.Count(); !errors.Is(err, tpm.ErrCounter) {
		t.Fatalf("counted before it has proved itself: %v", err)
	}
	sealed := func() (p Public) {
		t.Helper()
		must(t, s.p.c.Decode(s.vault.public, &p, 64<<10))
		return p
	}
	for range 2 {
		lowest, err := s.a.Proved(ctx)
		must(t, err)
		p := sealed()
		if again, err := p.Lowest(images); err != nil || lowest != 7 || again != 7 {
			t.Fatalf("%d may run, and by the vault %d: %v", lowest, again, err)
		}
	}
	p := sealed()
	for security, may := range map[uint32]bool{0: false, 6: false, 7: true, 8: true} {
		var no *capability.Refusal
		if err := p.MayRun(Image{"2026.2", security}, images); (err == nil) != may || err != nil && (!errors.As(err, &no) || no.Code != capability.ErrImageOlder) {
			t.Errorf("security version %d: %v", security, err)
		}
	}
	var no *capability.Refusal
	s.a.Image.Security = 6 // as if an older image had opened it after all
	if _, err := s.a.Update(ctx, s.p.update("2026.3", 6, 0), true); !errors.As(err, &no) || no.Code != capability.ErrUpdateSecurity {
		t.Errorf("an update below what the TPM remembers: %v", err)
	}
	if lowest, err := s.a.Proved(ctx); err != nil || lowest != 7 {
		t.Errorf("it has gone back to %d: %v", lowest, err)
	}

	// A cut between making the counter and naming it, and one in the middle of its rise.
	must(t, images.Raise(p.Base+9))
	p.Base--
	if err := p.MayRun(Image{"2026.2", 9}, images); err == nil {
		t.Error("a base that somebody has moved lets run what may not")
	}
	p.Base += 100
	if err := p.MayRun(Image{"2026.2", 9}, images); !errors.As(err, &no) || no.Code != capability.ErrCounter {
		t.Errorf("a counter before its base: %v", err)
	}
}

// Where no image of the producer's runs, none is updated, nothing is counted, and a vault that counts does not open.
func TestWithoutAnImage(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	var no *capability.Refusal
	if _, err := s.a.Update(context.Background(), s.p.update("2026.3", 7, 0), true); !errors.As(err, &no) || no.Code != capability.ErrNoImage {
		t.Error(err)
	}
	if lowest, err := s.a.Proved(context.Background()); err != nil || lowest != 0 {
		t.Error(lowest, err)
	}
	if err := (&Public{}).MayRun(Image{}, nil); err != nil {
		t.Error(err)
	}
	s.a.Image, s.a.Images = Image{"2026.2", 7}, s.device.Images(attest.ImagesIndex)
	if _, err := s.a.Update(context.Background(), s.p.update("2026.3", 7), true); err != nil { // before the first response: it opens in any boot state
		t.Error(err)
	}
	if lowest, err := s.a.Proved(context.Background()); err != nil || lowest != 0 {
		t.Error(lowest, err)
	}
}

// The public part of a vault from before images were counted is read as it is, and written as it was.
func TestPublicOfBefore(t *testing.T) {
	c := wire.New()
	b := capability.Boot{Key: []byte("key"), Ref: []byte("ref"), States: [][]byte{{1}}}
	before := c.Encode(b)
	var p Public
	must(t, c.Decode(before, &p, 1<<10))
	if !bytes.Equal(c.Encode(p), before) || p.Base != 0 || string(p.Key) != "key" {
		t.Errorf("%+v", p)
	}
	p.Base = 300
	var again Public
	must(t, c.Decode(c.Encode(p), &again, 1<<10))
	if again.Base != 300 || len(again.States) != 1 {
		t.Errorf("%+v", again)
	}
}

func flipped(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[len(b)+i] ^= 1
	return b
}

// otherBoot is the same producer with another key for boot states.
func otherBoot(t *testing.T, p *producer) *producer {
	o := *p
	o.boot = newProducer(t, 3).boot
	return &o
}

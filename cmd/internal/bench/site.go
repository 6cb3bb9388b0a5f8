package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// total is the counts of the site: more than 1,000,000 leases and all clients hold.
const total = 1_200_000

// site is an activated appliance that was stopped cleanly: real programs, a software TPM, one producer. Every box begins as a copy of it.
type site struct {
	dir   string
	trust *wire.Trust
}

func newSite(dir string) (*site, error) {
	s := &site{dir: dir}
	if err := rig.Build(s.path("bin"), "./cmd/leaseholdd", "./cmd/freehold"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.path("pass"), []byte("a passphrase for figures only\n"), 0o600); err != nil {
		return nil, err
	}
	o := rig.Office{Program: s.path("bin/freehold"), Dir: s.path("fh"), Passphrase: s.path("pass")}
	if _, err := o.Run("init", "--producer", "Works", "--trust", s.path("trust"), "--minimum-tier", "software", "--lease-interval", "1h"); err != nil {
		return nil, err
	}
	entitle := []string{"--customer", "Plant", "--product", "Render", "--count", fmt.Sprint(total)}
	for _, f := range sixFeatures() {
		entitle = append(entitle, "--feature", fmt.Sprintf("%s:%d.1", f, featureVersion))
	}
	id, err := o.Entitle(entitle...)
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(s.path("trust"))
	if err != nil {
		return nil, err
	}
	if s.trust, err = wire.New().DecodeTrust(bundle); err != nil {
		return nil, err
	}
	b := s.at(s.dir)
	defer b.Close()
	if err := b.Open(tpmtest.P256); err != nil {
		return nil, err
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	if err := o.Activate(b.Box, id, total); err != nil {
		return nil, err
	}
	return s, b.Halt()
}

func sixFeatures() []string { return []string{feature, "paint", "model", "mesh", "light", "sound"} }

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// box is one appliance of the site.
type box struct{ *rig.Box }

func (s *site) at(dir string) *box {
	return &box{&rig.Box{Dir: dir, Program: s.path("bin/leaseholdd"), Trust: s.path("trust"), Within: replyWithin}}
}

// box gives a copy of the site in a directory of its own; nothing runs yet but its TPM.
func (s *site) box(name string) (*box, error) {
	b := s.at(s.path(name))
	for _, part := range []string{"state", "tpm"} {
		if err := rig.CopyTree(s.path(part), filepath.Join(b.Dir, part)); err != nil {
			return nil, err
		}
	}
	if err := b.Open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// subject is this box under load. The clients are the same devices every time, so that the ledger does not grow from round to round.
func (b *box) subject(devices []device) *subject {
	return &subject{
		name: appliance, pid: b.Cmd.Process.Pid, beside: b.Chip.PID(),
		dial: func(w workload, i int) (speaker, error) { return w.client(b.Address(), devices[i], "") },
		groups: func() (uint64, error) {
			h, err := b.Health()
			return h.Journal.Position, err
		},
	}
}

// until is the time that something took, which is tried until it does not fail.
func until(limit time.Duration, try func() error) (time.Duration, error) {
	begun := time.Now()
	for {
		err := try()
		if took := time.Since(begun); err == nil || took > limit {
			return took, err
		}
		wait(time.Millisecond)
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// trial is one run of this program: the servers, and the figures that are in no row.
type trial struct {
	options
	dir      string
	out      io.Writer
	site     *site
	box      *box
	devices  []device
	subjects map[string]*subject
	figures  figures
	closers  []func()

	sync, extend, readBack []float64 // us, of the probes
	prober                 *prober
}

// figures are what is measured once, or beside the rounds. A nil one was not.
type figures struct {
	Sync     *float64 `json:"syncUs"`     // 300 bytes written into a zeroed file, and fdatasync; p50
	Extend   *float64 `json:"extendUs"`   // of the running digest, by the software TPM; p50
	ReadBack *float64 `json:"readBackUs"` // of the running digest and the counts; p50

	IdleResident *float64 `json:"idleMiB"`
	IdleConn     *float64 `json:"idleConnectionKiB"`

	TPM         []tpmUse      `json:"tpm,omitempty"`
	First       []firstUse    `json:"firstConnections,omitempty"`
	Storm       *storm        `json:"storm,omitempty"`
	Starts      *starts       `json:"starts,omitempty"`
	Nodes       *nodes        `json:"nodes,omitempty"`
	Many        *many         `json:"manyLeases,omitempty"`
	Slow        *slow         `json:"slowSync,omitempty"`
	Profiles    []profile     `json:"profiles,omitempty"`
	SyncsCalled []syncsCalled `json:"syncsCalled,omitempty"`
}

func (t *trial) later(f func()) { t.closers = append(t.closers, f) }

func (t *trial) close() {
	for i := len(t.closers) - 1; i >= 0; i-- {
		t.closers[i]()
	}
}

func (t *trial) prepare() error {
	if _, err := os.Stat(t.baseline); err != nil {
		return fmt.Errorf("%w; type: make bench", err)
	}
	var err error
	if t.devices, err = newDevices(mostDevices); err != nil {
		return err
	}
	if t.site, err = newSite(t.dir); err != nil {
		return err
	}
	if t.box, err = t.site.box("a"); err != nil {
		return err
	}
	t.later(t.box.Close)
	if err := t.box.Start(); err != nil {
		return err
	}
	if err := t.idle(); err != nil {
		return err
	}
	var stop func()
	t.subjects, stop, err = others(t.dir, t.baseline, t.devices)
	t.later(stop)
	if err != nil {
		return err
	}
	t.subjects[appliance] = t.box.subject(t.devices)
	t.prober, err = newProber(t.site)
	if err == nil {
		t.later(t.prober.close)
	}
	return err
}

// idle measures a daemon that has served nobody yet, and what a connection that says nothing costs it. There are so many of these that what a heap grows by at first,
// which is the same for one and for a hundred, is no large part of it; garbage of their handshakes is.
func (t *trial) idle() error {
	const n = mostDevices / 2
	pid := t.box.Cmd.Process.Pid
	wait(4 * aBit) // it gives back what its start has read after two seconds
	before, err := residentBytes(pid)
	if err != nil {
		return err
	}
	t.figures.IdleResident = megabytes(before)
	var open []*client
	for i := range n {
		c, err := connect(t.box.Address(), t.devices[i])
		if err != nil {
			return err
		}
		defer c.conn.Close()
		open = append(open, c)
	}
	after, err := residentBytes(pid)
	if err != nil {
		return err
	}
	per := float64(after-before) / 1024 / float64(len(open))
	t.figures.IdleConn = &per
	return nil
}

func megabytes(b uint64) *float64 {
	m := float64(b) / (1 << 20)
	return &m
}

// probe measures between two rounds what bounds a commit: a sync of this file system, and the two things that are asked of the TPM for each group.
func (t *trial) probe() error {
	for range 200 {
		took, err := t.prober.sync()
		if err != nil {
			return err
		}
		t.sync = append(t.sync, microseconds(took))
		begun := time.Now()
		if err := t.prober.binding.Extend([32]byte{1}); err != nil {
			return err
		}
		t.extend = append(t.extend, microseconds(time.Since(begun)))
		begun = time.Now()
		if _, _, _, err := t.prober.binding.Running(); err != nil {
			return err
		}
		t.readBack = append(t.readBack, microseconds(time.Since(begun)))
	}
	s, e, r := median(t.sync), median(t.extend), median(t.readBack)
	t.figures.Sync, t.figures.Extend, t.figures.ReadBack = &s, &e, &r
	return nil
}

// prober has a file and a TPM of its own, made as the appliance's are.
type prober struct {
	file    *os.File
	offset  int64
	chip    *tpmtest.TPM
	device  *tpm.Device
	binding *tpm.Binding
}

func newProber(s *site) (*prober, error) {
	dir := s.path("p")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	chip, err := tpmtest.New(dir, tpmtest.P256)
	if err != nil {
		return nil, err
	}
	p := &prober{chip: chip}
	if p.device, err = tpm.Open(chip.Address()); err == nil {
		p.binding = p.device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
		p.file, err = os.Create(filepath.Join(dir, "segment"))
	}
	if err == nil {
		_, err = p.file.Write(make([]byte, segmentBytes))
	}
	if err == nil {
		err = p.file.Sync()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *prober) close() {
	if p.file != nil {
		p.file.Close()
	}
	if p.device != nil {
		p.device.Close()
	}
	p.chip.Close()
}

func (p *prober) sync() (time.Duration, error) {
	if p.offset+recordBytes > segmentBytes {
		p.offset = 0
	}
	begun := time.Now()
	_, err := p.file.WriteAt(make([]byte, recordBytes), p.offset)
	err = errors.Join(err, unix.Fdatasync(int(p.file.Fd())))
	p.offset += recordBytes
	return time.Since(begun), err
}

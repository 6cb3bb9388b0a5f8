package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// tap lies between a daemon and its TPM and takes the time of every command.
type tap struct {
	listener net.Listener
	path     string // of the TPM's socket
	mu       sync.Mutex
	spent    map[tpm2.TPMCC]time.Duration
	count    map[tpm2.TPMCC]int
}

func newTap(path string, chip *tpmtest.TPM) (*tap, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	p, is := strings.CutPrefix(chip.Address(), "unix:")
	if !is {
		return nil, fmt.Errorf("a TPM at %s", chip.Address())
	}
	t := &tap{listener: l, path: p}
	t.reset()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.carry(conn) // a TPM serves one connection at a time
			conn.Close()
		}
	}()
	return t, nil
}

func (t *tap) address() string { return "unix:" + t.listener.Addr().String() }

func (t *tap) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spent, t.count = map[tpm2.TPMCC]time.Duration{}, map[tpm2.TPMCC]int{}
}

// sum is the number of commands of these kinds and their time; of all where none is named.
func (t *tap) sum(kinds ...tpm2.TPMCC) (n int, spent time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(kinds) == 0 {
		for k := range t.count {
			kinds = append(kinds, k)
		}
	}
	for _, k := range kinds {
		n, spent = n+t.count[k], spent+t.spent[k]
	}
	return n, spent
}

// carry carries commands and responses, which both begin with a tag of 2 bytes and a size of 4.
func (t *tap) carry(daemon net.Conn) {
	chip, err := net.Dial("unix", t.path)
	if err != nil {
		return
	}
	defer chip.Close()
	for {
		command, err := frameOf(daemon)
		if err != nil {
			return
		}
		begun := time.Now()
		if _, err := chip.Write(command); err != nil {
			return
		}
		response, err := frameOf(chip)
		took := time.Since(begun)
		if err != nil {
			return
		}
		kind := tpmtest.Command(command)
		t.mu.Lock()
		t.spent[kind] += took
		t.count[kind]++
		t.mu.Unlock()
		if _, err := daemon.Write(response); err != nil {
			return
		}
	}
}

func frameOf(r io.Reader) ([]byte, error) {
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[2:])
	if n < 10 || n > 1<<16 {
		return nil, fmt.Errorf("a command or response of %d bytes", n)
	}
	b := append(head, make([]byte, n-10)...)
	_, err := io.ReadFull(r, b[10:])
	return b, err
}

// tpmUse is what the TPM costs under load. All times are the TPM's own, taken at its socket.
type tpmUse struct {
	Connections int     `json:"connections"`
	Commands    float64 `json:"commandsPerGroup"`
	Extend      float64 `json:"extendUsPerGroup"`
	ReadBack    float64 `json:"readBackUsPerGroup"`
	PerOp       float64 `json:"usPerOp"`
	OpsPerGroup float64 `json:"opsPerGroup"`
}

// starts is how long a start takes, from a clean stop: until a client that was waiting has its first answer. One before them follows a kill, which leaves all of the
// journal to be read: some seconds of the hardest work.
type starts struct {
	Killed    float64 `json:"afterKillBeyondTpmMs"`
	Count     int     `json:"count"`
	Took      float64 `json:"medianMs"`
	TPM       float64 `json:"tpmMedianMs"`
	Beyond    float64 `json:"beyondTpmMedianMs"`
	BeyondMax float64 `json:"beyondTpmMaxMs"`
}

// tapped measures the TPM's part of the work and of starts.
func (t *trial) tapped() error {
	b, err := t.site.box("t")
	if err != nil {
		return err
	}
	defer b.Close()
	tap, err := newTap(t.dir+"/bus", b.Chip)
	if err != nil {
		return err
	}
	defer tap.listener.Close()
	b.Bus = tap.address()
	if err := b.Start(); err != nil {
		return err
	}
	s := b.subject(t.devices)
	for _, n := range []int{1, busy} {
		u, err := tapUse(s, tap, n, t.warm)
		if err != nil {
			return err
		}
		t.figures.TPM = append(t.figures.TPM, u)
	}
	b.Kill()
	all, inside, err := t.tappedStart(b, tap)
	if err != nil {
		return err
	}
	killed := milliseconds(all - inside)
	var took, chip, beyond []float64
	for range t.starts {
		if err := b.Halt(); err != nil {
			return err
		}
		if all, inside, err = t.tappedStart(b, tap); err != nil {
			return err
		}
		took, chip, beyond = append(took, milliseconds(all)), append(chip, milliseconds(inside)), append(beyond, milliseconds(all-inside))
	}
	most := 0.0
	for _, v := range beyond {
		most = max(most, v)
	}
	t.figures.Starts = &starts{killed, t.starts, median(took), median(chip), median(beyond), most}
	return b.Halt()
}

// tappedStart gives the time of a start, and the TPM's part of it.
func (t *trial) tappedStart(b *box, tap *tap) (all, inside time.Duration, err error) {
	tap.reset()
	begun := time.Now()
	if err := b.Spawn(); err != nil {
		return 0, 0, err
	}
	c, err := workloads()[1].client(b.Address(), t.devices[0], "")
	all = time.Since(begun)
	if err != nil {
		b.Kill()
		return 0, 0, fmt.Errorf("after a start: %w\n%s", err, b.Log)
	}
	_, inside = tap.sum()
	return all, inside, c.leave()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func tapUse(s *subject, tap *tap, n int, warm time.Duration) (tpmUse, error) {
	tap.reset()
	r, err := s.run(workloads()[0], n, warm, 2*aBit)
	if err != nil {
		return tpmUse{}, err
	}
	// Every group is one extend; what dialing and warming up did is in all of these figures alike.
	groups, extend := tap.sum(tpm2.TPMCCPCRExtend)
	commands, _ := tap.sum()
	_, back := tap.sum(tpm2.TPMCCPCRRead, tpm2.TPMCCReadClock)
	g := float64(groups)
	if groups == 0 {
		return tpmUse{}, fmt.Errorf("no group in %d commands", commands)
	}
	return tpmUse{n, float64(commands) / g, microseconds(extend) / g, microseconds(back) / g, (microseconds(extend) + microseconds(back)) / g * r.Syncs, 1 / r.Syncs}, nil
}

package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

const (
	headerBytes  = 10   // tag 2, size 4, code 4, big-endian, in commands and responses
	maxFrame     = 4096 // what the kernel's driver takes and gives
	firstWait    = 5 * time.Millisecond
	longestWait  = time.Second
	totalWait    = 15 * time.Second // then the TPM's own code goes up
	maxRecovered = 64               // leftover handles of one kind, asked for at once
)

// link is the way to the TPM, one command at a time. It resends what the TPM asks
// to have resent, without the lock while it waits.
type link struct {
	mu      sync.Mutex
	t       transport.TPM
	wait    func(time.Duration)
	answers atomic.Uint64 // responses so far, busy ones too
}

func newLink(t transport.TPM) *link { return &link{t: t, wait: time.Sleep} }

// Send carries one command. Any error is ErrUnavailable; a refusal by the TPM is
// a response.
func (l *link) Send(command []byte) ([]byte, error) {
	var waited time.Duration
	for pause := firstWait; ; pause = min(2*pause, longestWait) {
		response, err := l.send(command)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		switch tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])) {
		case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate:
		default:
			return response, nil
		}
		if waited >= totalWait {
			return response, nil
		}
		l.wait(pause)
		waited += pause
	}
}

func (l *link) send(command []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	response, err := l.t.Send(command)
	if err != nil {
		return nil, err
	}
	if err := checkFrame(response); err != nil {
		return nil, err
	}
	l.answers.Add(1)
	return response, nil
}

// checkFrame compares a response's length with what its header says.
func checkFrame(response []byte) error {
	if len(response) < headerBytes {
		return fmt.Errorf("response of %d bytes: %w", len(response), io.ErrUnexpectedEOF)
	}
	if n := binary.BigEndian.Uint32(response[2:]); uint64(n) != uint64(len(response)) {
		return fmt.Errorf("response of %d bytes says it has %d", len(response), n)
	}
	return nil
}

func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.t.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// flushAll ends all sessions and transient objects of ours. Behind the kernel's
// resource manager ours are those of our descriptor, which go when it is closed;
// elsewhere the TPM is ours alone.
func (l *link) flushAll() error {
	if w, ok := l.t.(*wire); ok && !w.socket {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.hangUp()
		return nil
	}
	// Transient objects, loaded sessions, saved sessions.
	for _, first := range []uint32{0x80000000, 0x02000000, 0x03000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: maxRecovered}.Execute(l)
		if err != nil {
			return explain("list leftovers in the tpm", err)
		}
		handles, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			return explain("list leftovers in the tpm", err)
		}
		for _, h := range handles.Handle {
			if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(l); err != nil && !errors.Is(err, tpm2.TPMRCHandle) {
				return explain("flush leftovers in the tpm", err)
			}
		}
	}
	return nil
}

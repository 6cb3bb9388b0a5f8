package tpmtest

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Recorder is a bus analyzer: it keeps every command and response.
type Recorder struct {
	transport.TPM
	mu     sync.Mutex
	frames [][]byte
}

// Send carries and records.
func (r *Recorder) Send(command []byte) ([]byte, error) {
	response, err := r.TPM.Send(command)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, bytes.Clone(command), bytes.Clone(response))
	return response, err
}

// Saw tells whether secret crossed the bus in the clear.
func (r *Recorder) Saw(secret []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.frames {
		if bytes.Contains(f, secret) {
			return true
		}
	}
	return false
}

// Commands lists the commands so far.
func (r *Recorder) Commands() []tpm2.TPMCC {
	r.mu.Lock()
	defer r.mu.Unlock()
	var codes []tpm2.TPMCC
	for i := 0; i < len(r.frames); i += 2 {
		codes = append(codes, Command(r.frames[i]))
	}
	return codes
}

// Command is the code of a command.
func Command(frame []byte) tpm2.TPMCC {
	if len(frame) < 10 {
		return 0
	}
	return tpm2.TPMCC(binary.BigEndian.Uint32(frame[6:]))
}

// Faulty asks Fault about each command, counted from 0. A Fault that returns
// neither a response nor an error lets the command through.
type Faulty struct {
	transport.TPM
	Fault func(n int, command []byte) (response []byte, err error)
	mu    sync.Mutex
	n     int
}

// Send carries, or not.
func (f *Faulty) Send(command []byte) ([]byte, error) {
	f.mu.Lock()
	n := f.n
	f.n++
	f.mu.Unlock()
	if response, err := f.Fault(n, command); response != nil || err != nil {
		return response, err
	}
	return f.TPM.Send(command)
}

// Refusal is a TPM's response with code alone.
func Refusal(code tpm2.TPMRC) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
	b = binary.BigEndian.AppendUint32(b, 10)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

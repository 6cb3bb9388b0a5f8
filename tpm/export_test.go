package tpm

import "time"

// OpenWithin is Open with another limit for an answer.
func OpenWithin(address string, limit time.Duration) (*Device, error) {
	return openWithin(address, limit)
}

// SetWait replaces the pause before a command is sent again.
func (d *Device) SetWait(wait func(time.Duration)) { d.link.wait = wait }

// HoldOperation keeps every operation out until the function it returns is called.
func (d *Device) HoldOperation() (release func()) {
	d.op.Lock()
	return d.op.Unlock
}

// RawSend is one command by way of the link.
func (d *Device) RawSend(command []byte) ([]byte, error) { return d.link.Send(command) }

// Forget makes the device read again what it keeps of the TPM.
func (d *Device) Forget() { d.chunk, d.authority, d.chained = 0, nil, false }

// FlushAll is what Open and a recovery do.
func (d *Device) FlushAll() error { return d.link.flushAll() }

// EpochAuth is the counter's auth value.
func EpochAuth(secret []byte) ([]byte, error) { return epochAuth(secret) }

// DecodeSealed reads a sealed blob and encodes it again.
func DecodeSealed(b []byte) ([]byte, error) {
	s, err := decodeBlob(b, formatSealed)
	if err != nil {
		return nil, err
	}
	return s.encode(), nil
}

// OverFile uses a file as a device without starting a TPM there.
func OverFile(path string) *Device {
	w, err := dial(path, replyTimeout)
	if err != nil {
		panic(err)
	}
	return &Device{link: newLink(w)}
}

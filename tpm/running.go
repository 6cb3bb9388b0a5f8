package tpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
)

// The three commands that each commit group waits for are written and read by hand (TPM 2.0 Library, part 3, 22.2, 22.4 and 29.1): go-tpm does it by reflection,
// which takes longer than a software TPM. A test compares the bytes with go-tpm's.

// Extend adds one commit group to the running digest: S becomes
// SHA-256(S || group). It waits for one command at most, and writes no NV.
func (b *Binding) Extend(group [32]byte) error {
	if err := b.checkPCR(); err != nil {
		return err
	}
	c := command(tpm2.TPMSTSessions, tpm2.TPMCCPCRExtend)
	c = binary.BigEndian.AppendUint32(c, uint32(b.pcr))
	c = append(c,
		0, 0, 0, 9, // bytes of authorization:
		0x40, 0, 0, 9, 0, 0, 0, 0, 0, // TPM_RS_PW, no nonce, no attributes, an empty password
		0, 0, 0, 1, 0, byte(tpm2.TPMAlgSHA256), // one digest of this algorithm
	)
	rsp, err := b.d.link.execute(append(c, group[:]...))
	if err == nil && !acknowledged(rsp) {
		err = fmt.Errorf("the TPM confirms with %x", rsp)
	}
	return explain("extend the running digest", err)
}

// acknowledged says whether a response has no parameters and the authorization of a password: no nonce, attributes, no acknowledgment (part 1, 19.4).
func acknowledged(rsp []byte) bool {
	return len(rsp) == 9 && bytes.Equal(rsp[:6], make([]byte, 6)) && bytes.Equal(rsp[7:], make([]byte, 2))
}

// Running reads the running digest and the counts of TPM resets and restarts,
// which tell whether it was cleared. It waits for one command at most.
func (b *Binding) Running() (digest [32]byte, resets, restarts uint32, err error) {
	if err := b.checkPCR(); err != nil {
		return digest, 0, 0, err
	}
	// Between the two commands the TPM may restart: then the counts are new.
	if digest, err = b.d.link.readPCR(b.pcr); err != nil {
		return digest, 0, 0, explain("read the running digest", err)
	}
	clock, err := b.d.Clock()
	if err != nil {
		return [32]byte{}, 0, 0, err
	}
	return digest, clock.Resets, clock.Restarts, nil
}

// readPCR reads one PCR, 0 to 23, of the SHA-256 bank.
func (l *link) readPCR(pcr int) (digest [32]byte, err error) {
	selection := []byte{0, 0, 0, 1, 0, byte(tpm2.TPMAlgSHA256), 3, 0, 0, 0} // one bank; three bytes of bits
	selection[7+pcr/8] = 1 << (pcr % 8)
	rsp, err := l.execute(append(command(tpm2.TPMSTNoSessions, tpm2.TPMCCPCRRead), selection...))
	if err != nil {
		return digest, err
	}
	const updates = 4 // a counter of changes to PCRs
	want := append(selection, 0, 0, 0, 1, 0, 32)
	if len(rsp) != updates+len(want)+32 || !bytes.Equal(rsp[updates:updates+len(want)], want) {
		return digest, fmt.Errorf("asked for PCR %d of the SHA-256 bank and got %x", pcr, rsp)
	}
	return [32]byte(rsp[updates+len(want):]), nil
}

// Clock reads the TPM's own time. It waits for one command at most.
func (d *Device) Clock() (attest.Clock, error) {
	rsp, err := d.link.execute(command(tpm2.TPMSTNoSessions, tpm2.TPMCCReadClock))
	if err == nil && len(rsp) != 8+8+4+4+1 {
		err = fmt.Errorf("asked for the time and got %x", rsp)
	}
	if err != nil {
		return attest.Clock{}, explain("read the tpm's clock", err)
	}
	rsp = rsp[8:] // time since the TPM has power; then TPMS_CLOCK_INFO
	return attest.NewClock(binary.BigEndian.Uint64(rsp), binary.BigEndian.Uint32(rsp[8:]), binary.BigEndian.Uint32(rsp[12:]), rsp[16] == 1), nil
}

// command begins a command; execute fills in its size.
func command(tag tpm2.TPMST, code tpm2.TPMCC) []byte {
	c := binary.BigEndian.AppendUint16(make([]byte, 0, 80), uint16(tag))
	return binary.BigEndian.AppendUint32(append(c, 0, 0, 0, 0), uint32(code))
}

// execute sends a command and gives what follows the header of its response.
func (l *link) execute(command []byte) ([]byte, error) {
	binary.BigEndian.PutUint32(command[2:], uint32(len(command)))
	rsp, err := l.Send(command)
	if err != nil {
		return nil, err
	}
	if code := tpm2.TPMRC(binary.BigEndian.Uint32(rsp[6:])); code != tpm2.TPMRCSuccess {
		return nil, code
	}
	if !bytes.Equal(rsp[:2], command[:2]) {
		return nil, errors.New("a response of another kind than its command")
	}
	return rsp[headerBytes:], nil
}

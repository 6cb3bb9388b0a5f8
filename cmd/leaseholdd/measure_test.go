package main

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"unicode/utf16"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// measured is an event of a made firmware's log (TCG PC Client Platform Firmware Profile 10.2.2, TCG_PCR_EVENT2), hashed as it is.
type measured struct {
	pcr, kind uint32
	data      []byte
}

// measure extends a TPM's PCRs as firmware and boot loader do, and gives the log that they would write.
func measure(t *tpmtest.TPM, events ...measured) ([]byte, error) {
	le32 := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	spec := slices.Concat([]byte("Spec ID Event03\x00"), le32(0), []byte{0, 2, 0, 2}, le32(1), []byte{0x0b, 0, 32, 0}, []byte{0})
	log := slices.Concat(le32(0), le32(3), make([]byte, 20), le32(uint32(len(spec))), spec)
	for _, e := range events {
		digest := sha256.Sum256(e.data)
		log = slices.Concat(log, le32(e.pcr), le32(e.kind), le32(1), []byte{0x0b, 0}, digest[:], le32(uint32(len(e.data))), e.data)
		if _, err := (tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(e.pcr), Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]}}},
		}).Execute(t.Bus()); err != nil {
			return nil, err
		}
	}
	return log, nil
}

// booted is what a machine with Secure Boot and a unified kernel image measures.
func booted() []measured {
	wide := func(s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		return b
	}
	const name = "SecureBoot"
	variable := binary.LittleEndian.AppendUint64(make([]byte, 16), uint64(len(name)))
	variable = slices.Concat(binary.LittleEndian.AppendUint64(variable, 1), wide(name), []byte{1})
	return []measured{{7, 0x80000001, variable}, {7, 4, make([]byte, 4)}, {11, 0x0d, wide(".linux\x00")}, {12, 0x0d, wide("root=/dev/vda ro\x00")}}
}

package dongle

import (
	"encoding/binary"
	"fmt"
)

// How messages travel in reports of 64 bytes: CTAP 2.1, 11.2.4.
const (
	reportBytes = 64
	firstBytes  = reportBytes - 7 // after channel, command and length
	moreBytes   = reportBytes - 5 // after channel and sequence number
	maxMore     = 128             // sequence numbers have seven bits

	// MaxMessage is the longest message that fits, in bytes.
	MaxMessage = firstBytes + maxMore*moreBytes
)

// Commands of CTAPHID, with the bit that tells them from a sequence number.
const (
	cmdInit      byte = 0x86
	cmdCBOR      byte = 0x90
	cmdCancel    byte = 0x91
	cmdKeepalive byte = 0xbb
	cmdError     byte = 0xbf
)

const (
	broadcast uint32 = 0xffffffff // the channel on which channels are asked for
	firstBit  byte   = 0x80       // of a report that begins a message
)

// split cuts a message of at most MaxMessage bytes into reports; the last one is filled with zeros.
func split(channel uint32, command byte, message []byte) [][reportBytes]byte {
	var first [reportBytes]byte
	binary.BigEndian.PutUint32(first[:], channel)
	first[4] = command
	binary.BigEndian.PutUint16(first[5:], uint16(len(message)))
	message = message[copy(first[7:], message):]
	reports := [][reportBytes]byte{first}
	for sequence := byte(0); len(message) > 0; sequence++ {
		var more [reportBytes]byte
		binary.BigEndian.PutUint32(more[:], channel)
		more[4] = sequence
		message = message[copy(more[5:], message):]
		reports = append(reports, more)
	}
	return reports
}

// inbox puts the reports of one channel together. All programs that have a key open see all its reports, so those of other channels are none of our business.
type inbox struct {
	channel uint32
	command byte
	message []byte
	want    int  // bytes of the message
	begun   bool // and not yet whole
	next    byte // sequence number
}

// take reads one report. When it says done, command and message are whole until the next call. The error is ErrMalformed.
func (b *inbox) take(report []byte) (done bool, err error) {
	if len(report) != reportBytes {
		return false, fmt.Errorf("%w: a report of %d bytes where there must be %d", ErrMalformed, len(report), reportBytes)
	}
	if binary.BigEndian.Uint32(report) != b.channel {
		return false, nil
	}
	part := report[5:]
	switch first := report[4]&firstBit != 0; {
	case first && b.begun:
		return false, fmt.Errorf("%w: message %#02x begins before message %#02x has ended", ErrMalformed, report[4], b.command)
	case first:
		b.command, b.want = report[4], int(binary.BigEndian.Uint16(report[5:]))
		if b.want > MaxMessage {
			return false, fmt.Errorf("%w: a message of %d bytes where at most %d are allowed", ErrMalformed, b.want, MaxMessage)
		}
		b.message, b.begun, b.next = b.message[:0], true, 0
		part = report[7:]
	case !b.begun:
		return false, nil // the rest of what we no longer wait for
	case report[4] != b.next:
		return false, fmt.Errorf("%w: report %d of a message where report %d must come", ErrMalformed, report[4], b.next)
	default:
		b.next++
	}
	b.message = append(b.message, part[:min(len(part), b.want-len(b.message))]...)
	b.begun = len(b.message) < b.want
	return !b.begun, nil
}

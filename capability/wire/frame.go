package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"

	"github.com/leasehold/leasehold/capability"
)

// ALPN names this protocol inside TLS 1.3 (RFC 7301). Port is its TCP port.
const (
	ALPN = "leasehold/1"
	Port = 7070
)

// Kind of a message. Numbers are on the wire.
type MessageKind uint8

const (
	MessageRequest MessageKind = 0 // client: a bare request; the channel proves the device key
	MessageAnswer  MessageKind = 1 // server: a response with its proof
	MessageAsk     MessageKind = 2 // client: the chain, please; its body is an empty map (Ask)
	MessageChain   MessageKind = 3 // server: the chain
	MessageRefused MessageKind = 4 // server: the one fixed message for what was not understood; the connection ends
)

// ErrFrame is in the error of a frame that breaks its bounds.
var ErrFrame = errors.New("not a frame")

// WriteFrame writes one message with its length before it, in one Write. body is encoded as it is.
func (c *Codec) WriteFrame(w io.Writer, kind MessageKind, body any) error {
	_, err := w.Write(c.Frame(kind, body))
	return err
}

// Frame is the bytes of one frame: a 4-byte big-endian length, then the message. That of an answer is written by hand, the same bytes.
func (c *Codec) Frame(kind MessageKind, body any) []byte {
	if a, is := body.(*Answer); is && len(a.Response) > 0 && len(a.Proof) > 0 {
		b := append(newFrame(kind, len(a.Response)+len(a.Proof)+16), 0xa2, 0x01) // the map of an answer, its response first
		b = append(appendBytes(b, a.Response), 0x02)
		return closeFrame(appendBytes(b, a.Proof))
	}
	item := c.Encode(body)
	return closeFrame(append(newFrame(kind, len(item)), item...))
}

// newFrame has room for the length, and the beginning of a message: an array of two whose first item is the kind.
func newFrame(kind MessageKind, room int) []byte {
	return append(make([]byte, 4, 4+2+room), messageHead, byte(kind))
}

func closeFrame(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// messageHead begins every message: the initial byte of an array of two, a kind and one item.
const messageHead = 0x82

// ReadFrame reads one message. The length is judged before anything is allocated. io.EOF: the other side ended between frames.
func (c *Codec) ReadFrame(r io.Reader) (MessageKind, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, nil, fmt.Errorf("%w: %w inside its length: %w", ErrFrame, ErrCut, err)
	} else if err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	switch {
	case n > capability.MaxFrame:
		return 0, nil, fmt.Errorf("%w: %w: %d bytes where at most %d are allowed", ErrFrame, ErrSize, n, capability.MaxFrame)
	case n == 0:
		return 0, nil, fmt.Errorf("%w: no bytes", ErrFrame)
	}
	b := make([]byte, n)
	if got, err := io.ReadFull(r, b); err != nil {
		return 0, nil, fmt.Errorf("%w: %w: %d bytes of %d: %w", ErrFrame, ErrCut, got, n, err)
	}
	return c.DecodeMessage(b)
}

// DecodeMessage takes a frame's content apart. The body is well-formed; whether it is deterministic and what is in it is checked by whoever decodes it.
func (c *Codec) DecodeMessage(b []byte) (MessageKind, []byte, error) {
	if len(b) > capability.MaxFrame {
		return 0, nil, fmt.Errorf("%w: %w: %d bytes where at most %d are allowed", ErrFrame, ErrMalformed, len(b), capability.MaxFrame)
	}
	if len(b) < 2 || b[0] != messageHead || b[1] > 0x17 {
		return 0, nil, fmt.Errorf("%w: %w: not an array of a kind and a body", ErrFrame, ErrMalformed)
	}
	kind, body := MessageKind(b[1]), b[2:]
	if err := c.dec.Wellformed(body); err != nil {
		return 0, nil, fmt.Errorf("%w: %w: %w", ErrFrame, ErrMalformed, err)
	}
	if kind > MessageRefused {
		return 0, nil, fmt.Errorf("%w: kind %d is not known", ErrFrame, kind)
	}
	if kind == MessageAsk && !bytes.Equal(body, emptyMap()) {
		return 0, nil, fmt.Errorf("%w: a chain is asked for with an empty map", ErrFrame)
	}
	return kind, body, nil
}

// Ask is the one frame that asks for the chain.
func (c *Codec) Ask() []byte { return c.Frame(MessageAsk, cbor.RawMessage(emptyMap())) }

func emptyMap() []byte { return []byte{0xa0} }

// Refused is the one frame that answers whatever was not understood: always the same 32 bytes, which tell a stranger nothing.
func (c *Codec) Refused() []byte { return c.Frame(MessageRefused, "LH-3001 malformed frame.") }

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

// message is every frame's content: a kind and one item.
type message struct {
	_    struct{} `cbor:",toarray"`
	Kind MessageKind
	Body cbor.RawMessage
}

// ErrFrame is in the error of a frame that breaks its bounds.
var ErrFrame = errors.New("not a frame")

// WriteFrame writes one message with its length before it, in one Write. body is encoded as it is.
func (c *Codec) WriteFrame(w io.Writer, kind MessageKind, body any) error {
	_, err := w.Write(c.Frame(kind, body))
	return err
}

// Frame is the bytes of one frame: a 4-byte big-endian length, then the message.
func (c *Codec) Frame(kind MessageKind, body any) []byte {
	b := c.Encode(message{Kind: kind, Body: c.Encode(body)})
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...)
}

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

// DecodeMessage takes a frame's content apart. The body is checked by whoever decodes it.
func (c *Codec) DecodeMessage(b []byte) (MessageKind, []byte, error) {
	var m message
	if err := c.Decode(b, &m, capability.MaxFrame); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if m.Kind > MessageRefused {
		return 0, nil, fmt.Errorf("%w: kind %d is not known", ErrFrame, m.Kind)
	}
	if m.Kind == MessageAsk && !bytes.Equal(m.Body, emptyMap()) {
		return 0, nil, fmt.Errorf("%w: a chain is asked for with an empty map", ErrFrame)
	}
	return m.Kind, m.Body, nil
}

// Ask is the one frame that asks for the chain.
func (c *Codec) Ask() []byte { return c.Frame(MessageAsk, cbor.RawMessage(emptyMap())) }

func emptyMap() []byte { return []byte{0xa0} }

// Refused is the one frame that answers whatever was not understood: always the same 32 bytes, which tell a stranger nothing.
func (c *Codec) Refused() []byte { return c.Frame(MessageRefused, "LH-3001 malformed frame.") }

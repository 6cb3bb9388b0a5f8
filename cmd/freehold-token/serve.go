package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A question is a 4-byte big-endian length, a byte that says what is asked, and what is to be signed; one for each connection. The answer is a 4-byte length, a byte that
// is 0 for yes or 1 for no, and the public key, the signature, or why not.
const (
	askPublic byte = 1
	askSign   byte = 2

	maxQuestion = 2<<20 + 1 // a response file has at most 1 MiB, and its envelopes little more
	atOnce      = 8         // connections
	patience    = 10 * time.Second
)

// signer is what a token does.
type signer interface {
	Public() []byte
	Sign(message []byte) ([]byte, error)
}

type server struct {
	key  signer
	uid  uint32
	rate *rate
	now  func() time.Time

	turn sync.Mutex // a token has one session
}

// serve answers until the listener is closed, and waits for the answers under way.
func serve(ctx context.Context, l net.Listener, s *server) error {
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, atOnce)
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { conn.Close(); <-places }()
			conn.SetDeadline(time.Now().Add(patience))
			b, err := s.answer(conn)
			code := byte(0)
			if err != nil {
				code, b = 1, []byte(err.Error())[:min(len(err.Error()), 512)]
			}
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(1+len(b))), code)
			conn.Write(append(frame, b...))
		})
	}
}

func (s *server) answer(conn net.Conn) ([]byte, error) {
	if err := s.allowed(conn); err != nil {
		return nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxQuestion {
		return nil, fmt.Errorf("a question of %d bytes where 1 to %d are allowed", n, maxQuestion)
	}
	var message bytes.Buffer // grows with what comes, not with what was announced
	if _, err := io.CopyN(&message, conn, int64(n-1)); err != nil {
		return nil, err
	}
	switch {
	case head[4] == askPublic && message.Len() == 0:
		return s.key.Public(), nil
	case head[4] == askSign:
		return s.sign(message.Bytes())
	}
	return nil, fmt.Errorf("question %d with %d bytes is not known", head[4], message.Len())
}

// allowed asks the kernel who is at the other end.
func (s *server) allowed(conn net.Conn) error {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var peer *syscall.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if peer.Uid != s.uid {
		return fmt.Errorf("user %d may not ask", peer.Uid)
	}
	return nil
}

func (s *server) sign(message []byte) ([]byte, error) {
	if !signable(message) {
		return nil, errors.New("not one of the things that a signing key signs")
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	// Counted before it is signed: a signature that got lost was made all the same.
	if err := s.rate.take(s.now()); err != nil {
		return nil, err
	}
	return s.key.Sign(message)
}

// signable knows the inner envelope of what a signing key signs: a Sig_structure (RFC 9052, 4.4) whose protected header says Ed25519 and one of four types. Anything
// else, a certificate of another key above all, is not signed, whoever asks.
func signable(message []byte) bool {
	const sigStructure = "\x84\x6aSignature1"
	rest, ok := bytes.CutPrefix(message, []byte(sigStructure))
	if !ok || len(rest) < 2 || rest[0] != 0x58 || len(rest) < 2+int(rest[1]) {
		return false
	}
	header := rest[2 : 2+int(rest[1])]
	for _, typ := range []string{"response", "appliance", "key-request", "update"} {
		name := "application/vnd.leasehold." + typ + "+cose"
		want := slices.Concat([]byte{0xa3, 0x01, 0x32, 0x04, 0x50}, make([]byte, 16), []byte{0x10, 0x78, byte(len(name))}, []byte(name))
		if len(header) == len(want) {
			copy(want[5:21], header[5:21]) // the key ID is the asker's to choose: it makes nothing trusted
			if bytes.Equal(header, want) {
				return true
			}
		}
	}
	return false
}

// rate counts signatures in the hours and days of the clock. It begins anew when the program does, which whoever asks cannot bring about.
type rate struct {
	hour, day     int // most; zero: any number
	at            int64
	inHour, inDay int
}

func (r *rate) take(now time.Time) error {
	at := now.Unix() / 3600
	if at/24 != r.at/24 {
		r.inDay = 0
	}
	if at != r.at {
		r.at, r.inHour = at, 0
	}
	switch {
	case r.hour > 0 && r.inHour >= r.hour:
		return fmt.Errorf("%d signatures were made in this hour, and %d are allowed", r.inHour, r.hour)
	case r.day > 0 && r.inDay >= r.day:
		return fmt.Errorf("%d signatures were made today, and %d are allowed", r.inDay, r.day)
	}
	r.inHour, r.inDay = r.inHour+1, r.inDay+1
	return nil
}

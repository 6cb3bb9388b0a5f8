package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/hostid"
)

// How floor signs.
const (
	signGroup = "group" // one signature covers what one sync made durable, as the appliance does
	signEach  = "each"  // one for each answer
	signNone  = "none"
)

const (
	recordBytes  = 300     // of each request in the log
	segmentBytes = 4 << 20 // filled with zeros before it is used
)

// floor is what any server with the same promises must do at least: TLS, one write and one fdatasync for all who wait, one signature for them, an answer with its
// proof. It reads nothing of a request but where its correlation is, grants everything, and has neither ledger nor TPM. The proofs are made by package wire.
type floor struct {
	sign   string
	codec  *wire.Codec
	key    ed25519.PrivateKey
	config *tls.Config
	dir    string
	log    *os.File
	offset int64
	number int

	mu   sync.Mutex
	open *batch
	wake chan struct{}
}

// batch is the requests that one sync makes durable.
type batch struct {
	responses [][]byte
	signed    *wire.SignedTree
	done      chan struct{}
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

func newFloor(dir, sign string) (*floor, error) {
	f := &floor{sign: sign, codec: wire.New(), dir: dir, open: newBatch(), wake: make(chan struct{}, 1)}
	certificate, _, err := rig.NewDevice()
	if err != nil {
		return nil, err
	}
	f.key = certificate.PrivateKey.(ed25519.PrivateKey)
	f.config = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{wire.ALPN}, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true}
	return f, f.segment()
}

func serveFloor(dir, sign string) error {
	f, err := newFloor(dir, sign)
	if err != nil {
		return err
	}
	go func() {
		fmt.Fprintln(os.Stderr, "floor:", f.commit())
		os.Exit(1)
	}()
	return accept(f.serve)
}

// segment begins a new segment, durable and full of zeros, and drops the one before.
func (f *floor) segment() error {
	if f.log != nil {
		if err := errors.Join(f.log.Close(), os.Remove(f.log.Name())); err != nil {
			return err
		}
	}
	f.number++
	var err error
	if f.log, err = os.Create(filepath.Join(f.dir, fmt.Sprintf("%s-%d", f.sign, f.number))); err != nil {
		return err
	}
	if _, err := f.log.Write(make([]byte, segmentBytes)); err != nil {
		return err
	}
	f.offset = 0
	return f.log.Sync()
}

// commit makes one batch after the other durable. It returns when the disk fails.
func (f *floor) commit() error {
	for range f.wake {
		runtime.Gosched() // lets the connections that are ready join
		f.mu.Lock()
		b := f.open
		f.open = newBatch()
		f.mu.Unlock()
		n := int64(len(b.responses) * recordBytes)
		if f.offset+n > segmentBytes {
			if err := f.segment(); err != nil {
				return err
			}
		}
		if _, err := f.log.WriteAt(bytes.Repeat([]byte{byte(f.number)}, int(n)), f.offset); err != nil {
			return err
		}
		f.offset += n
		synced := make(chan error, 1)
		go func() { synced <- unix.Fdatasync(int(f.log.Fd())) }()
		if f.sign == signGroup {
			b.signed = f.codec.SignTree(f.key, wire.Grow(b.responses), capability.At(time.Now()), 1)
		}
		if err := <-synced; err != nil {
			return err
		}
		close(b.done)
	}
	return nil
}

// join puts a response into the open batch and says which leaf it is.
func (f *floor) join(response []byte) (*batch, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.open
	b.responses = append(b.responses, response)
	if len(b.responses) == 1 {
		f.wake <- struct{}{} // there is room: one batch is open
	}
	return b, len(b.responses) - 1
}

// answer waits until a response is durable and gives it its proof. A signature is always made beside the sync.
func (f *floor) answer(response []byte) wire.Answer {
	b, i := f.join(response)
	var alone *wire.SignedTree
	if f.sign == signEach {
		alone = f.codec.SignTree(f.key, wire.Grow([][]byte{response}), capability.At(time.Now()), 1)
	}
	<-b.done
	switch f.sign {
	case signGroup:
		return f.codec.Answer(b.signed, i, response)
	case signEach:
		return f.codec.Answer(alone, 0, response)
	}
	return wire.Answer{Response: response, Proof: make([]byte, ed25519.SignatureSize)}
}

func (f *floor) serve(raw net.Conn) {
	conn := tls.Server(raw, f.config)
	in := bufio.NewReader(conn)
	response, at, salt := f.response()
	correlation := map[int]int{} // where it is in requests of each length
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(head[:]))
		if n > capability.MaxFrame {
			return
		}
		request := make([]byte, n)
		if _, err := io.ReadFull(in, request); err != nil {
			return
		}
		from, known := correlation[n]
		if !known {
			if from = f.correlation(request); from < 0 {
				return
			}
			correlation[n] = from
		}
		r := bytes.Clone(response)
		copy(r[at:], request[from:from+16])
		if _, err := rand.Read(r[salt : salt+16]); err != nil {
			return
		}
		a := f.answer(r)
		if _, err := conn.Write(f.codec.Frame(wire.MessageAnswer, &a)); err != nil {
			return
		}
	}
}

func (f *floor) correlation(message []byte) int {
	_, body, err := f.codec.DecodeMessage(message)
	if err != nil {
		return -1
	}
	var r capability.Request
	if err := f.codec.Decode(body, &r, capability.MaxFrame); err != nil {
		return -1
	}
	return bytes.Index(message, r.Correlation[:])
}

// response is the grant of one feature, and where in it the correlation and the salt are.
func (f *floor) response() (b []byte, correlation, salt int) {
	r := &capability.Response{
		Version: capability.Protocol, For: hostid.OfDigest(hostid.DeviceKey, [32]byte{1}), Serial: 1000, Time: capability.At(time.Now()), Lifetime: capability.DefaultLease,
		Rights: []capability.Right{{Feature: feature, Count: 1, Expiry: capability.At(time.Now()) + 900}}, Lines: []capability.Line{{Count: 1}},
		Key: capability.Digest{1},
	}
	for i := range r.Correlation {
		r.Correlation[i], r.Salt[i] = byte(0xc0+i), byte(0xe0+i)
	}
	b = f.codec.Encode(r)
	return b, bytes.Index(b, r.Correlation[:]), bytes.Index(b, r.Salt[:])
}

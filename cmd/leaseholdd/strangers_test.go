package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// stranger NAME WHAT...: what no client does is done to the port of that daemon, and what is heard must be no more than it may be.
func (m *machines) stranger(ts *testscript.TestScript, args []string) {
	address := ts.Getenv("ADDR_" + args[0])
	for _, what := range args[1:] {
		do, known := strange[what]
		if !known {
			ts.Fatalf("no stranger does %q", what)
		}
		if err := do(address); err != nil {
			ts.Fatalf("%s: %v", what, err)
		}
	}
}

var strange = map[string]func(address string) error{
	"http": func(address string) error {
		const hint = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nLH-3311 this port speaks TLS 1.3: in a browser, put https:// before the address.\n"
		return says(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", hint)
	},
	"ssh": func(address string) error { return says(address, "SSH-2.0-x\r\n", "") },
	"tls12": func(address string) error {
		return alerted(address, 70, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	},
	"alpn": func(address string) error {
		return alerted(address, 120, func(c *tls.Config) { c.NextProtos = []string{"leasehold/2"} })
	},
	"nokey": func(address string) error {
		return alerted(address, 116, func(c *tls.Config) { c.Certificates = nil })
	},
	// A request cut at every byte.
	"cut": func(address string) error {
		return refused(address, func(good []byte) (frames [][]byte) {
			for i := 1; i < len(good); i++ {
				frames = append(frames, good[:i])
			}
			return frames
		})
	},
	// One whose length is another.
	"lengths": func(address string) error {
		return refused(address, func(good []byte) (frames [][]byte) {
			for _, n := range []int{0, 1, len(good) - 5, len(good) - 3, capability.MaxFrame, capability.MaxFrame + 1, 1<<31 - 1, 1<<32 - 1} {
				frames = append(frames, append(binary.BigEndian.AppendUint32(nil, uint32(n)), good[4:]...))
			}
			return frames
		})
	},
	// Two programs with one key, the second of which asks for something else by the first one's correlation ID.
	"twins": func(address string) error {
		key, id, err := deviceKey()
		if err != nil {
			return err
		}
		for n, want := range []capability.Code{0, capability.ErrCorrelationReused} {
			c, err := secured(address, func(c *tls.Config) { c.Certificates = []tls.Certificate{key} })
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := asks(c, request(id, uint32(1+n)))
			if err != nil {
				return err
			}
			if code := denied(r); code != want {
				return fmt.Errorf("program %d hears %+v", n, r)
			}
		}
		return nil
	},
}

// says writes to a port without TLS, and hears what it should.
func says(address, what, hears string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, what); err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	b, _ := io.ReadAll(c) // a reset may follow
	if string(b) != hears {
		return fmt.Errorf("heard %q, want %q", b, hears)
	}
	return nil
}

// deviceKey is a new one, with its certificate.
func deviceKey() (tls.Certificate, hostid.ID, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, hostid.ID{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, hostid.ID{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hostid.OfDigest(hostid.DeviceKey, sha256.Sum256(public)), err
}

// secured connects as a client does, but for change.
func secured(address string, change func(*tls.Config)) (*tls.Conn, error) {
	key, _, err := deviceKey()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{wire.ALPN}, Certificates: []tls.Certificate{key}}
	change(config)
	c, err := tls.Dial("tcp", address, config)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return c, err
}

// alerted hears that alert of TLS, and nothing else.
func alerted(address string, alert tls.AlertError, change func(*tls.Config)) error {
	c, err := secured(address, change)
	if err == nil { // a client is done before the server has seen its certificate
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if want := "remote error: " + alert.Error(); err == nil || err.Error() != want {
		return fmt.Errorf("heard %v, want %s", err, want)
	}
	return nil
}

func request(id hostid.ID, count uint32) *capability.Request {
	return &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{id}, Correlation: capability.CorrelationID{1}, Desired: []capability.Desired{{Feature: "render", Count: count}}}
}

// refused says what is no frame, each on a connection of its own, and hears the one fixed answer to all.
func refused(address string, frames func(good []byte) [][]byte) error {
	codec := wire.New()
	_, id, err := deviceKey()
	if err != nil {
		return err
	}
	for _, b := range frames(codec.Frame(wire.MessageRequest, request(id, 1))) {
		c, err := secured(address, func(*tls.Config) {})
		if err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		heard, err := io.ReadAll(c)
		c.Close()
		if !bytes.Equal(heard, codec.Refused()) {
			return fmt.Errorf("%x hears %x, %v", b, heard, err)
		}
	}
	return nil
}

// asks sends a request and gives the answer, which is not verified.
func asks(c *tls.Conn, r *capability.Request) (*capability.Response, error) {
	codec := wire.New()
	if err := codec.WriteFrame(c, wire.MessageRequest, r); err != nil {
		return nil, err
	}
	kind, body, err := codec.ReadFrame(c)
	if err != nil || kind != wire.MessageAnswer {
		return nil, fmt.Errorf("message %d where an answer is wanted: %w", kind, err)
	}
	var a wire.Answer
	if err := codec.Decode(body, &a, capability.MaxFrame); err != nil {
		return nil, err
	}
	out := &capability.Response{}
	return out, codec.Decode(a.Response, out, capability.MaxFrame)
}

func denied(r *capability.Response) capability.Code {
	for _, no := range r.Denials {
		return no.Code
	}
	return 0
}

// rogue NAME WHAT [DAEMON]: something else than an appliance listens at $ADDR_NAME until the script ends.
func (m *machines) rogue(ts *testscript.TestScript, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	key, _, err := deviceKey()
	ts.Check(err)
	config := &tls.Config{Certificates: []tls.Certificate{key}, NextProtos: []string{wire.ALPN}, ClientAuth: tls.RequireAnyClientCert}
	var serve func(*tls.Conn) error
	switch args[1] {
	case "tls12":
		config.MaxVersion = tls.VersionTLS12
	case "alpn":
		config.NextProtos = []string{"h2"}
	case "http":
		config = nil
	case "noise":
		serve = func(c *tls.Conn) error { _, err := c.Write([]byte{0, 0, 0, 3, 0x82, 9, 0xf6}); return err }
	case "huge":
		serve = func(c *tls.Conn) error { _, err := c.Write([]byte{0xff, 0xff, 0xff, 0xff}); return err }
	case "relay": // every word is the real one's
		to := ts.Getenv("ADDR_" + args[2])
		serve = func(c *tls.Conn) error {
			there, err := secured(to, func(*tls.Config) {})
			if err != nil {
				return err
			}
			defer there.Close()
			go io.Copy(there, c)
			_, err = io.Copy(c, there)
			return err
		}
	default:
		ts.Fatalf("nobody is a rogue by %q", args[1])
	}
	ts.Setenv("ADDR_"+args[0], l.Addr().String())
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go answer(c, config, serve)
			}
		}
	}()
}

// answer is what a rogue does with one connection: it hears one message and answers it in its way.
func answer(c net.Conn, config *tls.Config, serve func(*tls.Conn) error) {
	defer c.Close()
	if config == nil {
		c.Read(make([]byte, 1024))
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return
	}
	t := tls.Server(c, config)
	if t.Handshake() != nil || serve == nil || serve(t) != nil {
		return
	}
	io.Copy(io.Discard, t)
}

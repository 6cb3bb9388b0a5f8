package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// TestNoAppliance: whatever else answers at the address is called by its name, and nothing is lost to it.
func TestNoAppliance(t *testing.T) {
	s := newServer(t, newProducer(t, 1), item("render", "1.0", 3))
	secured := func(change func(*tls.Config)) func(net.Conn) {
		return func(c net.Conn) {
			config := &tls.Config{Certificates: []tls.Certificate{s.certificate(s.serving)}}
			change(config)
			tls.Server(c, config).Handshake()
		}
	}
	for _, row := range []struct {
		name   string
		answer func(net.Conn)
		code   capability.Code
		like   error
	}{
		{"TLS 1.2", secured(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12; c.NextProtos = []string{wire.ALPN} }), capability.ErrTLSVersion, ErrTLSVersion},
		{"TLS 1.2, chosen where it was not offered", func(c net.Conn) {
			hello := make([]byte, 5)
			c.Read(hello)
			c.Read(make([]byte, binary.BigEndian.Uint16(hello[3:])))
			body := append([]byte{3, 3}, make([]byte, 32+1)...) // version, random, no session
			body = append(body, 0x13, 0x01, 0)                  // suite, no compression
			c.Write(append([]byte{0x16, 3, 3, 0, byte(4 + len(body)), 2, 0, 0, byte(len(body))}, body...))
			c.Read(make([]byte, 64))
		}, capability.ErrTLSVersion, ErrServerUnreachable},
		{"another protocol", secured(func(c *tls.Config) { c.NextProtos = []string{"h2"} }), capability.ErrALPN, ErrALPN},
		{"no protocol", secured(func(*tls.Config) {}), capability.ErrALPN, ErrServerUnproven},
		{"plain HTTP", func(c net.Conn) {
			bufio.NewReader(c).Peek(1)
			(&http.Response{StatusCode: 400, ProtoMajor: 1, ProtoMinor: 1}).Write(c)
		}, capability.ErrPlain, ErrPlain},
		{"plain text", func(c net.Conn) { c.Read(make([]byte, 2048)); c.Write([]byte("who is there?\n")) }, capability.ErrPlain, ErrServerUnproven},
		{"nothing", func(net.Conn) {}, capability.ErrServerUnreachable, ErrServerUnreachable},
	} {
		c := s.client(t.TempDir(), func(o *Options) {
			o.Dial = func(context.Context, string) (net.Conn, error) {
				there, here := net.Pipe()
				go func() {
					defer there.Close()
					row.answer(there)
				}()
				return here, nil
			}
		})
		_, err := c.Acquire(t.Context(), "render")
		no, ok := errors.AsType[*capability.Refusal](err)
		if !ok || no.Code != row.code || !errors.Is(err, row.like) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

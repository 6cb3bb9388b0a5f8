package directory

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability/directory/directorytest"
)

func started(t *testing.T, show directorytest.Certificate) *directorytest.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d, err := directorytest.New(dir, show)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func asks(d *directorytest.Server) *Server {
	return &Server{URL: d.TLS, Authorities: d.Pool, Account: directorytest.Account, Secret: directorytest.Secret, Base: directorytest.Base, Name: "uid"}
}

// Who has the name and the password is known, with the groups that were asked for and no others; everybody else is unknown, in one way.
func TestAsk(t *testing.T) {
	d := started(t, directorytest.Good)
	s := asks(d)
	all := []string{directorytest.Security, directorytest.Viewers, directorytest.Shift, "cn=none,ou=groups," + directorytest.Base, "no DN at all"}
	for _, url := range []string{d.TLS, d.Plain} {
		s.URL = url
		for name, want := range map[string][]string{
			"keller": {directorytest.Viewers}, "ada": {directorytest.Security, directorytest.Viewers}, "chen": {directorytest.Shift}, "bo": nil, directorytest.Odd: {directorytest.Viewers}, "KELLER": {directorytest.Viewers},
		} {
			password := directorytest.PasswordOf(name)
			if name == "KELLER" {
				password = directorytest.PasswordOf("keller")
			}
			k, err := s.Ask(t.Context(), name, password, all)
			if err != nil || !slices.Equal(k.Groups, want) || !strings.EqualFold(k.Name, name) || !strings.HasSuffix(k.Subject, directorytest.People) {
				t.Errorf("%s, %s: %+v, %v, want %q", url, name, k, err, want)
			}
		}
	}
	s.URL = d.TLS
	if k, err := s.Ask(t.Context(), "ada", directorytest.PasswordOf("ada"), []string{strings.ToUpper(directorytest.Viewers)}); err != nil || !slices.Equal(k.Groups, []string{strings.ToUpper(directorytest.Viewers)}) {
		t.Errorf("%+v, %v", k, err)
	}
	keller := directorytest.PasswordOf("keller")
	for _, c := range [][2]string{
		{"keller", "wrong"}, {"keller", ""}, {"keller", directorytest.PasswordOf("ada")}, {"nobody", keller}, {"", keller}, {"twin", directorytest.PasswordOf("twin")}, {"open", "x"}, {"open", ""},
		// Names that would say something else in a filter or in a DN.
		{"*", keller}, {"kel*", keller}, {"keller)(uid=*", keller}, {"x)(|(uid=keller", keller}, {"keller)(|(uid=*)", keller}, {`kelle\72`, keller}, {"keller\x00", keller}, {"kel\nler", keller}, {"uid=keller," + directorytest.People, keller},
		{"keller ", keller}, {" keller", keller}, {"kéller", keller}, {"\xff", keller}, {strings.Repeat("k", maxName+1), keller}, {"keller", strings.Repeat("k", maxPassword+1)},
		{"reader", directorytest.Secret},
	} {
		if k, err := s.Ask(t.Context(), c[0], c[1], all); !errors.Is(err, ErrUnknown) {
			t.Errorf("%.40q with %.20q: %+v, %v", c[0], c[1], k, err)
		}
	}
}

// A directory that cannot be asked is another thing than somebody whom it does not know.
func TestAskInVain(t *testing.T) {
	d := started(t, directorytest.Good)
	for what, change := range map[string]func(*Server){
		"no authority":          func(s *Server) { s.Authorities = nil },
		"no base":               func(s *Server) { s.Base = "" },
		"no secret":             func(s *Server) { s.Secret = "" },
		"another secret":        func(s *Server) { s.Secret = "x" },
		"nobody may look":       func(s *Server) { s.Account = "" },
		"no such base":          func(s *Server) { s.Base = "dc=other" },
		"no attribute":          func(s *Server) { s.Name = "uid=*)(cn" },
		"points elsewhere":      func(s *Server) { s.Base = directorytest.Elsewhere },
		"no address":            func(s *Server) { s.URL = "https://localhost" },
		"TLS where none is":     func(s *Server) { s.URL = strings.Replace(d.Plain, "ldap:", "ldaps:", 1) },
		"STARTTLS where TLS is": func(s *Server) { s.URL = strings.Replace(d.TLS, "ldaps:", "ldap:", 1) },
		"gone":                  func(s *Server) { s.URL = "ldaps://127.0.0.1:1" },
		"another name":          func(s *Server) { s.URL = strings.Replace(d.TLS, "localhost", "127.0.0.1", 1) },
	} {
		s := asks(d)
		change(s)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if k, err := s.Ask(ctx, "keller", directorytest.PasswordOf("keller"), nil); err == nil || errors.Is(err, ErrUnknown) && what != "nobody may look" || strings.Contains(err.Error(), directorytest.PasswordOf("keller")) {
			t.Errorf("%s: %+v, %v", what, k, err)
		}
		cancel()
	}
}

// The server shows a certificate that counts, or hears nothing.
func TestCertificates(t *testing.T) {
	for show, why := range map[directorytest.Certificate]string{directorytest.Expired: "expired", directorytest.Misnamed: "valid for another", directorytest.Foreign: "unknown authority"} {
		d := started(t, show)
		for _, url := range []string{d.TLS, d.Plain} {
			s := asks(d)
			s.URL = url
			if k, err := s.Ask(t.Context(), "keller", directorytest.PasswordOf("keller"), nil); err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %+v, %v, want %s", url, k, err, why)
			}
		}
	}
}

// standIn answers in the place of a directory whose certificate it has, in TLS or before it, and counts what it was told.
func standIn(t *testing.T, d *directorytest.Server, secure bool, answer func(net.Conn, *atomic.Int64)) (url string, told *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := d.Shown()
	if err != nil {
		t.Fatal(err)
	}
	told = new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if secure {
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}})
			}
			go func() {
				defer conn.Close()
				answer(conn, told)
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if secure {
		return "ldaps://localhost:" + port, told
	}
	return "ldap://localhost:" + port, told
}

// hear reads one message, whose length is short, and counts it.
func hear(r *bufio.Reader, told *atomic.Int64) (id byte, ok bool) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil || head[1] >= 0x80 {
		return 0, false
	}
	body := make([]byte, head[1])
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, false
	}
	told.Add(1)
	return body[2], true // 02 01 ID
}

// What a server may do to who asks it: be slow, say too much, point elsewhere, refuse TLS. Each ends in its time, and is no answer.
func TestHostileServers(t *testing.T) {
	d := started(t, directorytest.Good)
	result := func(id, op, code byte, rest ...byte) []byte {
		body := append([]byte{0x0a, 1, code, 4, 0, 4, 0}, rest...)
		return append([]byte{0x30, byte(5 + len(body)), 2, 1, id, op, byte(len(body))}, body...)
	}
	flood := func(c net.Conn, told *atomic.Int64) {
		r := bufio.NewReader(c)
		id, _ := hear(r, told)
		c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1, id, 0x04, 0x84, 0x7f, 0xff, 0xff, 0xf0})
		for {
			if _, err := c.Write(make([]byte, 1<<16)); err != nil {
				return
			}
			told.Add(1)
		}
	}
	for what, c := range map[string]struct {
		secure bool
		answer func(net.Conn, *atomic.Int64)
	}{
		"slow":              {true, func(c net.Conn, _ *atomic.Int64) { io.Copy(io.Discard, c) }},
		"slow before TLS":   {false, func(c net.Conn, _ *atomic.Int64) { io.Copy(io.Discard, c) }},
		"floods":            {true, flood},
		"floods before TLS": {false, flood},
		"ends":              {true, func(net.Conn, *atomic.Int64) {}},
		"babbles":           {true, func(c net.Conn, _ *atomic.Int64) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }},
		"TLS is refused": {false, func(c net.Conn, told *atomic.Int64) {
			r := bufio.NewReader(c)
			id, _ := hear(r, told)
			c.Write(result(id, 0x78, 2))
			hear(r, told)
		}},
		"is busy": {true, func(c net.Conn, told *atomic.Int64) {
			r := bufio.NewReader(c)
			id, _ := hear(r, told)
			c.Write(result(id, 0x61, 51))
			hear(r, told)
		}},
		"refers": {true, func(c net.Conn, told *atomic.Int64) {
			r := bufio.NewReader(c)
			id, _ := hear(r, told)
			c.Write(result(id, 0x61, 10))
			hear(r, told)
		}},
		"answers another time": {true, func(c net.Conn, told *atomic.Int64) {
			r := bufio.NewReader(c)
			id, _ := hear(r, told)
			c.Write(result(id+1, 0x61, 0))
			io.Copy(io.Discard, r)
		}},
	} {
		s := asks(d)
		var told *atomic.Int64
		s.URL, told = standIn(t, d, c.secure, c.answer)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		var k *Known
		var err error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k, err = s.Ask(ctx, "keller", directorytest.PasswordOf("keller"), []string{directorytest.Viewers})
		}()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("%s: it is waited for", what)
		}
		if err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v", what, k, err)
		}
		if strings.Contains(what, "flood") {
			if told.Load() > 256 { // what the kernel keeps of it, and what was read
				t.Errorf("%s: %d times 64 KiB were taken", what, told.Load())
			}
		} else if told.Load() > 1 {
			t.Errorf("%s: and was told more: %d", what, told.Load())
		}
		cancel()
	}
}

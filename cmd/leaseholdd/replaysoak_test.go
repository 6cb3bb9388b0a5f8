package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakReplayedTraffic records what clients send, as whoever is on the wire can, and sends it again to the daemon that it was for: whole, in other orders, with
// records left out, doubled, of other connections. Nothing of it is done: the audit trail does not grow. One case is one connection.
func TestSoakReplayedTraffic(t *testing.T) {
	size := storagetest.Size(t, 60, 10_000, 100_000)
	b := newBox(t)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	address := b.Clients.Addr().String()
	var sessions [][][]byte
	for i := range 6 {
		wire := newTap(t, "tcp", "127.0.0.1:0", true, func() (net.Conn, error) { return net.Dial("tcp", address) })
		d, err := newDesk()
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint32(2 + i) {
			if denied, err := d.want(wire.address, n%3, nil); err != nil || len(denied) > 0 {
				t.Fatal(denied, err)
			}
		}
		sessions = append(sessions, records(t, wire.seen()))
		d.leave()
	}
	var before, after console.Health
	if err := b.get("health", &before); err != nil {
		t.Fatal(err)
	}
	chance := rand.New(rand.NewPCG(12, 12))
	tried := 0
	for ; tried < size; tried++ {
		session := append([][]byte{}, sessions[chance.IntN(len(sessions))]...)
		for range chance.IntN(3) {
			at := chance.IntN(len(session))
			switch chance.IntN(4) {
			case 0:
				session = append(session, session[at])
			case 1:
				session = append(session[:at:at], session[at+1:]...)
			case 2:
				other := chance.IntN(len(session))
				session[at], session[other] = session[other], session[at]
			case 3:
				other := sessions[chance.IntN(len(sessions))]
				session[at] = other[chance.IntN(len(other))]
			}
			if len(session) == 0 {
				break
			}
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		for _, r := range session {
			if _, err := conn.Write(r); err != nil {
				break // the daemon has ended it
			}
		}
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	if err := b.get("health", &after); err != nil {
		t.Fatal(err)
	}
	failed := 0
	if after.Journal.Position != before.Journal.Position {
		failed = tried
		t.Errorf("the audit trail grew from entry %d to entry %d", before.Journal.Position, after.Journal.Position)
	}
	storagetest.Tried(t, tried, failed)
	t.Logf("%d connections with recorded traffic, no effect", tried)
}

// records is what one end of a TLS connection sent, record by record.
func records(t testing.TB, b []byte) (out [][]byte) {
	t.Helper()
	for len(b) >= 5 {
		n := 5 + int(binary.BigEndian.Uint16(b[3:]))
		if n > len(b) {
			break
		}
		out = append(out, b[:n])
		b = b[n:]
	}
	if len(out) < 4 {
		t.Fatalf("%d records recorded", len(out))
	}
	return out
}

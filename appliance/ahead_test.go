package appliance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pieces is a connection from which these come, one with each Read.
type pieces struct {
	net.Conn
	rest [][]byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	if p.rest[0] = p.rest[0][n:]; len(p.rest[0]) == 0 {
		p.rest = p.rest[1:]
	}
	return n, nil
}

func TestAhead(t *testing.T) {
	frame := func(n int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), bytes.Repeat([]byte{7}, n)...)
	}
	many := bytes.Repeat(frame(90), 20)
	for _, v := range []struct {
		name  string
		comes [][]byte
		whole bool // once the first bytes are there
	}{
		{"a frame", [][]byte{frame(100)}, true},
		{"a frame as large as the room", [][]byte{frame(508)}, true},
		{"one byte more", [][]byte{frame(509)}, false},
		{"a large one", [][]byte{frame(16384)}, false},
		{"one that says it is larger than any", [][]byte{{0xff, 0xff, 0xff, 0xff, 1}}, false},
		{"no byte in it", [][]byte{frame(0)}, false},
		{"a part of its length", [][]byte{{0, 0}, {0, 1, 5}}, false},
		{"its length", [][]byte{{0, 0, 0, 1}, {5}}, false},
		{"all but a byte", [][]byte{frame(10)[:13], {7}}, false},
		{"many together", [][]byte{many}, true},
		{"a frame and a part of the next", [][]byte{append(frame(3), 0, 0), {0, 1, 9}}, true},
		{"nothing, then a frame", [][]byte{{}, {}, frame(5)}, true},
	} {
		all := bytes.Join(v.comes, nil)
		a := &ahead{Conn: &pieces{rest: v.comes}}
		if err := a.wait(); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		if err := a.wait(); err != nil {
			t.Errorf("%s: waits for what is there: %v", v.name, err)
		}
		m := a.message()
		if (m != nil) != v.whole || v.whole && !bytes.Equal(m, bytes.Repeat([]byte{7}, int(binary.BigEndian.Uint32(all)))) {
			t.Errorf("%s: message %x, and it is whole: %v", v.name, m, v.whole)
		}
		if m != nil {
			all = all[4+len(m):]
		}
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%s: %x and %v where %x came", v.name, got, err, all)
		}
		if err := a.wait(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v at the end", v.name, err)
		}
	}
}

func TestPatience(t *testing.T) {
	var set []time.Time
	p := patience{length: 5 * time.Second, set: func(t time.Time) error { set = append(set, t); return nil }}
	begin := time.Unix(1000, 0)
	for _, v := range []struct {
		after time.Duration
		until time.Duration // that is set, or zero
	}{
		{0, 6 * time.Second},
		{time.Millisecond, 0},
		{time.Second, 0}, // five are left
		{time.Second + 1, 7*time.Second + 1},
		{time.Hour, time.Hour + 6*time.Second},
		{0, 6 * time.Second}, // the clock went back: nobody has an hour
	} {
		set = nil
		if err := p.begin(begin.Add(v.after)); err != nil || (len(set) == 1) != (v.until != 0) || len(set) == 1 && !set[0].Equal(begin.Add(v.until)) {
			t.Errorf("after %s: %v set, and not until %s (%v)", v.after, set, v.until, err)
		}
	}
	p.set = func(time.Time) error { return io.ErrClosedPipe }
	if err := p.begin(begin.Add(2 * time.Hour)); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

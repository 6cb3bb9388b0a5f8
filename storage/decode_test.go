package storage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func fixedSecret() secret { return bytes.Repeat([]byte{0x5a}, secretBytes) }

func testHeader(t testing.TB) (*header, []byte) {
	h := &header{epoch: 7, head: head{position: 9, hash: [32]byte{1, 2, 3}}, public: []byte("public"), blob: []byte("blob")}
	b, err := h.encode(fixedSecret())
	if err != nil {
		t.Fatal(err)
	}
	return h, b
}

// TestHeaderBytes: the layout of README.md, byte by byte.
func TestHeaderBytes(t *testing.T) {
	_, b := testHeader(t)
	want := strings.Join([]string{
		"4c48686561646572", // "LHheader"
		"01",               // format
		"0000000000000007", // epoch
		"0000000000000009", // position of the head
		"0102030000000000000000000000000000000000000000000000000000000000", // its hash
		"00000006", "7075626c6963", // public part
		"00000004", "626c6f62", // sealed secret
	}, "")
	if got := hex.EncodeToString(b[:len(b)-macBytes]); got != want {
		t.Fatalf("header is\n%s, want\n%s", got, want)
	}
	if ok, err := fixedSecret().genuine(b); !ok || err != nil {
		t.Fatalf("not genuine: %v", err)
	}
}

// TestFrameBytes: the plain part of a frame and its length.
func TestFrameBytes(t *testing.T) {
	var w framer
	aead, err := fixedSecret().aead(labelJournal, make([]byte, saltBytes))
	if err != nil {
		t.Fatal(err)
	}
	f := &frame{kind: kindGroup, epoch: 7, entries: [][]byte{[]byte("ab"), nil}}
	size, err := f.size()
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(w.seal(aead, head{position: 8}, f, size))
	want := "4c486631" + // "LHf1"
		"0000001b" + // 27 bytes follow the header: kind, two lengths, two bytes, tag
		"0000000000000009" + // position
		"0000000000000007" // epoch
	if got := hex.EncodeToString(b[:24]); got != want || len(b) != size || size != frameHeader+27 {
		t.Fatalf("frame of %d bytes starts %s, want %s", len(b), got, want)
	}
	for name, after := range map[string]head{"position": {position: 7}, "hash": {position: 8, hash: [32]byte{1}}} {
		if _, _, _, ok := w.open(aead, after, bytes.Clone(b)); ok {
			t.Errorf("opens after another %s", name)
		}
	}
	got, next, n, ok := w.open(aead, head{position: 8}, append(bytes.Clone(b), 0, 0))
	if !ok || n != len(b) || got.epoch != 7 || len(got.entries) != 2 || string(got.entries[0]) != "ab" || next != (head{position: 8}).next(b) {
		t.Fatalf("opened %v %+v", ok, got)
	}
}

// TestTorn: what a cut may leave of the last frame, and what it may not.
func TestTorn(t *testing.T) {
	var w framer
	aead, err := fixedSecret().aead(labelJournal, make([]byte, saltBytes))
	if err != nil {
		t.Fatal(err)
	}
	f := &frame{kind: kindGroup, epoch: 7, entries: [][]byte{bytes.Repeat([]byte{0xab}, 1500)}}
	size, _ := f.size()
	whole := bytes.Clone(w.seal(aead, head{}, f, size))
	second := bytes.Clone(w.seal(aead, head{position: 1}, f, size))
	for _, at := range []int{segmentHeader, 400, 490, 505, 511, 512, 1000} { // headers in one sector and across two
		for _, row := range []struct {
			name   string
			change func(b []byte)
			want   bool
		}{
			{"first sector lost", func(b []byte) { clear(b[at : at-at%512+512]) }, true},
			{"second sector lost", func(b []byte) { clear(b[at-at%512+512 : at-at%512+1024]) }, true},
			{"end lost", func(b []byte) { clear(b[at+size-100:]) }, true},
			{"half a header", func(b []byte) { clear(b[at+14:]) }, true},
			{"byte of the middle changed", func(b []byte) { b[at+800] ^= 4 }, false},
			{"magic changed", func(b []byte) { b[at] ^= 4 }, false},
			{"length changed", func(b []byte) { b[at+6] ^= 1 }, false},
			{"a byte beyond the end", func(b []byte) { clear(b[at+600 : at+size]); b[at+size+5] = 1 }, false},
			{"a later frame behind", func(b []byte) { clear(b[at : at+size]); copy(b[at+size:], second) }, false},
			{"a later frame in its place", func(b []byte) { clear(b[at:]); copy(b[at:], second) }, false},
		} {
			b := make([]byte, 8192)
			copy(b[at:], whole)
			row.change(b)
			if _, _, _, ok := w.open(aead, head{}, bytes.Clone(b[at:])); ok {
				t.Fatalf("%s at %d: it opens", row.name, at)
			}
			if got := torn(b, at, 0); got != row.want {
				t.Errorf("%s at %d: torn is %v", row.name, at, got)
			}
		}
	}
}

// FuzzHeader: no bytes crash the decoder, and a genuine header is encoded again to the same bytes.
func FuzzHeader(f *testing.F) {
	_, b := testHeader(f)
	f.Add(b)
	f.Add(b[:60])
	f.Add(append(bytes.Clone(b), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHeader(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := h.encode(fixedSecret())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(b) - macBytes; !bytes.Equal(again[:n], b[:n]) {
			t.Fatal("decoded and encoded, it is another")
		}
	})
}

// journalOnDisk serves one segment to the reader of journals.
type journalOnDisk struct {
	Disk
	data []byte
}

func (d journalOnDisk) Read(string, int64) ([]byte, error) { return bytes.Clone(d.data), nil }

// FuzzSegment reads any bytes behind a good segment header: they are records, a torn end, or corrupt. What is accepted as
// records starts with those that were written.
func FuzzSegment(f *testing.F) {
	salt := make([]byte, saltBytes)
	start, err := encodeSegmentHeader(fixedSecret(), 1, salt)
	if err != nil {
		f.Fatal(err)
	}
	aead, err := fixedSecret().aead(labelJournal, salt)
	if err != nil {
		f.Fatal(err)
	}
	var w framer
	var at head
	var body []byte
	for _, fr := range []frame{
		{kind: kindRun, epoch: 7, entries: [][]byte{[]byte("start")}},
		{kind: kindGroup, epoch: 7, entries: [][]byte{[]byte("one"), []byte("two")}},
		{kind: kindMark, epoch: 7},
	} {
		size, err := fr.size()
		if err != nil {
			f.Fatal(err)
		}
		b := w.seal(aead, at, &fr, size)
		body = append(body, b...)
		at = at.next(b)
	}
	want := []string{"start", "one", "two"}
	f.Add(body)
	f.Add(body[:len(body)-3])
	f.Add(append(bytes.Clone(body), make([]byte, 100)...))
	f.Add(append(make([]byte, 30), body...))
	f.Fuzz(func(t *testing.T, b []byte) {
		v := newVault(journalOnDisk{data: append(bytes.Clone(start), b...)}, Options{}, nil)
		v.secret = fixedSecret()
		j := &journal{}
		n, unfinished, err := v.readSegment(j, &header{epoch: 7, head: head{hash: [32]byte{1}}}, 1)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if unfinished || n > 3 || len(j.records) > len(want) {
			t.Fatalf("%d records of %d, unfinished %v", n, len(want), unfinished)
		}
		for i, r := range j.records {
			if string(r) != want[i] {
				t.Fatalf("record %d is %q", i, r)
			}
		}
	})
}

// FuzzBody reads the inside of a frame, as if its key were known to an enemy.
func FuzzBody(f *testing.F) {
	f.Add([]byte{kindGroup, 0, 0, 0, 1, 'a'})
	f.Add(append([]byte{kindRun}, make([]byte, runBytes+4)...))
	f.Add([]byte{kindMark})
	f.Add([]byte{kindGroup, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, ok := decodeBody(b)
		if !ok {
			return
		}
		n := 1
		if fr.kind == kindRun {
			n += runBytes
		}
		for _, e := range fr.entries {
			n += 4 + len(e)
		}
		if n != len(b) {
			t.Fatalf("%d of %d bytes are accounted for", n, len(b))
		}
	})
}

// FuzzSnapshot: no bytes crash the decoder, and none but what was written opens.
func FuzzSnapshot(f *testing.F) {
	p := &snapshot{head: head{position: 5, hash: [32]byte{4}}, epoch: 7, first: 3, run: Running{Resets: 1}, state: []byte("state")}
	good, err := p.encode(fixedSecret(), bytes.NewReader(make([]byte, saltBytes)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:90])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeSnapshot(fixedSecret(), 5, bytes.Clone(b))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(b, good) || string(got.state) != "state" || got.head != p.head || got.epoch != 7 || got.first != 3 || got.run != p.run {
			t.Fatalf("opened %+v", got)
		}
	})
}

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
	if !fixedSecret().genuine(labelHeader, b) {
		t.Fatal("it is not genuine")
	}
}

// TestSegmentHeader: it belongs to one number of one vault.
func TestSegmentHeader(t *testing.T) {
	b := encodeSegmentHeader(fixedSecret(), 5, make([]byte, saltBytes))
	if want := "4c486a31" + "0000000000000005"; hex.EncodeToString(b[:12]) != want || len(b) != segmentHeader {
		t.Fatalf("header of %d bytes starts %x, want %s", len(b), b[:12], want)
	}
	if _, ok := decodeSegmentHeader(fixedSecret(), 5, b); !ok {
		t.Fatal("it is refused")
	}
	if _, ok := decodeSegmentHeader(fixedSecret(), 6, b); ok {
		t.Fatal("it passes under another number")
	}
	if _, ok := decodeSegmentHeader(bytes.Repeat([]byte{1}, secretBytes), 5, b); ok {
		t.Fatal("it passes for another vault")
	}
	if _, ok := decodeSegmentHeader(fixedSecret(), 5, b[:segmentHeader-1]); ok {
		t.Fatal("it passes cut")
	}
}

// TestFrameBytes: the plain part of a frame and its length.
func TestFrameBytes(t *testing.T) {
	var w framer
	aead := fixedSecret().aead(labelJournal, make([]byte, saltBytes))
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
	aead := fixedSecret().aead(labelJournal, make([]byte, saltBytes))
	f := &frame{kind: kindGroup, epoch: 7, entries: [][]byte{bytes.Repeat([]byte{0xab}, 1500)}}
	size, _ := f.size()
	whole := bytes.Clone(w.seal(aead, head{}, f, size))
	second := bytes.Clone(w.seal(aead, head{position: 1}, f, size))
	earlier := bytes.Clone(w.seal(aead, head{position: 1<<64 - 1}, f, size)) // position 0
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
			{"an earlier frame in its place", func(b []byte) { clear(b[at:]); copy(b[at:], earlier) }, false},
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

// stored serves files to the reader of journals.
type stored struct {
	Disk
	files map[string][]byte
}

func (d stored) Read(name string, _ int64) ([]byte, error) { return bytes.Clone(d.files[name]), nil }

// segmentOf is a segment with these records after h, and the head after them.
func segmentOf(t testing.TB, number uint64, h head, frames ...frame) ([]byte, head) {
	salt := bytes.Repeat([]byte{byte(number)}, saltBytes)
	b := encodeSegmentHeader(fixedSecret(), number, salt)
	aead := fixedSecret().aead(labelJournal, salt)
	var w framer
	for _, f := range frames {
		size, err := f.size()
		if err != nil {
			t.Fatal(err)
		}
		sealed := w.seal(aead, h, &f, size)
		b, h = append(b, sealed...), h.next(sealed)
	}
	return b, h
}

func group(epoch uint64, entries ...string) frame {
	f := frame{kind: kindGroup, epoch: epoch}
	for _, e := range entries {
		f.entries = append(f.entries, []byte(e))
	}
	return f
}

// TestJournal reads journals that a writer with the secret but without sense has made; the header is of epoch 7 and names no record.
func TestJournal(t *testing.T) {
	type segments [][]frame
	for _, row := range []struct {
		name    string
		s       segments
		records int  // -1: corrupt
		clean   bool // left by a clean stop
	}{
		{"groups", segments{{group(7, "a"), group(7, "b")}, {group(7, "c")}}, 3, false},
		{"nothing", segments{{}, {}}, 0, false},
		{"unfinished move", segments{{group(7, "a")}, {group(8, "b")}}, 1, false},
		{"unfinished move of many records", segments{{group(7, "a")}, {group(8, "b"), group(8, "c")}}, 1, false},
		{"segment after an unfinished move", segments{{group(7, "a")}, {group(8, "b")}, {group(7, "c")}}, -1, false},
		{"two unfinished moves", segments{{group(7, "a")}, {group(8, "b")}, {group(8, "c")}}, -1, false},
		{"empty segment after an unfinished move", segments{{group(7, "a")}, {group(8, "b")}, {}}, 1, false},
		{"unfinished move amid a segment", segments{{group(7, "a"), group(8, "b")}}, -1, false},
		{"epoch from afar", segments{{group(9, "a")}}, -1, false},
		{"older epoch behind the header", segments{{group(6, "a")}}, -1, false},
		{"unknown kind", segments{{{kind: 9, epoch: 7}}}, -1, false},
		{"mark with entries", segments{{{kind: kindMark, epoch: 7, entries: [][]byte{{1}}}}}, -1, false},
		{"mark right behind the header's head", segments{{{kind: kindMark, epoch: 7}}}, 0, true},
		{"mark behind a group", segments{{group(7, "a")}, {{kind: kindMark, epoch: 7}}}, 1, false},
		{"two marks", segments{{{kind: kindMark, epoch: 7}, {kind: kindMark, epoch: 7}}}, 0, false},
		{"mark, then more", segments{{{kind: kindMark, epoch: 7}, group(7, "a")}}, 1, false},
	} {
		d := stored{files: map[string][]byte{}}
		p := snapshot{epoch: 7, first: 1}
		data, err := p.encode(fixedSecret(), bytes.NewReader(make([]byte, saltBytes)))
		if err != nil {
			t.Fatal(err)
		}
		d.files[snapshotName(0)] = data
		found := files{snapshots: []uint64{0}}
		var h head
		for i, frames := range row.s {
			n := uint64(i + 1)
			found.segments = append(found.segments, n)
			after := h
			if d.files[segmentName(n)], h = segmentOf(t, n, h, frames...); len(frames) > 0 && frames[0].epoch == 8 {
				h = after // the next writer takes it for dropped
			}
		}
		v := newVault(d, Options{}, nil)
		if err := v.take(); err != nil {
			t.Fatal(err)
		}
		copy(v.secret, fixedSecret())
		j, err := v.readJournal(&found, &header{epoch: 7})
		if row.records < 0 {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", row.name, err)
			}
			continue
		}
		if err != nil || len(j.records) != row.records || j.clean != row.clean || j.next != uint64(len(row.s)+1) {
			t.Errorf("%s: %v, %+v", row.name, err, j)
		}
	}
}

// TestBody: every way in which the inside of a frame can be wrong.
func TestBody(t *testing.T) {
	for _, row := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"nothing", nil, false},
		{"empty group", []byte{kindGroup}, true},
		{"empty entry", []byte{kindGroup, 0, 0, 0, 0}, true},
		{"short length", []byte{kindGroup, 0, 0, 0}, false},
		{"entry cut", []byte{kindGroup, 0, 0, 0, 2, 1}, false},
		{"length above the limit", append([]byte{kindGroup, 0, 0x20, 0, 1}, make([]byte, MaxEntryBytes+1)...), false},
		{"length at the limit", append([]byte{kindGroup, 0, 0x20, 0, 0}, make([]byte, MaxEntryBytes)...), true},
		{"run start", append([]byte{kindRun}, make([]byte, runBytes)...), true},
		{"run start cut", append([]byte{kindRun}, make([]byte, runBytes-1)...), false},
		{"mark", []byte{kindMark}, true},
		{"mark with more", []byte{kindMark, 0}, false},
		{"no kind", []byte{0}, false},
	} {
		if _, ok := decodeBody(row.b); ok != row.ok {
			t.Errorf("%s: %v", row.name, ok)
		}
	}
}

// FuzzSegment reads any bytes behind a good segment header: they are records, a torn end, or corrupt. What is accepted as
// records starts with those that were written.
func FuzzSegment(f *testing.F) {
	whole, _ := segmentOf(f, 1, head{}, frame{kind: kindRun, epoch: 7, entries: [][]byte{[]byte("start")}}, group(7, "one", "two"), frame{kind: kindMark, epoch: 7})
	start, body := whole[:segmentHeader], whole[segmentHeader:]
	want := []string{"start", "one", "two"}
	f.Add(body)
	f.Add(body[:len(body)-3])
	f.Add(append(bytes.Clone(body), make([]byte, 100)...))
	f.Add(append(make([]byte, 30), body...))
	f.Fuzz(func(t *testing.T, b []byte) {
		v := newVault(stored{files: map[string][]byte{segmentName(1): append(bytes.Clone(start), b...)}}, Options{}, nil)
		if err := v.take(); err != nil {
			t.Fatal(err)
		}
		copy(v.secret, fixedSecret())
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

package storage

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// packedIn is a part in a format, around what that format packs.
func packedIn(a *Archive, format byte, p part, packed []byte) []byte {
	head := append([]byte(partMagic), format)
	head = append(head, bytes.Repeat([]byte{9}, saltBytes)...)
	head = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(head, p.first), p.last)
	aead := a.secret.aead(labelArchive, head[9:9+saltBytes])
	return aead.Seal(head, make([]byte, aead.NonceSize()), packed, head)
}

// What was archived in format 1 is read, and none of the formats takes more memory than a part may have.
func TestArchiveFormats(t *testing.T) {
	a := &Archive{secret: fixedSecret()}
	records := [][]byte{{1, 2, 3}, bytes.Repeat([]byte{7}, 1000)}
	var plain []byte
	for _, r := range records {
		plain = append(binary.BigEndian.AppendUint32(plain, uint32(len(r))), r...)
	}
	deflated := func(p []byte) []byte {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestSpeed)
		if err == nil {
			_, err = w.Write(p)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	p := part{41, 42}
	got, err := a.decode(p, packedIn(a, archiveFlate, p, deflated(plain)))
	if err != nil || !slices.EqualFunc(got, records, bytes.Equal) {
		t.Errorf("format %d: %x, %v", archiveFlate, got, err)
	}
	huge := binary.AppendUvarint(nil, 1<<31)
	for name, c := range map[string]struct {
		format byte
		packed []byte
		why    string
	}{
		"another format": {3, deflated(plain), "format 3"}, "format 0": {0, deflated(plain), "format 0"},
		"one as the other": {archiveFormat, deflated(plain), "unpack"}, "more than a part": {archiveFlate, deflated(make([]byte, MaxPartBytes+1)), "more than"},
		"says it is huge": {archiveFormat, huge, "where at most"}, "cut": {archiveFlate, deflated(plain)[:9], "unpack"},
	} {
		if _, err := a.decode(p, packedIn(a, c.format, p, c.packed)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

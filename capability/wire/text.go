package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// The text form carries a file through a window that takes text only: a mail, a form, a screen. Each line has its number and its own check, so that a line that is
// missing, doubled or has a typing error is named. It signs nothing: the file inside does.

const (
	textBegin = "-----BEGIN LEASEHOLD FILE-----"
	textEnd   = "-----END LEASEHOLD FILE-----"
	textLine  = 45 // bytes of the file in a line: 60 symbols

	// MaxText bounds the text form of a file, in bytes: 60 symbols of 45 bytes with number, check, two spaces and a line end of two.
	MaxText = (capability.MaxFile/textLine+1)*(60+8+6+4) + 256
)

// Text is the text form of a file.
func Text(file []byte) string {
	var b strings.Builder
	b.WriteString(textBegin + "\n")
	n := 0
	for rest := file; len(rest) > 0; n++ {
		line := rest[:min(textLine, len(rest))]
		rest = rest[len(line):]
		fmt.Fprintf(&b, "%d %s %s\n", n+1, base64.RawURLEncoding.EncodeToString(line), lineCheck(n+1, line))
	}
	fmt.Fprintf(&b, "%s %d\n", textEnd, n)
	return b.String()
}

// lineCheck is the CRC-32C of number and content, which no change of up to 32 bits in a row passes: no wrong symbol, no two neighbors that were swapped.
func lineCheck(n int, line []byte) string {
	sum := crc32.Checksum(append(binary.BigEndian.AppendUint32(nil, uint32(n)), line...), crc32.MakeTable(crc32.Castagnoli))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// FromText is the file of a text form, or of the frames of QR codes with a line for each; what is neither is given back as it is. Words around it, and spaces at the ends of
// lines, mean nothing. ErrCut: lines or frames are missing. ErrMalformed: one is not as it was written; the error names it.
func FromText(b []byte) ([]byte, error) {
	begin := b[:min(len(b), 64<<10)]
	switch {
	case len(b) > MaxText || bytes.HasPrefix(b, []byte{0xd9, 0xd9, 0xf7}):
		return b, nil
	case bytes.Contains(begin, []byte(textBegin)):
		return fromLines(string(b))
	}
	for line := range strings.Lines(string(begin)) {
		if isFrame(line) {
			return fromFrames(string(b))
		}
	}
	return b, nil
}

// fromLines is the file of a text form.
func fromLines(text string) ([]byte, error) {
	_, rest, _ := strings.Cut(text, textBegin)
	var file []byte
	n := 0
	for line := range strings.Lines(rest) {
		line = strings.TrimFunc(line, around)
		if line == "" {
			continue
		}
		if said, is := strings.CutPrefix(line, textEnd); is {
			if err := textEnds(said, n); err != nil {
				return nil, err
			}
			return file, nil
		}
		n++
		content, err := textContent(n, line)
		if err != nil {
			return nil, err
		}
		if len(file)%textLine != 0 {
			return nil, fmt.Errorf("text: %w: line %d comes after one that is not full", ErrMalformed, n)
		}
		if file = append(file, content...); len(file) > capability.MaxFile {
			return nil, fmt.Errorf("text: %w: more than %d bytes", ErrSize, capability.MaxFile)
		}
	}
	return nil, fmt.Errorf("text: %w: %d lines and no end", ErrCut, n)
}

// around says that a character means nothing at the ends of a line, and stands for a space inside of it.
func around(r rune) bool {
	return r == ' ' || r == '\t' || r == '\r' || r == '\n' || r == '\u00a0'
}

// textEnds compares the number of lines with what the last one says of it.
func textEnds(said string, n int) error {
	number := strings.TrimFunc(said, around)
	lines, err := strconv.ParseUint(number, 10, 32)
	switch {
	case number == said || err != nil || lines > capability.MaxFile || number != strconv.FormatUint(lines, 10):
	case lines == uint64(n):
		return nil
	case lines > uint64(n):
		return fmt.Errorf("text: %w: %d lines of %d", ErrCut, n, lines)
	}
	return fmt.Errorf("text: %w: %d lines, and its end says %q", ErrMalformed, n, said)
}

func textContent(n int, line string) ([]byte, error) {
	fields := strings.FieldsFunc(line, around)
	if len(fields) != 3 {
		return nil, fmt.Errorf("text: %w: line %d is not a number, a content and a check", ErrMalformed, n)
	}
	if fields[0] != fmt.Sprint(n) {
		return nil, fmt.Errorf("text: %w: line %s where line %d is wanted", ErrMalformed, fields[0], n)
	}
	content, err := base64.RawURLEncoding.Strict().DecodeString(fields[1])
	if err != nil || len(content) == 0 || len(content) > textLine || fields[2] != lineCheck(n, content) {
		return nil, fmt.Errorf("text: %w: there is a typing error in line %d", ErrMalformed, n)
	}
	return content, nil
}

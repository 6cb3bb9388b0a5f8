package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// texts are files in the form that passes where only text does: SPEC.md 4.
func (s *set) texts() {
	file := s.requestFile()
	text := string(s.good("text", "text-request", "a request file as text", textInput{file}, nil))
	counting := make([]byte, 2*textLine)
	for i := range counting {
		counting[i] = byte(i)
	}
	s.good("text", "text-full-lines", "90 bytes: two full lines, and none that is shorter", textInput{counting}, nil)
	s.good("text", "text-one-byte", "one byte", textInput{[]byte{0xff}}, nil)

	lines := strings.SplitAfter(text, "\n")
	n := len(lines) - 3 // those of the file: the first and the last say where it is, and behind that there is nothing
	taken := func(name, description, text string) { s.taken("text-"+name, description, text, file) }
	taken("in-a-mail", "the same in a mail, with other line ends, and words and empty lines around it", "Dear M. Keller,\r\n\r\nhere it is:  "+strings.ReplaceAll(text, "\n", "  \r\n\r\n")+"-- \r\n1 AA AA\r\n")
	taken("spaces", "the same, indented, with tabs and no-break spaces, and without a line end at the end", strings.TrimSuffix(strings.NewReplacer("\n", "\n\t ", " ", "\u00a0 ", "BEGIN ", "BEGIN ", "LEASEHOLD ", "LEASEHOLD ", "END ", "END ").Replace(text), "\n\t "))

	bad := func(name, expect, description, text string) {
		s.bad("text", "text-"+name, expect, description, []byte(text), nil)
	}
	with := func(line int, changed string) string { // instead of that line, from 1
		l := append([]string{}, lines...)
		l[line] = changed
		return strings.Join(l, "")
	}
	encode := base64.RawURLEncoding.EncodeToString
	line := func(number int, content []byte) string {
		return fmt.Sprintf("%d %s %s\n", number, encode(content), lineCheck(number, content))
	}
	second := strings.Fields(lines[2])
	bad("no-begin", "kind", "words, and nothing that begins a file", "Dear M. Keller,\n\nit will come tomorrow.\n")
	bad("begin-wrong", "kind", "one character of the first line is wrong", strings.Replace(text, "BEGIN", "BEG1N", 1))
	bad("file-itself", "kind", "the file, and not as text", string(file))
	bad("begin-more", "malformed", "a word behind the first line's", strings.Replace(text, "\n", " it begins\n", 1))
	bad("no-end", "cut", "the last line is missing", strings.Join(lines[:n+1], ""))
	bad("end-more", "cut", "the last line says one line more than there is", with(n+1, fmt.Sprintf("%s %d\n", textEnd, n+1)))
	bad("last-lines-missing", "cut", "two lines are missing before the last", strings.Join(append(append([]string{}, lines[:n-1]...), lines[n+1:]...), ""))
	bad("end-fewer", "malformed", "the last line says one line less than there is", with(n+1, fmt.Sprintf("%s %d\n", textEnd, n-1)))
	bad("end-number", "malformed", "the last line has no number", with(n+1, textEnd+"\n"))
	bad("end-zero", "malformed", "the number of the last line begins with 0", with(n+1, fmt.Sprintf("%s 0%d\n", textEnd, n)))
	bad("end-no-space", "malformed", "the number of the last line follows without a space", with(n+1, fmt.Sprintf("%s%d\n", textEnd, n)))
	bad("end-wrong", "malformed", "one character of the last line is wrong", strings.Replace(text, "-END", "-FND", 1))
	bad("line-missing", "malformed", "the second line is missing", with(2, ""))
	bad("line-twice", "malformed", "the second line is there twice", with(2, lines[2]+lines[2]))
	bad("lines-exchanged", "malformed", "the second line comes before the first", strings.Join(append([]string{lines[0], lines[2], lines[1]}, lines[3:]...), ""))
	bad("line-two-numbers", "malformed", "the first line again as the second, with its check", with(2, strings.Replace(lines[1], "1", "2", 1)))
	wrong := []byte(second[1])
	wrong[7] ^= 1
	bad("symbol", "malformed", "one symbol of the second line is another", with(2, fmt.Sprintf("2 %s %s\n", wrong, second[2])))
	wrong = []byte(second[1])
	at := 0
	for wrong[at] == wrong[at+1] {
		at++
	}
	wrong[at], wrong[at+1] = wrong[at+1], wrong[at]
	bad("neighbors", "malformed", "two neighbors in the second line are swapped", with(2, fmt.Sprintf("2 %s %s\n", wrong, second[2])))
	wrong = []byte(second[2])
	wrong[3] ^= 1
	bad("check", "malformed", "one symbol of a check is another", with(2, fmt.Sprintf("2 %s %s\n", second[1], wrong)))
	bad("no-check", "malformed", "a line without its check", with(2, "2 "+second[1]+"\n"))
	bad("four-parts", "malformed", "a word behind the check of a line", with(2, strings.TrimSpace(lines[2])+" x\n"))
	bad("number-zero", "malformed", "the number of a line begins with 0", with(2, "0"+lines[2]))
	bad("number", "malformed", "the third line's number on the second", with(2, "3"+lines[2][1:]))
	bad("quoted", "malformed", "a mark of quotation before each line", "> "+strings.Join(lines[:n+1], "> ")+"> "+lines[n+1])
	bad("padded", "malformed", "one byte with the padding of base64", textBegin+"\n1 _w== "+lineCheck(1, []byte{0xff})+"\n"+textEnd+" 1\n")
	bad("alphabet", "malformed", "one byte in the other alphabet of base64", textBegin+"\n1 /w "+lineCheck(1, []byte{0xff})+"\n"+textEnd+" 1\n")
	bad("loose-bits", "malformed", "one byte whose last symbol has bits that belong to none", textBegin+"\n1 _x "+lineCheck(1, []byte{0xff})+"\n"+textEnd+" 1\n")
	bad("short-line", "malformed", "a line that is not full before another one", textBegin+"\n"+line(1, counting[:44])+line(2, counting[44:89])+textEnd+" 2\n")
	bad("long-line", "malformed", "a line of 46 bytes", textBegin+"\n"+line(1, counting[:46])+line(2, counting[46:])+textEnd+" 2\n")
	bad("oversize", "size", "a first line, and so many bytes that no file is so long", textBegin+"\n")
	s.last().Pad = MaxText
}

// codes are the texts of QR codes, which a scanner types one below the other: SPEC.md 4.
func (s *set) codes() {
	file := s.requestFile()
	codes := Frames(file, 200)
	n := len(codes)
	s.taken("codes-request", "a request file in codes, in their order", strings.Join(codes, "\n"), file)
	backwards := slices.Clone(codes)
	slices.Reverse(backwards)
	s.taken("codes-any-order", "the same from the last to the first, the last one twice, with other line ends, and words around them", "scanned:\r\n"+strings.Join(append(backwards, codes[n-1]), " \r\n\r\n")+"\r\nby hand", file)
	s.taken("codes-no-break", "the same, indented, and with no-break spaces", "\t "+strings.ReplaceAll(strings.Join(codes, "\n\t "), " ", "\u00a0"), file)
	s.taken("codes-one", "one byte in one code", "LH1/1OF1/U5", []byte{0xff})
	s.taken("codes-short-last", "three bytes in two codes, the last with one of them", "LH1/1OF2/QED\nLH1/2OF2/U5", []byte("ie\xff"))

	bad := func(name, expect, description, text string) {
		s.bad("text", "codes-"+name, expect, description, []byte(text), nil)
	}
	with := func(n int, changed ...string) string { // instead of that code, from 1
		return strings.Join(slices.Concat(codes[:n-1], changed, codes[n:]), "\n")
	}
	_, second, _ := strings.Cut(codes[1], "F")
	_, symbols, _ := strings.Cut(second, "/")
	head := strings.TrimSuffix(codes[1], symbols)
	bad("first-missing", "cut", "the first code is missing", with(1))
	bad("last-missing", "cut", "the last code is missing", with(n))
	bad("missing-and-wrong", "cut", "the first code is missing, and in the second is a symbol of none", strings.Join(codes[2:], "\n")+"\n"+codes[1]+"a")
	bad("other-first", "kind", "a first code that begins otherwise, and no other", "LH2/1OF1/U5")
	bad("small", "kind", "the beginning in small letters", "lh1/1OF1/U5")
	bad("total", "malformed", "a code says one more code than the others", with(2, fmt.Sprintf("LH1/2OF%d/%s", n+1, symbols)))
	bad("number-zero", "malformed", "the number of a code is 0", with(2, fmt.Sprintf("LH1/0OF%d/%s", n, symbols)))
	bad("number-above", "malformed", "the number of a code is above how many there are", with(2, fmt.Sprintf("LH1/%dOF%d/%s", n+1, n, symbols)))
	bad("total-most", "cut", "one code of as many as a file has bytes", "LH1/1OF1048576/QED")
	bad("total-above", "malformed", "one code of more than a file has bytes", "LH1/1OF1048577/QED")
	bad("total-wide", "malformed", "one code of more than 32 bits can say", "LH1/1OF4294967297/QED")
	bad("number-longer", "malformed", "the number of a code begins with 0", with(2, fmt.Sprintf("LH1/02OF%d/%s", n, symbols)))
	bad("number-space", "malformed", "a space in the number of a code", with(2, fmt.Sprintf("LH1/2 OF%d/%s", n, symbols)))
	bad("no-number", "malformed", "a code with no number", with(2, "LH1//"+symbols))
	bad("no-content", "malformed", "a code without what follows its number", with(2, strings.TrimSuffix(head, "/")))
	bad("empty", "malformed", "a code of no bytes", with(2, head))
	bad("nothing", "malformed", "one code of no bytes and no other", "LH1/1OF1/")
	bad("short", "malformed", "a code before the last that is shorter than the first", with(2, head+symbols[:len(symbols)-3]))
	bad("long", "malformed", "a last code that is longer than the first", strings.Join(append(slices.Clone(codes[:n-1]), fmt.Sprintf("LH1/%dOF%d/%s000", n, n, symbols)), "\n"))
	bad("odd", "malformed", "codes of an odd number of bytes before the last", "LH1/1OF2/QEDU5\nLH1/2OF2/U5")
	bad("symbol", "malformed", "a symbol that is none of base 45", with(2, head+symbols[:len(symbols)-1]+"a"))
	bad("above", "malformed", "three symbols of more than two bytes", "LH1/1OF1/:::")
	bad("above-one", "malformed", "two symbols of more than one byte", "LH1/1OF1/::")
	bad("loose", "malformed", "a symbol that belongs to no byte", "LH1/1OF1/QEDU")
	bad("two-files", "malformed", "the same code twice with different bytes", with(2, codes[1], head+"000"+symbols[3:]))
}

func (s *set) requestFile() []byte {
	for _, v := range s.list {
		if v.Name == "request-file-device" {
			return unhex(v.Hex)
		}
	}
	panic("no request file")
}

// taken is a text that a reader takes and no writer of ours writes.
func (s *set) taken(name, description, text string, file []byte) {
	sum := sha256.Sum256(file)
	s.list = append(s.list, &vector{Name: name, Description: description, Kind: "text", Hex: hex.EncodeToString([]byte(text)), Digest: hex.EncodeToString(sum[:]), Expect: "ok"})
}

package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// texts are files in the form that passes where only text does: SPEC.md 4.
func (s *set) texts() {
	var file []byte
	for _, v := range s.list {
		if v.Name == "request-file-device" {
			file = unhex(v.Hex)
		}
	}
	text := string(s.good("text", "text-request", "a request file as text", textInput{file}, nil))
	counting := make([]byte, 2*textLine)
	for i := range counting {
		counting[i] = byte(i)
	}
	s.good("text", "text-full-lines", "90 bytes: two full lines, and none that is shorter", textInput{counting}, nil)
	s.good("text", "text-one-byte", "one byte", textInput{[]byte{0xff}}, nil)

	lines := strings.SplitAfter(text, "\n")
	n := len(lines) - 3 // those of the file: the first and the last say where it is, and behind that there is nothing
	taken := func(name, description, text string) {
		sum := sha256.Sum256(file)
		s.list = append(s.list, &vector{Name: "text-" + name, Description: description, Kind: "text", Hex: hex.EncodeToString([]byte(text)), Digest: hex.EncodeToString(sum[:]), Expect: "ok"})
	}
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

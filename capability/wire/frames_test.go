package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Frames put together in any order are the file, whatever its length.
func TestFrames(t *testing.T) {
	for _, row := range []struct{ n, symbols int }{
		{1, 4296}, {2, 4296}, {2858, 4296}, {2859, 4296}, {8577, 4296}, {14_000, 4296}, {293, 224}, {293, 335}, {1250, 224}, {1300, 224}, {14_000, 224}, {14_000, LeastFrame}, {14_000, 1},
	} {
		n, symbols := row.n, max(row.symbols, LeastFrame)
		file := make([]byte, n)
		for i := range file {
			file[i] = byte(i * i >> 3)
		}
		list := Frames(file, row.symbols)
		for i, f := range list {
			if !strings.HasPrefix(f, fmt.Sprintf("LH1/%dOF%d/", i+1, len(list))) || len(f) > symbols {
				t.Fatalf("%d bytes: frame %d of %d symbols is %.20s", n, i+1, len(f), f)
			}
		}
		slices.Reverse(list)
		list = append(list, list[0], "words")
		if back, err := FromText([]byte(" scanned:\r\n" + strings.Join(list, " \r\n"))); err != nil || !bytes.Equal(back, file) {
			t.Errorf("%d bytes come back as %d, %v", n, len(back), err)
		}
	}
	// RFC 9285, 4.3.
	for in, want := range map[string]string{"AB": "BB8", "Hello!!": "%69 VD92EX0", "base-45": "UJCLQE7W581", "ietf!": "QED8WEX0"} {
		if got := base45([]byte(in)); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// What was read of the codes must be all of them, of one file, and as they were written.
func TestHalfTheFrames(t *testing.T) {
	file := make([]byte, 101)
	for i := range file {
		file[i] = byte(7 * i)
	}
	list := Frames(file, 60) // 34 bytes in 51 symbols, three times, the last without one byte
	with := func(n int, s string) string {
		changed := slices.Clone(list)
		changed[n] = s
		return strings.Join(changed, "\n")
	}
	for text, want := range map[string]error{
		strings.Join(list[1:], "\n"):                               ErrCut,
		strings.Join(list[:2], "\n"):                               ErrCut,
		with(1, "LH1/2OF4"+list[1][8:]):                            ErrMalformed,
		with(1, "LH1/0OF3"+list[1][8:]):                            ErrMalformed,
		with(1, "LH1/4OF3"+list[1][8:]):                            ErrMalformed,
		with(1, "LH1/02OF3"+list[1][8:]):                           ErrMalformed,
		with(1, "LH1/2 OF3"+list[1][8:]):                           ErrMalformed,
		with(1, list[1][:8]):                                       ErrMalformed,
		with(1, list[1][:9]):                                       ErrMalformed,
		with(1, list[1][:len(list[1])-3]):                          ErrMalformed,
		with(1, list[1][:len(list[1])-1]+"a"):                      ErrMalformed,
		with(1, list[1][:len(list[1])-1]+":"):                      ErrMalformed,
		with(2, list[2]+":"):                                       ErrMalformed,
		with(2, list[2]+"000000"):                                  ErrMalformed,
		with(2, list[2][:len(list[2])-1]+":"):                      ErrMalformed,
		with(2, list[2]) + "\n" + list[0][:len(list[0])-3] + "000": ErrMalformed,
		"LH1/1OF1/": ErrMalformed,
	} {
		if got, err := FromText([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %d bytes, %v, want %v", text, len(got), err, want)
		}
	}
	if _, err := FromText([]byte(list[0] + "\n" + list[2])); err == nil || !strings.Contains(err.Error(), "code 2 is not among them") {
		t.Error(err)
	}
}

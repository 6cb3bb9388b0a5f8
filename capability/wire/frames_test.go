package wire

import (
	"bytes"
	"fmt"
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
		var back []byte
		list := Frames(file, row.symbols)
		for i, f := range list {
			part, ok := strings.CutPrefix(f, fmt.Sprintf("LH1/%dOF%d/", i+1, len(list)))
			if !ok || len(f) > symbols {
				t.Fatalf("%d bytes: frame %d of %d symbols is %.20s", n, i+1, len(f), f)
			}
			back = append(back, unbase45(part)...)
		}
		if !bytes.Equal(back, file) {
			t.Errorf("%d bytes come back as %d", n, len(back))
		}
	}
	// RFC 9285, 4.3.
	for in, want := range map[string]string{"AB": "BB8", "Hello!!": "%69 VD92EX0", "base-45": "UJCLQE7W581", "ietf!": "QED8WEX0"} {
		if got := base45([]byte(in)); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func unbase45(s string) (b []byte) {
	const symbols = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
	for ; len(s) >= 2; s = s[min(3, len(s)):] {
		n := strings.IndexByte(symbols, s[0]) + 45*strings.IndexByte(symbols, s[1])
		if len(s) == 2 {
			return append(b, byte(n))
		}
		n += 45 * 45 * strings.IndexByte(symbols, s[2])
		b = append(b, byte(n>>8), byte(n))
	}
	return b
}

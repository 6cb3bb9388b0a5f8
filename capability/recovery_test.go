package capability

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestRecoveryKey(t *testing.T) {
	k, err := NewRecoveryKey(strings.NewReader(strings.Repeat("seventeen and a bit", 3)))
	if err != nil || len(k) != 2*(idSymbols+3)+1 {
		t.Fatalf("%q: %v", k, err)
	}
	if _, err := NewRecoveryKey(bytes.NewReader(make([]byte, 30))); err == nil {
		t.Error("a key of too little chance")
	}
	typed := strings.ToLower(strings.ReplaceAll(string(k), "-", " "))
	for _, text := range []string{string(k), typed, strings.ReplaceAll(string(k), "-", ""), string(k)[:24] + "\r\n" + string(k)[24:] + "\n"} {
		if got, err := ParseRecoveryKey(text); err != nil || got != k {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	wrong := []byte(k)
	for wrong[30] == k[30] || wrong[30] == '-' {
		wrong[30] = "0123456789ABCDEF"[(strings.IndexByte("0123456789ABCDEF", wrong[30])+1)%16]
	}
	for text, why := range map[string]string{
		"":                      "0 symbols",
		string(k) + "0":         "41 symbols",
		strings.Repeat("é", 40): "half 1",
		string(wrong):           "in half 2: symbol",
		"U" + string(k)[1:]:     "half 1",
	} {
		if _, err := ParseRecoveryKey(text); !errors.Is(err, ErrRecoveryKey) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

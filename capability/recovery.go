package capability

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// RecoveryKey opens the archive of an appliance (its configuration and audit trail) where its TPM no longer does. It never opens rights.
// It is written on paper: two halves, each with the form and the check symbols of an activation ID, 180 bits of chance together.
type RecoveryKey string

// ErrRecoveryKey is in every error of ParseRecoveryKey.
var ErrRecoveryKey = errors.New("not a recovery key")

// NewRecoveryKey draws a key from rand.
func NewRecoveryKey(rand io.Reader) (RecoveryKey, error) {
	var halves [2]string
	for i := range halves {
		half, err := NewActivationID(rand)
		if err != nil {
			return "", fmt.Errorf("draw a recovery key: %w", err)
		}
		halves[i] = string(half)
	}
	return RecoveryKey(halves[0] + "-" + halves[1]), nil
}

// ParseRecoveryKey reads a key as people type it: any case, with or without hyphens, spaces and line ends, O for 0, I and L for 1.
// A single wrong symbol in a half is named with its place.
func ParseRecoveryKey(text string) (RecoveryKey, error) {
	symbols := strings.Map(func(r rune) rune {
		if strings.ContainsRune("- \t\r\n", r) {
			return -1
		}
		return r
	}, text)
	if n := len([]rune(symbols)); n != 2*idSymbols {
		return "", fmt.Errorf("%w: %d symbols where there are %d", ErrRecoveryKey, n, 2*idSymbols)
	}
	var halves [2]string
	for i, half := range [2]string{string([]rune(symbols)[:idSymbols]), string([]rune(symbols)[idSymbols:])} {
		id, err := ParseActivationID(half)
		if err != nil {
			return "", fmt.Errorf("%w: in half %d: %s", ErrRecoveryKey, i+1, strings.TrimPrefix(err.Error(), ErrActivationID.Error()+": "))
		}
		halves[i] = string(id)
	}
	return RecoveryKey(halves[0] + "-" + halves[1]), nil
}

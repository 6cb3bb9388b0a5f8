//go:build !linux

package tpm

import (
	"errors"
	"fmt"
	"time"
)

// wire is a way to a TPM, of which there is none on this system: an appliance runs on Linux.
type wire struct{ socket bool }

const replyTimeout = 15 * time.Second

func dial(string, time.Duration) (*wire, error) {
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, errors.ErrUnsupported)
}

func (w *wire) Send([]byte) ([]byte, error) { return nil, errors.ErrUnsupported }
func (w *wire) Close() error                { return nil }
func (w *wire) hangUp()                     {}

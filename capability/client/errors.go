package client

import (
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// What errors.Is finds in the errors of this package. errors.As to *capability.Refusal gives the facts: totals, holders, until when.
var (
	ErrNotEntitled       error = sentinel(capability.ErrNotEntitled)
	ErrVersion           error = sentinel(capability.ErrVersion)
	ErrExpired           error = sentinel(capability.ErrExpired)
	ErrNotStarted        error = sentinel(capability.ErrNotStarted)
	ErrNoSeat            error = sentinel(capability.ErrNoSeat)
	ErrOverage           error = sentinel(capability.ErrOverage)
	ErrNoSuchLease       error = sentinel(capability.ErrNoSuchLease)
	ErrDeviceKey         error = sentinel(capability.ErrDeviceKey)
	ErrClientKey         error = sentinel(capability.ErrClientKey)
	ErrHold              error = sentinel(capability.ErrHold)
	ErrNotProvisioned    error = sentinel(capability.ErrNotProvisioned)
	ErrServerUnreachable error = sentinel(capability.ErrServerUnreachable)
	ErrServerUnproven    error = sentinel(capability.ErrServerUnproven)
	ErrPlain             error = sentinel(capability.ErrPlain)
	ErrTLSVersion        error = sentinel(capability.ErrTLSVersion)
	ErrALPN              error = sentinel(capability.ErrALPN)
	ErrResponseStale     error = sentinel(capability.ErrResponseStale)
	ErrOlderResponse     error = sentinel(capability.OlderResponse)
	ErrReplayedSerial    error = sentinel(capability.ErrReplayedSerial)
	ErrProto             error = sentinel(capability.ErrProto)
	ErrTrust             error = sentinel(capability.ErrTrust)
	ErrClock             error = sentinel(capability.ErrClock)
	ErrTime              error = sentinel(capability.ErrTime)
	ErrUndo              error = sentinel(capability.ErrUndo)
	ErrClientStore       error = sentinel(capability.ErrClientStore)
	ErrBinding           error = sentinel(capability.ErrBinding)
	ErrAssigned          error = sentinel(capability.ErrAssigned)
	ErrInUse             error = sentinel(capability.ErrInUse)
	ErrNotOurs           error = sentinel(capability.ErrNotOurs)
	ErrRollback          error = sentinel(capability.ErrRollback)
	ErrCorrupt           error = sentinel(capability.ErrCorrupt)
)

// ErrClosed is the error of a client that was closed.
var ErrClosed = errors.New("the client is closed")

// ErrReleased is why a lease ended that was given back, by its own Release or by another program of this device.
var ErrReleased = errors.New("released on this device")

type sentinel capability.Code

func (s sentinel) Error() string {
	return fmt.Sprintf("%s %s", capability.Code(s), capability.Code(s).Entry().Title)
}

// refusal is a denial as an error that errors.Is and errors.As understand, with what led to it.
type refusal struct {
	*capability.Refusal
	cause error
}

func (r *refusal) Unwrap() []error {
	all := []error{sentinel(r.Code), r.Refusal}
	if r.cause != nil {
		all = append(all, r.cause)
	}
	return all
}

func denied(d capability.Denial) error { return &refusal{&capability.Refusal{Denial: d}, nil} }

// refuse makes the refusal with a code out of a cause.
func refuse(code capability.Code, cause error) error {
	return &refusal{&capability.Refusal{Denial: capability.Denial{Code: code, Detail: cause.Error()}}, cause}
}

// refuseAs is refuse where callers know the refusal by another name already.
func refuseAs(code capability.Code, known, cause error) error {
	return &refusal{&capability.Refusal{Denial: capability.Denial{Code: code, Detail: cause.Error()}}, errors.Join(known, cause)}
}

package wire

import (
	"errors"

	"github.com/leasehold/leasehold/capability"
)

// Code is the catalog's code for an error of this package about a file, or zero.
func Code(err error) capability.Code {
	for _, m := range []struct {
		err  error
		code capability.Code
	}{
		{ErrFrame, capability.ErrProto}, // before the others: a frame may be cut or too large as well
		{ErrSize, capability.ErrFileSize},
		{ErrCut, capability.ErrFileCut},
		{ErrKind, capability.ErrFileKind},
		{ErrType, capability.ErrFileKind},
		{ErrOneSignature, capability.ErrOneSignature},
		{ErrOtherProducer, capability.ErrOtherProducer},
		{ErrRevoked, capability.ErrKeyRevoked},
		{ErrSignature, capability.ErrSignature},
		{ErrMalformed, capability.ErrFileForm},
	} {
		if errors.Is(err, m.err) {
			return m.code
		}
	}
	if m := (*capability.Malformed)(nil); errors.As(err, &m) {
		return capability.ErrFileForm
	}
	return 0
}

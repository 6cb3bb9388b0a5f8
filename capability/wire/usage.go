package wire

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// DecodeUsage reads the body of a record, at most capability.MaxUsage bytes of its one encoding, and checks it. The error is ErrMalformed: for whoever counts,
// a body of another kind is one that says nothing.
func (c *Codec) DecodeUsage(body []byte) (capability.Usage, error) {
	var u capability.Usage
	if err := c.Decode(body, &u, capability.MaxUsage); err != nil {
		return capability.Usage{}, err
	}
	if err := u.Validate(); err != nil {
		return capability.Usage{}, fmt.Errorf("%w: usage: %w", ErrMalformed, err)
	}
	return u, nil
}

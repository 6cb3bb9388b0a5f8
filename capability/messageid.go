package capability

import (
	"crypto/sha256"
	"encoding/hex"
)

// MessageID is what the journal knows messages of this code by, as 32 hexadecimal digits: the field MESSAGE_ID of systemd.journal-fields(7). It is a UUID of version 8
// (RFC 9562 section 5.8) from the code's number and nothing else, so it is the same in every release, and a code that is new has one at once.
func (c Code) MessageID() string {
	h := sha256.Sum256([]byte("leasehold message " + c.String()))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return hex.EncodeToString(h[:16])
}

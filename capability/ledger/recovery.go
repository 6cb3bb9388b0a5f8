package ledger

import (
	"bytes"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// TakeRecovery shows the recovery key to an administrator: once. With New there is another one from then on, and the one before opens only backups that were made before.
// The ledger knows its number only; the key is trusted storage's.
type TakeRecovery struct {
	New bool
	By  string
}

func (TakeRecovery) command() {}

// Recovery: the recovery key of this number was shown.
type Recovery struct {
	Number uint32 `cbor:"1,keyasint,omitzero"`
	By     string `cbor:"2,keyasint,omitzero"`
}

// recovery is the running recovery key, and to whom it was shown.
type recovery struct {
	Number uint32          `cbor:"1,keyasint,omitzero"`
	By     string          `cbor:"2,keyasint,omitzero"`
	Taken  capability.Time `cbor:"3,keyasint,omitzero"` // zero: nobody has it
}

// RecoveryView says which recovery key is the running one, and who took it when; Taken is zero while nobody has.
type RecoveryView struct {
	Life   capability.LifeID // of the trusted storage: in each the numbers begin anew
	Number uint32
	By     string
	Taken  capability.Time
}

// Recovery is the running recovery key.
func (l *Ledger) Recovery() RecoveryView {
	return RecoveryView{l.life, l.recovery.Number, l.recovery.By, l.recovery.Taken}
}

func (l *Ledger) takeRecovery(now Now, c TakeRecovery) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	number := l.recovery.Number
	switch {
	case !l.provisioned():
		return Decision{}, capability.Refuse(l.absent(), "", "")
	case c.New:
		number++
	case l.recovery.Taken != 0:
		return Decision{}, capability.Refuse(capability.ErrRecoveryTaken, "", "%s, by %s", l.recovery.Taken, l.recovery.By)
	}
	return l.decided(now, Entry{Recovery: &Recovery{Number: number, By: c.By}}), nil
}

func (l *Ledger) applyRecovery(f *Recovery) error {
	if taken := l.recovery.Taken != 0; !l.provisioned() || f.Number != l.recovery.Number && f.Number != l.recovery.Number+1 || taken && f.Number == l.recovery.Number {
		return corrupt("recovery key %d was shown, and the running one is %d", f.Number, l.recovery.Number)
	}
	l.recovery = recovery{Number: f.Number, By: f.By, Taken: l.now.Wall}
	return nil
}

// Configuration is what administrators have set here: it holds no right, and can be put on another appliance.
type Configuration struct {
	Model    []byte    `cbor:"1,keyasint,omitempty"`
	Groups   []Group   `cbor:"2,keyasint,omitempty"`
	Settings []Setting `cbor:"3,keyasint,omitempty"`

	Keys []ClientKey `cbor:"4,keyasint,omitempty"`
}

// Configuration is the running one, a copy.
func (l *Ledger) Configuration() Configuration {
	c := Configuration{Model: bytes.Clone(l.text), Settings: slices.Clone(l.settings), Keys: l.ClientKeys()}
	c.Groups, _ = l.Reservations()
	return c
}

// Configures says whether the entry changes the configuration.
func (e *Entry) Configures() bool {
	return e.Modeled != nil || e.Reserved != nil || e.Configured != nil || e.Registered != nil
}

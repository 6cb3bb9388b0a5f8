package appliance

import (
	"bytes"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm/attest"
)

// heardLog is a firmware's log that was told.
type heardLog struct {
	mu  sync.Mutex
	log []byte
}

// HearEventLog takes the log of the machine's firmware from somebody who may read it, for requests from now on; no bytes: there is none. What this program reads
// itself comes first. Nobody believes a log: the back office replays it against what the TPM quoted.
func (a *Appliance) HearEventLog(log []byte) error {
	switch {
	case !a.WantsEventLog:
		return capability.Refuse(capability.ErrForbidden, "", "this daemon sends no log of the firmware, or its TPM is not the one of this machine")
	case len(log) > attest.MaxEventLogBytes:
		return capability.Refuse(capability.ErrFileSize, "", "the firmware's log has more than %d bytes", attest.MaxEventLogBytes)
	}
	a.heardLog.mu.Lock()
	defer a.heardLog.mu.Unlock()
	a.heardLog.log = bytes.Clone(log)
	return nil
}

// LacksEventLog says that a log of the firmware is wanted, and was neither read here nor told.
func (a *Appliance) LacksEventLog() bool { return a.WantsEventLog && len(a.eventLog()) == 0 }

// eventLog is what goes with the evidence of requests, at most attest.MaxEventLogBytes.
func (a *Appliance) eventLog() []byte {
	if a.EventLog != nil {
		if log := a.EventLog(); len(log) > 0 {
			return log
		}
	}
	a.heardLog.mu.Lock()
	defer a.heardLog.mu.Unlock()
	return a.heardLog.log
}

package entitlement

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// A machine that was copied does not notice. The back office does, when both have written, and tells each of them in every response until it has applied one that says so.

// alarms are the incidents that say of a machine that it exists twice, since the response that its request has applied.
func (h *Host) alarms(r *capability.Request) (list []capability.Denial) {
	var since capability.Time
	if k, ok := h.bySerial(r.Applied); ok && r.Applied > 0 {
		since = k.Time
	}
	for _, i := range h.Incidents {
		if i.Time >= since && IsAlarm(i.Code) {
			list = append(list, i.alarm())
		}
	}
	return list
}

// IsAlarm says that a code of an incident, or of a denial in a response to a whole request, is about a second machine or a second storage under one identity. As a denial it refuses nothing of the
// request that the response answers.
func IsAlarm(c capability.Code) bool {
	return c == capability.ErrFork || c == capability.ErrHostKey || c == capability.ErrReplaced
}

// alarm is what the machine is told of an incident. Why its storage was replaced is the producer's own business.
func (i *Incident) alarm() capability.Denial {
	detail := fmt.Sprintf("%s, request %d", i.Time, i.Number)
	if i.Code != capability.ErrReplaced && capability.CheckText(i.Detail) == nil {
		detail += ": " + i.Detail
	}
	return capability.Denial{Code: i.Code, Subject: i.Host.Short(), Detail: detail}
}

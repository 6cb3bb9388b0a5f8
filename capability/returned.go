package capability

import (
	"fmt"
	"slices"
)

// Subject is how a denial names a return.
func (id ReturnID) Subject() string { return fmt.Sprintf("%x", id[:]) }

// RefuseReturn is the denial by which a back office refuses a return for good; why is the code of the one that says what is wrong with it. Whoever says this must never
// credit that return afterwards: the machine serves again what its response lists of the rights.
func RefuseReturn(t Return, why Code) Denial {
	return Denial{Code: ErrReturnRefused, Subject: t.ID.Subject(), Asked: t.Copies, Detail: fmt.Sprintf("%d of %s at epoch %d: %s", t.Copies, t.ActivationID, t.Epoch, why)}
}

// ReturnsRefused are the denials of a response that refuse returns for good.
func (r *Response) ReturnsRefused() (list []Denial) {
	for _, d := range r.Denials {
		if d.Code == ErrReturnRefused {
			list = append(list, d)
		}
	}
	return list
}

// Refused says why the back office refused the whole of what was asked, of a response that does.
func (r *Response) Refused() (Denial, bool) {
	at := slices.IndexFunc(r.Denials, func(d Denial) bool { return d.Code == ErrRefused })
	if at < 0 {
		return Denial{}, false
	}
	return r.Denials[at], true
}

// Refuses says whether the response refuses a return for good, so that it is sent no more. One that it credits it does not refuse.
func (r *Response) Refuses(t Return) bool {
	return !slices.Contains(r.Acknowledged, t.ID) && slices.ContainsFunc(r.ReturnsRefused(), func(d Denial) bool { return d.Subject == t.ID.Subject() })
}

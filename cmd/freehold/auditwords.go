package main

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// usersWords says what an entry did to users, seats, pools, sessions and groups; what is empty where it is about none of them.
func usersWords(e *entitlement.Entry) (what, detail string) {
	switch {
	case e.User != nil && e.User.Remove:
		return "removed the user", "of " + e.User.User.ID.Account
	case e.User != nil:
		return "set the user", "of " + e.User.User.ID.Account + userWords(&e.User.User)
	case e.Seat != nil:
		return seatFactWords(e.Seat)
	case e.Pool != nil:
		who := e.Pool.User.String()
		if e.Pool.Everybody {
			who = "everybody of the account"
		}
		if e.Pool.Remove {
			return "took out of the pool", who
		}
		return "put into the pool", who
	case e.Session != nil:
		return "changed sessions", sessionsWords(e.Session)
	case e.Convert != nil:
		return "converted", "to " + e.Convert.To.String()
	case e.Group != nil && e.Group.Remove:
		return "took out of the group", e.Group.Group
	case e.Group != nil:
		return "put into the group", e.Group.Group
	}
	return "", ""
}

func seatFactWords(f *entitlement.SeatFact) (what, detail string) {
	detail = fmt.Sprintf("seat %d of %s", f.Seat.Number, f.Seat.User)
	switch {
	case f.Free:
		return "unassigned a seat", detail
	case f.Seat.Withdrawn != 0:
		return "withdrew a seat", detail + ", on " + f.Seat.Host.Short()
	case f.Seat.Host.Value != "":
		return "took a withdrawal back", detail + ", on " + f.Seat.Host.Short()
	}
	return "assigned a seat", detail
}

func sessionsWords(f *entitlement.SessionFact) string {
	words := ""
	for _, s := range f.Put {
		state := "runs until " + s.Through.String()
		if s.Over {
			state = "was taken over"
		} else if s.Ended != 0 {
			state = "was disconnected"
		}
		words += fmt.Sprintf("; one of %s %s", s.User, state)
	}
	if n := len(f.Ended); n > 0 {
		words += fmt.Sprintf("; %d ended", n)
	}
	return words[min(2, len(words)):]
}

// keysWords says what an entry tells of signing keys, and of what they sign but responses; what is empty where it tells nothing of them.
func keysWords(e *entitlement.Entry) (what, detail string) {
	switch {
	case e.Signer != nil:
		detail = fmt.Sprintf("certificate %d of %s, key %.8x, from %s, %s", e.Signer.Number, e.Signer.Name, e.Signer.Key[:], e.Signer.From, untilWords(e.Signer.Until))
		for _, r := range e.Signer.Revoked {
			detail += fmt.Sprintf("; revokes %.8x", r.Key[:])
		}
		return "took a certificate", detail
	case e.Limited != nil:
		return "did not sign", e.Limited.Detail
	case e.Update != nil:
		return "signed an update", fmt.Sprintf("security version %d, %s, SHA-256 %x", e.Update.Security, capability.Counted(e.Update.States, "boot state"), e.Update.File[:])
	}
	return "", ""
}

package capability

import "fmt"

// Usage is the body of a record: what was used of one feature of one activation ID in one period, a UTC day or a part of one. A period is longer only where
// no room was left for another record. The records of one period without a user add up to all that was used; those with one say more about the same use.
type Usage struct {
	From         Time         `cbor:"1,keyasint,omitzero" json:"from"`
	Until        Time         `cbor:"2,keyasint,omitzero" json:"until"` // first second that is not in the period
	ActivationID ActivationID `cbor:"3,keyasint,omitzero" json:"activationId,omitempty"`
	Feature      string       `cbor:"4,keyasint,omitzero" json:"feature,omitempty"` // absent with the activation ID: of features that no line item has, which are only refused
	User         string       `cbor:"5,keyasint,omitzero" json:"user,omitempty"`    // only where the policy and the site's setting ask for it
	Peak         uint64       `cbor:"6,keyasint,omitzero" json:"peak"`              // most counts in use at one moment
	Served       uint64       `cbor:"7,keyasint,omitzero" json:"served"`            // counts that devices got and did not have before
	Seconds      uint64       `cbor:"8,keyasint,omitzero" json:"seconds"`           // counts in use, times the seconds that they were; not of what is metered
	Denials      []Denied     `cbor:"9,keyasint,omitempty" json:"denials,omitempty"`
}

// Denied is how many lines were refused with one code.
type Denied struct {
	Code  Code   `cbor:"1,keyasint,omitzero" json:"code"`
	Count uint64 `cbor:"2,keyasint,omitzero" json:"count"`
}

// ID names the item.
func (u *Usage) ID() ItemID { return ItemID{ActivationID: u.ActivationID, Feature: u.Feature} }

// CheckStates checks the states of one request: each is a usage, all are of periods that begin together, and none is of the same use as another. With the error
// comes which one is wrong.
func CheckStates(states []Usage) (int, error) {
	type use struct {
		item ItemID
		user string
	}
	seen := make(map[use]bool, len(states))
	for i := range states {
		u := &states[i]
		if err := u.Validate(); err != nil {
			return i, err
		}
		switch of := (use{u.ID(), u.User}); {
		case u.From != states[0].From:
			return i, fmt.Errorf("begins %s where the first begins %s", u.From, states[0].From)
		case seen[of]:
			return i, fmt.Errorf("the use of %s is there twice", u.ID())
		default:
			seen[of] = true
		}
	}
	return 0, nil
}

// Validate checks everything about a record's body that needs no state.
func (u *Usage) Validate() error {
	switch {
	case u.From <= 0 || u.Until <= u.From:
		return fmt.Errorf("a period from %s until %s", u.From, u.Until)
	case max(u.Peak, u.Served, u.Seconds) > MaxUsed:
		return fmt.Errorf("peak %d, served %d and %d seconds where at most %d are allowed", u.Peak, u.Served, u.Seconds, uint64(MaxUsed))
	case len(u.Denials) > MaxDenied:
		return fmt.Errorf("%d codes of denials where at most %d are allowed", len(u.Denials), MaxDenied)
	case (u.ActivationID == "") != (u.Feature == ""):
		return fmt.Errorf("names one of an activation ID and a feature")
	case u.Feature == "" && (u.User != "" || u.Peak+u.Served+u.Seconds > 0):
		return fmt.Errorf("of no feature, and used")
	case u.User != "" && len(u.Denials) > 0:
		return fmt.Errorf("denials of one user")
	case u.Served == 0 && u.Seconds == 0 && len(u.Denials) == 0:
		return fmt.Errorf("says nothing")
	}
	for i, d := range u.Denials {
		if d.Code == 0 || d.Count == 0 || d.Count > MaxUsed || i > 0 && u.Denials[i-1].Code >= d.Code {
			return fmt.Errorf("denied %d times by %s: codes ascend, and 1 to %d times are allowed", d.Count, d.Code, uint64(MaxUsed))
		}
	}
	if err := checkText(u.User); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if u.Feature == "" {
		return nil
	}
	if err := u.ActivationID.Validate(); err != nil {
		return err
	}
	return checkName("feature", u.Feature, MaxName)
}

package entitlement

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A license model says how the copies of a line item may be used. Items name one; what it says counts from then on, so a model that is deployed does not change any more. An item without
// one is under the model without a name, which allows everything and adds nothing.

// ModelState goes one way only.
type ModelState uint8

const (
	ModelDraft    ModelState = 0 // can be changed; no item may have it
	ModelDeployed ModelState = 1
	ModelInactive ModelState = 2 // no new item, and no machine is given more of those there are
	ModelObsolete ModelState = 3 // the same, and not shown in lists any more
)

func (s ModelState) String() string {
	if names := [...]string{"draft", "deployed", "inactive", "obsolete"}; int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText makes JSON show the name.
func (s ModelState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseModelState.
func (s *ModelState) UnmarshalText(b []byte) (err error) {
	*s, err = ParseModelState(string(b))
	return err
}

// ParseModelState reads a name.
func ParseModelState(text string) (ModelState, error) {
	for s := ModelDraft; s <= ModelObsolete; s++ {
		if text == s.String() {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q is no state of a license model: want draft, deployed, inactive or obsolete", text)
}

// Kind says what a copy is tied to.
type Kind uint8

const (
	Floating   Kind = 0 // to nobody: whoever asks first is served
	NodeLocked Kind = 1 // to its machine
	FixedUser  Kind = 2 // to one named user
)

func (k Kind) String() string {
	if names := [...]string{"floating", "node-locked", "fixed-user"}; int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// MarshalText makes JSON show the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is ParseKind.
func (k *Kind) UnmarshalText(b []byte) (err error) {
	*k, err = ParseKind(string(b))
	return err
}

// ParseKind reads a name.
func ParseKind(text string) (Kind, error) {
	for k := Floating; k <= FixedUser; k++ {
		if text == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%q is no kind of license: want floating, node-locked or fixed-user", text)
}

// Aggregation says what several equal records of one machine are worth together.
type Aggregation uint8

const (
	Sum Aggregation = 0
	Max Aggregation = 1 // as much as the greatest of them
)

func (a Aggregation) String() string {
	if a == Max {
		return "max"
	}
	return "sum"
}

// MarshalText makes JSON show the name.
func (a Aggregation) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseAggregation.
func (a *Aggregation) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAggregation(string(b))
	return err
}

// ParseAggregation reads a name.
func ParseAggregation(text string) (Aggregation, error) {
	for a := Sum; a <= Max; a++ {
		if text == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%q is no aggregation: want sum or max", text)
}

// The bounds of what a model may say. A grace longer than a year is another expiry.
const (
	MaxGraceDays = 366
	MaxHostTypes = 16
	maxPercent   = 100
	maxRenew     = 90
)

// LicenseModel is one license model. Its zero value, without a name, is that of items that name none.
type LicenseModel struct {
	Name         string             `cbor:"1,keyasint,omitzero" json:"name"`
	State        ModelState         `cbor:"2,keyasint,omitzero" json:"state"`
	Kind         Kind               `cbor:"3,keyasint,omitzero" json:"kind"`
	Metered      bool               `cbor:"4,keyasint,omitzero" json:"metered,omitempty"`
	Reusable     bool               `cbor:"5,keyasint,omitzero" json:"reusable,omitempty"`
	UndoInterval capability.Seconds `cbor:"6,keyasint,omitzero" json:"undoInterval,omitempty"`
	Overdraft    uint8              `cbor:"7,keyasint,omitzero" json:"overdraft,omitempty"` // percent of the counts of each machine, rounded down: so that all machines together stay within it
	GraceDays    uint16             `cbor:"8,keyasint,omitzero" json:"graceDays,omitempty"` // that rights go on after the item's expiry, while nothing new is given
	Borrow       capability.Seconds `cbor:"9,keyasint,omitzero" json:"borrow,omitempty"`    // longest lease; zero: the policy's
	Renew        uint8              `cbor:"10,keyasint,omitzero" json:"renew,omitempty"`    // percent of a lease after which clients renew; zero: the policy's
	Tolerance    capability.Seconds `cbor:"11,keyasint,omitzero" json:"tolerance,omitempty"`
	NoVirtual    bool               `cbor:"12,keyasint,omitzero" json:"noVirtual,omitempty"` // not on a machine that is virtual or says so
	HostTypes    []HostType         `cbor:"13,keyasint,omitempty" json:"hostTypes,omitempty"`
	MinimumTier  Tier               `cbor:"14,keyasint,omitzero" json:"minimumTier,omitempty"`
	NoPartial    bool               `cbor:"15,keyasint,omitzero" json:"noPartial,omitempty"` // a machine gets all that it asks for, or nothing
	Aggregation  Aggregation        `cbor:"16,keyasint,omitzero" json:"aggregation"`
	NoCredit     bool               `cbor:"17,keyasint,omitzero" json:"noCredit,omitempty"` // what is returned is gone
	Limits       []ActLimit         `cbor:"18,keyasint,omitempty" json:"limits,omitempty"`  // of each line item
}

// SetModel makes a license model, changes a draft, or moves one to a later state.
type SetModel struct {
	Model LicenseModel
	By    string
}

func (c SetModel) decide(b *Book, now capability.Time) (*Decision, error) {
	m := c.Model.clone()
	if err := b.setsModel(&m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCatalog, err)
	}
	e := b.entry(now, c.By)
	e.Model = &m
	return &Decision{Entries: []*Entry{e}}, nil
}

// setsModel says why a model cannot be as it is said.
func (b *Book) setsModel(m *LicenseModel) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("license model %q: %w", m.Name, err)
	}
	old := b.catalog.models.named[m.Name]
	switch {
	case old == nil && m.State > ModelDeployed:
		return fmt.Errorf("license model %q would begin %s", m.Name, m.State)
	case old == nil || old.State == ModelDraft && m.State <= ModelDeployed:
		return nil
	case m.State < old.State:
		return fmt.Errorf("license model %q is %s and cannot become %s: make another one", m.Name, old.State, m.State)
	case old.State == ModelDraft && m.State == ModelInactive:
		return fmt.Errorf("license model %q is a draft, and no item has it: deploy it, or make it obsolete", m.Name)
	}
	same := old.clone()
	if same.State = m.State; !bytes.Equal(b.codec.Encode(same), b.codec.Encode(m)) {
		return fmt.Errorf("license model %q is %s: only its state can change, or what items were sold with would change under them; make another one", m.Name, old.State)
	}
	return nil
}

// Validate checks everything about a model that needs no book.
func (m *LicenseModel) Validate() error {
	if err := capability.CheckName("license model", m.Name); err != nil {
		return err
	}
	switch {
	case m.State > ModelObsolete:
		return fmt.Errorf("state %d is not known", m.State)
	case m.Kind > FixedUser:
		return fmt.Errorf("kind %d is not known", m.Kind)
	case m.Aggregation > Max:
		return fmt.Errorf("aggregation %d is not known", m.Aggregation)
	case m.MinimumTier > Hardware:
		return fmt.Errorf("tier %d is not known", m.MinimumTier)
	case !m.Metered && (m.Reusable || m.UndoInterval != 0):
		return fmt.Errorf("reusable, or with an undo interval of %s, and not metered", m.UndoInterval)
	case m.Metered && (m.Kind == FixedUser || m.Aggregation == Max):
		return fmt.Errorf("metered counts have no users, and add up")
	case m.Overdraft > maxPercent || m.Overdraft > 0 && m.Kind != Floating:
		return fmt.Errorf("overdraft of %d%% of a %s license: up to %d%% of a floating one are allowed", m.Overdraft, m.Kind, maxPercent)
	case m.GraceDays > MaxGraceDays:
		return fmt.Errorf("grace of %d days where at most %d are allowed", m.GraceDays, MaxGraceDays)
	case m.Renew > maxRenew:
		return fmt.Errorf("renewal after %d%% of a lease where at most %d%% is allowed", m.Renew, maxRenew)
	case min(m.UndoInterval, m.Borrow, m.Tolerance) < 0 || max(m.UndoInterval, m.Borrow) > capability.MaxInterval || m.Tolerance > capability.MaxGrace:
		return fmt.Errorf("leases of %s, reports that can be undone for %s, or a tolerance of %s: at most %s, %s and %s are allowed",
			m.Borrow, m.UndoInterval, m.Tolerance, capability.MaxInterval, capability.MaxInterval, capability.MaxGrace)
	case m.Borrow > 0 && m.Borrow < capability.MinLease:
		return fmt.Errorf("leases of %s where at least %s are needed", m.Borrow, capability.MinLease)
	case len(m.HostTypes) > MaxHostTypes:
		return fmt.Errorf("%d host ID types where at most %d are allowed", len(m.HostTypes), MaxHostTypes)
	}
	for n, t := range m.HostTypes {
		if !t.known() || slices.Contains(m.HostTypes[:n], t) {
			return fmt.Errorf("host ID type %s is not known, or there twice", t)
		}
	}
	return validateActLimits(m.Limits)
}

// Model is one license model.
func (b *Book) Model(name string) (LicenseModel, bool) {
	m := b.catalog.models.named[name]
	if m == nil {
		return LicenseModel{}, false
	}
	return m.clone(), true
}

// Models are all license models, in the order they were made.
func (b *Book) Models() []LicenseModel {
	list := make([]LicenseModel, 0, len(b.catalog.models.list))
	for _, m := range b.catalog.models.list {
		list = append(list, m.clone())
	}
	return list
}

// modelOf is the model of an item; that of items without one allows everything.
func (b *Book) modelOf(i *item) *LicenseModel {
	if m := b.catalog.models.named[i.Model]; m != nil {
		return m
	}
	return &LicenseModel{State: ModelDeployed}
}

package hostid

import (
	"fmt"
	"slices"
	"strings"
)

// A machine changes honestly: a network card is replaced, a board goes back to its maker, a disk grows old. What stays is its TPM: the same endorsement key is the
// same machine whatever else has changed, and another one is another machine. Only where a producer asks for more, or where there is no TPM, do the other IDs
// decide: they weigh 2, 2 and 1, and 3 of these 5 are enough.

// Rule is what a producer asks of a machine beside its TPM. Numbers are on the wire and are never reordered.
type Rule uint8

// The rules.
const (
	RuleTPM         Rule = iota // nothing: what has changed is reported
	RuleSecondaries             // the score of its secondaries
	RuleDongle                  // its chosen dongle
	RuleProof                   // its chosen dongle, which answers a challenge
)

const knownRules = 4

// String is the name that people see and type.
func (r Rule) String() string {
	if r >= knownRules {
		return fmt.Sprintf("rule %d", uint8(r))
	}
	return [knownRules]string{"tpm", "secondaries", "dongle", "proven-dongle"}[r]
}

// ParseRule reads a name.
func ParseRule(s string) (Rule, error) {
	for r := range Rule(knownRules) {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q is not a binding: want tpm, secondaries, dongle or proven-dongle", s)
}

// Known says that this program has such a rule.
func (r Rule) Known() bool { return r < knownRules }

// AsksDongle says that a dongle is asked for.
func (r Rule) AsksDongle() bool { return r == RuleDongle || r == RuleProof }

// MaxShown bounds what counts of one machine: its TPM, two UUIDs, seven network cards, two disks and four dongles. It is also what a request can name.
const MaxShown = 16

// enough is the score, of 5, that makes a machine the same; one less does for a limited time.
const (
	enough = 3
	nearly = 2
)

// class is what IDs weigh together: however many of a class still match, its weight counts once.
type class struct {
	types  []Type
	weight int
	most   int // of one machine that count
}

// classes are the secondaries, in the order in which they are named.
func classes() []class {
	return []class{{[]Type{BoardUUID, VMUUID}, 2, 2}, {[]Type{Ethernet}, 2, 7}, {[]Type{Disk}, 1, 2}}
}

func dongles() class { return class{types: []Type{Flexid9, Flexid10}, most: 4} }

// Secondary says that an ID of this type counts in the score.
func (t Type) Secondary() bool {
	return slices.ContainsFunc(classes(), func(c class) bool { return slices.Contains(c.types, t) })
}

// Dongle says that an ID of this type is of a thing that is plugged in, and can be chosen as identity.
func (t Type) Dongle() bool { return slices.Contains(dongles().types, t) }

// Shown is an ID of a machine that counts, and whether a key in hardware has answered for it.
type Shown struct {
	ID     ID   `cbor:"1,keyasint" json:"id"`
	Proven bool `cbor:"2,keyasint,omitzero" json:"proven,omitempty"`
}

// Counts is what of a machine can be bound: its endorsement key, then its secondaries, then its dongles, each once and at most MaxShown. What has a flaw, what
// was only told and what is no ID never counts.
func (m Machine) Counts() []Shown {
	var out []Shown
	add := func(c class, least Strength) {
		n := 0
		for _, f := range m.Findings {
			if !slices.Contains(c.types, f.ID.Type) || f.Flaw != "" || f.Strength < least || f.ID.Validate() != nil {
				continue
			}
			if i := slices.IndexFunc(out, func(s Shown) bool { return s.ID == f.ID }); i >= 0 {
				out[i].Proven = out[i].Proven || f.Strength == Proven
			} else if n < c.most {
				out = append(out, Shown{f.ID, f.Strength == Proven})
				n++
			}
		}
	}
	add(class{types: []Type{TPMEK}, most: 1}, Proven)
	for _, c := range classes() {
		add(c, Weak)
	}
	add(dongles(), Weak)
	return out
}

// Binding is the machine that rights belong to, as it showed itself. The zero Binding is none.
type Binding struct {
	EK     ID   `cbor:"1,keyasint,omitzero" json:"ek,omitzero"` // zero where there is no TPM
	Others []ID `cbor:"2,keyasint,omitempty" json:"others,omitempty"`
	Dongle ID   `cbor:"3,keyasint,omitzero" json:"dongle,omitzero"` // the chosen one, where the rule asks for one
}

// Bind binds what a machine shows. Where the rule asks for a dongle it is the chosen one, whether it is there or not, or else the first that fits.
func Bind(shown []Shown, rule Rule, chosen ID) Binding {
	var b Binding
	if rule.AsksDongle() {
		b.Dongle = chosen
	}
	for _, s := range shown {
		switch {
		case s.ID.Type == TPMEK && b.EK == ID{}:
			b.EK = s.ID
		case s.ID.Type.Secondary():
			b.Others = append(b.Others, s.ID)
		case s.ID.Type.Dongle() && rule.AsksDongle() && b.Dongle == ID{} && (s.Proven || rule == RuleDongle):
			b.Dongle = s.ID
		}
	}
	return b
}

// Completed is the binding with the secondaries of another of which it has no kind at all.
func (b Binding) Completed(other Binding) Binding {
	all := slices.Clone(b.Others)
	for _, c := range classes() {
		of := func(id ID) bool { return slices.Contains(c.types, id.Type) }
		if !slices.ContainsFunc(b.Others, of) {
			all = append(all, slices.DeleteFunc(slices.Clone(other.Others), func(id ID) bool { return !of(id) })...)
		}
	}
	b.Others = all
	return b
}

// None says that nothing is bound.
func (b Binding) None() bool { return b.EK == ID{} && len(b.Others) == 0 && b.Dongle == ID{} }

// Holds says that the binding can tell machines apart: without a TPM and a dongle it needs secondaries of 3 of 5, or the very machine that was bound would not do.
func (b Binding) Holds() bool {
	return b.EK != ID{} || b.Dongle != ID{} || Score(b.Others, b.Others) >= enough
}

// Validate checks what was stored or sent: known types in their places, none twice, and no more than a machine can show.
func (b Binding) Validate() error {
	if b.EK != (ID{}) && (b.EK.Type != TPMEK || b.EK.Validate() != nil) {
		return fmt.Errorf("%w: a binding to %s", ErrSyntax, b.EK)
	}
	if b.Dongle != (ID{}) {
		if err := b.Dongle.Validate(); err != nil {
			return err
		}
	}
	if len(b.Others) > MaxShown {
		return fmt.Errorf("%w: %d IDs in a binding where at most %d are allowed", ErrSyntax, len(b.Others), MaxShown)
	}
	for i, id := range b.Others {
		if err := id.Validate(); err != nil {
			return err
		}
		if !id.Type.Secondary() || slices.Contains(b.Others[:i], id) {
			return fmt.Errorf("%w: %s in a binding, twice or of a type that has no weight", ErrSyntax, id)
		}
	}
	return nil
}

// Score is the sum of the weights of the classes of which at least one bound ID is still shown: 0 to 5.
func Score(bound, shown []ID) (score int) {
	for _, c := range classes() {
		if slices.ContainsFunc(bound, func(id ID) bool { return slices.Contains(c.types, id.Type) && slices.Contains(shown, id) }) {
			score += c.weight
		}
	}
	return score
}

// Outcome is what a machine is to a binding. Numbers are on disk.
type Outcome uint8

// The outcomes.
const (
	Unjudged Outcome = iota // nothing is bound
	Same                    // nothing has changed
	Drifted                 // the same machine, and something of it has changed
	Grace                   // what the rule asks for is missing: the machine is taken for the same for a limited time
	Broken                  // too little is left of what was bound, and there is no TPM
	Other                   // another machine
)

const outcomes = 6

func (o Outcome) String() string {
	if o >= outcomes {
		return fmt.Sprintf("outcome %d", uint8(o))
	}
	return [outcomes]string{"not judged", "same", "drifted", "grace", "broken", "another machine"}[o]
}

// Known says that this program has such an outcome.
func (o Outcome) Known() bool { return o < outcomes }

// MarshalText writes the name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads it.
func (o *Outcome) UnmarshalText(b []byte) error {
	for k := range Outcome(outcomes) {
		if k.String() == string(b) {
			*o = k
			return nil
		}
	}
	return fmt.Errorf("%q is not an outcome of a binding", b)
}

// Serves says that rights may be used on such a machine, for now.
func (o Outcome) Serves() bool { return o <= Grace }

// Verdict is a machine judged by a binding.
type Verdict struct {
	Outcome Outcome  `json:"outcome"`
	Score   int      `json:"score"`             // of the secondaries that still match
	Of      int      `json:"of"`                // what the bound ones could have: at most 5
	Frozen  bool     `json:"frozen,omitempty"`  // it would be grace or broken, but for a planned change
	Changes []string `json:"changes,omitempty"` // what has changed, in words, one ID each
}

// Judge says what a machine is to a binding. A planned change freezes the score: what is missing is reported and starts no grace. It never makes another machine
// of one with a TPM into this one, nor one that shares nothing with the bound one.
//
// That a grace comes to its end is not known here: it has no clock.
func Judge(b Binding, shown []Shown, rule Rule, planned bool) Verdict {
	if b.None() {
		return Verdict{}
	}
	ids := make([]ID, len(shown))
	for i, s := range shown {
		ids[i] = s.ID
	}
	v := Verdict{Score: Score(b.Others, ids), Of: Score(b.Others, b.Others), Changes: b.changes(ids)}
	v.Outcome = b.lacks(v, shown, rule)
	switch {
	case b.EK != (ID{}) && !slices.Contains(ids, b.EK):
		v.Outcome = Other
	case v.Outcome != Same && planned && (b.EK != (ID{}) || v.Score > 0):
		v.Outcome, v.Frozen = Same, true
	}
	if v.Outcome == Same && len(v.Changes) > 0 {
		v.Outcome = Drifted
	}
	return v
}

// lacks is Same where the machine shows what the rule asks for, else Grace or Broken.
func (b Binding) lacks(v Verdict, shown []Shown, rule Rule) Outcome {
	dongle := b.Dongle != ID{} && slices.ContainsFunc(shown, func(s Shown) bool { return s.ID == b.Dongle && (s.Proven || rule != RuleProof) })
	switch tpm := b.EK != (ID{}); {
	case tpm && rule == RuleTPM,
		tpm && rule == RuleSecondaries && v.Of > 0 && v.Score >= min(enough, v.Of), // all that was bound, where that was less
		rule.AsksDongle() && dongle,
		!tpm && !rule.AsksDongle() && v.Score >= enough:
		return Same
	case tpm, !rule.AsksDongle() && v.Score >= nearly, rule.AsksDongle() && v.Score >= enough:
		return Grace
	}
	return Broken
}

// changes is what of the bound is gone and what is new, in words.
func (b Binding) changes(shown []ID) (out []string) {
	say := func(id ID, what string) { out = append(out, id.String()+" "+what) }
	for _, id := range append(slices.Clone(b.Others), b.EK, b.Dongle) {
		if id != (ID{}) && !slices.Contains(shown, id) {
			say(id, "is gone")
		}
	}
	for _, id := range shown {
		if id.Type.Secondary() && !slices.Contains(b.Others, id) || id.Type == TPMEK && id != b.EK {
			say(id, "is new")
		}
	}
	return out
}

// Sentence is the verdict for people, with what has changed.
func (v Verdict) Sentence() string {
	s := map[Outcome]string{
		Unjudged: "nothing is bound yet", Same: "the same machine", Drifted: "the same machine, and something has changed",
		Grace: "what the producer asks for is missing", Broken: "too little is left of the machine that was bound", Other: "another machine",
	}[v.Outcome]
	if v.Frozen {
		s += ", as planned"
	}
	if len(v.Changes) > 0 {
		s += ": " + strings.Join(v.Changes, ", ")
	}
	return s
}

// ParseStrength reads what String writes.
func ParseStrength(s string) (Strength, error) {
	for k := Worthless; k <= Proven; k++ {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%q is not a strength of an ID", s)
}

// UnmarshalText reads what MarshalText writes.
func (s *Strength) UnmarshalText(b []byte) (err error) {
	*s, err = ParseStrength(string(b))
	return err
}

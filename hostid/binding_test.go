package hostid

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func ek(n int) ID { return OfDigest(TPMEK, [32]byte{0: byte(n), 1: byte(n >> 8), 31: 1}) }

// The parts that the table puts together.
func part(letter byte) ID {
	return map[byte]ID{
		'E': ek(1), 'X': ek(2), 'b': {BoardUUID, "board"}, 'v': {VMUUID, "guest"}, 'n': {Ethernet, "02AA"}, 'm': {Ethernet, "02BB"}, 'd': {Disk, "S1"}, 'e': {Disk, "S2"},
		'k': {Flexid9, "9-1"}, 'K': {Flexid9, "9-1"}, 'l': {Flexid10, "10-1"},
	}[letter]
}

// made reads a machine in short: a capital K is a dongle that has answered.
func made(letters string) (out []Shown) {
	for i := range len(letters) {
		out = append(out, Shown{part(letters[i]), letters[i] == 'K'})
	}
	return out
}

// Every row of the rule: what was bound, what is shown, and what each rule says of it. A letter stands for an outcome: s same, d drifted, g grace, b broken,
// o another machine.
func TestJudge(t *testing.T) {
	letter := map[Outcome]string{Unjudged: "-", Same: "s", Drifted: "d", Grace: "g", Broken: "b", Other: "o"}
	for _, row := range []struct {
		bound, shown string
		score        int
		verdicts     string // tpm, secondaries, dongle, proof; then the same with a planned change
	}{
		{"Ebnd", "Ebnd", 5, "ssgg ssss"},
		{"EbndK", "EbndK", 5, "ssss ssss"},
		{"EbndK", "Ebndk", 5, "sssg ssss"}, // a dongle that shows the number and does not answer
		{"EbndK", "Ebnd", 5, "ddgg dddd"},
		{"EbndK", "Ebndl", 5, "ddgg dddd"}, // another dongle is none
		{"Ebnd", "Ebn", 4, "ddgg dddd"},
		{"Ebnd", "Ebd", 3, "ddgg dddd"},
		{"Ebnd", "End", 3, "ddgg dddd"},
		{"Ebnd", "Eb", 2, "dggg dddd"},
		{"Ebnd", "En", 2, "dggg dddd"},
		{"Ebnd", "Ed", 1, "dggg dddd"},
		{"Ebnd", "E", 0, "dggg dddd"},
		{"Ebnd", "Evme", 0, "dggg dddd"},
		{"EbndK", "EvmeK", 0, "dgdd dddd"},
		{"Ebnd", "Ebnmd", 5, "ddgg dddd"},  // one more card
		{"Ebnmd", "Ebmd", 5, "ddgg dddd"},  // any card that is left counts its 2 once
		{"Ebnm", "Ebnm", 4, "ssgg ssss"},   // and two are no more than one
		{"Ev", "Ev", 2, "ssgg ssss"},       // what never had 3 need not have them
		{"Ev", "E", 0, "dggg dddd"},        //
		{"E", "E", 0, "sggg ssss"},         // but it must have something
		{"E", "Ebnd", 0, "dggg dddd"},      //
		{"Ebnd", "X", 0, "oooo oooo"},      // another TPM is another machine, planned or not
		{"Ebnd", "Xbnd", 5, "oooo oooo"},   //
		{"EbndK", "XbndK", 5, "oooo oooo"}, //
		{"EbndK", "bndK", 5, "oooo oooo"},  // and so is none
		{"Ebnd", "", 0, "oooo oooo"},       //
		{"bnd", "bnd", 5, "ssgg ssss"},     // no TPM: by the score
		{"bnd", "bn", 4, "ddgg dddd"},
		{"bnd", "bd", 3, "ddgg dddd"},
		{"bnd", "nd", 3, "ddgg dddd"},
		{"bnd", "b", 2, "ggbb dddd"},
		{"bnd", "n", 2, "ggbb dddd"},
		{"bnd", "d", 1, "bbbb dddd"},
		{"bnd", "", 0, "bbbb bbbb"},
		{"bnd", "vme", 0, "bbbb bbbb"},
		{"bnd", "Ebnd", 5, "ddgg dddd"}, // that got a TPM
		{"bndK", "K", 0, "bbdd bbdd"},   // no TPM, and a dongle is the identity
		{"bndK", "k", 0, "bbdb bbdb"},
		{"bndK", "bndk", 5, "sssg ssss"},
		{"bndK", "bnd", 5, "ddgg dddd"},
		{"bndK", "bd", 3, "ddgg dddd"},
		{"bndK", "b", 2, "ggbb dddd"},
		{"", "Ebnd", 0, "---- ----"},
		{"", "", 0, "---- ----"},
	} {
		b := Bind(made(row.bound), RuleDongle, ID{})
		got := ""
		for _, planned := range []bool{false, true} {
			for rule := range Rule(knownRules) {
				v := Judge(b, made(row.shown), rule, planned)
				if v.Score != row.score && row.bound != "" {
					t.Errorf("%s, then %s: score %d, want %d", row.bound, row.shown, v.Score, row.score)
				}
				if v.Frozen && (!planned || !v.Outcome.Serves()) || v.Outcome == Same && len(v.Changes) > 0 {
					t.Errorf("%s, then %s by %s: %+v", row.bound, row.shown, rule, v)
				}
				got += letter[v.Outcome]
			}
			got += " "
		}
		if got = strings.TrimSpace(got); got != row.verdicts {
			t.Errorf("%q, then %q: %s, want %s", row.bound, row.shown, got, row.verdicts)
		}
	}
}

// Every combination of one board, two cards and one disk against every other, with and without a TPM and a dongle: the verdict follows from the weights alone.
func TestJudgeEveryCombination(t *testing.T) {
	const letters = "EbnmdK"
	of := func(mask int) (s string) {
		for i := range len(letters) {
			if mask&(1<<i) != 0 {
				s += letters[i : i+1]
			}
		}
		return s
	}
	weigh := func(both string) (n int) {
		if strings.Contains(both, "b") {
			n += 2
		}
		if strings.ContainsAny(both, "nm") {
			n += 2
		}
		if strings.Contains(both, "d") {
			n++
		}
		return n
	}
	tried := 0
	for x := range 64 {
		for y := range 64 {
			b := Bind(made(of(x)), RuleDongle, ID{})
			if b.None() {
				continue
			}
			score, most := weigh(of(x&y)), weigh(of(x))
			for rule := range Rule(knownRules) {
				for _, planned := range []bool{false, true} {
					tried++
					v := Judge(b, made(of(y)), rule, planned)
					tpm, dongle := x&1 != 0, x&y&32 != 0
					passes := rule.AsksDongle() && dongle || !rule.AsksDongle() && (tpm && (rule == RuleTPM || most > 0 && score >= min(3, most)) || !tpm && score >= 3)
					var want []Outcome
					switch {
					case tpm && y&1 == 0:
						want = []Outcome{Other}
					case passes, planned && (tpm || score > 0):
						want = []Outcome{Same, Drifted}
					case tpm, rule.AsksDongle() && score >= 3, !rule.AsksDongle() && score == 2:
						want = []Outcome{Grace}
					default:
						want = []Outcome{Broken}
					}
					if !slices.Contains(want, v.Outcome) || v.Score != score || v.Of != most {
						t.Fatalf("%s, then %s by %s, planned %v: %+v, want %v and %d of %d", of(x), of(y), rule, planned, v, want, score, most)
					}
					if v.Frozen != (planned && !passes && v.Outcome != Other && v.Outcome != Broken) {
						t.Fatalf("%s, then %s by %s: frozen %v", of(x), of(y), rule, v.Frozen)
					}
				}
			}
		}
	}
	t.Logf("%d combinations", tried)
}

// Machines that live for years: cards, disks, boards, docks and dongles come and go. With the TPM intact and the default policy nobody is locked out, by any rule nobody
// is from one step to the next, and whatever is shown beside another TPM is never taken for the same machine.
func TestDrifts(t *testing.T) {
	const machines, steps = 1000, 10 // 10,000 drifts
	rng := rand.New(rand.NewPCG(18, 10))
	number := 0
	fresh := func() string { number++; return fmt.Sprint("N", number) }
	drifts, lockedOut, accepted := 0, 0, 0
	for machine := range machines {
		m := Machine{Findings: []Finding{{ID: ek(machine), Strength: Proven}}}
		add := func(t Type, s Strength, flaw string) {
			m.Findings = append(m.Findings, Finding{ID: ID{t, fresh()}, Strength: s, Flaw: flaw})
		}
		add([]Type{BoardUUID, VMUUID}[rng.IntN(2)], Firm, "")
		for range rng.IntN(4) {
			add(Ethernet, Firm, "")
		}
		add(Disk, Firm, "")
		b := Bind(m.Counts(), RuleTPM, ID{})
		for range steps {
			drifts++
			switch at := 1 + rng.IntN(len(m.Findings)); rng.IntN(8) {
			case 0, 1, 2: // something is replaced by its like
				if at < len(m.Findings) {
					m.Findings[at].ID.Value = fresh()
				}
			case 3, 4:
				if at < len(m.Findings) {
					m.Findings = slices.Delete(m.Findings, at, at+1)
				}
			case 5:
				add([]Type{Ethernet, Disk, BoardUUID, Flexid9}[rng.IntN(4)], []Strength{Weak, Firm}[rng.IntN(2)], "")
			case 6: // a dock
				add(Ethernet, Firm, "USB network adapter")
			case 7: // the board: everything at once
				for i := range m.Findings[1:] {
					m.Findings[1+i].ID.Value = fresh()
				}
			}
			rng.Shuffle(len(m.Findings)-1, func(i, j int) { m.Findings[1+i], m.Findings[1+j] = m.Findings[1+j], m.Findings[1+i] })
			if v := Judge(b, m.Counts(), RuleTPM, false); v.Outcome != Same && v.Outcome != Drifted {
				lockedOut++
			}
			for rule := range Rule(knownRules) {
				if !Judge(b, m.Counts(), rule, rng.IntN(2) == 0).Outcome.Serves() {
					t.Fatalf("%v: the TPM is intact, and %s ends it at once", m.Counts(), rule)
				}
				other := m
				other.Findings = append([]Finding{{ID: ek(1 << 14), Strength: Proven}}, m.Findings[1:]...)
				if rng.IntN(2) == 0 {
					other.Findings = other.Findings[1:] // or the TPM is gone
				}
				for _, planned := range []bool{false, true} {
					if Judge(b, other.Counts(), rule, planned).Outcome != Other {
						accepted++
					}
				}
			}
		}
	}
	t.Logf("%d drifts: %d lock-outs while the TPM was intact, %d acceptances of another one", drifts, lockedOut, accepted)
	if drifts != 10_000 || lockedOut+accepted > 0 {
		t.Errorf("%d drifts, %d lock-outs, %d acceptances", drifts, lockedOut, accepted)
	}
}

func TestCounts(t *testing.T) {
	f := func(id ID, s Strength, flaw string) Finding { return Finding{ID: id, Strength: s, Flaw: flaw} }
	m := Machine{Findings: []Finding{
		f(ID{Flexid9, "9-1"}, Weak, ""), f(ID{Disk, "S1"}, Firm, ""), f(ID{Ethernet, "02AA"}, Firm, ""), f(ID{Ethernet, "02AA"}, Firm, ""), f(ID{Ethernet, "02CC"}, Firm, "USB network adapter"),
		f(ID{BoardUUID, "0"}, Worthless, ""), f(ID{BoardUUID, "told"}, Told, ""), f(ID{VMUUID, "v"}, Weak, ""), f(ID{Disk, "a\x01b"}, Firm, ""), f(ID{Disk, ""}, Firm, ""), f(ID{String, "x"}, Told, ""),
		f(ek(1), Weak, ""), f(ek(2), Proven, ""), f(ek(3), Proven, ""), f(ID{TPMAK, "AA"}, Proven, ""), f(ID{Flexid10, "10"}, Weak, ""), f(ID{Flexid9, "9-1"}, Proven, ""),
		f(ID{Flexid9, "weak hub"}, Weak, "USB over IP"), f(ID{ContainerID, "c"}, Firm, ""),
	}}
	want := []Shown{{ek(2), true}, {ID{VMUUID, "v"}, false}, {ID{Ethernet, "02AA"}, false}, {ID{Disk, "S1"}, false}, {ID{Flexid9, "9-1"}, true}, {ID{Flexid10, "10"}, false}}
	if got := m.Counts(); !reflect.DeepEqual(got, want) {
		t.Errorf("counts %v, want %v", got, want)
	}
	// However much it shows, no more counts than a request can name, and nothing of a class keeps another out.
	for n := range 40 {
		for _, typ := range []Type{TPMEK, BoardUUID, VMUUID, Ethernet, Disk, Flexid9, Flexid10} {
			m.Findings = append(m.Findings, f(ID{typ, fmt.Sprint("many", n)}, Proven, ""))
		}
	}
	got := m.Counts()
	of := func(types ...Type) (n int) {
		for _, s := range got {
			if slices.Contains(types, s.ID.Type) {
				n++
			}
		}
		return n
	}
	if len(got) != MaxShown || of(TPMEK) != 1 || of(BoardUUID, VMUUID) != 2 || of(Ethernet) != 7 || of(Disk) != 2 || of(Flexid9, Flexid10) != 4 {
		t.Errorf("%d count: %v", len(got), got)
	}
	if n := (Machine{}).Counts(); n != nil {
		t.Errorf("an empty machine shows %v", n)
	}
}

func TestBind(t *testing.T) {
	chosen := ID{Flexid10, "10-9"}
	for _, c := range []struct {
		rule   Rule
		chosen ID
		want   ID
	}{{RuleTPM, ID{}, ID{}}, {RuleSecondaries, ID{}, ID{}}, {RuleDongle, ID{}, part('l')}, {RuleProof, ID{}, part('K')}, {RuleTPM, chosen, ID{}}, {RuleProof, chosen, chosen}} {
		b := Bind(made("EbndlK"), c.rule, c.chosen)
		if b.Dongle != c.want || b.EK != part('E') || !slices.Equal(b.Others, []ID{part('b'), part('n'), part('d')}) || b.Validate() != nil || b.None() {
			t.Errorf("%s: %+v", c.rule, b)
		}
	}
	for shown, holds := range map[string]bool{"E": true, "bn": true, "bd": true, "nd": true, "b": false, "nm": false, "d": false, "": false, "k": true} {
		b := Bind(made(shown), RuleDongle, ID{})
		if b.Holds() != holds {
			t.Errorf("a binding to %q holds: %v", shown, !holds)
		}
		// What holds takes the very machine that was bound for the same.
		if rule := map[bool]Rule{true: RuleDongle}[b.Dongle != (ID{})]; b.Holds() && Judge(b, made(shown), rule, false).Outcome != Same {
			t.Errorf("%q is not what was bound", shown)
		}
	}
	if !(Binding{}).None() || (Binding{}).Validate() != nil || (Binding{}).Holds() {
		t.Error("the zero binding is one")
	}
	many := Binding{}
	for i := range MaxShown + 1 {
		many.Others = append(many.Others, ID{Ethernet, fmt.Sprint(i)})
	}
	for name, b := range map[string]Binding{
		"an EK of another type": {EK: part('b')}, "a bad EK": {EK: ID{TPMEK, "\n"}}, "a bad dongle": {Dongle: ID{Flexid9, ""}}, "one twice": {Others: []ID{part('b'), part('b')}},
		"no weight": {Others: []ID{{String, "x"}}}, "a bad ID": {Others: []ID{{Disk, "\x7f"}}}, "too many": many,
	} {
		if err := b.Validate(); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many.Others = many.Others[1:]
	if err := many.Validate(); err != nil {
		t.Error(err)
	}
}

func TestVerdictSentence(t *testing.T) {
	b := Bind(made("Ebnd"), RuleTPM, ID{})
	if got, want := Judge(b, made("Ebmd"), RuleTPM, false).Sentence(), "the same machine, and something has changed: 02AA/ETHERNET is gone, 02BB/ETHERNET is new"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := Judge(b, made("Ed"), RuleSecondaries, true).Sentence(), "the same machine, and something has changed, as planned: board/BOARD_UUID is gone, 02AA/ETHERNET is gone"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for o := range Outcome(outcomes) {
		if s := (Verdict{Outcome: o}).Sentence(); s == "" {
			t.Errorf("%s has no sentence", o)
		}
	}
}

// Names are in scripts and settings, numbers on the wire and on disk: these tables are their promise.
func TestNames(t *testing.T) {
	for number, name := range []string{"tpm", "secondaries", "dongle", "proven-dongle"} {
		if r, err := ParseRule(name); err != nil || r != Rule(number) || r.String() != name || !r.Known() {
			t.Errorf("%s: %d, %v", name, r, err)
		}
	}
	if _, err := ParseRule("TPM"); err == nil || Rule(4).Known() || Rule(4).String() != "rule 4" {
		t.Error("a rule that is none")
	}
	for number, name := range []string{"not judged", "same", "drifted", "grace", "broken", "another machine"} {
		o := Outcome(number)
		b, err := json.Marshal(o)
		var back Outcome
		if err != nil || string(b) != `"`+name+`"` || json.Unmarshal(b, &back) != nil || back != o || !o.Known() || o.Serves() != (number <= 3) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	if err := json.Unmarshal([]byte(`"fine"`), new(Outcome)); err == nil || Outcome(6).Known() || Outcome(6).String() != "outcome 6" {
		t.Error("an outcome that is none")
	}
	for s := Worthless; s <= Proven; s++ {
		b, err := json.Marshal(s)
		var back Strength
		if err != nil || json.Unmarshal(b, &back) != nil || back != s {
			t.Errorf("%s: %s, %v", s, b, err)
		}
	}
	if err := json.Unmarshal([]byte(`"strong"`), new(Strength)); err == nil {
		t.Error("a strength that is none")
	}
}

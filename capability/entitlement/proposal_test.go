package entitlement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// proposing is a book with a machine that has 6 of 10 copies, and logins who may propose and approve.
func proposing(t *testing.T) (w *world, id capability.ActivationID, m *machine) {
	w = newWorld(t, anyTier())
	id = w.entitle(1, 10, nil)
	m = newMachine(1)
	ask(w, m, 1, true, want(id, 6))
	w.mustDo(AddLogin{Name: "Keller", Roles: []capability.Role{capability.LicenseAdministrator}, By: "test"})
	w.mustDo(AddLogin{Name: "Chen", Roles: []capability.Role{capability.LicenseAdministrator}, By: "test"})
	w.mustDo(AddLogin{Name: "Security", Roles: []capability.Role{capability.SecurityAdministrator}, By: "test"})
	w.mustDo(AddLogin{Name: "Operator", Roles: []capability.Role{capability.Operator}, By: "test"})
	w.mustDo(AddLogin{Name: "larsen@acme", Account: "ACME Works", Roles: []capability.Role{capability.LicenseAdministrator}, By: "test"})
	return w, id, m
}

func (w *world) propose(by string, p Proposal) uint64 {
	w.t.Helper()
	p.Reason = "it burnt"
	return w.mustDo(Propose{Proposal: p, By: by}).Entries[0].Proposed.Proposal.Number
}

// A write-off is proposed by one and approved by another: both are on record with it, and it is done once.
func TestProposals(t *testing.T) {
	w, id, m := proposing(t)
	off := Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id}
	for _, by := range []string{"Operator", "Security", "nobody", ""} {
		with := off
		with.Reason = "x"
		w.refused(Propose{Proposal: with, By: by}, capability.ErrPermission)
	}
	for name, bad := range map[string]func(*Proposal){
		"no reason":      func(p *Proposal) { p.Reason = "" },
		"half a reason":  func(p *Proposal) { p.Reason = "a\nb" },
		"nothing":        func(p *Proposal) { p.Freeing = 0 },
		"unknown":        func(p *Proposal) { p.Freeing = 4 },
		"with a request": func(p *Proposal) { p.Request = capability.Digest{1} },
		"with another":   func(p *Proposal) { p.From = newMachine(2).id.Host },
		"repair of none": func(p *Proposal) { p.Freeing = FreeByRepair },
		"from itself": func(p *Proposal) {
			*p = Proposal{Freeing: FreeByRehost, Host: m.id.Host, From: m.id.Host, Request: capability.Digest{1}, Reason: "x"}
		},
	} {
		p := off
		p.Reason = "x"
		bad(&p)
		if d, err := w.do(Propose{Proposal: p, By: "Keller"}); !errors.Is(err, ErrDevice) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := off
	none.Host, none.Reason = newMachine(9).id.Host, "x"
	w.refused(Propose{Proposal: none, By: "Keller"}, capability.ErrNoWriteOff) // what cannot be done is not proposed
	over := off                                                                // nothing became of it yet, whatever somebody says
	over.Over = &Over{Approved: true, By: "Chen"}
	n := w.propose("larsen@acme", over)
	if _, open := w.book.Proposal(n, w.now); !open {
		t.Error("over from the start")
	}
	w.sums(id, 6, 0, 4)
	twice := off
	twice.Reason = "again"
	if _, err := w.do(Propose{Proposal: twice, By: "Keller"}); !errors.Is(err, ErrDevice) {
		t.Errorf("the same twice: %v", err)
	}
	for account, want := range map[string]int{"": 1, "ACME Works": 1, "Other": 0} {
		if got := w.book.Proposals(w.now, account); len(got) != want {
			t.Errorf("%q sees %d proposals", account, len(got))
		}
	}
	w.refused(Approve{Number: n, By: "larsen@acme"}, capability.ErrPermission) // a customer approves nothing
	w.refused(Approve{Number: n, By: "Operator"}, capability.ErrPermission)
	w.refused(Approve{Number: n, By: "nobody"}, capability.ErrPermission)
	w.refused(Approve{Number: n + 1, By: "Keller"}, capability.ErrNotFound)
	w.refused(EndProposal{Number: n, By: "Operator"}, capability.ErrPermission)
	d := w.mustDo(Approve{Number: n, By: "Security"})
	if off := d.Entries[1].WriteOff; len(d.Entries) != 2 || off.By != "larsen@acme" || off.Approved != "Security" || off.Reason != "it burnt" || d.Entries[0].By != "Security" {
		t.Errorf("%+v", d.Entries)
	}
	w.sums(id, 0, 0, 10)
	for _, c := range []Command{Approve{Number: n, By: "Keller"}, Approve{Number: n, By: "Security"}, EndProposal{Number: n, By: "Keller"}, EndProposal{Number: n, By: "larsen@acme"}} {
		w.refused(c, capability.ErrProposalOver, "it was approved, and done", "by Security")
	}
	for _, by := range []string{"Operator", "nobody"} { // who may not, reads nothing of it
		w.refused(Approve{Number: n, By: by}, capability.ErrPermission)
		w.refused(EndProposal{Number: n, By: by}, capability.ErrPermission)
	}
}

// Nobody approves the own proposal, in whatever case the name is typed; who proposed may take it back, and others with the permission turn it down.
func TestOwnProposals(t *testing.T) {
	w, id, m := proposing(t)
	off := Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id}
	n := w.propose("Keller", off)
	w.refused(Approve{Number: n, By: "Keller"}, capability.ErrSecondPerson)
	w.refused(Approve{Number: n, By: "KELLER"}, capability.ErrSecondPerson)
	w.mustDo(EndProposal{Number: n, Reason: "found it", By: "Keller"})
	w.refused(Approve{Number: n, By: "Chen"}, capability.ErrProposalOver, "it was taken back", "by Keller: found it")
	n = w.propose("keller", off)
	yes := true
	w.mustDo(ChangeLogin{Name: "Chen", Disabled: &yes, By: "test"})
	w.refused(Approve{Number: n, By: "Chen"}, capability.ErrPermission)
	w.mustDo(EndProposal{Number: n, Reason: "look again", By: "Security"})
	w.refused(Approve{Number: n, By: "Security"}, capability.ErrProposalOver, "it was turned down", "by Security: look again")
	// After its time it is not there, and the same can be proposed again; a snapshot says the same.
	n = w.propose("Keller", off)
	w.now += capability.Time(ProposalLife) - 1
	if len(w.book.Proposals(w.now, "")) != 1 {
		t.Error("over before its time")
	}
	w.now++
	w.refused(Approve{Number: n, By: "Security"}, capability.ErrProposalOver, "nobody approved it until")
	if got := w.book.Lapsed(w.now); len(got) != 1 || got[0].Number != n {
		t.Errorf("lapsed: %+v", got)
	}
	again := w.propose("Keller", off)
	restored, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if got := restored.Proposals(w.now, ""); len(got) != 1 || got[0].Number != again || restored.Digest() != w.book.Digest() {
		t.Errorf("%+v", got)
	}
	w.sums(id, 6, 0, 4)
}

// What became of a proposal is remembered as long as it could have been open, of so many; a book of before remembers nothing, and replays to what it was.
func TestProposalsThatAreOver(t *testing.T) {
	w, id, m := proposing(t)
	off := Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id}
	first := w.propose("Keller", off)
	w.mustDo(EndProposal{Number: first, By: "Keller"})
	last := first
	for range maxOver {
		last = w.propose("Keller", off)
		w.mustDo(EndProposal{Number: last, By: "Keller"})
	}
	w.refused(Approve{Number: first, By: "Security"}, capability.ErrNotFound)
	w.refused(Approve{Number: last, By: "Security"}, capability.ErrProposalOver)
	restored, err := Restore(w.book.Snapshot())
	if err != nil || restored.Digest() != w.book.Digest() {
		t.Fatal(err)
	}
	if p, ok := restored.ProposalOver(last, w.now); !ok || p.Became(false) != "it was taken back "+w.now.String() || strings.Contains(p.Became(false), "Keller") {
		t.Errorf("%+v", p)
	}
	if len(restored.Proposals(w.now, "")) != 0 {
		t.Error("a proposal that is over is open")
	}
	w.now += capability.Time(ProposalLife)
	w.propose("Keller", off)
	w.refused(Approve{Number: last, By: "Security"}, capability.ErrNotFound)

	old, id, m := proposing(t)
	n := old.propose("Keller", Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id})
	e := old.book.entry(old.now, "Keller")
	e.Proposed = &Proposed{Ended: n}
	if err := old.book.Apply(e); err != nil {
		t.Fatal(err)
	}
	if _, there := old.book.ProposalOver(n, old.now); there || len(old.book.proposals) != 0 {
		t.Error("an entry of before leaves something to remember")
	}
}

// Check finds what no entry makes of a proposal.
func TestProposalsThatCannotBeOver(t *testing.T) {
	for name, o := range map[string]Over{
		"approved by who made it": {Approved: true, By: "keller"},
		"approved by nobody":      {Approved: true},
		"approved with a reason":  {Approved: true, By: "Security", Reason: "x"},
		"before it was made":      {By: "Keller", Time: -1},
		"after its time":          {By: "Keller", Time: capability.Time(ProposalLife)},
		"a reason of lines":       {By: "Keller", Reason: "a\nb"},
	} {
		w, id, m := proposing(t)
		n := w.propose("Keller", Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id})
		o.Time += w.now
		if w.book.proposal(n).Over = &o; w.book.Check() == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// A login has so many proposals open at most, and all logins so many.
func TestManyProposals(t *testing.T) {
	w, _, m := proposing(t)
	propose := func(by string, n int) error {
		_, err := w.do(Propose{Proposal: Proposal{Freeing: FreeByRepair, Host: m.id.Host, Request: capability.Digest{byte(n), byte(n >> 8), 1}, Reason: "x"}, By: by})
		return err
	}
	for n := range MaxOwnProposals {
		if err := propose("Keller", n); err != nil {
			t.Fatal(err)
		}
	}
	if err := propose("KELLER", 99); !errors.Is(err, ErrDevice) {
		t.Errorf("one more: %v", err)
	}
	for n := MaxOwnProposals; n < MaxProposals; n++ {
		by := fmt.Sprint("login ", n/MaxOwnProposals)
		if n%MaxOwnProposals == 0 {
			w.mustDo(AddLogin{Name: by, Roles: []capability.Role{capability.LicenseAdministrator}, By: "test"})
		}
		if err := propose(by, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := propose("Chen", 999); !errors.Is(err, ErrDevice) {
		t.Errorf("one more in all: %v", err)
	}
}

// A machine that is gone is re-hosted, and one that lost its storage repaired, by the request that was proposed and no other.
func TestProposedAnswers(t *testing.T) {
	w, id, old, m, ask := gone(t)
	w.mustDo(AddLogin{Name: "Keller", Roles: []capability.Role{capability.LicenseAdministrator}, By: "test"})
	w.mustDo(AddLogin{Name: "Security", Roles: []capability.Role{capability.SecurityAdministrator}, By: "test"})
	plain := ask
	plain.Rehost, plain.Repair, plain.Approved, plain.By = hostid.ID{}, "", "", ""
	n := w.propose("Keller", Proposal{Freeing: FreeByRehost, Host: m.id.Host, From: old.id.Host, Request: ask.Digest})
	other := newMachine(3).request(7)
	for _, a := range []*Answer{nil, &other} {
		if d, err := w.do(Approve{Number: n, By: "Security", Answer: a}); !errors.Is(err, ErrDevice) || d != nil {
			t.Errorf("another request: %v", err)
		}
	}
	d := w.mustDo(Approve{Number: n, By: "Security", Answer: &plain})
	if r := d.Answered(); r == nil || r.Rehosted == nil || r.Rehosted.From != old.id.Host || r.Rehosted.Approved != "Security" || d.Entries[len(d.Entries)-1].By != "Keller" || d.Response.Items[0].Copies != 6 {
		t.Errorf("%+v", d.Answered())
	}
	m.apply(d.Response)
	wiped := m.wiped()
	lost := wiped.request(9)
	n = w.propose("Keller", Proposal{Freeing: FreeByRepair, Host: m.id.Host, Request: lost.Digest})
	d = w.mustDo(Approve{Number: n, By: "Security", Answer: &lost})
	if r := d.Answered(); r.Repair == nil || r.Repair.Approved != "Security" || r.Repair.Reason != "it burnt" {
		t.Errorf("%+v", r)
	}
	// What was answered meanwhile, or needs none, is not done under the name of a proposal.
	wiped.apply(d.Response)
	whole := wiped.request(10)
	n = w.propose("Keller", Proposal{Freeing: FreeByRepair, Host: m.id.Host, Request: whole.Digest})
	for range 2 {
		if d, err := w.do(Approve{Number: n, By: "Security", Answer: &whole}); !errors.Is(err, ErrDevice) || d != nil {
			t.Errorf("%v", err)
		}
		w.do(whole) // answered without it
	}
	if got, _ := w.book.Item(id, w.now); got.Used != 6 {
		t.Errorf("%+v", got)
	}
}

// Facts that Decide does not write are found wrong.
func TestProposedIsAsserted(t *testing.T) {
	w, id, m := proposing(t)
	n := w.propose("Keller", Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id})
	good := func() Proposal {
		_, length := w.book.Head()
		return Proposal{Number: length + 1, Freeing: FreeByRepair, Host: m.id.Host, Request: capability.Digest{1}, Reason: "x", By: "Keller", Time: w.now}
	}
	fact := func(change func(*Proposal)) Proposed {
		p := good()
		change(&p)
		return Proposed{Proposal: &p}
	}
	p := good()
	for name, f := range map[string]Proposed{
		"nothing":            {},
		"approved by itself": {Approved: n},
		"not there":          {Approved: n + 9},
		"both":               {Approved: n, Ended: n},
		"with a reason":      {Approved: n, Reason: "x"},
		"a bad reason":       {Ended: n, Reason: "a\nb"},
		"all of it":          {Proposal: &p, Ended: n},
		"another number":     fact(func(p *Proposal) { p.Number++ }),
		"another time":       fact(func(p *Proposal) { p.Time-- }),
		"another's":          fact(func(p *Proposal) { p.By = "Chen" }),
		"the same again": fact(func(p *Proposal) {
			p.Freeing, p.ActivationID, p.Request = FreeByWriteOff, id, capability.Digest{}
		}),
		"without a reason": fact(func(p *Proposal) { p.Reason = "" }),
	} {
		e := w.book.entry(w.now, "Keller")
		e.Proposed = &f
		b, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Lives in which logins come, go and change what they may, propose and approve in any order: nothing frees rights without a proof but what one login with the permission proposed and another approved.
func TestTwoLoginsAlways(t *testing.T) {
	done, refused := 0, map[capability.Code]int{}
	for seed := range uint64(120) {
		w, rng := newWorld(t, anyTier()), life(seed)
		w.note = func() string { return fmt.Sprintf("seed %d: ", seed) }
		id := w.entitle(1, 40, nil)
		machines := []*machine{}
		for n := range 5 {
			m := newMachine(byte(n + 1))
			ask(w, m, uint64(n+1), true, want(id, 4))
			machines = append(machines, m)
		}
		names := []string{"ann", "Bob", "cid@acme", "dora"}
		who := func() string {
			name := names[rng.IntN(len(names))]
			if rng.IntN(4) == 0 {
				return strings.ToUpper(name)
			}
			return name
		}
		may := func(name string, p Permission) bool {
			l, ok := w.book.Login(name)
			return ok && l.May(p)
		}
		requests := map[capability.Digest]Answer{}
		salt := uint64(100)
		for range 80 {
			var c Command
			switch rng.IntN(9) {
			case 0:
				l := AddLogin{Name: who(), Roles: []capability.Role{capability.Role(1 + rng.IntN(int(capability.Auditor)))}, By: "test"}
				if strings.Contains(strings.ToLower(l.Name), "acme") {
					l.Account = "ACME Works"
				}
				c = l
			case 1:
				roles, off := []capability.Role{capability.Role(1 + rng.IntN(int(capability.Auditor)))}, rng.IntN(4) == 0
				c = ChangeLogin{Name: who(), Roles: &roles, Disabled: &off, By: "test"}
			case 2, 3:
				m := machines[rng.IntN(len(machines))]
				p := Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id, Reason: "r"}
				if k := rng.IntN(3); k > 0 {
					salt++
					asked := m.wiped().request(salt)
					if p = (Proposal{Freeing: FreeByRepair, Host: m.id.Host, Request: asked.Digest, Reason: "r"}); k == 2 {
						fresh := newMachine(byte(50 + rng.IntN(100)))
						asked = fresh.request(salt)
						p = Proposal{Freeing: FreeByRehost, Host: fresh.id.Host, From: m.id.Host, Request: asked.Digest, Reason: "r"}
					}
					requests[asked.Digest] = asked
				}
				c = Propose{Proposal: p, By: who()}
			case 4:
				c = EndProposal{Number: uint64(rng.IntN(60)), By: who()}
			case 5:
				w.now += capability.Time(rng.IntN(int(10 * day)))
				continue
			default:
				a := Approve{By: who()}
				if open := w.book.proposals; len(open) > 0 {
					p := open[rng.IntN(len(open))]
					a.Number = p.Number
					if asked, ok := requests[p.Request]; ok {
						asked.By, asked.Approved = "mallory", "mallory's friend"
						a.Answer = &asked
					}
				}
				c = a
			}
			open := w.book.Proposals(w.now, "")
			d, err := w.do(c)
			if err != nil {
				refused[code(err)]++
			}
			if d == nil {
				continue
			}
			for n, e := range d.Entries {
				by, approved := "", ""
				switch a := e.Answer; {
				case e.WriteOff != nil:
					by, approved = e.By, e.WriteOff.Approved
				case a != nil && a.Rehosted != nil:
					by, approved = e.By, a.Rehosted.Approved
				case a != nil && a.Repair != nil:
					by, approved = e.By, a.Repair.Approved
				case a != nil:
					w.fatalf("an answer that frees nothing came of %+v", c)
				default:
					continue
				}
				step := d.Entries[0].Proposed
				if n == 0 || step == nil || d.Entries[0].By != approved || strings.EqualFold(by, approved) || !may(approved, ToApprove) ||
					!slices.ContainsFunc(open, func(p Proposal) bool { return p.Number == step.Approved && p.By == by }) {
					w.fatalf("%s freed rights, %q approved: %+v", by, approved, e)
				}
				done++
			}
			if p := d.Entries[0].Proposed; p != nil && p.Proposal != nil && !may(p.Proposal.By, ToMove) {
				w.fatalf("%s proposes, and may not", p.Proposal.By)
			}
		}
	}
	t.Logf("%d done, refused %v", done, refused)
	if done < 50 || refused[capability.ErrSecondPerson] < 20 || refused[capability.ErrPermission] < 100 {
		t.Errorf("%d were done, refused %v", done, refused)
	}
}

// Who made a token is one person with whoever asks by it: on either side, and on both.
func TestProposalsThroughTokens(t *testing.T) {
	for _, c := range []struct {
		proposes, with string
		approves, by   string
		two            bool
	}{
		{"Keller", "", "Chen", "", true},
		{"Keller", "Keller", "Chen", "Chen", true},
		{"Keller", "Security", "Chen", "", true},
		{"Keller", "Security", "Chen", "Keller's operator", true},
		{"Keller", "CHEN", "Chen", "", false},
		{"Keller", "Chen", "Chen", "Chen", false},
		{"Keller", "", "Chen", "keller", false},
		{"Keller", "Security", "Chen", "security", false},
		{"Keller", "Security", "Security", "", false},
		{"Keller", "", "Keller", "Chen", false},
	} {
		w, id, m := proposing(t)
		ask := func(login, maker string, command Command) Command {
			if maker == "" {
				return command
			}
			return Through{Login: login, Token: TokenUsed{Name: "nightly", By: maker}, Command: command}
		}
		var off Command = Propose{Proposal: Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id, Reason: "it burnt", Maker: "somebody"}, By: c.proposes}
		if c.with == "Security" {
			of := off
			off = Made(func(*Book) (Command, error) { return of, nil })
		}
		proposed := w.mustDo(ask(c.proposes, c.with, off)).Entries[0]
		p, _ := w.book.Proposal(proposed.Proposed.Proposal.Number, w.now)
		if who := map[bool]string{true: c.proposes, false: c.proposes + ", token nightly"}[c.with == ""]; proposed.Who() != who || p.Maker != c.with {
			t.Errorf("%+v: by %s, made by %q", c, proposed.Who(), p.Maker)
		}
		b, err := Restore(w.book.Snapshot())
		if err != nil || b.Digest() != w.book.Digest() {
			t.Fatal(err)
		}
		approve := ask(c.approves, c.by, Approve{Number: p.Number, By: c.approves})
		if !c.two {
			w.refused(approve, capability.ErrSecondPerson)
			continue
		}
		d := w.mustDo(approve)
		if e := d.Entries; len(e) != 2 || (e[0].Token != nil) != (c.by != "") || e[1].WriteOff == nil || e[1].By != c.proposes || e[1].Token != nil {
			t.Errorf("%+v: %+v", c, e)
		}
	}
}

func TestApplyAssertsTokens(t *testing.T) {
	for what, change := range map[string]func(*Entry){
		"no name":         func(e *Entry) { e.Token.Name = "" },
		"an escape":       func(e *Entry) { e.Token.By = "a\x1b[2J" },
		"of the proposer": func(e *Entry) { e.Token.By = "KELLER" },
	} {
		w, id, m := proposing(t)
		n := w.propose("Keller", Proposal{Freeing: FreeByWriteOff, Host: m.id.Host, ActivationID: id})
		d, err := w.book.Decide(w.now, Through{Login: "Chen", Token: TokenUsed{Name: "nightly", By: "Chen"}, Command: Approve{Number: n, By: "Chen"}})
		if err != nil {
			t.Fatal(err)
		}
		change(d.Entries[0])
		if w.book.Apply(d.Entries[0]) == nil {
			t.Errorf("%s: applied", what)
		}
	}
}

package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// sequenceActs is everything that happens in a life.
func sequenceActs() []act {
	some := func(do func(*sequence, *box)) func(*sequence) {
		return func(s *sequence) { do(s, s.anyBox()) }
	}
	return append(slices.Concat(deviceActs(), seatActs(), staffActs()), []act{
		{16, func(s *sequence) { s.post(s.ask(s.anyBox())) }},
		{8, some(func(s *sequence, m *box) { s.ask(m) })}, // and loses it, or brings it later
		{10, (*sequence).postAny},
		{20, some((*sequence).deliver)},
		{8, some((*sequence).roundTrip)},
		{7, some((*sequence).giveBack)},
		{3, some((*sequence).lie)},
		{2, some((*sequence).wipe)},
		{1, some((*sequence).copyBox)},
		{1, some((*sequence).rob)},
		{2, (*sequence).rehost},
		{1, func(s *sequence) { s.grow() }},
		{1, (*sequence).reclass},
		{6, (*sequence).entitle},
		{22, (*sequence).changeItem},
		{3, (*sequence).setModel},
		{2, (*sequence).setAccount},
		{1, (*sequence).setProduct},
		{1, (*sequence).setPolicy},
		{2, (*sequence).setBoot},
		{1, (*sequence).sign},
	}...)
}

// mustOccur are the outcomes that a run of thousands of lives has to have seen.
func mustOccur() (list []outcome) {
	for _, kind := range []string{
		"answer", "answered before", "answered under a warning", "partly", "applied", "a response that changes nothing", "return credited", "foretold", "returned for nothing", "repair", "rehost", "rehosted", "repeated",
		"entitle", "deploy", "suspend", "resume", "renew", "archive", "split", "merge", "quantity", "extra", "model", "account", "product", "policy", "boot", "record counted", "signer", "limit met", "robbed", "overruled", "turned down",
	} {
		list = append(list, outcome{kind, 0})
	}
	return append(list, append(slices.Concat(deviceOutcomes(), seatOutcomes(), staffOutcomes()), []outcome{
		{"answer", capability.ErrFork}, {"answer", capability.ErrOlderRequest}, {"answer", capability.ErrRepair}, {"answer", capability.ErrReplaced}, {"answer", capability.ErrHostKey},
		{"answer", capability.ErrRehosted}, {"answer", capability.ErrSealed}, {"answer", capability.ErrRollbackSuspect},
		{"rehost", capability.ErrNoRehost}, {"split", capability.ErrTooFew}, {"merge", capability.ErrItemState}, {"deploy", capability.ErrItemState}, {"extra", capability.ErrSpent},
	}...)...)
}

// The accounts, products and models that every life begins with. Some lives have a policy that only warns of forks.
func (s *sequence) begin() {
	p := anyTier()
	p.Forks, p.Repairs = ForkPolicy(s.rng.IntN(2)), LimitRepairs(s.rng.IntN(3))
	p.ResponseLife = MinResponseLife * capability.Seconds(1+s.rng.IntN(48))
	s.must("policy", SetPolicy{Policy: p})
	s.must("account", SetAccount{Account: Account{Name: "ACME"}})
	s.must("account", SetAccount{Account: Account{Name: "ACME East", Parent: "ACME"}})
	s.must("product", SetProduct{Product: Product{Name: "Render", Features: []Feature{{Name: "render", PerCopy: 1}}}})
	for _, m := range sequenceModels() {
		if m.State = ModelDeployed; s.chance(2) {
			s.must("model", SetModel{Model: m})
		}
	}
	for range 1 + s.rng.IntN(3) {
		s.newSite()
	}
	for range 1 + s.rng.IntN(3) {
		s.entitle()
	}
	if s.chance(3) {
		s.people()
	}
	if s.chance(3) {
		s.staff()
	}
}

func sequenceModels() []LicenseModel {
	return []LicenseModel{
		{Name: "floating", Overdraft: 10, GraceDays: 2, Limits: []ActLimit{{Act: ActExtra, Count: 3}}},
		{Name: "node", Kind: NodeLocked, NoPartial: true, Limits: []ActLimit{{Act: ActReturn, Count: 2, Span: day}, {Act: ActRehost, Count: 1}, {Act: ActExtra, Count: 2, Span: 7 * day}}},
		{Name: "burnt", NoCredit: true, Limits: []ActLimit{{Act: ActRepair, Count: 1}}},
		{Name: "metered", Metered: true},
		{Name: "fixed", Kind: FixedUser, Tolerance: 3600, Limits: []ActLimit{{Act: ActExtra, Count: 2}}},
		{Name: "greatest", Aggregation: Max, NoVirtual: true},
	}
}

func (s *sequence) must(kind string, c Command) *Decision {
	d, err := s.do(kind, c)
	if err != nil {
		s.fatalf("%s: %v", kind, err)
	}
	return d
}

// grow is a machine more, as others may come at any time.
func (s *sequence) grow() {
	if len(s.sites) < 4 {
		s.newSite()
	}
}

func (s *sequence) postAny() {
	if len(s.letters) > 0 {
		l := s.letters[s.rng.IntN(len(s.letters))]
		if s.chance(2) {
			l = s.letters[len(s.letters)-1]
		}
		s.post(l)
	}
}

// roundTrip is what most days are: a request, its response, and another request that says so.
func (s *sequence) roundTrip(m *box) {
	s.post(s.ask(m))
	s.deliver(m)
	s.post(s.ask(m))
}

// rehost moves everything of one machine to another.
func (s *sequence) rehost() {
	m, from := s.anyBox(), s.sites[s.rng.IntN(len(s.sites))]
	l := s.ask(m)
	c := l.answer
	c.Rehost, c.Repair, c.Approved = from.id.Host, "the board burnt", "second"
	if s.chance(8) {
		c.Approved = ""
	}
	d, err := s.do("rehost", c)
	s.posted(l, d, err)
}

// anyLine is one of the activation IDs, most often one that is in the book; below zero: there is none.
func (s *sequence) anyLine() int {
	if s.used == 0 {
		return -1
	}
	return s.rng.IntN(s.used)
}

func (s *sequence) anyID() capability.ActivationID {
	if n := s.anyLine(); n >= 0 && !s.chance(20) {
		return s.names[n]
	}
	return s.names[s.rng.IntN(maxLines)]
}

// enter takes note of an activation ID that is new in the book.
func (s *sequence) enter(id capability.ActivationID, family int, copies uint32) {
	n := s.used
	s.used++
	s.line[id] = n
	if s.family[n] = n; family >= 0 {
		s.family[n] = s.head(family)
	}
	s.entitled[s.head(n)] += int64(copies)
}

func (s *sequence) entitle() {
	if s.used == maxLines {
		return
	}
	i := Item{ActivationID: s.names[s.used], Customer: "ACME", EntitlementID: "ENT-1", Product: "Render", Copies: 1 + s.rng.Uint32N(6)}
	switch s.rng.IntN(8) {
	case 0:
		i.Customer = "ACME East"
	case 1:
		i.Customer = "Other"
	}
	if s.chance(2) {
		i.Model = sequenceModels()[s.rng.IntN(6)].Name
	}
	if s.chance(4) {
		i.Expiry = s.now.Add(capability.Seconds(1+s.rng.IntN(6)) * day)
	}
	if s.chance(6) {
		i.Life.Stage = StageDraft
	}
	switch s.rng.IntN(15) {
	case 0:
		i.Product = "Unknown"
	case 1, 2:
		i.Features = []Feature{{Name: "render", PerCopy: 1 + s.rng.Uint32N(3)}, {Name: "view", PerCopy: 1 + s.rng.Uint32N(1000)}}
	case 3:
		i.Limits = []TierLimit{{Tier: Hardware, Copies: 1 + s.rng.Uint32N(4)}}
	}
	place := s.replaces(&i)
	if _, err := s.do("entitle", Entitle{Item: i}); err != nil {
		return
	}
	s.enter(i.ActivationID, -1, i.Copies)
	s.shut[s.used-1] = i.Life.Stage == StageDraft
	if place >= 0 {
		s.replaced(place, i.Copies)
	}
}

// changeItem does something with a line item, now and then what cannot be.
func (s *sequence) changeItem() {
	c := ItemChange{ActivationID: s.anyID(), Do: Alter(1 + s.rng.IntN(9)), Reason: "so it was asked"}
	n, known := s.line[c.ActivationID]
	var was Item
	if known {
		was = s.book.byID[c.ActivationID].Item
	}
	switch c.Do {
	case Renew:
		c.Expiry = s.now.Add(capability.Seconds(s.rng.IntN(9)) * day)
		if s.chance(5) {
			c.Expiry = 0
		}
	case Split:
		if c.Copies = s.rng.Uint32N(4); s.used == maxLines {
			return
		}
		if c.To = s.names[s.used]; s.chance(10) {
			c.To = s.names[s.rng.IntN(s.used+1)]
		}
	case Merge:
		c.To = s.likely(c.ActivationID)
	case SetCopies, SetExtra:
		c.Copies = s.rng.Uint32N(9)
	}
	if _, err := s.do(c.Do.String(), ChangeItem{Change: c, By: "clerk"}); err != nil {
		return
	}
	switch c.Do {
	case Deploy:
		s.shut[n] = s.suspended[n]
	case Suspend:
		s.suspended[n], s.shut[n] = true, true
	case Resume:
		s.suspended[n], s.shut[n] = false, s.retired[n]
	case Split:
		s.enter(c.To, n, 0)
		s.shut[s.used-1], s.suspended[s.used-1] = s.shut[n], s.suspended[n]
	case Merge:
		s.shut[n] = true
		s.join(n, s.line[c.To])
	case SetCopies:
		s.entitled[s.head(n)] += int64(c.Copies) - int64(was.Copies)
		s.cut = c.Copies < was.Copies
	case SetExtra:
		s.entitled[s.head(n)] += int64(c.Copies) - int64(was.Life.Extra)
		s.cut = c.Copies < was.Life.Extra
	}
}

// join makes one family of two.
func (s *sequence) join(a, b int) {
	a, b = s.head(a), s.head(b)
	if a == b {
		return
	}
	first, other := min(a, b), max(a, b)
	s.family[other] = first
	s.entitled[first] += s.entitled[other]
}

// likely is an item that one could be merged into.
func (s *sequence) likely(id capability.ActivationID) capability.ActivationID {
	i := s.book.byID[id]
	for _, o := range s.book.items {
		if i != nil && o != i && i.like(&o.Item) && s.rng.IntN(3) > 0 {
			return o.ActivationID
		}
	}
	return s.anyID()
}

func (s *sequence) setModel() {
	m := sequenceModels()[s.rng.IntN(6)]
	m.State = ModelState(s.rng.IntN(4))
	if s.chance(3) {
		m.State = ModelDeployed
	}
	if s.chance(5) {
		m.GraceDays++
	}
	s.do("model", SetModel{Model: m})
}

func (s *sequence) setAccount() {
	names := []string{"ACME", "ACME East", "Other", "Partner"}
	a := Account{Name: names[s.rng.IntN(4)], KeepsOnline: s.chance(4)}
	if s.chance(2) {
		a.Parent = names[s.rng.IntN(4)]
	}
	s.do("account", SetAccount{Account: a})
}

func (s *sequence) setProduct() {
	p := Product{Name: "Render", Features: []Feature{{Name: "render", PerCopy: 1}}}
	if s.chance(2) {
		p = Product{Name: fmt.Sprintf("Suite %d", s.rng.IntN(3)), Parts: []Part{{Product: "Render", Times: 1 + s.rng.Uint32N(2)}, {Product: "Suite 1", Times: 1}}[:1+s.rng.IntN(2)]}
	}
	s.do("product", SetProduct{Product: p})
}

func (s *sequence) setPolicy() {
	p := s.book.Policy()
	p.Forks, p.Repairs = ForkPolicy(s.rng.IntN(2)), LimitRepairs(s.rng.IntN(4))
	p.MinimumTier, p.WriteOffs = Tier(1+s.rng.IntN(3)), RepairLimit(s.rng.IntN(5)-1)
	p.ServiceSeats, p.WaitTakeover, p.Online = s.chance(3), s.chance(4), OnlinePolicy(s.rng.IntN(3))
	if p.Limits = nil; s.chance(3) {
		p.Limits = []TierLimit{{Tier: Virtual, Copies: 1 + s.rng.Uint32N(4)}, {Tier: Hardware, Product: "Render", Copies: 3 + s.rng.Uint32N(4)}}
	}
	if p.Excluded = nil; s.chance(6) {
		p.Excluded = []HostType{HostType(hostid.TPMEK)}
	}
	s.do("policy", SetPolicy{Policy: p})
}

func (s *sequence) setBoot() {
	var c Command = AllowBoot{State: state(byte(s.rng.IntN(3))), Note: "image"}
	if s.chance(3) {
		c = WithdrawBoot{State: state(byte(s.rng.IntN(3)))}
	}
	s.do("boot", c)
}

// sign puts a certificate of a signing key on record, or that a limit of one kept a response from being signed, or what else was signed.
func (s *sequence) sign() {
	if s.chance(4) {
		s.do("update", NoteUpdate{Update: SignedUpdate{Version: "2026.2", Security: s.rng.Uint32N(2), RootHash: s.digest(), File: s.digest()}})
		return
	}
	if s.chance(2) {
		s.do("limit met", NoteLimited{Host: s.anyDevice(), Detail: "more than 100 copies of Render a day"})
		return
	}
	c := Signer{Key: s.digest(), Name: "2027", From: s.now, Number: uint64(1 + s.rng.IntN(4))}
	if s.chance(2) {
		c.Revoked = []wire.RevokedKey{{Key: s.digest(), Since: s.now}}
	}
	s.do("signer", TakeSigner{Signer: c})
}

// meter says in a request what was used up of what is metered.
func (s *sequence) meter(m *box, r *capability.Request) {
	for n := range s.used {
		if i := s.book.byID[s.names[n]]; i.Metered && m.rights[n] > 0 {
			m.metered = max(m.metered, s.rng.Uint32N(m.rights[n]+1))
			if m.metered > 0 {
				r.Metered = append(r.Metered, capability.Meter{ActivationID: s.names[n], Feature: "render", Count: m.metered})
			}
			return
		}
	}
}

package entitlement

import (
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func TestParseActLimit(t *testing.T) {
	for text, want := range map[string]ActLimit{
		"return:4:365d": {ActReturn, 4, 365 * day}, "rehost:0": {ActRehost, 0, 0}, "repair:500:36h": {ActRepair, 500, 36 * hour}, "extra:1073741824": {ActExtra, capability.MaxCount, 0},
	} {
		l, err := ParseActLimit(text)
		if err != nil || l != want {
			t.Errorf("%q: %+v, %v", text, l, err)
		}
		if again, err := ParseActLimit(l.String()); err != nil || again != l {
			t.Errorf("%q: written as %q, read as %+v, %v", text, l.String(), again, err)
		}
	}
	for _, text := range []string{"", "return", "return:", "return:x", "return:-1", "sell:1", "return:1:1d:x", "return:1:59m", "return:1:0d", "return:501:1d", "extra:1073741825", "return:4294967296"} {
		if l, err := ParseActLimit(text); err == nil {
			t.Errorf("%q: %+v", text, l)
		}
	}
}

// spends does one counted thing after the other and says how each ended.
type spends struct {
	*world
	id       capability.ActivationID
	m        *machine
	salt     uint64
	machines byte
}

func (s *spends) ask() *capability.Response {
	s.salt++
	r := s.mustDo(s.m.request(s.salt, want(s.id, 5))).Response
	s.m.apply(r)
	return r
}

func (s *spends) do(a Act) *capability.Refusal {
	s.t.Helper()
	s.salt++
	var err error
	switch a {
	case ActReturn:
		if len(s.m.returns) == 0 {
			s.m.giveBack(s.id, 1)
		}
		r := s.mustDo(s.m.request(s.salt)).Response
		s.m.apply(r)
		if len(r.Denials) > 0 {
			return &capability.Refusal{Denial: r.Denials[0]}
		}
		s.ask()
		return nil
	case ActRepair:
		w := s.m.wiped()
		a := w.request(s.salt)
		a.Repair, a.Approved = "the disk died", "another"
		var d *Decision
		if d, err = s.world.do(a); err == nil {
			s.m = w
			w.apply(d.Response)
		}
	case ActRehost:
		s.machines++
		to := newMachine(100 + s.machines)
		a := to.request(s.salt)
		a.Rehost, a.Repair, a.Approved = s.m.id.Host, "it burnt", "another"
		var d *Decision
		if d, err = s.world.do(a); err == nil {
			s.m = to
			to.apply(d.Response)
		}
	case ActExtra:
		i, _ := s.book.Item(s.id, s.now)
		_, err = s.world.do(ChangeItem{Change: ItemChange{ActivationID: s.id, Do: SetExtra, Copies: i.Life.Extra + 1}})
	}
	if err == nil {
		return nil
	}
	r, ok := err.(*capability.Refusal)
	if !ok {
		s.fatalf("%v", err)
	}
	return r
}

// TestActLimits: n are done and the one after them is refused, says what remains and when again, and is done then.
func TestActLimits(t *testing.T) {
	for a := ActRehost; a <= ActExtra; a++ {
		for _, limit := range []ActLimit{{a, 0, 0}, {a, 1, 0}, {a, 3, 0}, {a, 0, hour}, {a, 1, hour}, {a, 3, 10 * hour}} {
			t.Run(limit.String(), func(t *testing.T) {
				policy := anyTier()
				policy.Repairs = MaxRepairs
				w := newWorld(t, policy)
				w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{limit} })
				s := &spends{world: w, m: newMachine(1), salt: 1}
				s.id = w.entitle(1, 10, func(i *Item) { i.Model = "M" })
				s.ask()
				first := w.now
				for range limit.Count {
					if no := s.do(a); no != nil {
						t.Fatalf("within the limit: %v", no)
					}
					w.now += 60
				}
				no := s.do(a)
				if no == nil || no.Code != capability.ErrSpent || !strings.Contains(no.Detail, "0 remain") || no.Subject != string(s.id) {
					t.Fatalf("beyond the limit: %v", no)
				}
				switch again := first.Add(limit.Span); {
				case limit.Span == 0 || limit.Count == 0:
					if no.Until != 0 {
						t.Errorf("again %s, and never is meant", no.Until)
					}
					w.now += 1_000_000_000
					if s.do(a) == nil {
						t.Error("it is done years later")
					}
				case no.Until != again:
					t.Errorf("again %s where %s is meant", no.Until, again)
				default:
					w.now = again - 1
					if s.do(a) == nil {
						t.Error("it is done a second too early")
					}
					w.now = again
					if no := s.do(a); no != nil {
						t.Errorf("at the time that was named: %v", no)
					}
					if w.now += 60; limit.Count == 3 && s.do(a) != nil {
						t.Error("the second span begins with the second of the first")
					}
				}
				if i, _ := w.book.Item(s.id, w.now); limit.Count > 0 && (len(i.Acts) != 1 || i.Acts[0].Act != a || i.Acts[0].Total < limit.Count) {
					t.Errorf("counted %+v", i.Acts)
				}
			})
		}
	}
}

// Without a limit everything is done as often as anyone likes, but for what is extra.
func TestNoLimits(t *testing.T) {
	w := newWorld(t, anyTier())
	s := &spends{world: w, m: newMachine(1), id: w.entitle(1, 10, nil)}
	s.ask()
	for a := ActRehost; a <= ActRepair; a++ {
		for range 4 {
			if no := s.do(a); no != nil {
				t.Errorf("%s: %v", a, no)
			}
		}
	}
	if no := s.do(ActExtra); no == nil || no.Code != capability.ErrSpent {
		t.Errorf("extra: %v", no)
	}
	for _, a := range func() []Acts { i, _ := w.book.Item(s.id, w.now); return i.Acts }() {
		if a.Total != 4 || len(a.Times) > 0 {
			t.Errorf("counted %+v", a)
		}
	}
}

// TestTwoReturnsAtOnce: what one request brings counts one after the other, and Apply finds what Decide would not have done.
func TestTwoReturnsAtOnce(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn, Count: 1}} })
	id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 5))).Response)
	m.giveBack(id, 1)
	m.giveBack(id, 1)
	d := w.mustDo(m.request(2))
	if len(d.Credited) != 1 || len(d.Response.Denials) != 2 || d.Response.Denials[0].Code != capability.ErrSpent || len(d.Response.ReturnsRefused()) != 1 || d.Response.Items[0].Copies != 4 {
		t.Errorf("credited %+v, refused %+v", d.Credited, d.Response.Denials)
	}
	m.apply(d.Response)
	h, _ := w.book.Host(m.id.Host)
	late := h.Returns[1]
	w.forced(Entry{Answer: &Answered{Identity: m.id, Proven: true, Epoch: m.epoch, Life: m.life, Returns: []ReturnSeen{late}, Request: Known{Number: 3, Serial: 3, Digest: capability.Digest{9}}}}, "there twice")
	late.Credited, late.Refused, late.Final, late.ID[7] = true, 0, false, 7
	w.forced(Entry{Answer: &Answered{Identity: m.id, Proven: true, Epoch: m.epoch, Life: m.life, Returns: []ReturnSeen{late}, Holds: []Fulfillment{{id, 3}},
		Request: Known{Number: 3, Serial: 3, Digest: capability.Digest{9}}}}, "return: 1 of 1 done")
	late.Gone = true
	w.forced(Entry{Answer: &Answered{Identity: m.id, Proven: true, Epoch: m.epoch, Life: m.life, Returns: []ReturnSeen{late}, Holds: []Fulfillment{{id, 3}},
		Request: Known{Number: 3, Serial: 3, Digest: capability.Digest{9}}}}, "its model says otherwise")
}

// TestNoCredit: what is returned is gone, for good, and is returned once.
func TestNoCredit(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.NoCredit, m.Limits = true, []ActLimit{{Act: ActExtra, Count: 9}} })
	id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 6))).Response)
	m.giveBack(id, 4)
	a := m.request(2, want(id, 9)) // the same request asks for more than is left without the credit
	d := w.mustDo(a)
	if len(d.Credited) != 1 || !d.Credited[0].Gone || d.Response.Lines[0].Denial.Available != 4 {
		t.Errorf("credited %+v, line %+v", d.Credited, d.Response.Lines)
	}
	m.apply(d.Response)
	i, _ := w.book.Item(id, w.now)
	if i.Copies != 6 || i.Used != 2 || i.Left != 4 || i.Life.Gone != 4 {
		t.Errorf("the item is %+v", i)
	}
	// Extra copies go with the others: first those entitled.
	w.mustDo(ChangeItem{Change: ItemChange{ActivationID: id, Do: SetExtra, Copies: 3}})
	m.apply(w.mustDo(m.request(3, want(id, 9))).Response)
	m.giveBack(id, 8)
	w.mustDo(m.request(4))
	if i, _ = w.book.Item(id, w.now); i.Copies != 0 || i.Life.Extra != 1 || i.Used != 1 || i.Life.Gone != 12 || i.Over != 0 {
		t.Errorf("the item is %+v", i)
	}
}

// A return above the limit never counts: its machine is told so, signed, has the copies again, and asks no more. Whoever asks again hears the same, also when more may be returned.
func TestReturnAboveTheLimitIsRefusedForGood(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn, Count: 1, Span: 10 * day}} })
	id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 5))).Response)
	m.giveBack(id, 1)
	m.apply(w.mustDo(m.request(2)).Response)
	m.giveBack(id, 2)
	deaf := m.copied()
	d := w.mustDo(m.request(3))
	if len(d.Credited) > 0 || len(d.Response.ReturnsRefused()) != 1 || copies(d.Response, id) != 4 || d.Response.Denials[0].Code != capability.ErrSpent || d.Response.Denials[0].Until == 0 {
		t.Errorf("%+v", d.Response)
	}
	deaf.number, deaf.outstanding = m.number, slices.Clone(m.outstanding) // the same machine, whose stick was lost
	if m.apply(d.Response); m.rights[id] != 4 || len(m.returns) > 0 {
		t.Errorf("it has %d, and %d returns wait", m.rights[id], len(m.returns))
	}
	w.now = w.now.Add(20 * day)
	d = w.mustDo(deaf.request(4))
	if len(d.Credited) > 0 || len(d.Response.ReturnsRefused()) != 1 || copies(d.Response, id) != 4 || d.Response.Denials[0].Code != capability.ErrSpent || len(d.Answered().Returns) > 0 {
		t.Errorf("%+v", d.Response)
	}
	if deaf.apply(d.Response); deaf.rights[id] != 4 {
		t.Errorf("it has %d", deaf.rights[id])
	}
	w.sums(id, 4, 0, 6)
	deaf.giveBack(id, 2)
	if d = w.mustDo(deaf.request(5)); len(d.Credited) != 1 {
		t.Errorf("%+v", d.Response)
	}
	w.sums(id, 2, 0, 8)
}

// Fewer copies for a device are a return that the producer asks for: the limit counts it when it is asked for, and not again when the machine returns them itself.
func TestMappingDownIsAReturn(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn, Count: 2}} })
	id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
	m := newMachine(1)
	ask(w, m, 1, false, want(id, 8))
	device := m.id.Host
	w.mustDo(Map{Device: device, ActivationID: id, Copies: 9}) // more is no return
	w.mustDo(Map{Device: device, ActivationID: id, Copies: 7})
	w.mustDo(Map{Device: device, ActivationID: id, Copies: 8}) // nor are as many as it has
	w.mustDo(Map{Device: device, ActivationID: id, Copies: 5})
	w.mustDo(Map{Device: device, ActivationID: id, Copies: 6}) // nor fewer that are asked back
	w.refused(Map{Device: device, ActivationID: id, Copies: 5}, capability.ErrSpent, "2 of 2 done")
	if v := w.item(id); len(v.Acts) != 1 || v.Acts[0].Total != 2 {
		t.Errorf("%+v", v.Acts)
	}
	ask(w, m, 2, false)
	// The machine returns one of the two itself: that was counted. A third would be one too many.
	m.rights[id] = 8 // the response is not there yet
	m.giveBack(id, 1)
	if d := w.mustDo(m.request(3)); len(d.Credited) != 1 || !d.Credited[0].Asked {
		t.Errorf("%+v", d.Response)
	}
	m.giveBack(id, 2)
	if d := w.mustDo(m.request(4)); len(d.Credited) != 0 || len(d.Response.Denials) == 0 {
		t.Errorf("%+v", d.Response)
	}
	if v := w.item(id); v.Acts[0].Total != 2 || v.Used != 7 {
		t.Errorf("%+v", v)
	}
}

// An order moves copies, which is a re-host and no return, whoever brings them back.
func TestOrderIsNoReturn(t *testing.T) {
	w := newWorld(t, anyTier())
	w.licenseModel("M", func(m *LicenseModel) { m.Limits = []ActLimit{{Act: ActReturn}, {Act: ActRehost, Count: 1}} })
	id := w.entitle(1, 10, func(i *Item) { i.Model = "M" })
	m := newMachine(1)
	ask(w, m, 1, false, want(id, 3))
	w.refused(Map{Device: m.id.Host, ActivationID: id, Copies: 1}, capability.ErrSpent, "0 of 0 done")
	w.mustDo(PlanRehost{From: m.id.Host, To: newMachine(2).id.Host, ActivationID: id})
	m.giveBack(id, 3)
	if d := w.mustDo(m.request(2)); len(d.Credited) != 1 {
		t.Errorf("%+v", d.Response)
	}
	if v := w.item(id); len(v.Acts) != 1 || v.Acts[0].Act != ActRehost {
		t.Errorf("%+v", v.Acts)
	}
}

func TestForgedReturns(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Answered)
		words  string
	}{
		"asked for by nobody":  {func(a *Answered) { a.Returns[0].Asked = true }, "and was not"},
		"refused and credited": {func(a *Answered) { a.Returns[0].Final = true }, "both credited and refused"},
		"asked for, and refused": {func(a *Answered) {
			a.Returns[0] = ReturnSeen{ID: capability.ReturnID{9}, Refused: capability.ErrSpent, Asked: true}
		}, "and is not credited"},
	} {
		w := newWorld(t, anyTier())
		id := w.entitle(1, 10, nil)
		m := newMachine(1)
		ask(w, m, 1, false, want(id, 5))
		m.giveBack(id, 1)
		d, err := w.book.Decide(w.now, m.request(2))
		if err != nil {
			t.Fatal(err)
		}
		row.change(d.Answered())
		if err := w.book.Apply(d.Entries[0]); err == nil || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

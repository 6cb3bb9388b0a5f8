package entitlement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

const aDay capability.Time = 86400

// reporter is a machine with records of usage: all of them, and how far they are acknowledged.
type reporter struct {
	*machine
	w            *world
	records      []capability.Record
	acknowledged uint64
	salt         uint64
}

func newReporter(w *world, n byte) *reporter {
	return &reporter{machine: newMachine(n), w: w}
}

// use makes a record.
func (m *reporter) use(u capability.Usage) {
	m.records = append(m.records, capability.Record{Number: uint64(len(m.records) + 1), Body: m.w.codec.Encode(&u)})
}

// usage is a record of one day of one item, with values of its own.
func usage(n uint64, id capability.ActivationID, day int) capability.Usage {
	from := 1_800_000_000 - 1_800_000_000%aDay + capability.Time(day)*aDay
	u := capability.Usage{From: from + 60, Until: from + aDay, ActivationID: id, Feature: "render", Peak: n%7 + 1, Served: n, Seconds: n * 900}
	if n%3 == 0 {
		u.Denials = []capability.Denied{{Code: capability.ErrNoSeat, Count: n}}
	}
	return u
}

// write is a request with the records from that number on, so many at most.
func (m *reporter) write(from uint64, most int, desired ...capability.Desired) Answer {
	m.salt++
	a := m.request(uint64(m.id.Host.Value[0])<<40+m.salt, desired...)
	from = min(max(from, 1), uint64(len(m.records))+1)
	a.Request.Records = slices.Clone(m.records[from-1:])
	a.Request.Records = a.Request.Records[:min(most, len(a.Request.Records))]
	if len(a.Request.Records) == 0 {
		a.Request.Records = nil
	}
	a.Digest = m.w.codec.RequestDigest(a.Request)
	m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	return a
}

func (m *reporter) hear(r *capability.Response) {
	if r != nil && r.Life == m.life && r.Serial > m.applied {
		m.acknowledged = r.Records
	}
	m.apply(r)
}

// sums are what so many of the records say.
func (m *reporter) sums(n uint64) (served, seconds, denied uint64) {
	for _, r := range m.records[:n] {
		u, err := m.w.codec.DecodeUsage(r.Body)
		if err != nil || u.User != "" {
			continue
		}
		served, seconds = served+u.Served, seconds+u.Seconds
		for _, d := range u.Denials {
			denied += d.Count
		}
	}
	return
}

// Whatever becomes of the files, the book has each acknowledged record once, in each life, and no other; and so has one that read only the entries.
func TestUsageAddsUp(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 60
	}
	acknowledged, lives := 0, 0
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, anyTier())
		w.note = func() string { return fmt.Sprintf("seed %d: ", seed) }
		id := w.entitle(1, 9, nil)
		m := newReporter(w, 1)
		var past []*reporter
		type file struct {
			request  Answer
			response *capability.Response
			by       *reporter
		}
		var files []*file
		told := map[*reporter]uint64{}
		for range 80 {
			w.now += capability.Time(rng.IntN(100))
			switch k := rng.IntN(12); {
			case k < 4:
				u := usage(uint64(rng.IntN(50)+1), id, rng.IntN(4))
				if rng.IntN(8) == 0 {
					u.User, u.Denials = "ana", nil
				}
				if m.use(u); rng.IntN(20) == 0 {
					m.records[len(m.records)-1].Body = []byte("of a later program")
				}
			case k < 7:
				from := m.acknowledged + 1
				if rng.IntN(4) == 0 {
					from = uint64(rng.IntN(int(from))) + 1
				}
				files = append(files, &file{request: m.write(from, rng.IntN(8)+1, want(id, 1)), by: m})
			case k < 10 && len(files) > 0:
				f := files[len(files)-1]
				if rng.IntN(3) == 0 {
					f = files[rng.IntN(len(files))]
				}
				d, err := w.do(f.request)
				if code(err) == capability.ErrRepair && f.by == m {
					f.request.Repair, f.request.Approved = "the disk died", "a second person"
					d, err = w.do(f.request)
				}
				switch c := code(err); {
				case c == capability.ErrOlderRequest || f.by != m && (c == capability.ErrReplaced || c == capability.ErrRepair || c == capability.ErrRollbackSuspect):
				case err != nil:
					w.fatalf("%v", err)
				case d.Known == nil:
					f.response = d.Response
					told[f.by] = max(told[f.by], f.response.Records)
				}
			case k < 11 && len(files) > 0:
				if f := files[rng.IntN(len(files))]; f.by == m {
					m.hear(f.response)
				}
			case rng.IntN(6) == 0:
				past = append(past, m)
				m = &reporter{machine: m.wiped(), w: w, salt: m.salt}
			case rng.IntN(3) == 0:
				b, err := Restore(w.book.Snapshot())
				if err != nil {
					w.fatalf("%v", err)
				}
				w.book = b
			}
			var served, seconds, denied uint64
			for _, r := range append(slices.Clone(past), m) {
				a, b, c := r.sums(told[r])
				served, seconds, denied = served+a, seconds+b, denied+c
			}
			s, _ := w.book.Synced(m.id.Host)
			if s.Served != served || s.Seconds != seconds || s.Denied != denied || s.Missing != 0 {
				w.fatalf("the book has %d served, %d seconds, %d denials and misses %d; acknowledged were %d, %d, %d", s.Served, s.Seconds, s.Denied, s.Missing, served, seconds, denied)
			}
			var rows Used
			for _, u := range w.book.Usage(0, 1<<40, "") {
				if u.User == "" {
					rows.Served, rows.Seconds = rows.Served+u.Served, rows.Seconds+u.Seconds
				}
			}
			if rows.Served != served || rows.Seconds != seconds {
				w.fatalf("the rows have %d served and %d seconds of %d and %d", rows.Served, rows.Seconds, served, seconds)
			}
		}
		if w.book.Digest() != w.replica.Digest() {
			w.fatalf("the replica differs")
		}
		acknowledged += int(told[m])
		lives += len(past)
	}
	if acknowledged == 0 || lives == 0 {
		t.Errorf("%d records, %d lives", acknowledged, lives)
	}
}

// Records wait until all before them are here. Only a machine that knows what is acknowledged can say that the ones between are lost.
func TestUsageWithAGap(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	m := newReporter(w, 1)
	for n := range 9 {
		m.use(usage(uint64(n+1), id, n))
	}
	late := m.write(1, 3, want(id, 1))
	if d := w.mustDo(m.write(4, 2, want(id, 1))); d.Response.Records != 0 || len(d.Answered().Records) != 0 {
		t.Fatalf("counted up to %d without the first", d.Response.Records)
	}
	if _, err := w.do(late); code(err) != capability.ErrOlderRequest {
		t.Fatal(err)
	}
	d := w.mustDo(m.write(1, 3, want(id, 1)))
	if d.Response.Records != 3 {
		t.Fatalf("counted up to %d", d.Response.Records)
	}
	if d := w.mustDo(m.write(6, 2, want(id, 1))); d.Response.Records != 3 {
		t.Fatalf("counted up to %d by a machine that has not heard", d.Response.Records)
	}
	m.hear(d.Response) // of before: not the last one
	if d = w.mustDo(m.write(6, 2, want(id, 1))); d.Response.Records != 3 {
		t.Fatalf("counted up to %d by a machine that has not heard the last", d.Response.Records)
	}
	m.hear(d.Response)
	d = w.mustDo(m.write(6, 2, want(id, 1)))
	if s, _ := w.book.Synced(m.id.Host); d.Response.Records != 7 || s.Missing != 2 || s.Served != 1+2+3+6+7 || d.Answered().Missing != 2 {
		t.Fatalf("%+v, acknowledged %d", s, d.Response.Records)
	}
}

// A copy of a machine writes other records under the same numbers. They are added to nothing, under either policy, and the incident is on record.
func TestUsageOfACopy(t *testing.T) {
	for _, policy := range []ForkPolicy{RefuseForks, WarnForks} {
		p := anyTier()
		p.Forks = policy
		w := newWorld(t, p)
		id := w.entitle(1, 9, nil)
		m := newReporter(w, 1)
		m.use(usage(1, id, 0))
		first := w.mustDo(m.write(1, 9, want(id, 1)))
		m.hear(first.Response)
		twin := &reporter{machine: m.copied(), w: w, records: slices.Clone(m.records), acknowledged: 1, salt: 1000}
		m.use(usage(2, id, 1))
		m.use(usage(3, id, 2))
		w.mustDo(m.write(2, 9, want(id, 1)))
		twin.use(usage(20, id, 1))
		twin.use(usage(30, id, 2))
		twin.use(usage(40, id, 3))
		twin.write(2, 9, want(id, 1)) // lost; the next one is ahead of the other history
		d, err := w.do(twin.write(2, 9, want(id, 1)))
		s, _ := w.book.Synced(m.id.Host)
		h, _ := w.book.Host(m.id.Host)
		if s.Served != 1+2+3 || s.Upto != 3 || len(h.Incidents) != 1 || policy == RefuseForks && code(err) != capability.ErrFork {
			t.Fatalf("policy %s: %+v, %d incidents: %v", policy, s, len(h.Incidents), err)
		}
		if policy == WarnForks && (d.Response == nil || d.Response.Records != 3) {
			t.Errorf("policy %s: the copy hears %+v", policy, d.Response)
		}
	}

	// Even where no request gives it away: the numbers and digests agree, and only the records differ.
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	m := newReporter(w, 1)
	for n := range 6 {
		m.use(usage(uint64(n+1), id, n))
	}
	w.mustDo(m.write(1, 3, want(id, 1)))
	if d := w.mustDo(m.write(1, 4, want(id, 1))); d.Response.Records != 4 {
		t.Fatalf("the same once more, and one: %d", d.Response.Records)
	}
	other := usage(77, id, 3)
	m.records[3].Body = w.codec.Encode(&other)
	if _, err := w.do(m.write(1, 6, want(id, 1))); code(err) != capability.ErrFork {
		t.Errorf("another record under a number that was counted: %v", err)
	}
	m.records[4].Body = w.codec.Encode(&other) // as long as nothing is said of what was counted
	if d := w.mustDo(m.write(5, 1, want(id, 1))); d.Response.Records != 5 {
		t.Errorf("acknowledged %d", d.Response.Records)
	}
	if s, _ := w.book.Synced(m.id.Host); s.Served != 1+2+3+4+77 {
		t.Errorf("%+v", s)
	}
}

// Of a machine with very much to tell, what is old is put together: the sums stay, whatever it says.
func TestUsageIsBounded(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, func(i *Item) {
		i.Features = nil
		for n := range 4 {
			i.Features = append(i.Features, Feature{Name: fmt.Sprint("f", n), PerCopy: 1})
		}
	})
	m := newReporter(w, 1)
	total := uint64(0)
	for n := range 3 * MaxUsedRows {
		u := usage(uint64(n+1), id, n/4)
		if u.Feature = fmt.Sprint("f", n%4); n%9 == 0 {
			u.User, u.Denials = fmt.Sprint("user", n), nil
		} else {
			total += u.Served
		}
		m.use(u)
	}
	for from := uint64(1); from < uint64(len(m.records)); {
		d, err := w.book.Decide(w.now, m.write(from, 1000, want(id, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.book.Apply(d.Entries[0]); err != nil {
			t.Fatal(err)
		}
		from = d.Response.Records + 1
	}
	if err := w.book.Check(); err != nil {
		t.Fatal(err)
	}
	s, _ := w.book.Synced(m.id.Host)
	rows, spans := w.book.Usage(0, 1<<40, ""), map[Span]int{}
	for _, r := range rows {
		spans[r.Span]++
		if r.Span == OneMonth && r.Day.Std().Day() != 1 {
			t.Fatalf("a month from %s", r.Day)
		}
	}
	if s.Served != total || len(rows) > MaxUsedRows || spans[OneDay] < MaxUsedRows/4 || spans[OneMonth] == 0 {
		t.Errorf("%d served of %d, %v", s.Served, total, spans)
	}
	b, err := Restore(w.book.Snapshot())
	if err != nil || b.Digest() != w.book.Digest() {
		t.Errorf("restored: %v", err)
	}
	// Many items, for ever: one row of each stays.
	s2 := w.book.synced[m.id.Host]
	for n := range 3 * MaxUsedRows {
		u := Used{Day: capability.Time(n) * 40 * aDay, ActivationID: id, Feature: fmt.Sprint("g", n%100), Served: 1, Seconds: capability.MaxUsed}
		for c := range 40 {
			u.Denials = append(u.Denials, capability.Denied{Code: capability.Code(n%50*40 + c + 1), Count: 2})
		}
		s2.take(&u)
		s2.shrink()
	}
	if err := w.book.Check(); err != nil || len(s2.rows) > MaxUsedRows {
		t.Errorf("%d rows: %v", len(s2.rows), err)
	}
}

// Whatever names a machine makes up, it has no more rows than the book has features: what is of none of them is one row of a day.
func TestUsageOfWhatIsNotInTheBook(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	m := newReporter(w, 1)
	for n := range 600 {
		u := usage(uint64(n+1), id, 0)
		if u.Feature = fmt.Sprint("made up ", n); n%2 == 0 {
			u.ActivationID = testID(t, uint64(1000+n))
		}
		m.use(u)
	}
	d, err := w.book.Decide(w.now, m.write(1, 600))
	if err == nil {
		err = w.book.Apply(d.Entries[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, served := w.book.Usage(0, 1<<40, ""), uint64(0)
	for _, r := range rows {
		served += r.Served
	}
	if s, _ := w.book.Synced(m.id.Host); len(rows) != 1 || rows[0].Feature != "" || served != s.Served || served == 0 {
		t.Errorf("%d rows, %d served: %+v", len(rows), served, s)
	}
}

// What is asked of the book is what belongs to an account, or a part of it.
func TestUsageOfAnAccount(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(SetAccount{Account: Account{Name: "Group"}})
	w.mustDo(SetAccount{Account: Account{Name: "ACME Works", Parent: "Group"}})
	id := w.entitle(1, 9, nil)
	other := w.entitle(2, 9, func(i *Item) { i.Customer = "Another" })
	for n, id := range []capability.ActivationID{id, other} {
		m := newReporter(w, byte(n+1))
		m.use(usage(uint64(n+1), id, n))
		m.use(capability.Usage{From: 1_800_000_000, Until: 1_800_000_001, Denials: []capability.Denied{{Code: capability.ErrNotEntitled, Count: 1}}})
		w.mustDo(m.write(1, 9, want(id, 1)))
	}
	for account, wants := range map[string]int{"": 4, "Group": 2, "ACME Works": 2, "Another": 2, "Nobody": 0} {
		if rows := w.book.Usage(0, 1<<40, account); len(rows) != wants {
			t.Errorf("%q: %d rows", account, len(rows))
		}
	}
	first := 1_800_000_000 - 1_800_000_000%aDay
	if rows := w.book.Usage(first+aDay, first+2*aDay, ""); len(rows) != 1 || rows[0].Account != "Another" || rows[0].Product != "Render Pro" || rows[0].Served != 2 {
		t.Errorf("the second day: %+v", rows)
	}
}

// A machine that names an item of others in its records is in no account's usage but its own.
func TestUsageOfForeignItems(t *testing.T) {
	w := newWorld(t, anyTier())
	own := w.entitle(1, 9, nil)
	other := w.entitle(2, 9, func(i *Item) { i.Customer = "Another" })
	stranger, theirs := newReporter(w, 1), newReporter(w, 2)
	stranger.use(usage(1, other, 0))
	w.mustDo(stranger.write(1, 9)) // it was given nothing
	theirs.use(usage(2, other, 0))
	theirs.use(usage(3, own, 0))
	w.mustDo(theirs.write(1, 9, want(own, 1)))
	for account, wants := range map[string]int{"": 3, "Another": 0, "ACME Works": 2} {
		rows := w.book.Usage(0, 1<<40, account)
		if len(rows) != wants {
			t.Errorf("%q: %d rows", account, len(rows))
		}
		for _, r := range rows {
			if r.Foreign != (r.ActivationID == other) || r.Foreign != (r.Product == "") { // what others have is nobody's business
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestApplyAssertsRecords(t *testing.T) {
	for what, change := range map[string]func(*Answered){
		"again":          func(a *Answered) { a.Records[0].Number = 1 },
		"a gap":          func(a *Answered) { a.Records[1].Number++ },
		"none missing":   func(a *Answered) { a.Missing = 1 },
		"missing only":   func(a *Answered) { a.Records, a.Missing = nil, 1 },
		"of a fork":      func(a *Answered) { a.Request.Fork = true },
		"before nothing": func(a *Answered) { a.Records[0].Number, a.Records[1].Number, a.Missing = 1, 2, 1<<64-2 },
	} {
		p := anyTier()
		p.Forks = WarnForks
		w := newWorld(t, p)
		id := w.entitle(1, 9, nil)
		m := newReporter(w, 1)
		for n := range 3 {
			m.use(usage(uint64(n+1), id, n))
		}
		w.mustDo(m.write(1, 1, want(id, 1)))
		d, err := w.book.Decide(w.now, m.write(2, 2, want(id, 1)))
		if err != nil || len(d.Answered().Records) != 2 {
			t.Fatal(err)
		}
		change(d.Answered())
		if w.book.Apply(d.Entries[0]) == nil {
			t.Errorf("%s: applied", what)
		}
	}
}

func TestCheckFindsUsage(t *testing.T) {
	for what, damage := range map[string]func(*Book, *synced){
		"served":    func(_ *Book, s *synced) { s.Served++ },
		"seconds":   func(_ *Book, s *synced) { s.rows[0].Seconds++ },
		"denied":    func(_ *Book, s *synced) { s.Denied++ },
		"order":     func(_ *Book, s *synced) { s.rows[0], s.rows[1] = s.rows[1], s.rows[0] },
		"no day":    func(_ *Book, s *synced) { s.rows[0].Day++ },
		"numbers":   func(_ *Book, s *synced) { s.Since = s.Upto + 1 },
		"of nobody": func(b *Book, s *synced) { b.synced[newMachine(9).id.Host] = s },
	} {
		w := newWorld(t, anyTier())
		id := w.entitle(1, 9, nil)
		m := newReporter(w, 1)
		m.use(usage(3, id, 0))
		m.use(usage(6, id, 1))
		w.mustDo(m.write(1, 9, want(id, 1)))
		if damage(w.book, w.book.synced[m.id.Host]); w.book.Check() == nil {
			t.Errorf("%s: nothing found", what)
		}
	}
}

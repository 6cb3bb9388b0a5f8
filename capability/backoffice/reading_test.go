package backoffice

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// What is read in pieces is what one turn reads: every report, every table and the history.
func TestReadingInPieces(t *testing.T) {
	_, o := newOffice(t, nil)
	grow(t, o, 3*pieceRows)
	q := Query{Until: today.Add(400 * 24 * 60 * 60), Now: today}
	whole, rows := map[ReportKind]*capability.Table{}, map[Noun][]Row{}
	for _, kind := range ReportKinds() {
		whole[kind] = must(MakeReport(o.Book(), kind, q))
	}
	for _, n := range Nouns() {
		rows[n] = o.Rows(n, entitlement.ItemFilter{}, today)
	}
	items, _ := o.Book().Size()
	if len(rows[Entitlements]) != items || len(whole[ReportLicenses].Rows) != items {
		t.Fatalf("%d and %d of %d line items", len(rows[Entitlements]), len(whole[ReportLicenses].Rows), items)
	}
	entries := must(o.Verify())
	d := NewDesk(o)
	pauses := 0
	counting := func(pause Pause) Pause { return func() error { pauses++; return pause() } }
	for _, kind := range ReportKinds() {
		var got *capability.Table
		err := d.Read(func(o *Office, pause Pause) (err error) {
			got, err = MakeReport(o.Book(), kind, q.InPieces(counting(pause)))
			return err
		})
		if err != nil || !reflect.DeepEqual(got, whole[kind]) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, n := range Nouns() {
		var got []Row
		err := d.Read(func(o *Office, pause Pause) (err error) {
			got, err = o.RowsInPieces(n, entitlement.ItemFilter{}, today, counting(pause))
			return err
		})
		if err != nil || !reflect.DeepEqual(got, rows[n]) {
			t.Errorf("%s: %d rows, %v", n, len(got), err)
		}
	}
	if pauses < 10 {
		t.Errorf("%d pauses", pauses)
	}
	if n, err := d.Verify(); n != entries || err != nil {
		t.Errorf("%d entries of %d, %v", n, entries, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A reading is of one state: where the book changes between its pieces it begins again, and at last keeps the turn. Who signs in changes nothing that is read.
func TestReadingBesideWriting(t *testing.T) {
	_, o := newOffice(t, nil)
	id := entitle(t, o, 9)
	d := NewDesk(o)
	write := func(c entitlement.Command) {
		t.Helper()
		if err := d.Ask(func(o *Office) error { return o.Do(c, today) }); err != nil {
			t.Error(err)
		}
	}
	copies := uint32(9)
	change := func() {
		copies++
		write(entitlement.ChangeItem{Change: entitlement.ItemChange{ActivationID: id, Do: entitlement.SetCopies, Copies: copies}, By: "test"})
	}
	for name, c := range map[string]struct {
		between func()
		begins  int
	}{
		"nothing is written": {func() {}, 1},
		"somebody signs in": {func() {
			write(entitlement.NoteSignIn{SignIn: entitlement.SignIn{Name: "keller", From: "192.0.2.1", How: "password"}})
		}, 1},
		"the book changes each time": {change, readingTries + 1},
	} {
		begins, first, second := 0, uint32(0), uint32(0)
		var wrote sync.WaitGroup
		err := d.Read(func(o *Office, pause Pause) error {
			begins++
			v, _ := o.Book().Item(id, today)
			first = v.Copies
			var done atomic.Bool
			if begins <= readingTries {
				wrote.Go(func() {
					c.between()
					done.Store(true)
				})
				for !done.Load() {
					if err := pause(); err != nil {
						return err
					}
				}
			} else { // it keeps the turn: nobody else has one, however often it pauses
				wrote.Go(c.between)
				for range 1000 {
					if err := pause(); err != nil {
						return err
					}
				}
			}
			v, _ = o.Book().Item(id, today)
			second = v.Copies
			return nil
		})
		wrote.Wait()
		if err != nil || first != second || begins != c.begins {
			t.Errorf("%s: begun %d times, %d copies and then %d, %v", name, begins, first, second, err)
		}
	}
	stop := errors.New("enough")
	if err := d.Read(func(*Office, Pause) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	// A desk that is closed between two pieces ends the reading.
	err := d.Read(func(_ *Office, pause Pause) error {
		go d.Close()
		for {
			if err := pause(); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if err := d.Read(func(*Office, Pause) error { t.Error("read after the end"); return nil }); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
}

// The history is verified while others write, and snapshots move what is being read into the archive.
func TestVerifyBesideWriting(t *testing.T) {
	_, o := newOffice(t, nil)
	grow(t, o, 2000)
	d := NewDesk(o)
	var writers sync.WaitGroup
	end := make(chan struct{})
	writers.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-end:
				return
			default:
			}
			err := d.Ask(func(o *Office) error {
				if err := o.Do(entitlement.SetAccount{Account: entitlement.Account{Name: fmt.Sprint("account ", n)}, By: "test"}, today); err != nil || n%20 != 0 {
					return err
				}
				return o.compact()
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 3 {
		if n, err := d.Verify(); err != nil || n < 2200 {
			t.Errorf("%d entries, %v", n, err)
		}
	}
	close(end)
	writers.Wait()
	// A book that is not what its entries make is found.
	err := d.Ask(func(o *Office) error {
		scratch := must(entitlement.Restore(o.book.Snapshot()))
		e := must(scratch.Decide(today, entitlement.SetAccount{Account: entitlement.Account{Name: "never written"}})).Entries[0]
		return o.book.Apply(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Verify(); !errors.Is(err, entitlement.ErrCorrupt) {
		t.Errorf("a book with an entry of no history: %v", err)
	}
}

// BenchmarkLongestTurn says how long anybody waits for a turn, at most, while one reads a book of 200,000 line items and 20,000 machines; whole is in one turn.
//
//	go test ./capability/backoffice -run '^$' -bench LongestTurn -benchtime 1x
func BenchmarkLongestTurn(b *testing.B) {
	_, o := newOffice(b, nil)
	grow(b, o, 200_000)
	q := Query{Until: today.Add(400 * 24 * 60 * 60), Now: today}
	d := NewDesk(o)
	defer d.Close()
	report := func(o *Office, pause Pause) error {
		_, err := MakeReport(o.Book(), ReportLicenses, q.InPieces(pause))
		return err
	}
	rows := func(o *Office, pause Pause) error {
		_, err := o.RowsInPieces(Entitlements, entitlement.ItemFilter{}, today, pause)
		return err
	}
	whole := func(read func(*Office, Pause) error) func() error {
		return func() error { return d.Ask(func(o *Office) error { return read(o, nil) }) }
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"report/whole", whole(report)},
		{"report/pieces", func() error { return d.Read(report) }},
		{"export/whole", whole(rows)},
		{"export/pieces", func() error { return d.Read(rows) }},
		{"verify/whole", whole(func(o *Office, _ Pause) error { _, err := o.Verify(); return err })},
		{"verify/pieces", func() error { _, err := d.Verify(); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			longest, total := time.Duration(0), time.Duration(0)
			for range b.N {
				done, began := make(chan error, 1), time.Now()
				go func() { done <- c.do() }()
				for reading := true; reading; {
					select {
					case err := <-done:
						if err != nil {
							b.Fatal(err)
						}
						reading = false
					default:
						asked := time.Now()
						if err := d.Ask(func(*Office) error { return nil }); err != nil {
							b.Fatal(err)
						}
						longest = max(longest, time.Since(asked))
					}
				}
				total += time.Since(began)
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest-turn")
			b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "ms-reading")
		})
	}
}

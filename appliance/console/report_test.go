package console

import (
	"crypto/rand"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// shelf is an archive in memory.
type shelf struct {
	first   uint64
	entries [][]byte
}

func (s *shelf) Next() uint64 {
	if s.first == 0 {
		return 0
	}
	return s.first + uint64(len(s.entries))
}

func (s *shelf) Append(first uint64, entries [][]byte) error {
	if s.first == 0 {
		s.first = first
	}
	s.entries = append(s.entries, entries...)
	return nil
}

func (s *shelf) SetNote([]byte) error { return nil }
func (s *shelf) Trim(int64) error     { return nil }
func (s *shelf) Read(from uint64, f func(uint64, []byte) error) error {
	for i, b := range s.entries {
		if at := s.first + uint64(i); at >= from {
			if err := f(at, b); err != nil {
				return err
			}
		}
	}
	return nil
}
func (s *shelf) Rekey(uint32) (capability.RecoveryKey, error) { return "", errors.ErrUnsupported }
func (s *shelf) Files() ([]string, error)                     { return nil, errors.ErrUnsupported }
func (s *shelf) File(string) ([]byte, error)                  { return nil, errors.ErrUnsupported }

// office is a site of ten seats over ninety days, as anybody can count it: on day n five seats and n modulo 6 more are taken at nine and given back at five. On the days that are taken up by the tenth, whoever
// comes eleventh is refused until there have been 23 refusals.
const (
	officeDays, officeRefusals, officeSeats                 = 90, 23, 10
	officeFirst                             capability.Time = start - start%86400
)

func busy(n int) int { return 5 + n%6 }

func officeLife(t *testing.T) (l *ledger.Ledger, journal [][]byte, now ledger.Now) {
	t.Helper()
	l, now = ledger.New(), ledger.At(1000, officeFirst)
	codec, calls, refused := wire.New(), 0, 0
	do := func(c ledger.Command) ledger.Decision {
		d, err := l.Decide(now, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range d.Entries {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
			journal = append(journal, e.Encode(codec))
		}
		return d
	}
	serve := func(device int, count uint32) *capability.Response {
		calls++
		return do(ledger.Serve{Heard: true, Key: capability.Digest{byte(device), 2}, Request: capability.Request{
			Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.String, Value: fmt.Sprint("device ", device)}}, Alias: fmt.Sprint("WS-", device),
			Correlation: capability.CorrelationID{1, byte(calls), byte(calls >> 8), byte(calls >> 16)}, Desired: []capability.Desired{{Feature: "render", Version: capability.Version{Major: 1}, Count: count}},
		}}).Response
	}
	id, err := capability.NewActivationID(strings.NewReader(strings.Repeat("a", 18)))
	if err != nil {
		t.Fatal(err)
	}
	do(ledger.Start{BootID: "first"})
	do(ledger.Provision{Digest: capability.Digest{1}, Response: capability.Response{
		Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "appliance"}, Serial: 1, Time: officeFirst, Policy: capability.Policy{Lease: 3600},
		Items: []capability.LineItem{{ActivationID: id, Feature: "render", Version: capability.Version{Major: 1}, Count: officeSeats, Copies: officeSeats, Product: "=Render", Expiry: officeFirst + 200*86400}},
	}})
	at := func(day, half int) {
		passed := capability.Seconds(day*86400 + half*1800)
		now = ledger.At(1000+passed, officeFirst.Add(passed))
	}
	for day := range officeDays {
		for half := 2 * 9; half < 2*17; half++ {
			at(day, half)
			for d := range busy(day) {
				serve(d, 1)
			}
			if busy(day) == officeSeats && refused < officeRefusals && half%8 == 4 {
				serve(20+refused%3, 1)
				refused++
			}
		}
		at(day, 2*17)
		for d := range busy(day) {
			serve(d, 0)
		}
	}
	at(officeDays, 0)
	do(ledger.Start{BootID: "second"})
	if refused != officeRefusals {
		t.Fatalf("%d refusals", refused)
	}
	return l, journal, now
}

func reported(t *testing.T) func(path string) (int, Problem, string) {
	t.Helper()
	l, journal, now := officeLife(t)
	archive := &shelf{}
	a, err := appliance.New(appliance.Options{
		Ledger: l, Vault: &kept{}, Machine: machine{}, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Now: now.Wall.Std,
		Elapsed: func() time.Duration { return 0 }, Awake: func() time.Duration { return 0 }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), Journal: journal,
		Archive: func(appliance.Vault, uint64, uint64, ledger.RecoveryView) (appliance.Archive, error) {
			return archive, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	call := serve(t, &Console{Appliance: a, Allowed: func(Peer) bool { return true }})
	return func(path string) (int, Problem, string) { return call("GET", Base+path, "") }
}

// Check 29: peaks, refusals and the sentence about another count are those that anybody can count in the site's ninety days.
func TestCheck29(t *testing.T) {
	call := reported(t)
	get := func(name string, values ...string) Report {
		t.Helper()
		q := url.Values{}
		for i := 0; i < len(values); i += 2 {
			q.Set(values[i], values[i+1])
		}
		if q.Get("from") == "" {
			q.Set("from", capability.Time(officeFirst).Std().Format(time.DateOnly))
		}
		status, p, body := call("reports/" + name + "?" + q.Encode())
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, status, p.Text)
		}
		r := read[Report](t, body)
		if r.Schema != "leasehold.report/1" || r.Warnings == nil || string(r.Kind) != name {
			t.Errorf("%s: %+v", name, r)
		}
		return r
	}
	peaks := get("peaks", "feature", "render")
	var days [6]int
	for i, row := range peaks.Rows[:officeDays] {
		days[i%6]++
		if row["peak"] != float64(busy(i)) || row["entitled"] != float64(officeSeats) {
			t.Errorf("day %d: %v", i, row)
		}
	}
	if want := fmt.Sprintf("At most 10 of render were in use, on %s; for 95 percent of the time it was 10 or fewer.", capability.Time(officeFirst+5*86400)); peaks.Sentence != want {
		t.Errorf("%s\nwant %s", peaks.Sentence, want)
	}
	denials := get("denials")
	if denials.Totals["lines"] != officeRefusals {
		t.Errorf("%d refused", denials.Totals["lines"])
	}
	if first := denials.Rows[0]; first["code"] != "LH-3104" || first["feature"] != "render" || first["lines"] != float64(2) || first["people"] != float64(2) {
		t.Errorf("the first day with refusals: %v", first)
	}
	whatIf := get("what-if", "feature", "render")
	if want := fmt.Sprintf("With 9 units instead of 10 you would have refused %d checkouts in 90 days; with 11, 23 of the 23 refused would have been served.", days[5]); whatIf.Sentence != want {
		t.Errorf("%s\nwant %s", whatIf.Sentence, want)
	}
	if one := get("what-if", "feature", "render", "count", "5"); one.Rows[0]["would_refuse"] != float64(days[1]+2*days[2]+3*days[3]+4*days[4]+5*days[5]) {
		t.Errorf("with 5: %v", one.Rows)
	}
	usage := get("usage", "by", "month")
	var seconds uint64
	for day := range officeDays {
		seconds += uint64(busy(day)) * 8 * 3600
	}
	if usage.Totals["unit_seconds"] != seconds || usage.Totals["denied"] != officeRefusals {
		t.Errorf("usage: %v, want %d seconds", usage.Totals, seconds)
	}
	last := capability.Time(officeFirst + (officeDays-1)*86400)
	if hours := get("usage", "by", "hour", "from", last.String()); len(hours.Rows) != 25 || hours.Rows[8]["peak"] != float64(0) || hours.Rows[9]["average"] != fmt.Sprintf("%d.00", busy(officeDays-1)) {
		t.Errorf("hours: %v", hours.Rows)
	}
	if levels := get("levels", "feature", "render"); levels.Rows[0]["units"] != float64(0) || levels.Rows[0]["percent_at_least"] != "100.0" || len(levels.Rows) != 7 {
		t.Errorf("levels: %v", levels.Rows)
	}
	if week := get("week", "feature", "render"); len(week.Rows) != 7*24 || week.Rows[8]["peak"] != float64(0) || week.Rows[9]["peak"] == float64(0) {
		t.Errorf("week: %v", week.Rows[:12])
	}
	if idle := get("week", "feature", "export"); len(idle.Rows) != 7*24 {
		t.Errorf("the week of what nobody used, asked for by name: %d rows", len(idle.Rows))
	}
	if week := get("week"); len(week.Rows) != 7*24 {
		t.Errorf("the week of all that was used: %d rows", len(week.Rows))
	}
	if expiry := get("expiry"); expiry.Totals["count"] != officeSeats || len(expiry.Rows) != 1 {
		t.Errorf("expiry: %v", expiry.Rows)
	}
	if inventory := get("inventory"); inventory.Rows[0]["max_used"] != float64(10) || inventory.Rows[0]["in_use"] != float64(0) {
		t.Errorf("inventory: %v", inventory.Rows)
	}
}

// Check 29, for the files: the same numbers are in CSV as RFC 4180 has it, times are those of ISO 8601 with their zone, and no cell is a formula.
func TestCheck29Files(t *testing.T) {
	call := reported(t)
	first := officeFirst.Std()
	get := func(name, query string) (rows []map[string]string) {
		t.Helper()
		status, p, text := call("reports/" + name + "/csv?from=" + first.Format(time.DateOnly) + query)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, status, p.Text)
		}
		all, err := csv.NewReader(strings.NewReader(text)).ReadAll() // refuses rows of other lengths
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var again strings.Builder
		w := csv.NewWriter(&again)
		w.UseCRLF = true
		if err := w.WriteAll(all); err != nil || again.String() != text || !utf8.ValidString(text) {
			t.Errorf("%s is no RFC 4180: %v\n%.300q", name, err, text)
		}
		for _, cells := range all[1:] {
			row := map[string]string{}
			for i, cell := range cells {
				if strings.ContainsAny(cell[:min(1, len(cell))], "=+-@\t\r") {
					t.Errorf("%s: the cell %q is a formula", name, cell)
				}
				row[all[0][i]] = cell
			}
			rows = append(rows, row)
		}
		return rows
	}
	number := func(cell string) int {
		t.Helper()
		n, err := strconv.Atoi(cell)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	on := func(cell string) int { // the day of the ninety that a time begins
		t.Helper()
		at, err := time.Parse(time.RFC3339, cell)
		if err != nil || at.Sub(first)%(24*time.Hour) != 0 {
			t.Errorf("the time %q: %v", cell, err)
		}
		return int(at.Sub(first) / (24 * time.Hour))
	}
	peaks := get("peaks", "&feature=render")
	for n, row := range peaks[:officeDays] {
		if on(row["day"]) != n || number(row["peak"]) != busy(n) || number(row["entitled"]) != officeSeats {
			t.Errorf("day %d: %v", n, row)
		}
	}
	refused := 0
	for _, row := range get("denials", "") {
		if busy(on(row["day"])) != officeSeats || row["code"] != "LH-3104" || row["feature"] != "render" {
			t.Errorf("%v", row)
		}
		refused += number(row["lines"])
	}
	if refused != officeRefusals {
		t.Errorf("%d refusals where there were %d", refused, officeRefusals)
	}
	over := 0
	for day := range officeDays {
		over += max(0, busy(day)-9)
	}
	if row := get("what-if", "&feature=render&count=9")[0]; number(row["would_refuse"]) != over {
		t.Errorf("with 9: %v, want %d", row, over)
	}
	if row := get("inventory", "")[0]; row["product"] != "'=Render" {
		t.Errorf("%v", row)
	} else if _, err := time.Parse(time.RFC3339, row["ends"]); err != nil {
		t.Error(err)
	}
}

// Every report is there as a table, as a file for spreadsheets in which nothing is a formula, and as a picture where there is one to draw.
func TestReportFiles(t *testing.T) {
	call := reported(t)
	status, _, body := call("reports")
	all := read[Reports](t, body)
	if status != http.StatusOK || len(all.Reports) != len(ReportInfos()) {
		t.Fatalf("%d %s", status, body)
	}
	for _, info := range all.Reports {
		q := "?feature=render"
		status, p, text := call("reports/" + string(info.Kind) + "/csv" + q)
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if status != http.StatusOK || err != nil || len(rows) == 0 {
			t.Errorf("%s: %d %s %v", info.Kind, status, p.Text, err)
			continue
		}
		for _, row := range rows {
			for _, cell := range row {
				if strings.HasPrefix(cell, "=") {
					t.Errorf("%s: the cell %q is a formula", info.Kind, cell)
				}
			}
		}
		status, p, text = call("reports/" + string(info.Kind) + "/svg" + q)
		if drawn := info.Kind != ReportSeats && info.Kind != ReportInventory; drawn != (status == http.StatusOK) {
			t.Errorf("%s: drawn %v: %d %s", info.Kind, drawn, status, p.Text)
			continue
		} else if !drawn {
			continue
		}
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v in %s", info.Kind, err, text)
				break
			}
		}
	}
}

// What is asked for badly is refused by name.
func TestBadReports(t *testing.T) {
	call := reported(t)
	for path, want := range map[string]string{
		"reports/nothing": "nothing", "reports/usage?by=week": "by", "reports/usage?from=yesterday": "from", "reports/usage?to=2030-13-01": "to", "reports/usage?from=2030-02-01&to=2030-01-01": "from",
		"reports/what-if": "feature", "reports/what-if?feature=render&count=-1": "count", "reports/usage/pdf": "/api/v1/instances/~/reports/usage/pdf", "reports/seats/svg": "seats",
		"reports/usage?by=hour&from=0001-01-01T00:00:00Z&to=9999-01-01T00:00:00Z": "",
	} {
		status, p, body := call(path)
		if want == "" {
			if status != http.StatusOK { // cut to what is known
				t.Errorf("%s: %d %s", path, status, p.Text)
			}
			continue
		}
		if status == http.StatusOK || p.Denial.Subject != want || p.Code == capability.ErrInternal {
			t.Errorf("%s: %d %s %q %.100s", path, status, p.Code, p.Denial.Subject, body)
		}
	}
}

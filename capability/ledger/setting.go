package ledger

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Owner says who may change a setting.
type Owner uint8

// The owners. What belongs to the producer comes with its responses.
const (
	Producer Owner = iota
	Administrator
	Both
	Admitter // who admits logins; nobody else, whatever he may set
)

func (o Owner) String() string {
	return [...]string{"producer", "administrator", "producer and administrator", "security administrator"}[o]
}

// Kind is the form of a setting's value.
type Kind uint8

// The kinds of values: true or false; seconds, also written as 15m; a number; text; the HTTPS address of a server; the SHA-256 of its certificate; one of a few words; the
// address of a directory; names of its groups.
const (
	Flag Kind = iota
	Interval
	Number
	Text
	Location
	Fingerprint
	Choice
	Place
	Groups
)

// Known is a setting that there is.
type Known struct {
	Name    string
	Vendor  string // the name that administrators know from other servers
	Owner   Owner
	Kind    Kind
	Least   int64 // of a number or an interval
	Most    int64
	Default string // empty: none
}

// Setting is a setting that an administrator changed.
type Setting struct {
	Name  string `cbor:"1,keyasint,omitzero" json:"name"`
	Value string `cbor:"2,keyasint,omitzero" json:"value"`
}

// The settings that this package itself looks at.
const (
	BorrowMaximum    = "borrow-maximum"
	ClientKeysOnly   = "client-keys-only"
	DuplicateClients = "duplicate-clients"
	IdleLimit        = "idle-limit"
	MediaMode        = "media-mode"
	ModelAtDates     = "model-at-dates"
	ZoneOffset       = "zone-offset"
	binding          = "binding"
	bindingDongle    = "binding-dongle"
	bindingGrace     = "binding-grace"
	leaseInterval    = "lease-interval"
	renewInterval    = "renew-interval"
	granularity      = "borrow-granularity"
	responseLife     = "response-lifetime"
	holderPolicy     = "holders"
	includeAll       = "sync-include-all"
	tolerance        = "offline-tolerance"
	openReads        = "open-reads"
	sessionTimeout   = "session-timeout"
	tokenLife        = "token-life"
)

// KnownSettings is every setting, by name.
func KnownSettings() []Known {
	const day, year = 24 * 60 * 60, 366 * 24 * 60 * 60
	return []Known{
		{OfficeCertificate, "", Administrator, Fingerprint, 0, 0, ""},
		{OfficeURL, "lfs.url", Administrator, Location, 0, 0, ""},
		{binding, "", Producer, Text, 0, 0, "tpm"},
		{bindingDongle, "", Producer, Text, 0, 0, ""},
		{bindingGrace, "", Producer, Interval, 0, year, "604800"},
		{granularity, "licensing.defaultBorrowGranularity", Producer, Text, 0, 0, "second"},
		{BorrowMaximum, "licensing.borrowIntervalMax", Administrator, Interval, 1, 10 * year, ""},
		{ClientKeysOnly, "", Administrator, Flag, 0, 0, "false"},
		{"clone-suspect", "", Producer, Text, 0, 0, "refuse"},
		{DirectoryAccount, "", Admitter, Text, 0, 0, ""},
		{DirectoryRole(capability.Auditor), "", Admitter, Groups, 0, 0, ""},
		{DirectoryBase, "", Admitter, Text, 0, 0, ""},
		{DirectoryGroups, "", Admitter, Text, 0, 0, "groups"},
		{DirectoryRole(capability.LicenseAdministrator), "", Admitter, Groups, 0, 0, ""},
		{DirectoryName, "", Admitter, Text, 0, 0, ""},
		{DirectoryRole(capability.Operator), "", Admitter, Groups, 0, 0, ""},
		{DirectoryScope, "", Admitter, Text, 0, 0, ""},
		{DirectoryRole(capability.SecurityAdministrator), "", Admitter, Groups, 0, 0, ""},
		{DirectoryURL, "", Admitter, Place, 0, 0, ""},
		{DirectoryRole(capability.Viewer), "", Admitter, Groups, 0, 0, ""},
		{DuplicateClients, "licensing.allowDuplicateClients", Producer, Flag, 0, 0, "false"},
		{"failover-maintenance", "", Producer, Interval, 0, year, "259200"},
		{"failover-uris", "licensing.main.uri, licensing.backup.uri", Administrator, Text, 0, 0, ""},
		{holderPolicy, "", Producer, Text, 0, 0, "count"},
		{"host-id-check", "licensing.hostIdValidationInterval", Producer, Interval, 60, year, "3600"},
		{"host-id-order", "server.hostType.order", Producer, Text, 0, 0, ""},
		{IdleLimit, "", Administrator, Interval, 60, year, ""},
		{leaseInterval, "licensing.borrowInterval", Producer, Interval, int64(capability.MinLease), int64(capability.MaxLease), "900"},
		{"log-threshold", "logging.threshold", Administrator, Text, 0, 0, "INFO"},
		{MediaMode, "", Administrator, Choice, 0, 0, MediaAuto},
		{ModelAtDates, "", Administrator, Flag, 0, 0, "true"},
		{tolerance, "", Producer, Interval, 0, year, "0"},
		{openReads, "security.anonymous", Both, Flag, 0, 0, "false"},
		{PollPeriod, "lfs.poll", Administrator, Interval, 5, year, "86400"},
		{PollRetries, "lfs.retries", Producer, Number, 0, 1000, "4"},
		{PollRetryPeriod, "", Administrator, Interval, 1, day, "300"},
		{renewInterval, "licensing.renewInterval", Producer, Number, 1, 90, "15"},
		{responseLife, "licensing.responseLifetime", Producer, Interval, 1, 10 * year, "86400"},
		{sessionTimeout, "", Administrator, Interval, 60, day, "1800"},
		{"storage-backup", "database.backup-enabled", Administrator, Flag, 0, 0, "true"},
		{includeAll, "lfs.syncTo.includeAll", Producer, Flag, 0, 0, "true"},
		{tokenLife, "security.token.duration", Both, Interval, 60, day, "1800"},
		{UsageDetail, "", Administrator, Flag, 0, 0, "false"},
		{"virtual-clients", "licensing.allowVirtualClients", Producer, Flag, 0, 0, "true"},
		{"virtual-server", "licensing.allowVirtualServer", Producer, Flag, 0, 0, "true"},
		{ZoneOffset, "", Administrator, Interval, -14 * 60 * 60, 14 * 60 * 60, "0"},
	}
}

// What is done with a USB stick that is plugged in: it is served by itself, after somebody at the machine has confirmed it, or not at all.
const (
	MediaAuto    = "auto"
	MediaConfirm = "confirm"
	MediaOff     = "off"
)

// Choices are the words of which a Choice is one.
func (k Known) Choices() []string {
	if k.Kind != Choice {
		return nil
	}
	return []string{MediaAuto, MediaConfirm, MediaOff} // the one choice that there is
}

// Media is what is done with a USB stick that is plugged in. Where the trusted storage is lost, so is what was set: nothing is done then until somebody at the machine says so, as
// sticks may have been off, and may be the only way that a response comes in by.
func (l *Ledger) Media() string {
	if l.lost != 0 {
		return MediaConfirm
	}
	return l.setting(MediaMode)
}

// SetPolicy changes a setting, or with an empty value lets go of it. A setting that belongs to the producer is refused by name.
type SetPolicy struct {
	Name  string
	Value string
	By    string
}

// Configured: a setting has this value from now on; an empty one is the producer's or the default again.
type Configured struct {
	Setting Setting `cbor:"1,keyasint"`
	By      string  `cbor:"2,keyasint,omitzero"`

	Spent capability.Seconds `cbor:"3,keyasint,omitzero"` // of the ration of moves of client keys, as in Registered
}

// closes says that a setting takes something away from client keys: from all that are strange.
func (s Setting) closes() bool { return s.Name == ClientKeysOnly && s.Value == "true" }

func (SetPolicy) command() {}

// check puts a value into its one form.
func (k Known) check(value string) (string, error) {
	switch k.Kind {
	case Flag:
		if value != "true" && value != "false" {
			return "", fmt.Errorf("%q where true or false is wanted", value)
		}
	case Text:
		if err := capability.CheckText(value); err != nil {
			return "", err
		}
	case Choice:
		if !slices.Contains(k.Choices(), value) {
			return "", fmt.Errorf("%q where one of these is wanted: %s", value, strings.Join(k.Choices(), ", "))
		}
	case Location:
		return location(value)
	case Fingerprint:
		return fingerprint(value)
	case Place:
		return place(value)
	case Groups:
		return groupList(value)
	case Interval, Number:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil && k.Kind == Interval {
			n, err = seconds(value)
		}
		if err != nil || n < k.Least || n > k.Most {
			return "", fmt.Errorf("%q where %d to %d is wanted", value, k.Least, k.Most)
		}
		return strconv.FormatInt(n, 10), nil
	}
	return value, nil
}

// seconds reads 90s, 15m, 8h or 7d.
func seconds(s string) (int64, error) {
	unit := map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86400}
	if s == "" || unit[s[len(s)-1:]] == 0 {
		return 0, fmt.Errorf("%q is not a length of time", s)
	}
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 32)
	return n * unit[s[len(s)-1:]], err
}

func known(name string) (Known, bool) {
	all := KnownSettings()
	i := slices.IndexFunc(all, func(k Known) bool { return k.Name == name })
	if i < 0 {
		return Known{}, false
	}
	return all[i], true
}

func (l *Ledger) setPolicy(now Now, c SetPolicy) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	k, is := known(c.Name)
	if !is {
		return Decision{}, capability.Refuse(capability.ErrNotFound, "", "no setting is called %q", c.Name)
	}
	if k.Owner == Producer {
		return Decision{}, capability.Refuse(capability.ErrLocked, k.Name, "it belongs to the producer, and is %s", cmpOr(l.setting(k.Name), "not set"))
	}
	value := c.Value
	if value != "" {
		var err error
		if value, err = k.check(value); err != nil {
			return Decision{}, malformed(k.Name, "%v", err)
		}
	}
	if l.changed(k.Name) == value {
		return Decision{}, nil
	}
	f := &Configured{Setting: Setting{Name: k.Name, Value: value}, By: c.By}
	if f.Setting.closes() { // as with what is taken away from logins and keys
		var err error
		if f.Spent, err = l.keyMove(now, k.Name); err != nil {
			return Decision{}, err
		}
	}
	d := l.decided(now, Entry{Configured: f})
	d.Move = f.Spent != 0
	return d, nil
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (l *Ledger) applyConfigured(f *Configured) error {
	k, is := known(f.Setting.Name)
	if !is || k.Owner == Producer {
		return corrupt("setting %q is not an administrator's", f.Setting.Name)
	}
	if f.Spent != 0 && !f.Setting.closes() {
		return corrupt("setting %q is set with a move", f.Setting.Name)
	}
	if err := l.applyKeyMove(f.Spent); err != nil {
		return corrupt("setting %q: %w", f.Setting.Name, err)
	}
	at, here := slices.BinarySearchFunc(l.settings, f.Setting.Name, func(s Setting, name string) int { return strings.Compare(s.Name, name) })
	if here {
		l.settings = slices.Delete(l.settings, at, at+1)
	}
	defer l.detail()
	if f.Setting.Value == "" {
		return nil
	}
	if value, err := k.check(f.Setting.Value); err != nil || value != f.Setting.Value {
		return corrupt("setting %s is %q: %w", k.Name, f.Setting.Value, err)
	}
	l.settings = slices.Insert(l.settings, at, f.Setting)
	return nil
}

// changed is what an administrator set, or nothing.
func (l *Ledger) changed(name string) string {
	at, here := slices.BinarySearchFunc(l.settings, name, func(s Setting, name string) int { return strings.Compare(s.Name, name) })
	if !here {
		return ""
	}
	return l.settings[at].Value
}

// setting is the value in force: an administrator's, the producer's, or the default.
func (l *Ledger) setting(name string) string {
	if v := l.changed(name); v != "" {
		return v
	}
	p := l.policy()
	interval := func(s capability.Seconds) string { return strconv.FormatInt(int64(s), 10) }
	switch name {
	case leaseInterval:
		return interval(p.Lease)
	case binding:
		return p.Binding.String()
	case bindingDongle:
		if p.Dongle != (hostid.ID{}) {
			return p.Dongle.String()
		}
	case bindingGrace:
		return interval(graceOf(p))
	case renewInterval:
		return strconv.Itoa(int(p.RenewPercent))
	case responseLife:
		return interval(p.ResponseLife)
	case tolerance:
		return interval(p.Tolerance)
	case granularity:
		return Granularity(p.Granularity).String()
	case holderPolicy:
		return p.Holders.String()
	case DuplicateClients:
		return strconv.FormatBool(p.Duplicates)
	case includeAll:
		return strconv.FormatBool(!p.States)
	case BorrowMaximum:
		if p.BorrowMaximum > 0 {
			return interval(p.BorrowMaximum)
		}
	}
	k, _ := known(name)
	return k.Default
}

// interval is what an administrator set of an interval that has no default.
func (l *Ledger) interval(name string) capability.Seconds {
	value := l.changed(name)
	if value == "" {
		return 0 // as of what is no number, but that costs an error, and every line of a request asks
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0
	}
	return capability.Seconds(n)
}

// followsDates says that the items are divided anew when one of them starts or expires.
func (l *Ledger) followsDates() bool { return l.changed(ModelAtDates) != "false" }

// SettingView is a setting with its value in force.
type SettingView struct {
	Known
	Value   string
	Changed bool   // by an administrator
	Note    string // why the value is not what its owner set
}

// Settings is every setting with its value in force, by name.
func (l *Ledger) Settings() (out []SettingView) {
	for _, k := range KnownSettings() {
		v := SettingView{Known: k, Value: l.setting(k.Name), Changed: l.changed(k.Name) != ""}
		if k.Name == DuplicateClients && l.applied.Policy.Duplicates && len(l.groups) > 0 {
			v.Note = "the producer allows duplicates; off while reservations exist"
		}
		out = append(out, v)
	}
	return out
}

// Granularity is what the end of a lease is rounded up to. Numbers are on the wire.
type Granularity uint8

// The granularities. A lease ends with the last second of its minute, hour or day; the day is the server's.
const (
	Second Granularity = iota
	Minute
	Hour
	Day
)

func (g Granularity) String() string {
	return [...]string{"second", "minute", "hour", "day"}[min(g, Day)]
}

// Zone is by how much the clocks of the site are before UTC, as its administrator says.
func (l *Ledger) Zone() capability.Seconds { return l.interval(ZoneOffset) }

// end is the last second of the part of the server's day that t is in; zone is the server's offset from UTC.
func (g Granularity) end(t capability.Time, zone capability.Seconds) capability.Time {
	length := [...]capability.Time{1, 60, 3600, 86400}[min(g, Day)]
	local := t.Add(zone)
	return (local - (local%length+length)%length + length - 1).Add(-zone)
}

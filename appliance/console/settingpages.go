package console

import (
	"cmp"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/hostid"
)

func settingRoutes() []route {
	see := needs(ledger.ToSee)
	return []route{
		{pattern: "GET /about", gate: see, do: (*visit).about},
		{pattern: "GET /settings", gate: signedIn, do: (*visit).settingsPage},
		{pattern: "POST /settings", gate: signedIn, do: (*visit).settingsForm},
		{pattern: "POST /columns", gate: signedIn, do: (*visit).columnsForm},
		{pattern: "GET /properties", gate: see, do: (*visit).properties},
		{pattern: "POST /properties", gate: needs(ledger.ToSet), do: (*visit).propertiesForm, stands: true},
	}
}

type aboutView struct{ Build, System, Browser web.Facts }

func (v *visit) about() error {
	var view aboutView
	view.Build.Add("Leasehold", v.Version)
	view.Build.Add("Made with", runtime.Version())
	view.System.Add("Host ID", v.Host.String())
	view.System.Add("System", runtime.GOOS+" on "+runtime.GOARCH)
	view.System.Add("Processors", runtime.NumCPU())
	view.System.Add("Serving since", v.Since)
	view.System.Add("Start", v.Start)
	view.Browser.Add("Browser", cmp.Or(v.r.UserAgent(), "says nothing of itself"))
	view.Browser.Add("Languages", v.r.Header.Get("Accept-Language"))
	return v.show("about", "About", view)
}

type preferencesView struct {
	web.Sent
	Size   web.Field
	Server web.Facts
}

func (v *visit) settingsPage() error {
	view := preferencesView{Sent: v.Sent, Size: web.Field{
		Name: "size", Label: "Page Size", Hint: fmt.Sprintf("records of a page, 1 to %d", maxRows), Kind: web.KindNumber, Must: true, Value: v.Typed("/settings", "size", strconv.Itoa(v.pageSize())),
	}}
	host, port, _ := strings.Cut(v.r.Host, ":")
	view.Server.Add("License Server Host Name", host)
	view.Server.Add("License Server", "Local License Server")
	view.Server.Add("Listen Port", cmp.Or(port, "443"))
	view.Server.Add("Connect Using HTTPS", "Yes")
	return v.show("settings", "Settings", view)
}

func (v *visit) settingsForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(form.Get("size")))
	if err != nil || n < 1 || n > maxRows {
		return v.again(capability.Refuse(capability.ErrForm, "size", "%q is no number from 1 to %d", form.Get("size"), maxRows), (*visit).settingsPage)
	}
	v.view.size = n
	v.keepViews()
	v.say("Pages have %d records now.", n)
	return v.goTo("/settings")
}

// columnsForm keeps which columns of a list are to be seen.
func (v *visit) columnsForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	path := web.Local(form.Get("path"))
	var hidden []string
	for _, name := range form["all"] {
		if !slices.Contains(form["column"], name) {
			hidden = append(hidden, name)
		}
	}
	if strings.HasPrefix(path, "/devices/") || len(hidden) > 32 {
		return v.goTo(path)
	}
	if len(hidden) == 0 {
		delete(v.view.hidden, path)
	} else {
		v.view.hidden[path] = hidden
	}
	v.keepViews()
	if from, err := url.Parse(v.r.Referer()); err == nil && from.Host == v.r.Host && from.Path == path {
		path = web.Local((&url.URL{Path: path, RawQuery: from.RawQuery}).String())
	}
	return v.goTo(path)
}

// propertyGroup is a group of settings, in the place where administrators of other servers look for it.
type propertyGroup struct {
	Title  string
	Facts  web.Facts
	Fields []propertyField
	Fixed  []Setting
}

type propertyField struct {
	web.Field
	Was   string
	Known string // its name on other servers
	Note  string
}

// propertyNames are the settings of each group. What is in none is in the last one.
func propertyNames() []propertyGroupNames {
	return []propertyGroupNames{
		{"Secure REST API Settings", []string{"security", "token-life", "open-reads", "session-timeout"}},
		{"Server Sync Settings", []string{"sync-to", "sync-include-all", "sync-from", ledger.UsageDetail}},
		{"License Generation", []string{"lease-interval", "renew-interval", ledger.BorrowMaximum, "borrow-granularity", "response-lifetime", "apply-before", "offline-tolerance", "seat-tolerance", "expiry-sweep", ledger.ClientKeysOnly, ledger.IdleLimit, ledger.ModelAtDates, ledger.DuplicateClients, "holders", ledger.ZoneOffset}},
		{"Settings for Server-to-Server Sync Between Appliances (Failover)", []string{"failover-uris", "failover-maintenance"}},
		{"Capability Polling Settings", []string{ledger.OfficeURL, ledger.OfficeCertificate, ledger.PollPeriod, ledger.PollRetries, ledger.PollRetryPeriod, "poll-page"}},
		{"Locally Deployed License Servers Settings", []string{"binding", "binding-dongle", "binding-grace", "host-id-check", "host-id-order", "built-in-nic", "virtual-server", "virtual-clients", "virtual-check", "clone-suspect", "tiers", "storage-backup", ledger.MediaMode}},
		{"Logging Properties", []string{"log-directory", "log-threshold"}},
	}
}

type propertyGroupNames struct {
	title string
	names []string
}

type propertiesView struct {
	web.Sent
	Sets   bool
	Groups []propertyGroup
}

func (v *visit) properties() error {
	all, err := got[[]Setting](v, v.Console.policies)
	if err != nil {
		return err
	}
	view := propertiesView{Sent: v.Sent, Sets: v.may(ledger.ToSet)}
	general, err := v.generalGroup()
	if err != nil {
		return err
	}
	view.Groups = append(view.Groups, general)
	groups := propertyNames()
	var rest []string
	for _, s := range all {
		if !slices.ContainsFunc(groups, func(g propertyGroupNames) bool { return slices.Contains(g.names, s.Name) }) {
			rest = append(rest, s.Name)
		}
	}
	if len(rest) > 0 {
		groups = append(groups, propertyGroupNames{"Further Settings", rest})
	}
	for _, g := range groups {
		group := propertyGroup{Title: g.title}
		for _, name := range g.names {
			at := slices.IndexFunc(all, func(s Setting) bool { return s.Name == name })
			if at < 0 {
				continue
			}
			if k, may := settable(name); may && view.Sets {
				group.Fields = append(group.Fields, v.propertyField(&all[at], k))
			} else {
				group.Fixed = append(group.Fixed, all[at])
			}
		}
		view.Groups = append(view.Groups, group)
	}
	return v.show("properties", "License Server Properties", view)
}

// settable says whether an administrator may set it here.
func settable(name string) (ledger.Known, bool) {
	all := ledger.KnownSettings()
	at := slices.IndexFunc(all, func(k ledger.Known) bool { return k.Name == name })
	if at < 0 || all[at].Owner == ledger.Producer || all[at].Owner == ledger.Admitter {
		return ledger.Known{}, false
	}
	return all[at], true
}

func (v *visit) propertyField(s *Setting, k ledger.Known) propertyField {
	value := ""
	if s.Changed {
		value = s.Value
	}
	f := propertyField{Was: value, Known: s.KnownAs, Note: s.Note, Field: web.Field{Name: "set-" + s.Name, Label: s.Name, Kind: web.KindText, Value: v.Typed("/properties", "set-"+s.Name, value)}}
	f.Hint = "empty: " + cmp.Or(s.Default, "none")
	if k.Kind == ledger.Flag {
		f.Kind, f.Options = web.KindSelect, []string{"", "true", "false"}
	}
	if k.Kind == ledger.Choice {
		f.Kind, f.Options = web.KindSelect, append([]string{""}, k.Choices()...)
	}
	switch {
	case k.Kind == ledger.Interval:
		f.Hint = fmt.Sprintf("seconds, or as 15m, %d to %d; %s", k.Least, k.Most, f.Hint)
	case k.Kind == ledger.Number:
		f.Hint = fmt.Sprintf("%d to %d; %s", k.Least, k.Most, f.Hint)
	}
	return f
}

// generalGroup is what the machine is.
func (v *visit) generalGroup() (propertyGroup, error) {
	g := propertyGroup{Title: "General Properties"}
	m, err := got[*Machine](v, v.Console.machine)
	if err != nil {
		return g, err
	}
	h, err := got[*Health](v, v.Console.health)
	if err != nil {
		return g, err
	}
	var ids []string
	uuid := "not told"
	for _, id := range m.IDs {
		ids = append(ids, id.Host.String())
		if t, err := hostid.ParseType(id.Host.Type); err == nil && (t == hostid.BoardUUID || t == hostid.VMUUID) {
			uuid = id.Host.Value
		}
	}
	g.Facts.Link("Host IDs", strings.Join(ids, ", "), "/hostids")
	g.Facts.Add("License server version", h.Version)
	g.Facts.Add("Device UUID", uuid)
	g.Facts.Marked("Status", h.State, map[string]string{"serving": "good", "refusing": "bad"}[h.State])
	return g, nil
}

// propertiesForm sets what is different from what the page had. What somebody else has set meanwhile is named, and not written over.
func (v *visit) propertiesForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) {
		all, err := got[[]Setting](v, v.Console.policies)
		if err != nil {
			return "", err
		}
		var saved []string
		for _, s := range all {
			if !form.Has("set-" + s.Name) {
				continue
			}
			want, was, is := strings.TrimSpace(form.Get("set-"+s.Name)), form.Get("was-"+s.Name), ""
			if s.Changed {
				is = s.Value
			}
			if want == was || want == is {
				continue
			}
			if is != was {
				err = capability.Refuse(capability.ErrMeanwhile, s.Name, "it is %q now", is)
			} else {
				err = v.putPolicy(v.r.Context(), SettingForm{Name: s.Name, Value: want}, v.asker)
			}
			if err != nil {
				if len(saved) > 0 {
					v.say("Saved before that: %s.", strings.Join(saved, ", "))
				}
				return "", err
			}
			saved = append(saved, s.Name)
		}
		if len(saved) == 0 {
			v.say("Nothing was different.")
		} else {
			v.say("Saved: %s.", strings.Join(saved, ", "))
		}
		return "/properties", nil
	}), (*visit).properties)
}

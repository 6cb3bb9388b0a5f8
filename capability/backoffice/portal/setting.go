package portal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) settingRoutes() []route {
	set := needs(entitlement.ToSet)
	return []route{
		{pattern: "GET /settings", gate: set, do: (*visit).settings},
		{pattern: "POST /settings/policy", gate: set, do: (*visit).setPolicy},
		{pattern: "POST /settings/boot", gate: set, do: (*visit).setBoot},
	}
}

type settingsView struct {
	web.Sent
	Policy web.Facts
	Fields []web.Field
	Keys   []signerRow
	Limits web.Facts
	Boots  []bootRow
}

type signerRow struct {
	Name, State, From, Until, Fingerprint string
	Number                                uint64
	Limits, Revokes                       []string
}

type bootRow struct {
	ID, Note, By, Since string
	Allowed             bool
}

func (v *visit) settings() error {
	view := settingsView{Sent: v.Sent}
	err := v.office(func(o *backoffice.Office) error {
		p := o.Book().Policy()
		view.Policy, view.Fields = policyFacts(&p), v.policyFields(&p)
		keys, err := o.Keys(v.now)
		if err != nil {
			return err
		}
		for i := range keys {
			view.Keys = append(view.Keys, signerOf(&keys[i]))
		}
		if l, err := o.Limits(v.now); err == nil {
			view.Limits = limitFacts(&l)
		} else if !errors.Is(err, backoffice.ErrNoSigningKey) {
			return err
		}
		for _, s := range o.Book().BootStates() {
			r := bootRow{s.ID(), s.Note, s.By, "allowed " + s.Allowed.String(), s.Withdrawn == 0}
			if !r.Allowed {
				r.Since = "withdrawn " + s.Withdrawn.String()
			}
			view.Boots = append(view.Boots, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("settings", "Settings", view)
}

// policyFacts is what of the policy is decided when the back office is made.
func policyFacts(p *entitlement.Policy) (f web.Facts) {
	f.Add("Producer", p.Producer)
	f.Add("Lease interval", p.Lease)
	f.Add("Responses are good for", p.ResponseLife)
	f.Add("Lowest tier", p.MinimumTier)
	f.Add("Binding", p.Binding)
	f.Add("Repairs on one word", p.Repairs.Count())
	for _, l := range p.Limits {
		f.Add("Limit of a tier", l.String())
	}
	return f
}

// policyFields are what of the policy can be changed here, as on the command line.
func (v *visit) policyFields(p *entitlement.Policy) []web.Field {
	var excluded []string
	for _, t := range p.Excluded {
		excluded = append(excluded, t.String())
	}
	name := func(t entitlement.HostType) string {
		if t == 0 {
			return ""
		}
		return t.String()
	}
	return v.fill("/settings/policy", []web.Field{
		{Name: "online", Label: "Requests over the network", Hint: "answered without an operator: of no machine, of those on record, or also a first one with an activation ID", Kind: web.KindSelect, Options: []string{entitlement.NothingOnline.String(), entitlement.KnownOnline.String(), entitlement.AnyoneOnline.String()}},
		{Name: "write_offs", Label: "Write-offs", Hint: "machines of one activation ID that may be written off in 365 days", Kind: web.KindNumber, Must: true},
		{Name: "detail", Label: "Records of usage name users, where the site allows it", Kind: web.KindCheck},
		{Name: "states", Label: "Machines tell how the day stands, and keep a record a day", Hint: "else each request ends a record; reports have the same sums", Kind: web.KindCheck},
		{Name: "excluded", Label: "Excluded types of host IDs", Hint: "one a line, as DEVICE_KEY: their machines are given nothing", Kind: web.KindArea},
		{Name: "client_type", Label: "Type of host ID of a client that is put on record by hand", Kind: web.KindText},
		{Name: "server_type", Label: "The same of a server", Kind: web.KindText},
	}, map[string]string{
		"online": p.Online.String(), "write_offs": strconv.Itoa(p.WriteOffs.Count()), "detail": map[bool]string{true: "yes"}[p.Detail], "states": map[bool]string{true: "yes"}[p.States], "excluded": strings.Join(excluded, ";"), "client_type": name(p.ClientType), "server_type": name(p.ServerType),
	})
}

func signerOf(k *backoffice.KeyView) signerRow {
	r := signerRow{Name: k.Name, State: k.State, Number: k.Number, From: web.When(k.From), Until: web.When(k.Until), Fingerprint: fmt.Sprintf("%x", k.Fingerprint), Limits: backoffice.LimitWords(&k.Limits)}
	if k.Token {
		r.State += ", half of it in a token"
	}
	for _, revoked := range k.Revoked {
		r.Revokes = append(r.Revokes, fmt.Sprintf("%x", revoked.Key))
	}
	return r
}

// limitFacts is what the key that signs now may sign, and what it has signed lately.
func limitFacts(l *backoffice.LimitsView) (f web.Facts) {
	f.Add("Key", l.Name)
	for _, words := range backoffice.LimitWords(&l.Limits) {
		f.Add("Limit", words)
	}
	f = append(f, web.Fact{Name: "Signed", Value: fmt.Sprintf("%d responses in this hour, %d in a day", l.Signed.Hour, l.Signed.Day)})
	for _, product := range slices.Sorted(maps.Keys(l.Signed.Products)) {
		f.Add("Given in a day", fmt.Sprintf("%s: %d copies", product, l.Signed.Products[product]))
	}
	if l.Limited != nil {
		f.Marked("Not signed", fmt.Sprintf("%s for %s: %s", l.Limited.Time, l.Limited.Host.Short(), l.Limited.Detail), "warn")
	}
	return f
}

// hostType reads the name of a type of host IDs.
func hostType(s string) (t entitlement.HostType, err error) { return t, t.UnmarshalText([]byte(s)) }

func (v *visit) setPolicy() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	err = v.act(func(o *backoffice.Office) (err error) {
		p := o.Book().Policy()
		if p.Online, err = parsed(form, "online", entitlement.ParseOnlinePolicy); err != nil {
			return err
		}
		n, err := count(form, "write_offs")
		if err != nil {
			return err
		}
		p.WriteOffs, p.Detail, p.States, p.Excluded = entitlement.LimitRepairs(int(n)), form.Get("detail") == "yes", form.Get("states") == "yes", nil
		for _, name := range strings.Fields(form.Get("excluded")) {
			t, err := hostType(name)
			if err != nil {
				return field("excluded", err)
			}
			p.Excluded = append(p.Excluded, t)
		}
		if p.ClientType, err = parsed(form, "client_type", hostType); err != nil {
			return err
		}
		if p.ServerType, err = parsed(form, "server_type", hostType); err != nil {
			return err
		}
		if err := p.Validate(); err != nil {
			return field("policy", err)
		}
		return o.Do(entitlement.SetPolicy{Policy: p, By: v.login.Name}, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).settings)
	}
	v.say("The policy is set. Machines have it with their next responses.")
	return v.goTo("/settings")
}

// setBoot allows a boot state, or withdraws one that is allowed.
func (v *visit) setBoot() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	err = v.act(func(o *backoffice.Office) error {
		id := form.Get("withdraw")
		if id == "" {
			state, err := hex.DecodeString(strings.Join(strings.Fields(form.Get("state")), ""))
			if err != nil || len(state) != entitlement.StateBytes {
				return capability.Refuse(capability.ErrForm, "state", "want the values of PCR 7, 11 and 12 as %d hexadecimal digits", 2*entitlement.StateBytes)
			}
			return bootError(o.AllowBoot(state, strings.TrimSpace(form.Get("note")), v.login.Name, v.now))
		}
		for _, s := range o.Book().BootStates() {
			if s.ID() == id {
				return bootError(o.WithdrawBoot(s.State, v.login.Name, v.now))
			}
		}
		return foreign(id)
	})
	if err != nil {
		return v.again(err, (*visit).settings)
	}
	return v.goTo("/settings")
}

// bootError is about what was said of a boot state.
func bootError(err error) error {
	if errors.Is(err, entitlement.ErrBoot) {
		return capability.Refuse(capability.ErrForm, "", "%v", err)
	}
	return err
}

package model

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Facts are what a request says of its sender. An empty text is an absent one.
type Facts struct {
	Hosts      []hostid.ID       // of the device; the user counts as one more of type USER
	User       string            // a claim, unless the caller proved it
	Alias      string            // the device's name for people: hostname
	DeviceType string            // hosttype
	Dictionary []capability.Pair // the same key several times is an array of values
}

// Route is the way of a request through the rules.
type Route struct {
	Accept  bool
	Pools   []string // in the order of serving, each once; DefaultPool among them where it is routed
	Default bool     // DefaultPool is among Pools: overdraft can be reached
	Spec    *Spec    // for a request that names no feature: nil where no rule has the clause
	Limits  []Limit  // of every rule that was true, in their order; all hold
	Rule    int      // number, from 1, of the rule that accepted or denied; 0 where the end was reached
	At      Position // of that rule
}

// Route takes a request through the rules from top to bottom. With no rule true it ends in the default pool alone; a request that is denied has
// no pools.
func (m *Model) Route(f Facts) Route {
	if m == nil || len(m.Rules) == 0 {
		return Route{Accept: true, Pools: []string{DefaultPool}, Default: true}
	}
	v := f.values()
	r := Route{Accept: true}
	some, gathered := false, map[string]bool{}
	for i := range m.Rules {
		rule := &m.Rules[i]
		if !rule.Condition.holds(&v) {
			continue
		}
		some = true
		if rule.Action == Deny {
			return Route{Rule: i + 1, At: rule.Position}
		}
		for _, n := range rule.Use {
			if !gathered[n.Text] {
				gathered[n.Text] = true
				r.Pools = append(r.Pools, n.Text)
			}
		}
		if r.Spec == nil {
			r.Spec = rule.Spec
		}
		r.Limits = append(r.Limits, rule.Limits...)
		if rule.Action == Accept {
			r.Rule, r.At = i+1, rule.Position
			break
		}
	}
	if !some {
		r.Pools = []string{DefaultPool}
	}
	r.Default = gathered[DefaultPool] || !some
	return r
}

// values are facts in the form tests look at.
type values struct {
	hosts      []string // value/TYPE
	user       string
	alias      string
	deviceType string
	dictionary []capability.Pair
}

func (f Facts) values() values {
	v := values{user: f.User, alias: f.Alias, deviceType: f.DeviceType, dictionary: f.Dictionary}
	for _, id := range f.Hosts {
		v.hosts = append(v.hosts, id.String())
	}
	if f.User != "" {
		v.hosts = append(v.hosts, hostid.ID{Type: hostid.User, Value: f.User}.String())
	}
	return v
}

func (c *Condition) holds(v *values) bool {
	switch c.Operator {
	case Not:
		return !c.Parts[0].holds(v)
	case And:
		for i := range c.Parts {
			if !c.Parts[i].holds(v) {
				return false
			}
		}
		return true
	case Or:
		for i := range c.Parts {
			if c.Parts[i].holds(v) {
				return true
			}
		}
		return false
	}
	return c.Test.holds(v)
}

func (t *Test) holds(v *values) bool {
	switch t.Subject {
	case HostID:
		return slices.ContainsFunc(v.hosts, t.values.matches)
	case Hostname:
		return v.alias != "" && t.values.matches(v.alias)
	case HostType:
		return v.deviceType != "" && t.values.matches(v.deviceType)
	case User:
		return v.user != "" && t.values.matches(v.user)
	case Dictionary:
		for i := range t.keys {
			k := &t.keys[i]
			if !slices.ContainsFunc(v.dictionary, func(p capability.Pair) bool { return p.Key == k.key && k.values.matches(p.Value) }) {
				return false
			}
		}
	}
	return true
}

package ledger

import (
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// The settings of a directory have one form, and those that could be read in two ways are refused.
func TestDirectorySettings(t *testing.T) {
	v := begin(t)
	for _, c := range []struct{ name, value, want string }{ // want empty: refused
		{DirectoryURL, "ldaps://dc.example.org", "ldaps://dc.example.org"},
		{DirectoryURL, "ldaps://dc.example.org:1636/", "ldaps://dc.example.org:1636"},
		{DirectoryURL, "ldap://[2001:db8::1]:389", "ldap://[2001:db8::1]:389"},
		{DirectoryURL, "https://idp.example.org/realms/plant/", "https://idp.example.org/realms/plant/"},
		{DirectoryURL, "http://idp.example.org", ""},
		{DirectoryURL, "ldapi:///run/slapd", ""},
		{DirectoryURL, "ldaps://", ""},
		{DirectoryURL, "ldaps://cn=a:secret@dc.example.org", ""},
		{DirectoryURL, "ldaps://dc.example.org/dc=example?uid?sub", ""},
		{DirectoryURL, "ldaps://dc.example.org/dc=example", ""},
		{DirectoryURL, "https://u:p@idp.example.org", ""},
		{DirectoryURL, "https://idp.example.org?x=1", ""},
		{DirectoryURL, "dc.example.org", ""},
		{DirectoryRole(capability.Viewer), "cn=a,dc=x;cn=b,dc=x", "cn=a,dc=x; cn=b,dc=x"},
		{DirectoryRole(capability.Viewer), ` cn=a\3Bb,dc=x `, `cn=a\3Bb,dc=x`},
		{DirectoryRole(capability.Viewer), `cn=a\;b,dc=x`, ""},
		{DirectoryRole(capability.Viewer), "a;;b", ""},
		{DirectoryRole(capability.Viewer), "a;b;a", ""},
		{DirectoryRole(capability.Viewer), ";", ""},
		{DirectoryRole(capability.Viewer), strings.Repeat("a", capability.MaxText+1), ""},
	} {
		d, err := v.do(SetPolicy{Name: c.name, Value: c.value})
		var m *capability.Malformed
		switch {
		case c.want == "" && (!asMalformed(err, &m) || m.Field != c.name):
			t.Errorf("%s %q: %v", c.name, c.value, err)
		case c.want != "" && (err != nil || len(d.Entries) != 1 || d.Entries[0].Configured.Setting.Value != c.want):
			t.Errorf("%s %q: %+v, %v, want %q", c.name, c.value, d.Entries, err, c.want)
		}
	}
}

// Nobody has a role that no group of his has, and groups are told apart to the last sign.
func TestDirectoryRoles(t *testing.T) {
	v := begin(t)
	if d := v.l.Directory(); d.URL != "" || len(d.Mapped) != 0 || len(d.AllGroups()) != 0 || d.RolesOf([]string{""}) != nil {
		t.Errorf("%+v", d)
	}
	v.must(SetPolicy{Name: DirectoryURL, Value: "ldaps://dc.example.org"})
	v.must(SetPolicy{Name: DirectoryRole(capability.Viewer), Value: "all; plant"})
	v.must(SetPolicy{Name: DirectoryRole(capability.SecurityAdministrator), Value: "security; plant"})
	d := v.l.Directory()
	if d.Issuer() || d.Name != "uid" || !slices.Equal(d.AllGroups(), []string{"all", "plant", "security"}) {
		t.Errorf("%+v", d)
	}
	for groups, want := range map[string][]capability.Role{
		"": nil, "other": nil, "Security": nil, "plant2": nil, "security ": nil,
		"all": {capability.Viewer}, "other,all": {capability.Viewer}, "security": {capability.SecurityAdministrator}, "plant": {capability.Viewer, capability.SecurityAdministrator}, "security,all": {capability.Viewer, capability.SecurityAdministrator},
	} {
		if got := d.RolesOf(strings.Split(groups, ",")); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", groups, got, want)
		}
	}
	v.must(SetPolicy{Name: DirectoryURL, Value: "https://idp.example.org"})
	if d := v.l.Directory(); !d.Issuer() || d.Name != "preferred_username" || d.Groups != "groups" {
		t.Errorf("%+v", d)
	}
	for _, r := range capability.Roles() {
		if k, is := known(DirectoryRole(r)); !is || k.Owner != Admitter || k.Kind != Groups {
			t.Errorf("%s: %+v", r, k)
		}
	}
}

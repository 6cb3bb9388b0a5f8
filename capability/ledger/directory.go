package ledger

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// The settings of sign-ins that a directory of the site judges: one server of LDAP, or one issuer of OpenID Connect. Without an address there are none. They belong to who admits logins: whoever says which
// group has which role could give himself every role.
const (
	DirectoryURL     = "directory-url"
	DirectoryAccount = "directory-account" // the DN that looks people up, or the client ID at the issuer
	DirectoryBase    = "directory-base"    // the DN below which people are, of LDAP
	DirectoryName    = "directory-name"    // the attribute or the claim that names somebody
	DirectoryGroups  = "directory-groups"  // the claim with the groups, of OpenID Connect
	DirectoryScope   = "directory-scope"   // what an issuer is asked for beside openid and profile

	directoryOf = "directory-" // and a role: its groups
)

// Directory says where people are known, and which of its groups has which role.
type Directory struct {
	URL     string // ldaps://HOST, ldap://HOST for STARTTLS, or the issuer https://HOST; empty: nobody but this appliance judges sign-ins
	Account string
	Base    string
	Name    string
	Groups  string
	Scope   string
	Mapped  []MappedRole // those that have groups, in the order of Roles
}

// MappedRole is a role that members of any of these groups have.
type MappedRole struct {
	Role   capability.Role
	Groups []string // at least one
}

// DirectoryRole is the name of the setting with the groups of a role.
func DirectoryRole(r capability.Role) string {
	return directoryOf + strings.ReplaceAll(r.String(), " ", "-")
}

// Directory are the settings in force.
func (l *Ledger) Directory() Directory {
	d := Directory{URL: l.setting(DirectoryURL), Account: l.setting(DirectoryAccount), Base: l.setting(DirectoryBase), Name: l.setting(DirectoryName), Groups: l.setting(DirectoryGroups), Scope: l.setting(DirectoryScope)}
	if d.Name == "" {
		d.Name = "uid"
		if d.Issuer() {
			d.Name = "preferred_username"
		}
	}
	for _, r := range capability.Roles() {
		if groups, err := groupsOf(l.setting(DirectoryRole(r))); err == nil && len(groups) > 0 {
			d.Mapped = append(d.Mapped, MappedRole{r, groups})
		}
	}
	return d
}

// Issuer says that it is one of OpenID Connect, to which browsers are sent. Else it is asked about a name and a password.
func (d *Directory) Issuer() bool { return strings.HasPrefix(d.URL, "https:") }

// AllGroups are those that have a role, each once, in order.
func (d *Directory) AllGroups() (all []string) {
	for _, m := range d.Mapped {
		all = append(all, m.Groups...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// RolesOf are the roles of somebody who is in these groups, in order; nobody has one that no group of his has.
func (d *Directory) RolesOf(groups []string) (roles []capability.Role) {
	for _, m := range d.Mapped {
		if slices.ContainsFunc(m.Groups, func(g string) bool { return slices.Contains(groups, g) }) {
			roles = append(roles, m.Role)
		}
	}
	return roles
}

// place is the one form of a directory's address. Plain LDAP is never spoken: ldap:// is for STARTTLS.
func place(value string) (string, error) {
	if strings.HasPrefix(value, "https:") {
		if _, err := location(value); err != nil {
			return "", err
		}
		return value, nil // an issuer is its name, to the last sign
	}
	if err := capability.CheckText(value); err != nil {
		return "", err
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is no address", value)
	case u.Scheme != "ldaps" && u.Scheme != "ldap" || u.Hostname() == "":
		return "", fmt.Errorf("%q where ldaps://HOST, ldap://HOST or https://HOST is wanted", value)
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("%q with more than a host and a port", value)
	}
	return u.Scheme + "://" + u.Host, nil
}

// groupsOf are the names in a value that has semicolons between them. A DN with one in it has it as \3B.
func groupsOf(value string) (groups []string, err error) {
	if value == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(value, ";") {
		part = strings.TrimSpace(part)
		if part == "" || strings.HasSuffix(part, `\`) {
			return nil, errors.New(`an empty group: names have a semicolon between them, and one in a name is written \3B`)
		}
		if slices.Contains(groups, part) {
			return nil, fmt.Errorf("%q is there twice", part)
		}
		groups = append(groups, part)
	}
	return groups, nil
}

// groupList is the one form of such a value.
func groupList(value string) (string, error) {
	if err := capability.CheckText(value); err != nil {
		return "", err
	}
	groups, err := groupsOf(value)
	return strings.Join(groups, "; "), err
}

package capability

import "fmt"

// Role is a bundle of permissions that a login can have, on the appliance and at the back office; each says for itself what a role may do there. Numbers are on disk.
type Role uint8

// The roles.
const (
	Viewer                Role = 1
	Operator              Role = 2
	LicenseAdministrator  Role = 3
	SecurityAdministrator Role = 4
	Auditor               Role = 5

	maxRole = Auditor
)

// Known says that it is one of them.
func (r Role) Known() bool { return r > 0 && r <= maxRole }

func (r Role) String() string {
	if !r.Known() {
		return fmt.Sprintf("role %d", uint8(r))
	}
	return [...]string{"viewer", "operator", "license administrator", "security administrator", "auditor"}[r-1]
}

// MarshalText is the name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (r *Role) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRole(string(b))
	return err
}

// ParseRole reads what String writes.
func ParseRole(s string) (Role, error) {
	for _, r := range Roles() {
		if s == r.String() {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q is no role: want viewer, operator, license administrator, security administrator or auditor", s)
}

// Roles are all of them, in order.
func Roles() []Role {
	list := make([]Role, maxRole)
	for n := range list {
		list[n] = Role(n + 1)
	}
	return list
}

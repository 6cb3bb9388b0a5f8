package ledger

import (
	"fmt"
	"slices"
)

// Permission is one thing that somebody may do on the appliance.
type Permission uint8

// The permissions.
const (
	// ToSee everything but the audit trail and the logins.
	ToSee Permission = iota
	// ToReport usage.
	ToReport
	// ToServe: leases, reservations, the model.
	ToServe
	// ToExchange with the back office: requests, responses, returns; the recovery key, backups.
	ToExchange
	// ToSet what an administrator may choose.
	ToSet
	// ToAdmit logins.
	ToAdmit
	// ToSecure: the time, the certificate, what the machine is, keys.
	ToSecure
	// ToAudit the entries.
	ToAudit

	permissionCount = iota
)

func (p Permission) String() string {
	return [permissionCount]string{"see", "report", "serve", "exchange", "set", "admit", "secure", "audit"}[p]
}

// AllPermissions are all of them, in order.
func AllPermissions() []Permission {
	list := make([]Permission, permissionCount)
	for p := range list {
		list[p] = Permission(p)
	}
	return list
}

// Permissions is a set of them.
type Permissions uint16

// Everything is every permission, as who owns the machine has them.
const Everything Permissions = 1<<permissionCount - 1

// PermissionsOf is the set of these.
func PermissionsOf(list ...Permission) (all Permissions) {
	for _, p := range list {
		all |= 1 << p
	}
	return all
}

// Has says that a permission is among them.
func (all Permissions) Has(p Permission) bool { return p < permissionCount && all&(1<<p) != 0 }

// Role is a bundle of permissions. Numbers are on disk.
type Role uint8

const (
	// Viewer looks, and takes reports.
	Viewer Role = 1
	// Operator also manages leases, reservations and the model.
	Operator Role = 2
	// LicenseAdministrator also exchanges files with the back office, and sets what may be chosen.
	LicenseAdministrator Role = 3
	// SecurityAdministrator admits logins, and keeps time, certificate and keys. It brings no rights in and gives none away.
	SecurityAdministrator Role = 4
	// Auditor looks, also at every entry.
	Auditor Role = 5

	maxRole = Auditor
)

func (r Role) String() string {
	if r == 0 || r > maxRole {
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

// Permissions are what a role may do. No role has both ToSecure and ToExchange: who sets the time brings no rights in.
func (r Role) Permissions() Permissions {
	switch r {
	case Viewer:
		return PermissionsOf(ToSee, ToReport)
	case Operator:
		return PermissionsOf(ToSee, ToReport, ToServe)
	case LicenseAdministrator:
		return PermissionsOf(ToSee, ToReport, ToServe, ToExchange, ToSet)
	case SecurityAdministrator:
		return PermissionsOf(ToSee, ToReport, ToAdmit, ToSecure, ToAudit)
	case Auditor:
		return PermissionsOf(ToSee, ToReport, ToAudit)
	}
	return 0
}

// RolesFor are the roles with a permission, in order.
func RolesFor(p Permission) []Role {
	return slices.DeleteFunc(Roles(), func(r Role) bool { return !r.Permissions().Has(p) })
}

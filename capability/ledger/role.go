package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
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

// PermissionsOfRole are what a role may do: a viewer looks and takes reports; an operator also manages leases, reservations and the model; a license administrator also exchanges files with the back office, and sets
// what may be chosen; a security administrator admits logins, keeps time, certificate and keys, and brings no rights in and gives none away; an auditor looks, also at every entry. No role has both ToSecure and
// ToExchange: who sets the time brings no rights in.
func PermissionsOfRole(r capability.Role) Permissions {
	switch r {
	case capability.Viewer:
		return PermissionsOf(ToSee, ToReport)
	case capability.Operator:
		return PermissionsOf(ToSee, ToReport, ToServe)
	case capability.LicenseAdministrator:
		return PermissionsOf(ToSee, ToReport, ToServe, ToExchange, ToSet)
	case capability.SecurityAdministrator:
		return PermissionsOf(ToSee, ToReport, ToAdmit, ToSecure, ToAudit)
	case capability.Auditor:
		return PermissionsOf(ToSee, ToReport, ToAudit)
	}
	return 0
}

// RolesFor are the roles with a permission, in order.
func RolesFor(p Permission) []capability.Role {
	return slices.DeleteFunc(capability.Roles(), func(r capability.Role) bool { return !PermissionsOfRole(r).Has(p) })
}

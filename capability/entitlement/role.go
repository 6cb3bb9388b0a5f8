package entitlement

import (
	"fmt"
	"slices"
)

// Permission is one thing that somebody who is signed in may do.
type Permission uint8

// The permissions. What a login of a customer's account may do it may do within that account and those below it; what only Staff can be given, nobody of a customer has.
const (
	// ToSee lists and pages.
	ToSee Permission = iota
	// ToAnswer request files.
	ToAnswer
	// ToAssign users, seats and groups.
	ToAssign
	// ToMove rights: map, ask back, order a re-host, propose what needs a second person.
	ToMove
	// ToReport usage.
	ToReport
	// ToAdmit logins.
	ToAdmit
	// ToEntitle: accounts, products, models, line items. Staff's.
	ToEntitle
	// ToApprove what somebody else has proposed. Staff's.
	ToApprove
	// ToAudit the entries of the book. Staff's.
	ToAudit
	// ToSet the policy and what holds for all. Staff's.
	ToSet

	permissions = iota
)

// staffOnly is the first permission that no customer has.
const staffOnly = ToEntitle

func (p Permission) String() string {
	return [permissions]string{"see", "answer", "assign", "move", "report", "admit", "entitle", "approve", "audit", "set"}[p]
}

// Permissions are all of them, in order.
func Permissions() []Permission {
	list := make([]Permission, permissions)
	for p := range list {
		list[p] = Permission(p)
	}
	return list
}

// Role is a bundle of permissions.
type Role uint8

const (
	// Viewer looks, and takes reports.
	Viewer Role = 1
	// Operator answers requests, and gives seats out.
	Operator Role = 2
	// LicenseAdministrator also entitles, moves rights and stands for what others propose.
	LicenseAdministrator Role = 3
	// SecurityAdministrator admits logins and sets what holds for all. It answers nothing and entitles nobody.
	SecurityAdministrator Role = 4
	// Auditor looks, also at every entry.
	Auditor Role = 5

	maxRole = Auditor
)

func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Operator:
		return "operator"
	case LicenseAdministrator:
		return "license administrator"
	case SecurityAdministrator:
		return "security administrator"
	case Auditor:
		return "auditor"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// MarshalText makes JSON show the name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

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

// bundle is what a role may do.
func (r Role) bundle() []Permission {
	switch r {
	case Viewer:
		return []Permission{ToSee, ToReport}
	case Operator:
		return []Permission{ToSee, ToReport, ToAnswer, ToAssign}
	case LicenseAdministrator:
		return []Permission{ToSee, ToReport, ToAnswer, ToAssign, ToMove, ToEntitle, ToApprove}
	case SecurityAdministrator:
		return []Permission{ToSee, ToAdmit, ToApprove, ToSet}
	case Auditor:
		return []Permission{ToSee, ToReport, ToAudit}
	}
	return nil
}

// May says that a login has a permission. Where it has it is Within's matter.
func (l *Login) May(p Permission) bool {
	if l.Disabled || l.Account != "" && p >= staffOnly {
		return false
	}
	return slices.ContainsFunc(l.Roles, func(r Role) bool { return slices.Contains(r.bundle(), p) })
}

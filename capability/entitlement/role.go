package entitlement

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
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

// bundle is what a role may do: a viewer looks and takes reports; an operator also answers requests and gives seats out; a license administrator also entitles, moves rights and stands for what others propose; a
// security administrator admits logins and sets what holds for all, answers nothing and entitles nobody; an auditor looks, also at every entry.
func bundle(r capability.Role) []Permission {
	switch r {
	case capability.Viewer:
		return []Permission{ToSee, ToReport}
	case capability.Operator:
		return []Permission{ToSee, ToReport, ToAnswer, ToAssign}
	case capability.LicenseAdministrator:
		return []Permission{ToSee, ToReport, ToAnswer, ToAssign, ToMove, ToEntitle, ToApprove}
	case capability.SecurityAdministrator:
		return []Permission{ToSee, ToAdmit, ToApprove, ToSet}
	case capability.Auditor:
		return []Permission{ToSee, ToReport, ToAudit}
	}
	return nil
}

// May says that a login has a permission. Where it has it is Within's matter.
func (l *Login) May(p Permission) bool {
	if l.Disabled || l.Account != "" && p >= staffOnly {
		return false
	}
	return slices.ContainsFunc(l.Roles, func(r capability.Role) bool { return slices.Contains(bundle(r), p) })
}

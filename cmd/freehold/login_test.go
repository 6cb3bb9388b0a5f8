package main

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

func TestWordsAboutLogins(t *testing.T) {
	code := capability.Digest{1}
	for _, c := range []struct {
		entry        entitlement.Entry
		what, detail string
	}{
		{entitlement.Entry{Login: &entitlement.LoginFact{Login: entitlement.Login{Name: "keller", Roles: []capability.Role{capability.Viewer, capability.Auditor}, Code: code, CodeEnds: 1_800_000_000}}},
			"set the login", "of the staff, viewer, auditor, one-time code good until 2027-01-15T08:00:00Z"},
		{entitlement.Entry{Login: &entitlement.LoginFact{Login: entitlement.Login{Name: "larsen", Account: "ACME", Subject: "corp 4711", Disabled: true, Passkeys: make([]entitlement.Passkey, 2)}}},
			"set the login", "of ACME, disabled, signs in as corp 4711, passkeys: 2"},
		{entitlement.Entry{Login: &entitlement.LoginFact{Login: entitlement.Login{Name: "larsen", Account: "ACME"}, Remove: true}}, "removed the login", "of ACME"},
		{entitlement.Entry{SignIn: &entitlement.SignIn{Name: "keller", From: "192.0.2.1", How: "passkey"}}, "signed in", "from 192.0.2.1 (passkey)"},
		{entitlement.Entry{SignIn: &entitlement.SignIn{Name: "keller", From: "192.0.2.1", How: "password", Failed: 5}}, "closed the login", "after 5 tries from 192.0.2.1 failed (password)"},
	} {
		if what, detail := auditWords(&c.entry); what != c.what || detail != c.detail {
			t.Errorf("%q, %q; want %q, %q", what, detail, c.what, c.detail)
		}
	}
}

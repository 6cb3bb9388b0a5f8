package backoffice

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
)

// What a signing key may not give by file it does not give to a device online, and no seat is taken for an answer that nobody signs.
func TestSeatsKeepTheLimits(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	do := func(c entitlement.Command) {
		t.Helper()
		if err := o.Do(c, today); err != nil {
			t.Fatal(err)
		}
	}
	policy := o.Book().Policy()
	policy.Online, policy.MinimumTier = entitlement.KnownOnline, entitlement.Software
	do(entitlement.SetPolicy{Policy: policy, By: "operator"})
	do(entitlement.SetModel{Model: entitlement.LicenseModel{Name: "fixed", Kind: entitlement.FixedUser, State: entitlement.ModelDeployed}, By: "operator"})
	v, err := o.Entitle(entitlement.Item{Customer: "ACME Works", Product: "Render", Model: "fixed", Copies: 2, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, "operator", today)
	if err != nil {
		t.Fatal(err)
	}
	user := entitlement.UserID{Account: "ACME Works", Name: "ana"}
	do(entitlement.AssignSeat{ActivationID: v.ActivationID, User: user, By: "operator"})
	w := newWorkstation(t)
	token, _, err := o.Token(user, wire.DeviceOf(w.public()), today)
	if err != nil {
		t.Fatal(err)
	}
	seat := func(count uint32) error {
		file := w.request(o, v.ActivationID, count, func(r *capability.Request) { r.Number = 0 })
		_, err := o.Seat(file, Seating{Token: token, By: "online"}, today)
		return err
	}
	refused := func(code capability.Code) {
		t.Helper()
		var no *capability.Refusal
		if err := seat(1); !errors.As(err, &no) || no.Code != code {
			t.Errorf("a seat: %v", err)
		}
		if n := len(o.Book().Sessions(v.ActivationID, today)); n > 0 {
			t.Errorf("%d sessions run, and nobody was told", n)
		}
	}
	refused(capability.ErrNoSigningKey)
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "A"}), Terms{Limits: wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh"}}}}))
	refused(capability.ErrSigningLimit)
	if l := o.Book().Limited(); l == nil || l.Host != w.host() {
		t.Errorf("on record is %+v", l)
	}
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "B"}), Terms{Limits: wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh"}, {Product: "Render", Copies: 1}}}}))
	if err := seat(1); err != nil {
		t.Fatal(err)
	}
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "C"}), Terms{Limits: wire.Limits{Products: []wire.ProductLimit{{Product: "Mesh"}}}}))
	if err := seat(0); err != nil || len(o.Book().Sessions(v.ActivationID, today)) > 0 {
		t.Errorf("a seat is given back: %v", err)
	}
}

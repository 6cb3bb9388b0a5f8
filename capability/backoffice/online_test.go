package backoffice

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
)

// seatRequest asks for a seat, and is no request by file.
func (w *workstation) seatRequest(o *Office, id capability.ActivationID, count uint32) []byte {
	return w.request(o, id, count, func(r *capability.Request) { r.Number, r.Epoch = 0, 0 })
}

// answer is what a seat's answer says to its machine.
func (w *workstation) answer(o *Office, file []byte) *capability.Response {
	w.t.Helper()
	s, err := o.codec.ReadResponse(file)
	if err == nil {
		_, _, err = o.codec.Verify(o.Trust(), s)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := wire.UnwrapAsDevice(w.box, wire.DeviceOf(w.public()), s.Wrap)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := o.codec.Open(s, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// Answers that give a seat count against the limits of the signing key, those that no entry of the book counts yet too; answers that give nothing do not. Beyond a limit nothing is signed, and what runs goes on.
func TestSeatsCountAgainstTheLimits(t *testing.T) {
	c := newCeremony(t)
	_, o := c.bound()
	mustInstall(t, o, c.certify(mustRequest(t, o, KeyAsk{Name: "A"}), Terms{Limits: wire.Limits{Hour: 5, Products: []wire.ProductLimit{{Product: "Load Lab", Copies: 1, Day: 2}}}}))
	policy := o.Book().Policy()
	policy.Online = entitlement.KnownOnline
	user := entitlement.UserID{Account: "ACME Works", Name: "ana@acme.example"}
	v, err := o.Entitle(entitlement.Item{Customer: "ACME Works", Product: "Load Lab", Copies: 5, Mode: entitlement.Online, Features: []entitlement.Feature{{Name: "load", Version: capability.Version{Major: 1}, PerCopy: 1}}}, "operator", today)
	if err == nil {
		err = errors.Join(o.Do(entitlement.SetPolicy{Policy: policy, By: "operator"}, today), o.Do(entitlement.AddUser{ID: user, By: "operator"}, today),
			o.Do(entitlement.SetPool{ActivationID: v.ActivationID, Everybody: true, By: "operator"}, today))
	}
	if err != nil {
		t.Fatal(err)
	}
	id := v.ActivationID
	take := func(w *workstation) error {
		token, _, err := o.Token(user, wire.DeviceOf(w.public()), today)
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.Seat(w.seatRequest(o, id, 1), Seating{Token: token, By: "test"}, today)
		return err
	}
	signed := func(hour, more uint64) {
		t.Helper()
		l, err := o.Limits(today)
		if err != nil || l.Signed.Hour != hour || l.Signed.Products["Load Lab"] != more {
			t.Errorf("%d answers in the hour, %d more copies, where %d and %d were: %v", l.Signed.Hour, l.Signed.Products["Load Lab"], hour, more, err)
		}
	}
	limited := func(err error) bool {
		no := (*capability.Refusal)(nil)
		return errors.As(err, &no) && no.Code == capability.ErrSigningLimit
	}
	one, two, three := newWorkstation(t), newWorkstation(t), newWorkstation(t)
	if err := take(one); err != nil {
		t.Fatal(err)
	}
	signed(1, 1)
	renew := func(w *workstation) ([]byte, error) {
		return o.Seat(w.seatRequest(o, id, 1), Seating{By: "test"}, today)
	}
	for range 2 { // the promise covers them: no entry
		_, before := o.Book().Head()
		if file, err := renew(one); err != nil || len(one.answer(o, file).Items) != 1 {
			t.Fatal(err)
		}
		if _, after := o.Book().Head(); after != before {
			t.Errorf("%d entries for a renewal", after-before)
		}
	}
	signed(3, 1)
	for range 3 { // strangers use nothing up
		stranger := newWorkstation(t)
		file, err := renew(stranger)
		if err != nil {
			t.Fatal(err)
		}
		if r := stranger.answer(o, file); r.Status != capability.StatusDenied || len(r.Items) != 0 || len(r.Denials) != 1 || r.Denials[0].Code != capability.ErrSessionEnded {
			t.Errorf("%+v", r)
		}
	}
	signed(3, 1)
	if err := take(two); err != nil { // its entry counts what came before
		t.Fatal(err)
	}
	signed(4, 2)
	if err := take(three); !limited(err) {
		t.Errorf("a third copy in the day: %v", err)
	}
	if _, err := renew(one); err != nil {
		t.Error(err)
	}
	signed(5, 2)
	_, before := o.Book().Head()
	if _, err := renew(one); !limited(err) {
		t.Errorf("a sixth answer in the hour: %v", err)
	}
	if _, after := o.Book().Head(); after != before {
		t.Error("an entry for each renewal that is not signed")
	}
	if file, err := o.Seat(one.seatRequest(o, id, 0), Seating{By: "test"}, today); err != nil || one.answer(o, file).Status != capability.StatusReturned {
		t.Errorf("what is given back is taken: %v", err)
	}
	if err := o.Book().Check(); err != nil {
		t.Error(err)
	}
}

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

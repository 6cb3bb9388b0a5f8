package entitlement

import (
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What an appliance served is what its records say, of the 30 days before the newest; without records nothing is known.
func TestServedBy(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 9, nil)
	m := newReporter(w, 1)
	if v, known := w.book.ServedBy(m.id.Host); known || v.Features == nil {
		t.Errorf("%+v", v)
	}
	m.hear(w.mustDo(m.write(1, 0, want(id, 5))).Response)
	if _, known := w.book.ServedBy(m.id.Host); known {
		t.Error("something is known without a record")
	}
	for n := range 40 {
		m.use(usage(uint64(n+1), id, n))
	}
	u := usage(3, id, 39)
	for _, name := range []string{"bob", "ada", "bob"} {
		u.User, u.Denials = name, nil
		m.use(u)
	}
	m.hear(w.mustDo(m.write(1, 100)).Response)
	v, known := w.book.ServedBy(m.id.Host)
	if !known || v.Upto != 43 || v.Until != u.Until || len(v.Features) != 1 {
		t.Fatalf("%+v", v)
	}
	var served, denied, peak uint64
	for _, r := range w.book.Usage(v.From, v.Until, "") {
		if r.User == "" {
			served, denied, peak = served+r.Served, denied+r.Denied(), max(peak, r.Peak)
		}
	}
	want := ServedFeature{ActivationID: id, Feature: "render", Peak: peak, Served: served, Denied: denied, Users: []string{"ada", "bob"}}
	if !reflect.DeepEqual(v.Features[0], want) || served == 0 {
		t.Errorf("%+v, want %+v", v.Features[0], want)
	}
	if all := w.book.Usage(0, 1<<40, ""); len(all) <= 31 || v.From <= capability.Time(0) {
		t.Errorf("%d rows, from %s", len(all), v.From)
	}
}

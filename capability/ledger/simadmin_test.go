package ledger

import (
	"errors"
	"fmt"
	"maps"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// administer does what a license administrator may.
func (w *world) administer() error {
	pick := func(all ...string) string { return all[w.rng.IntN(len(all))] }
	var c Command
	switch w.rng.IntN(11) {
	case 0, 1:
		c = SetModel{Text: []byte(pick(simModels()...))}
	case 2:
		c = DeleteModel{}
	case 3, 4:
		groups := w.groups()
		c = SetReservations{Groups: groups}
		if w.rng.IntN(2) == 0 && len(groups) > 0 {
			c = PutGroup{Group: groups[0]}
		}
	case 5:
		c = DeleteReserved{ID: 1 + w.rng.Uint64N(30)}
	case 6:
		name := pick(BorrowMaximum, IdleLimit, ModelAtDates, ZoneOffset)
		value := map[string]string{BorrowMaximum: pick("", "100", "8h"), IdleLimit: pick("", "100"), ModelAtDates: pick("true", "false"), ZoneOffset: pick("3600", "-5h", "")}[name]
		c = SetPolicy{Name: name, Value: value}
	case 7:
		c = DisconnectIdle{After: 1 + capability.Seconds(w.rng.IntN(500)), Feature: pick("", "f")}
	case 8, 9:
		c = Drain{ActivationID: simItems()[w.rng.IntN(8)].ActivationID, Copies: w.rng.Uint32N(3), Deadline: w.now.Wall + 1 + capability.Time(w.rng.IntN(600)), By: "admin"}
	case 10:
		if len(w.l.drains) == 0 {
			return nil
		}
		c = CancelDrain{ActivationID: w.l.drains[w.rng.IntN(len(w.l.drains))].ActivationID}
	}
	held := w.holdings()
	d, err := w.decide(c)
	var no *capability.Refusal
	switch {
	case errors.As(err, &no) && (no.Code == capability.ErrReserved || no.Code == capability.ErrModelInForce):
		w.happened[refusedModel]++
	case err != nil || len(d.Entries) == 0:
	case d.Entries[0].Modeled != nil:
		w.happened[modeled]++
	case d.Entries[0].Reserved != nil:
		w.happened[reserved]++
	case d.Entries[0].Configured != nil:
		w.happened[configured]++
	case d.Entries[0].Dropped != nil:
		w.happened[disconnected]++
	}
	// Whatever an administrator does, nobody loses a lease by it.
	if now := w.holdings(); !maps.Equal(held, now) {
		return fmt.Errorf("%T changed what is held from %v to %v", c, held, now)
	}
	return broken(err)
}

// admit makes, changes and ends logins now and then. From the first one on somebody can admit others, and nobody holds more or less by it.
func (w *world) admit() error {
	if w.staff.IntN(12) > 0 {
		return nil
	}
	name := []string{"ada", "Bo", "cy", "ADA"}[w.staff.IntN(4)]
	var roles []capability.Role
	for _, r := range capability.Roles() {
		if w.staff.IntN(3) == 0 {
			roles = append(roles, r)
		}
	}
	flag := w.staff.IntN(2) == 0
	commands := []Command{
		AddLogin{Name: name, Roles: roles, Password: []byte{1}}, AddLogin{Name: name, Roles: append(roles, capability.SecurityAdministrator), Password: []byte{2}, First: flag},
		ChangeLogin{Name: name, Roles: &roles}, ChangeLogin{Name: name, Disabled: &flag, Password: []byte{byte(w.step)}}, RemoveLogin{Name: name},
		AddToken{Login: name, Name: "t", Hash: TokenHash(fmt.Sprint(w.step)), Life: 1 + capability.Seconds(w.staff.IntN(2000))}, EndToken{Login: name, Name: "T"},
		RegisterKey{Key: capability.Digest{byte(len(name)), byte(w.staff.IntN(3)) + 1}, Kind: wire.KeyP256, Name: name}, RemoveKey{Key: capability.Digest{byte(len(name)), byte(w.staff.IntN(3)) + 1}},
	}
	c := commands[w.staff.IntN(len(commands))]
	held, before := w.holdings(), len(w.l.logins)
	d, err := w.decide(c)
	var no *capability.Refusal
	switch {
	case errors.As(err, &no) && no.Code == capability.ErrApplianceLast:
		w.happened[refusedLast]++
	case err == nil && len(d.Entries) > 0:
		w.happened[admitted]++
	}
	admits := 0
	for _, g := range w.l.Logins() {
		if g.Permissions().Has(ToAdmit) {
			admits++
		}
	}
	if before > 0 && admits == 0 {
		return fmt.Errorf("after %+v nobody admits logins", c)
	}
	if now := w.holdings(); !maps.Equal(held, now) {
		return fmt.Errorf("%T changed what is held from %v to %v", c, held, now)
	}
	return broken(err)
}

// strict says that the producer of this life may ask for more than a TPM.
func (w *world) strict() bool { return w.seed%5 == 0 }

// drift changes the machine now and then, and a probe tells what it shows; sometimes an administrator said so before. Nobody loses a lease by it.
func (w *world) drift() error {
	if w.nature.IntN(6) == 0 {
		w.machine = "E"
		for _, p := range []string{"b", "n", "d", "k", "m"} {
			if w.nature.IntN(4) > 0 {
				w.machine += p
			}
		}
		w.happened[driftedAway]++
	}
	held := w.holdings()
	if w.nature.IntN(20) == 0 {
		if err := w.run(PlanChange{By: "admin"}); err != nil {
			return err
		}
	}
	if w.nature.IntN(3) == 0 {
		if err := w.run(Recognize{Shown: shownBy(w.machine), Platform: capability.Platform{Virtual: capability.Bare}}); err != nil {
			return err
		}
	}
	if now := w.holdings(); !maps.Equal(held, now) {
		return fmt.Errorf("a drift changed what is held from %v to %v", held, now)
	}
	return nil
}

// holdings is the units of each item that each device holds, whatever their source.
func (w *world) holdings() map[string]uint32 {
	out := map[string]uint32{}
	for _, d := range w.l.Devices(w.now) {
		for _, h := range d.Holdings {
			out[fmt.Sprint(d.ID, d.Key[:8], h.Item, h.End)] += h.Count
		}
	}
	return out
}

func simModels() []string {
	return []string{
		`model "one" { partitions { partition "p" { "f" 1.0 3 "g" 1.0 50 % } partition "q" { "f" 2.0 2 } }
			on dictionary("bu":"a") { use "p" continue } on dictionary("bu":"b") { use "q", "default" accept } on any() { use "default" max "f" 1.0 4 per user accept } }`,
		`model "two" { partitions { partition "q" { "f" 1.0 remainder } partition "p" { "f" 1.0 9 "g" 1.0 1 } }
			on user("u1") { use "q" without requested features { all from "q" } accept } on dictionary("bu":"b") { deny }
			on any() { use "p", "q", "default" max "f" 1.0 3 per device, "g" 1.0 1 per device accept } }`,
		`model "three" { on any() { use "default" without requested features { "f" 1.0 2 "m" 1.0 1 } accept } }`,
		`model "bad" { partitions { partition "default" { } } }`,
	}
}

func (w *world) groups() []Group {
	var out []Group
	for _, name := range []string{"red", "green"}[:w.rng.IntN(3)] {
		var lines []string
		for _, owner := range []string{"c0/ETHERNET", "c1/ETHERNET", "u1/USER"} {
			for range w.rng.IntN(3) {
				lines = append(lines, fmt.Sprintf("%s %s %d", owner, []string{"f:1.0", "f:2.0", "g:1.0", "u:1.0"}[w.rng.IntN(4)], 1+w.rng.IntN(4)))
			}
		}
		if len(lines) > 0 {
			out = append(out, groups(name, lines...)...)
		}
	}
	return out
}

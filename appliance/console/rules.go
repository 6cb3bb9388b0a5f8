package console

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/model"
)

// rules are the resources of a license administrator: how counts are divided, and what else may be set.
func (c *Console) rules() []operation {
	return []operation{
		look("model", c.model),
		look("pools", c.pools),
		look("reservations", c.reservations),
		look("reservations/model", c.reservationsAsModel),
		look("policies", c.policies),
		look("seats", c.seats),
		change("POST model/check", ledger.ToServe, c.checkModel), // it changes nothing, but keeps the ledger busy
		change("PUT model", ledger.ToServe, c.uploadModel),
		change("DELETE model", ledger.ToServe, c.deleteModel),
		change("POST reservations", ledger.ToServe, c.reserve),
		change("PUT reservations", ledger.ToServe, c.importReservations),
		change("POST reservations/edit", ledger.ToServe, c.editReservation),
		change("DELETE reservations/{id}", ledger.ToServe, c.deleteReservation),
		changeAs("POST policies", ledger.ToSet, c.setPolicy),
		change("POST seats/disconnect", ledger.ToServe, c.disconnect),
	}
}

func (c *Console) model(r *http.Request) (any, error) {
	var out *Model
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) {
		if m, text := l.Model(); m != nil {
			out = &Model{Name: m.Name, Text: string(text)}
		}
	})
	if err == nil && out == nil {
		return nil, capability.Refuse(capability.ErrNotFound, "", "no model is in force")
	}
	return out, err
}

func readModel(r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, model.MaxFile+1)) // one byte above is refused by the model, with its position
	if err != nil {
		return nil, &capability.Malformed{Field: "body", Cause: err.Error()}
	}
	return text, nil
}

func (c *Console) checkModel(r *http.Request, _ string) (any, error) {
	text, err := readModel(r)
	if err != nil {
		return nil, err
	}
	return c.dryRun(r, text)
}

// dryRun copies the ledger in its owner's time and does the rest in its own: a copy of many leases takes the owner a tenth of what a dry run takes.
// A text that is refused needs no copy at all.
func (c *Console) dryRun(r *http.Request, text []byte) (out *ModelCheck, err error) {
	c.checking.Lock()
	defer c.checking.Unlock()
	var now ledger.Now
	var snapshot []byte
	err = c.look(r, func(l *ledger.Ledger, at ledger.Now) {
		if _, refused := l.Decide(at, ledger.SetModel{Text: text}); refused != nil {
			out = CheckModel(l, at, text)
			return
		}
		now, snapshot = at, l.Snapshot()
	})
	if err != nil || out != nil {
		return out, err
	}
	l, err := ledger.Restore(snapshot)
	if err != nil {
		return nil, err
	}
	return CheckModel(l, now, text), nil
}

// CheckModel is the dry run of an upload: what the upload would say, give to each pool, and move. Unless the upload is refused it becomes a fact in l,
// which is a copy that nobody needs any more.
func CheckModel(l *ledger.Ledger, now ledger.Now, text []byte) *ModelCheck {
	report := model.Check(text, now.Wall, l.Inventory())
	out := Checked(report)
	if report.Model == nil {
		return out
	}
	d, err := l.Decide(now, ledger.SetModel{Text: text})
	if err == nil && len(d.Entries) > 0 {
		err = out.upload(l, now, text, d.Entries)
	}
	if err != nil {
		out.Problem = new(Console).problem(err)
		return out
	}
	out.After = pools(l, now)
	return out
}

// upload says what moves, and makes the entries facts.
func (out *ModelCheck) upload(l *ledger.Ledger, now ledger.Now, text []byte, entries []ledger.Entry) error {
	moves, err := l.Moves(now, ledger.SetModel{Text: text})
	if err != nil {
		return err
	}
	for _, m := range moves {
		out.Moves = append(out.Moves, Move{Device: m.Device, Feature: m.Item.Feature, ActivationID: m.Item.ActivationID, Count: m.Count, From: m.From.String(), To: m.To.String()})
	}
	for _, e := range entries {
		if err := l.Apply(e); err != nil {
			return err
		}
	}
	return nil
}

// Checked is a report about a text in the form of the API, without moves.
func Checked(report model.Report) *ModelCheck {
	out := &ModelCheck{Refused: report.Model == nil, Findings: report.Findings, Pools: []PoolShare{}, Moves: []Move{}, After: []Pool{}}
	if out.Findings == nil {
		out.Findings = []model.Finding{}
	}
	for _, p := range report.Distribution.Pools {
		for _, s := range p.Shares {
			a := s.Allocation
			out.Pools = append(out.Pools, PoolShare{Pool: p.Name, Feature: a.Feature, Version: a.Version, Amount: a.Amount.String(), Want: s.Want, Got: s.Got, Short: s.Short()})
		}
	}
	return out
}

func (c *Console) uploadModel(r *http.Request, by string) (any, error) {
	text, err := readModel(r)
	if err != nil {
		return nil, err
	}
	return c.putModel(r, text, by)
}

// putModel puts a model in force, and says what its dry run said.
func (c *Console) putModel(r *http.Request, text []byte, by string) (*ModelCheck, error) {
	if !c.changing.TryLock() {
		return nil, capability.Refuse(capability.ErrBusy, "", "another upload or change of reservations is under way")
	}
	defer c.changing.Unlock()
	out, err := c.dryRun(r, text)
	if err != nil {
		return nil, err
	}
	_, err = c.Appliance.Change(r.Context(), ledger.SetModel{Text: text, By: by}, "model uploaded", by)
	return out, err
}

func (c *Console) deleteModel(r *http.Request, by string) (any, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	out := &Model{}
	if err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) {
		if m, text := l.Model(); m != nil {
			out.Name, out.Text = m.Name, string(text)
		}
	}); err != nil {
		return nil, err
	}
	_, err := c.Appliance.Change(r.Context(), ledger.DeleteModel{By: by}, "model deleted", by)
	return out, err
}

func (c *Console) pools(r *http.Request) (any, error) {
	out := []Pool{}
	err := c.look(r, func(l *ledger.Ledger, now ledger.Now) { out = pools(l, now) })
	return out, err
}

func pools(l *ledger.Ledger, now ledger.Now) []Pool {
	out := []Pool{}
	for _, s := range l.Slices() {
		p := Pool{
			Pool: s.Source.String(), ActivationID: s.Item.ActivationID, Feature: s.Item.Feature, Version: s.Version, Count: s.Count, Computed: s.Computed, Used: s.Used,
			Uncounted: s.Uncounted, Expiry: s.Expiry, Status: "valid",
		}
		switch {
		case s.Cut:
			p.Status = "withdrawn"
		case s.Expiry != 0 && now.Wall >= s.Expiry:
			p.Status = "expired"
		case s.Count < s.Computed:
			p.Status = "short"
		}
		out = append(out, p)
	}
	return out
}

func (c *Console) policies(r *http.Request) (any, error) {
	out := []Setting{}
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) { out = settings(l) })
	return out, err
}

func (c *Console) setPolicy(r *http.Request, a asker) (any, error) {
	var form SettingForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	if err := c.putPolicy(r.Context(), form, a); err != nil {
		return nil, err
	}
	var out Setting
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) {
		all := settings(l)
		out = all[slices.IndexFunc(all, func(s Setting) bool { return s.Name == form.Name })]
	})
	return out, err
}

// putPolicy sets a setting, or lets go of it. Those of the directory are set so on the appliance alone: over the network they are for who admits logins, and shows again who that is.
func (c *Console) putPolicy(ctx context.Context, form SettingForm, a asker) error {
	if ofDirectory(form.Name) {
		if !a.local || !a.may(ledger.ToAdmit) {
			return refuseDirectory(form.Name)
		}
		return c.putDirectory(ctx, form, a.by)
	}
	if err := refuseOutside(form.Name); err != nil {
		return err
	}
	if _, err := c.Appliance.Change(ctx, ledger.SetPolicy{Name: form.Name, Value: form.Value, By: a.by}, "policy "+strconv.Quote(form.Name)+" set", a.by); err != nil {
		return err
	}
	if c.Poll != nil {
		c.Poll.poke()
	}
	return nil
}

// seats shows who holds a count, the longest idle first, and who waits for one.
func (c *Console) seats(r *http.Request) (any, error) {
	feature, after, err := askedSeats(r)
	if err != nil {
		return nil, err
	}
	return c.seatsOf(r, feature, after)
}

// askedSeats are the feature and the time without use that a request for seats names; none: all.
func askedSeats(r *http.Request) (feature string, after capability.Seconds, err error) {
	feature = r.URL.Query().Get("feature")
	if s := r.URL.Query().Get("idle"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return "", 0, &capability.Malformed{Field: "idle", Cause: fmt.Sprintf("%q where a number of seconds is wanted", s)}
		}
		after = capability.Seconds(n)
	}
	return feature, after, nil
}

// of are those seats of a feature that were not used for so long, in lists of their own, and who waits for it.
func (s Seats) of(feature string, after capability.Seconds) Seats {
	out := Seats{Held: []Seat{}, Waiting: []Waiting{}}
	for _, h := range s.Held {
		if h.Idle >= after && (feature == "" || h.Feature == feature) {
			out.Held = append(out.Held, h)
		}
	}
	for _, w := range s.Waiting {
		if feature == "" || w.Feature == feature {
			out.Waiting = append(out.Waiting, w)
		}
	}
	return out
}

func (c *Console) seatsOf(r *http.Request, feature string, after capability.Seconds) (Seats, error) {
	out := Seats{Held: []Seat{}, Waiting: []Waiting{}}
	err := c.look(r, func(l *ledger.Ledger, now ledger.Now) {
		for _, d := range l.Idle(after, now) {
			for _, h := range d.Holdings {
				if feature != "" && h.Item.Feature != feature {
					continue
				}
				out.Held = append(out.Held, Seat{
					Host: d.ID.String(), Alias: d.Who.Alias, User: d.Who.User, Feature: h.Item.Feature, Version: h.Version, Count: h.Count, Pool: h.Source.String(),
					Idle: d.Idle, Expiry: h.Expiry, Dropped: h.Dropped, Unheard: h.Unheard,
				})
			}
		}
		var names []string
		for _, it := range l.Items(now) {
			if (feature == "" || it.Feature == feature) && !slices.Contains(names, it.Feature) {
				names = append(names, it.Feature)
			}
		}
		for _, name := range names {
			for _, w := range l.Queue(name, now) {
				out.Waiting = append(out.Waiting, Waiting{Feature: w.Feature, Position: w.Position, Host: w.Device.String(), Name: w.Name, Count: w.Count})
			}
		}
	})
	return out, err
}

func (c *Console) disconnect(r *http.Request, by string) (any, error) {
	var form Disconnect
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	return c.dropIdle(r.Context(), form, by)
}

// dropIdle ends leases that nobody has used, in the name of somebody.
func (c *Console) dropIdle(ctx context.Context, form Disconnect, by string) (*Disconnected, error) {
	d, err := c.Appliance.Change(ctx, ledger.DisconnectIdle{After: form.After, Feature: form.Feature, By: by}, "idle devices dropped", by)
	if err != nil {
		return nil, err
	}
	out := &Disconnected{Dropped: []Dropped{}}
	for _, e := range d.Entries {
		if e.Dropped != nil {
			out.Dropped = append(out.Dropped, Dropped{Host: e.Dropped.Device.String(), Feature: e.Dropped.Feature})
		}
	}
	out.More = len(out.Dropped) == ledger.MaxDisconnected
	return out, nil
}

package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// Console answers for one appliance.
type Console struct {
	Appliance *appliance.Appliance
	Lost      *capability.Refusal // what the start found of a storage that cannot be used; it stands until a response has repaired that
	Host      hostid.ID
	Trust     []byte // the bundle, as a file
	Version   string
	Start     string // the start decision in words
	Since     capability.Time
	Allowed   func(Peer) bool // whether a peer may steer; everybody on the socket may look
	Tells     func(Peer) bool // whether a peer is root or the account of the daemon, and may tell what the machine shows; nil: nobody
	Doctor    func(context.Context) []Examination
	Short     func() string               // what the disk is short of, in words; empty: of nothing
	CodeOf    func(error) capability.Code // of an error from below, or zero
	// OpenNote decrypts the note of a backup, which only the TPM that it was made on can.
	OpenNote func(key, note []byte) ([]byte, error)
	Poll     *Poll // nil: nothing is asked of a back office over the network
	// Directory has people judged who sign in by a directory of the site; nil: nobody is.
	Directory *Directory
	// Certificate is what browsers are shown; nil, or where it gives nil: nothing yet.
	Certificate func() *certificate.Shown
	// Metrics answers with figures for monitoring; nil: there are none.
	Metrics http.Handler
	// Brand is the producer's, for the pages; nil: ours.
	Brand *Brand
	// Pepper makes of a password what only this machine can make of it.
	Pepper func(password []byte) ([32]byte, error)

	Now func() time.Time // for sessions
	Log *slog.Logger

	opening  sync.Once
	entrance *entrance
	left     atomic.Pointer[LeftUpdate]

	changing sync.Mutex // one change of the model or the reservations at a time: what an administrator looked at is what he changes
	past     past
	media    media
	again    again
	enliven  sync.Once
	live     *live
	checking sync.Mutex // one dry run at a time: each needs as much memory as two copies of the ledger
}

// ProblemOf is err as an error reply. What has no code of its own is broken, not refused.
func ProblemOf(err error) *Problem {
	var refusal *capability.Refusal
	var m *capability.Malformed
	switch {
	case errors.As(err, &refusal):
	case errors.As(err, &m):
		refusal = capability.Refuse(capability.ErrForm, m.Field, "%s", m.Cause)
	case errors.Is(err, appliance.ErrEnded), errors.Is(err, appliance.ErrStorage):
		refusal = capability.Refuse(capability.ErrBusy, "", "the appliance is stopping")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		refusal = capability.Refuse(capability.ErrBusy, "", "no answer in time")
	default:
		refusal = capability.Refuse(capability.ErrInternal, "", "%v", err)
	}
	return &Problem{Code: refusal.Code, Symbol: refusal.Code.Symbol(), Denial: refusal.Denial, Text: refusal.Sentence()}
}

func status(c capability.Code) int {
	switch c {
	case capability.ErrSignInFirst, capability.ErrApplianceSignIn, capability.ErrApplianceToken:
		return http.StatusUnauthorized
	case capability.ErrTries:
		return http.StatusTooManyRequests
	case capability.ErrInternal:
		return http.StatusInternalServerError
	case capability.ErrProto, capability.ErrForm:
		return http.StatusBadRequest
	}
	switch c.Entry().Exit {
	case capability.ExitNotFound:
		return http.StatusNotFound
	case capability.ExitPolicy:
		return http.StatusForbidden
	case capability.ExitUsage, capability.ExitFile, capability.ExitOtherHost:
		return http.StatusUnprocessableEntity
	case capability.ExitTemporary:
		return http.StatusServiceUnavailable
	}
	return http.StatusConflict
}

func (c *Console) health(r *http.Request) (any, error) { return c.Health(r.Context()) }

// Health is how the appliance is.
func (c *Console) Health(ctx context.Context) (*Health, error) {
	h := &Health{Version: c.Version, Host: c.Host, Since: c.Since, Start: c.Start, Connections: c.Appliance.Connections(), Goroutines: runtime.NumGoroutine()}
	err := c.Appliance.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		s := l.Status(now)
		applied, _ := l.Applied()
		h.Now, h.Epoch = now.Wall, c.Appliance.Vault.Epoch()
		h.Journal.Position, h.Journal.Hash = headOf(c.Appliance.Vault)
		h.State = "serving"
		switch {
		case s.Lost != 0:
			h.State, h.Condition = "refusing", c.problem(c.lost(s.Lost))
		case applied.Serial == 0:
			h.State = "not activated"
		case s.Hold != 0:
			h.State, h.HoldUntil = "holding", s.HoldUntil
		}
		h.Applied, h.AppliedAt = applied.Serial, applied.Time
		h.Requests, h.Waiting = s.Number, s.Outstanding
		for _, t := range l.Returns() {
			t.Proof = nil
			h.Returns = append(h.Returns, t)
		}
		h.Drains = drains(l, now)
		for _, d := range applied.Denials {
			if d.Code == capability.AskedBack || d.Code == capability.ErrWrittenOff {
				h.TakenBack = append(h.TakenBack, TakenBack{d.Code, d.Code.Entry().Title, d.Subject, d.Asked, l.Settled(now)})
			}
		}
		h.Refused = applied.ReturnsRefused()
		if d, is := applied.Refused(); is {
			h.NotGiven = &NotGiven{d.Code, d.Code.Entry().Title, applied.Number, applied.Time, d.Detail}
		}
		h.Total, h.Used, h.Devices, h.Features = s.Total, s.Used, s.Devices, s.Items
		h.Expiry = NextExpiry(l, now)
		h.Policy, h.Media = l.Policy(), l.Media()
		h.NoPaper = applied.Serial != 0 && l.Recovery().Taken == 0
		machine := l.Machine(now)
		h.Binding = bindingOf(machine)
		if u := l.Usage(); u.Counted {
			h.Usage = &Usage{u.Last, u.Acknowledged, u.Waiting, u.Since, u.Detailed, u.Full}
		}
		if p := unboundProblem(machine); p != nil && h.Condition == nil {
			h.State, h.Condition = "refusing", p
		}
	})
	if err != nil {
		return nil, err
	}
	if _, _, alarms, err := c.Appliance.HostIDs(ctx); err != nil {
		return nil, err
	} else {
		h.Alarms = alarmsOf(alarms)
	}
	if c.Poll != nil {
		if h.Polling, err = c.Poll.polling(ctx); err != nil {
			return nil, err
		}
	}
	if s := c.shown(); s != nil {
		v := s.Look()
		h.Certificate = &v
	}
	if h.Clock, err = c.clock(ctx); err != nil {
		return nil, err
	}
	if c.Short != nil {
		h.Short = c.Short()
	}
	h.Left = c.left.Load()
	h.Conditions = Conditions(h)
	return h, nil
}

// look shows the ledger to f, unless it is only what stands in for a trusted storage that cannot be used.
func (c *Console) look(r *http.Request, f func(*ledger.Ledger, ledger.Now)) error {
	var lost capability.Code
	if err := c.Appliance.Look(r.Context(), func(l *ledger.Ledger, now ledger.Now) {
		if lost = l.Status(now).Lost; lost == 0 {
			f(l, now)
		}
	}); err != nil {
		return err
	}
	if lost != 0 {
		return c.lost(lost)
	}
	return nil
}

// lost is what the start found, in its own words where it has some.
func (c *Console) lost(code capability.Code) *capability.Refusal {
	if c.Lost != nil && c.Lost.Code == code {
		return c.Lost
	}
	return capability.Refuse(code, "", "")
}

// NextExpiry is the first expiry of an item that is still to come, or zero.
func NextExpiry(l *ledger.Ledger, now ledger.Now) capability.Time {
	var next capability.Time
	for _, it := range l.Items(now) {
		if it.Expiry > now.Wall && (next == 0 || it.Expiry < next) {
			next = it.Expiry
		}
	}
	return next
}

func headOf(v appliance.Vault) (uint64, capability.Digest) {
	p, h := v.Head()
	return p, h
}

func (c *Console) features(r *http.Request) (any, error) {
	out := []Feature{}
	err := c.look(r, func(l *ledger.Ledger, now ledger.Now) {
		for _, it := range l.Items(now) {
			f := Feature{LineItem: it.LineItem, Total: uint64(it.Count), Used: it.Used, Available: it.Available, Status: "valid"}
			switch {
			case it.Cut:
				f.Status, f.Total, f.Overage = "overage", 0, it.Used // the last response leaves it out
			case it.Over:
				f.Status, f.Overage = "overage", it.Used-f.Total
			case it.Dates == ledger.NotStarted:
				f.Status = "not started"
			case it.Dates == ledger.Expired:
				f.Status = "expired"
			case it.Dates == ledger.Doubted:
				f.Status = "clock held"
			case it.Returning > 0:
				f.Status, f.Returning, f.ReturnBy = "being returned", it.Returning, it.ReturnBy
			}
			out = append(out, f)
		}
	})
	return out, err
}

func (c *Console) devices(r *http.Request) (any, error) {
	out := []Device{}
	err := c.look(r, func(l *ledger.Ledger, now ledger.Now) {
		for _, d := range l.Devices(now) {
			row := Device{Host: HostOf(d.ID), Alias: d.Who.Alias, User: d.Who.User, Type: d.Who.DeviceType}
			if k, here := l.ClientKey(d.Key); here {
				key := clientKeyOf(k)
				row.Key = &key
			}
			for _, h := range d.Holdings {
				row.Holdings = append(row.Holdings, Holding{Feature: h.Item.Feature, Version: h.Version, ActivationID: h.Item.ActivationID, Count: h.Count, Expiry: h.Expiry, Dropped: h.Dropped, Unheard: h.Unheard})
				row.Expiry = max(row.Expiry, h.Expiry)
			}
			out = append(out, row)
		}
	})
	return out, err
}

func (c *Console) request(r *http.Request, by string) (any, error) {
	var wish Wish
	if err := decode(r, &wish); err != nil {
		return nil, err
	}
	return c.writeRequest(r.Context(), wish, by)
}

// writeRequest is a request file that asks for a wish.
func (c *Console) writeRequest(ctx context.Context, wish Wish, by string) (*Written, error) {
	if err := wish.check(); err != nil {
		return nil, err
	}
	f, err := c.Appliance.RequestFrom(ctx, wish.Desired, wish.From, by)
	if err != nil {
		return nil, err
	}
	c.media.count(capability.RequestMade)
	return &Written{Number: f.Number, Name: f.Name, File: f.Bytes}, nil
}

func (c *Console) response(r *http.Request, _ string) (any, error) {
	file, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, capability.MaxFile+1))
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileSize, "", "%v", err)
	}
	return c.applyFile(r.Context(), file)
}

// applyFile puts a response into force.
func (c *Console) applyFile(ctx context.Context, file []byte) (*Imported, error) {
	in, err := c.Appliance.Import(ctx, file)
	if err != nil {
		c.media.count(ProblemOf(err).Code)
		return nil, err
	}
	c.media.count(in.Code)
	return importedOf(in), nil
}

func (c *Console) answerClient(r *http.Request, by string) (any, error) {
	file, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, capability.MaxFile+1))
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileSize, "", "%v", err)
	}
	return c.answerFile(r.Context(), file, by)
}

// answerFile answers the request file of a PC.
func (c *Console) answerFile(ctx context.Context, file []byte, by string) (*Answered, error) {
	out, err := c.Appliance.AnswerFile(ctx, file, by)
	if err != nil {
		c.media.count(ProblemOf(err).Code)
		return nil, err
	}
	c.media.count(capability.FileAnswered)
	a := &Answered{Number: out.Number, Host: out.Host, Alias: out.Alias, Name: out.Name, File: out.Bytes, Serial: out.Response.Serial, Rights: out.Response.Rights}
	if a.Rights == nil {
		a.Rights = []capability.Right{}
	}
	return a, nil
}

// importedOf is what a response did, as administrators hear it.
func importedOf(in *appliance.Imported) *Imported {
	out := &Imported{Code: in.Code, Serial: in.Clear.Serial, Clear: in.Clear, Changes: []Change{}, Denials: slices.Clone(in.Response.Denials), Closed: in.Response.Acknowledged, Notices: in.Notices}
	for _, l := range in.Response.Lines {
		if l.Denial.Code != 0 {
			out.Denials = append(out.Denials, l.Denial)
		}
	}
	for _, i := range in.Response.Items {
		if i.UsedBefore > 0 {
			out.Used = append(out.Used, capability.Meter{ActivationID: i.ActivationID, Feature: i.Feature, Count: i.UsedBefore})
		}
	}
	for _, ch := range in.Changes {
		out.Changes = append(out.Changes, Change(ch))
	}
	return out
}

func (c *Console) giveBack(r *http.Request, by string) (any, error) {
	var g Giving
	if err := decode(r, &g); err != nil {
		return nil, err
	}
	if err := g.ActivationID.Validate(); err != nil {
		return nil, &capability.Malformed{Field: "activationId", Cause: err.Error()}
	}
	return c.Appliance.Return(r.Context(), g.ActivationID, g.Copies, by)
}

func (c *Console) drop(r *http.Request, by string) (any, error) {
	var d Drop
	if err := decode(r, &d); err != nil {
		return nil, err
	}
	return c.dropLease(r.Context(), d, by)
}

// dropLease ends a lease in the name of somebody, and says when its seat is free.
func (c *Console) dropLease(ctx context.Context, d Drop, by string) (*Holding, error) {
	if len(d.Reason) > capability.MaxText {
		return nil, &capability.Malformed{Field: "reason", Cause: fmt.Sprintf("%d bytes where at most %d are allowed", len(d.Reason), capability.MaxText)}
	}
	if d.Reason != "" {
		by = fmt.Sprintf("%s: %q", by, d.Reason)
	}
	device, err := d.Device.ID()
	if err != nil {
		return nil, &capability.Malformed{Field: "device.type", Cause: err.Error()}
	}
	if err := c.Appliance.Drop(ctx, ledger.Drop{Device: device, Feature: d.Feature, By: by}); err != nil {
		return nil, err
	}
	var held *Holding
	err = c.Appliance.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		for _, dev := range l.Devices(now) {
			for _, h := range dev.Holdings {
				if dev.ID == device && h.Item.Feature == d.Feature && (held == nil || h.Expiry > held.Expiry) {
					held = &Holding{Feature: h.Item.Feature, Version: h.Version, ActivationID: h.Item.ActivationID, Count: h.Count, Expiry: h.Expiry, Dropped: h.Dropped, Unheard: h.Unheard}
				}
			}
		}
	})
	if err == nil && held == nil {
		return nil, capability.Refuse(capability.ErrNoSuchLease, d.Feature, "")
	}
	return held, err
}

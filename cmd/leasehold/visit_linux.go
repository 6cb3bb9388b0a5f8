package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/cmd/internal/stick"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// visit is one stick, from plugged in to safe to remove.
//
// What is on it is a stranger's. It is read before anything is written, and it stays read-only where nothing has to be written. The order of what is made durable is: the daemon's
// change, then the receipt, then the request; a stick that is pulled out between two of them is found so the next time, and what is missing is written then. A file system that
// was left so is put right before anything is written to it.
type visit struct {
	*program
	name    string // KINGSTON 8 GB
	told    string // directory
	open    func() (stick.Place, error)
	gone    func() bool                 // the stick was pulled out; nil: nobody knows
	dirty   bool                        // it was pulled out too early the last time
	mending bool                        // whoever mends its file system may be at it still
	mend    func(context.Context) error // puts its file system right while it is not mounted; nil: nothing here does
	serial  string                      // of the USB device, as a dongle's host ID has it
	hand    func() error                // has an update on it installed; nil: no update of an image is taken here
	log     *slog.Logger

	place stick.Place // while it is mounted
	done  visited
	said  []string // the sentences of the last line
	some  bool     // something may have been changed before it failed
	not   error    // what was refused
}

// visited is leasehold.media/1.
type visited struct {
	terminal.Data
	Stick    string           `json:"stick"`
	Imported *importResult    `json:"imported,omitempty"`
	Request  *writtenRequest  `json:"request,omitempty"`
	Code     *capability.Code `json:"code,omitempty"` // why nothing was done, or not all
	Safe     bool             `json:"safe"`           // to remove
}

// serve does everything, and tells it. An error says what could not be done; the stick is unmounted then too.
func (v *visit) serve(ctx context.Context) error {
	v.done = visited{Data: terminal.NewData("leasehold.media/1"), Stick: terminal.Plain(v.name)}
	v.tell(stick.Line{Text: fmt.Sprintf("USB stick %s - reading ...", v.name)})
	err := v.exchange(ctx)
	err = v.judged(cmp.Or(err, v.not))
	last := stick.Line{Last: true, Sound: v.sound(err)}
	if err != nil {
		code := terminal.CodeOf(err)
		v.done.Code = &code
		last.Code = code.String()
		v.said = append(v.said, v.refusal(code, err))
		level := slog.LevelWarn
		if code.Entry().Exit == capability.ExitOK { // a stick that is not for us is no failure
			level = slog.LevelInfo
		}
		v.log.Log(ctx, level, code.Entry().Title, "code", code.String(), "stick", v.name, "cause", err.Error())
		if level == slog.LevelInfo {
			err = nil
		}
	}
	switch {
	case v.done.Safe:
		v.said = append(v.said, "SAFE TO REMOVE")
	case v.gone == nil:
		v.said = append(v.said, "UNMOUNT IT, THEN REMOVE IT")
	}
	last.Text = strings.Join(v.said, " ")
	v.tell(last)
	if v.json {
		return errors.Join(terminal.JSON(v.out, terminal.Hexed(v.done)), err)
	}
	return err
}

// judged is an error with the code that says most: a stick that is gone is the cause of all that follows, and one that is still there was not pulled out, whoever stopped the visit.
func (v *visit) judged(err error) error {
	switch {
	case err == nil:
		return nil
	case v.gone != nil && v.gone():
		return terminal.Coded(capability.ErrStickPulled, err)
	case errors.Is(err, context.Canceled):
		return terminal.Coded(capability.ErrStickStopped, err)
	case errors.Is(err, stick.ErrSystem), errors.Is(err, syscall.EUCLEAN):
		return terminal.Coded(capability.ErrStickSystem, err)
	}
	return err
}

func (v *visit) sound(err error) stick.Sound {
	switch {
	case err == nil && v.done.Imported != nil && v.done.Imported.Code == capability.Applied:
		return stick.Applied
	case err == nil && (v.done.Imported != nil || v.done.Request != nil):
		return stick.Written
	case err == nil, terminal.CodeOf(err) == capability.StickIgnored:
		return stick.Silent
	}
	return stick.Failed
}

// refusal is what the screen says of an error: cause, next step, and that nothing was lost by it.
func (v *visit) refusal(code capability.Code, err error) string {
	e := code.Entry()
	said := e.Title
	next := e.Next
	var no *capability.Refusal
	if errors.As(err, &no) && no.Detail != "" {
		said += ": " + no.Detail
	} else if code == capability.ErrNotOurs {
		said, next = strings.Replace(err.Error(), "this", "This", 1), "plug it into that appliance"
	}
	end := ""
	if v.done.Imported == nil && !v.some && code != capability.ErrStickOff && code != capability.StickIgnored {
		end = " Nothing was changed."
	}
	return fmt.Sprintf("%s %s. NEXT: %s.%s", code, said, next, end)
}

// tell says a line to whoever looks at the screen, and on standard output.
func (v *visit) tell(l stick.Line) {
	l.Time, l.Text = capability.At(time.Now()), terminal.Plain(l.Text)
	if err := errors.Join(os.MkdirAll(v.told, 0o755), stick.Tell(v.told, l)); err != nil {
		v.log.Warn("the text console does not hear of this stick", "cause", err.Error())
	}
	if !v.json {
		v.printf("%s\n", l.Text)
	}
}

// exchange mounts the stick, does what is to be done, and unmounts it, whatever came of it.
func (v *visit) exchange(ctx context.Context) (err error) {
	h, err := v.health(ctx)
	if err != nil {
		v.done.Safe = v.gone != nil // it was not touched
		return err
	}
	if v.dongle(ctx) {
		v.said = append(v.said, fmt.Sprintf("USB stick %s is a dongle of this appliance: it is left as it is, and left in.", v.name))
		return nil
	}
	if h.Media == ledger.MediaOff || h.Media == ledger.MediaConfirm && sticksAllowed(v.told) <= 0 {
		v.done.Safe = v.gone != nil
		return terminal.Coded(capability.ErrStickOff, fmt.Errorf("media-mode is %s", h.Media))
	}
	if v.place, err = v.open(); err != nil {
		v.done.Safe = v.gone != nil && !v.gone()
		return onMedium(err)
	}
	update := v.hand != nil && stick.HasUpdate(v.place.Path())
	defer func() {
		err = cmp.Or(err, onMedium(v.leave()))
		if update && v.done.Safe {
			if failed := v.hand(); failed != nil {
				err = cmp.Or(err, failed)
			} else {
				v.done.Safe = false // it is read again
				v.said = append(v.said, "An update is on it: LEAVE IT IN.")
			}
		}
		if v.dirty && (err == nil || terminal.CodeOf(err) != capability.StickIgnored) {
			v.said = append(v.said, "It was pulled out too early before: have a PC check it.")
		}
	}()
	return v.files(ctx, h)
}

// dongle says whether the stick is one of the dongles that this appliance shows, or is bound to and misses: such a one has files, and they are not for us. What cannot be asked for is none.
func (v *visit) dongle(ctx context.Context) bool {
	var m console.Machine
	if v.serial == "" || v.call(ctx, http.MethodGet, "hostids", nil, &m) != nil {
		return false
	}
	hosts := m.Gone
	for _, id := range m.IDs {
		hosts = append(hosts, id.Host)
	}
	return slices.ContainsFunc(hosts, func(h console.Host) bool { return h.Value == v.serial })
}

// leave unmounts the stick where it is mounted.
func (v *visit) leave() error {
	if v.place == nil {
		v.done.Safe = v.gone != nil && !v.gone() && !v.mending
		return nil
	}
	safe, err := v.place.Leave()
	v.place = nil
	v.done.Safe = safe && err == nil && !(v.gone != nil && v.gone())
	return err
}

// mended has the file system of a stick that was pulled out too early put right, before anything is written to it: the stick is unmounted for that, and mounted again. What could not
// be put right is written to all the same, as what was written before is still there; somebody is told to have it checked.
func (v *visit) mended(ctx context.Context) error {
	if !v.dirty || v.mend == nil {
		return nil
	}
	if err := v.leave(); err != nil {
		return onMedium(err)
	}
	if err := v.mend(ctx); ctx.Err() != nil {
		v.mending = true
		return ctx.Err()
	} else if err != nil {
		v.log.Warn("the stick's file system is not put right", "stick", v.name, "cause", err.Error())
	} else {
		v.dirty = false
		v.said = append(v.said, "It was pulled out too early before, and is put right.")
	}
	var err error
	v.place, err = v.open()
	return onMedium(err)
}

// onMedium gives an error of a medium the catalog's code.
func onMedium(err error) error {
	var no *capability.Refusal
	if err == nil || errors.As(err, &no) || errors.Is(err, stick.ErrSystem) {
		return err
	}
	return terminal.Coded(courier.Code(err), err)
}

// files reads what is on the stick, and writes what is missing.
func (v *visit) files(ctx context.Context, h *console.Health) error {
	m, err := courier.OpenStick(v.place.Path(), h.Host, false)
	if errors.Is(err, courier.ErrNoFolder) && !errors.Is(err, courier.ErrNoOwn) {
		return terminal.Coded(capability.StickIgnored, err)
	}
	if err != nil && !errors.Is(err, courier.ErrNoOwn) {
		return onMedium(err)
	}
	if m != nil {
		defer func() { m.Close() }()
		if err := v.responses(ctx, m, h); err != nil {
			return err
		}
		if h, err = v.health(uncut(ctx)); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	wanted, whole := v.wanted(m, h)
	if whole {
		v.said = append(v.said, fmt.Sprintf("USB stick %s - request %d is on it, WAITING for the response.", v.name, h.Requests))
	}
	in := v.done.Imported
	owed := in != nil && (in.Code == capability.Applied || m != nil && !m.HasText("RCP", in.Clear.Number) && in.Code == capability.AlreadyHere)
	if !wanted && !owed {
		return nil
	}
	if m != nil {
		m.Close() // what is open cannot be unmounted
	}
	if err := v.mended(ctx); err != nil {
		return v.unwritten(err)
	}
	if err := v.place.Writable(); err != nil {
		return v.unwritten(err)
	}
	if err := stick.Room(v.place.Path()); err != nil { // before a number is spent
		return v.unwritten(err)
	}
	w, err := courier.OpenStick(v.place.Path(), h.Host, true)
	if err != nil {
		return v.unwritten(err)
	}
	defer w.Close()
	if n, err := w.Tidy(); err != nil {
		return v.unwritten(err)
	} else if n > 0 {
		v.log.Info("taken away what a pull too early had left", "files", n, "stick", v.name)
	}
	if owed {
		if _, err := w.Receipt(in.Clear.Number, receipt(h, in)); err != nil {
			return v.unwritten(err)
		}
	}
	if wanted {
		return v.request(ctx, w, h)
	}
	return nil
}

// unwritten is a stick that takes nothing. Where a response was applied, that is done: what cannot be written then is a warning.
func (v *visit) unwritten(err error) error {
	err = v.judged(onMedium(err))
	if in := v.done.Imported; in == nil || terminal.CodeOf(err) == capability.ErrStickPulled {
		return err
	}
	code := terminal.CodeOf(err)
	v.log.Warn(code.Entry().Title, "code", code.String(), "stick", v.name, "cause", err.Error())
	v.done.Warnings = append(v.done.Warnings, "nothing was written on the stick: "+err.Error())
	v.said = append(v.said, fmt.Sprintf("Nothing was written on the stick: %s.", code.Entry().Title))
	return nil
}

// responses hands the responses on the stick to the daemon, the newest first, until one is taken.
func (v *visit) responses(ctx context.Context, m *courier.Medium, h *console.Health) error {
	found, skipped, err := m.Find()
	if err != nil && !errors.Is(err, courier.ErrNone) {
		return onMedium(err)
	}
	for _, s := range skipped {
		v.log.Warn("passed over", "code", courier.Code(s).String(), "stick", v.name, "cause", s.Error())
		v.done.Warnings = append(v.done.Warnings, "passed over: "+s.Error())
	}
	var ours []candidate
	var other *courier.Found
	for i, f := range found {
		if f.Ours {
			ours = append(ours, candidate{m.Path() + "/" + f.Name, f.File})
		} else if other == nil {
			other = &found[i]
		}
	}
	switch {
	case len(ours) > 0:
	case other != nil:
		theirs := other.Clear.For.Short()
		v.not = terminal.Coded(capability.ErrNotOurs, fmt.Errorf("this response is for LH-%s, not for this appliance (LH-%s)", theirs, h.Host.Short()))
		return nil
	default:
		if at := slices.IndexFunc(skipped, func(s error) bool { return !errors.Is(s, courier.ErrMore) }); at >= 0 {
			v.not = onMedium(skipped[at])
		}
		return nil
	}
	in, err := v.apply(uncut(ctx), ours)
	if refusal := (*capability.Refusal)(nil); errors.As(err, &refusal) {
		v.not = err
		return nil
	}
	if err != nil {
		v.some = true
		return err
	}
	v.done.Imported = in
	v.said = append(v.said, v.applied(ctx, in))
	return nil
}

// applied is what a response did, in one sentence, and in the journal.
func (v *visit) applied(ctx context.Context, in *importResult) string {
	number := in.Clear.Number
	switch in.Code {
	case capability.AlreadyHere:
		v.log.Info(in.Code.Entry().Title, "code", in.Code.String(), "seq", number, "serial", in.Serial)
		return fmt.Sprintf("Response %d: already applied.", number)
	case capability.OlderResponse:
		v.log.Info(in.Code.Entry().Title, "code", in.Code.String(), "seq", number, "serial", in.Serial)
		return fmt.Sprintf("Response %d: older than the one in force, ignored.", number)
	}
	products, features, seats, expiry := v.rights(ctx)
	next := "none"
	if expiry != 0 {
		next = expiry.Std().Format(time.DateOnly)
	}
	v.log.Info(in.Code.Entry().Title, "code", in.Code.String(), "seq", number, "serial", in.Serial, "features", features, "seats", seats, "next_expiry", next)
	return fmt.Sprintf("Response %d: signatures good, for this appliance. APPLIED: %s, %s, %s.", number, capability.Counted(products, "product"), capability.Counted(features, "feature"), capability.Counted(seats, "seat"))
}

// rights counts what is in force. What cannot be asked for is as nothing: the response is applied all the same.
func (v *visit) rights(ctx context.Context) (products, features int, seats uint64, expiry capability.Time) {
	var rows []console.Feature
	if err := v.call(uncut(ctx), http.MethodGet, "features", nil, &rows); err != nil {
		return 0, 0, 0, 0
	}
	named, had := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		named[r.Product], had[r.Feature] = true, true
		seats += r.Total
		if r.Expiry != 0 && (expiry == 0 || r.Expiry < expiry) {
			expiry = r.Expiry
		}
	}
	return len(named), len(had), seats, expiry
}

// wanted says whether a request is to be written: not where the one on the stick says all that there is to say, which is whole then, and not where a response has just
// answered everything.
func (v *visit) wanted(m *courier.Medium, h *console.Health) (wanted, whole bool) {
	if in := v.done.Imported; in != nil && in.Code == capability.Applied {
		settled := slices.ContainsFunc(h.TakenBack, func(b console.TakenBack) bool { return b.Settled })
		return len(h.Returns) > 0 || settled, false
	}
	if m == nil || h.Waiting == 0 || v.not != nil && terminal.CodeOf(v.not) == capability.ErrResponseState { // what it quotes is of another image
		return true, false
	}
	b, err := m.Request(h.Requests)
	if err != nil {
		return true, false
	}
	in, err := client.Inspect(b, nil)
	if err != nil {
		return true, false
	}
	f := in.Request.Fields
	told := func(t capability.Return) bool {
		return slices.ContainsFunc(f.Returns, func(r capability.Return) bool { return r.ID == t.ID })
	}
	for _, t := range h.Returns {
		if !told(t) {
			return true, false
		}
	}
	same := f.Applied == h.Applied && len(f.Returns) == len(h.Returns)
	same = same && m.HasText("REQ", h.Requests)
	return !same, same
}

// request has the daemon make a request, and writes it and its description.
func (v *visit) request(ctx context.Context, w *courier.Medium, h *console.Health) error {
	v.tell(stick.Line{Text: fmt.Sprintf("USB stick %s - writing request %d ...", v.name, h.Requests+1)})
	if err := w.MayWrite(h.Requests + 1); err != nil {
		return v.unwritten(err)
	}
	var r console.Written
	v.some = true // a number is spent
	if err := v.call(uncut(ctx), http.MethodPost, "requests", console.Wish{}, &r); err != nil {
		return err
	}
	done, err := describeRequest(w, h.Host, r.Number, r.File)
	if err != nil {
		return v.unwritten(err)
	}
	v.done.Request = done
	sum := sha256.Sum256(r.File)
	v.log.Info(capability.RequestMade.Entry().Title, "code", capability.RequestMade.String(), "seq", r.Number, "bytes", len(r.File), "sha256", fmt.Sprintf("%x", sum), "stick", v.name)
	v.said = append(v.said, fmt.Sprintf("USB stick %s - request %d WRITTEN.", v.name, r.Number))
	return nil
}

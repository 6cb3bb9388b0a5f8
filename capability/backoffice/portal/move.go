package portal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/hostid"
)

// What frees rights without a proof is proposed by one login, of staff or within its own account, and approved or turned down by another of staff. What waits, for a device, for a proof or for a second person,
// is on one page.

func (p *Portal) moveRoutes() []route {
	sees, moves, approves := needs(entitlement.ToSee), needs(entitlement.ToMove), needs(entitlement.ToApprove)
	return []route{
		{pattern: "GET /waiting", gate: sees, do: (*visit).waiting},
		{pattern: "GET /proposals/{number}", gate: sees, do: (*visit).proposalPage},
		{pattern: "POST /proposals/approve", gate: approves, staff: true, do: (*visit).approve},
		{pattern: "POST /proposals/turn-down", gate: approves, staff: true, do: (*visit).turnDown},
		{pattern: "POST /proposals/take-back", gate: moves, do: (*visit).takeBack},
		{pattern: "POST /devices/write-off", gate: moves, do: (*visit).proposeWriteOff},
		{pattern: "POST /inbox/propose", gate: moves, do: (*visit).proposeAnswer},
	}
}

type waitingView struct {
	Proposals []proposalRow
	Questions []questionRow
	Orders    []orderRow
	More      int // orders
	Devices   []deviceRow
	Next      string
}

type proposalRow struct {
	Number                                  uint64
	What, Short, Path, Since, Ends, By, Why string
}

func (v *visit) proposalRow(o *backoffice.Office, p *entitlement.Proposal) proposalRow {
	row := proposalRow{Number: p.Number, Short: p.Freed().Short(), Path: devicePath(p.Freed()), Since: p.Time.String(), Ends: p.Ends().String(), By: theProducer}
	switch p.Freeing {
	case entitlement.FreeByWriteOff:
		row.What = "write off its copies of " + string(p.ActivationID)
	case entitlement.FreeByRehost:
		row.What = "give everything it has to " + p.Host.Short()
	default:
		row.What = "give what it has on record to its new trusted storage"
	}
	if v.ofOwn(o, p.By) {
		row.By, row.Why = p.By, p.Reason
	}
	return row
}

func (v *visit) waiting() error {
	var view waitingView
	err := v.office(func(o *backoffice.Office) error {
		for _, p := range o.Book().Proposals(v.now, v.login.Account) {
			view.Proposals = append(view.Proposals, v.proposalRow(o, &p))
		}
		view.Questions = v.questionRows(o, o.Book().Questions(v.login.Account))
		orders := o.Book().Waiting(v.login.Account)
		for n := range orders[:min(len(orders), pageRows)] {
			view.Orders = append(view.Orders, v.orderRow(o, &orders[n]))
		}
		view.More = len(orders) - len(view.Orders)
		page, next := o.Book().FindDevices(entitlement.DeviceSearch{Within: v.login.Account, Waiting: true}, hostid.ID{}, pageRows)
		for n := range page {
			view.Devices = append(view.Devices, deviceRowOf(&page[n]))
		}
		if next != (hostid.ID{}) {
			view.Next = web.PathTo("/devices", "waiting", "yes", "after", next.String())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("waiting", "Waiting", view)
}

// proposal is the one that the address or the form names, where who visits may see it, and whether it is open.
func (v *visit) proposal(o *backoffice.Office) (p entitlement.Proposal, open bool, err error) {
	text := v.r.PathValue("number")
	if text == "" {
		text = v.r.PostForm.Get("number")
	}
	return v.proposalOf(o, text)
}

type proposalView struct {
	web.Sent
	proposalRow
	Alarm    *web.Problem // why it could not be done now
	Notes    []string
	Outcomes []inboxOutcome
	Became   string // what did, of it; empty: it is open
	Own      bool   // who visits made it
	Approves bool
}

func (v *visit) proposalPage() error {
	view := proposalView{Sent: v.Sent}
	err := v.office(func(o *backoffice.Office) error {
		p, open, err := v.proposal(o)
		if err != nil {
			return err
		}
		view.proposalRow = v.proposalRow(o, &p)
		if !open {
			view.Became = v.became(o, &p)
			return nil
		}
		view.Own = strings.EqualFold(p.By, v.login.Name)
		view.Approves = !view.Own && v.may(entitlement.ToApprove)
		if v.login.Account != "" {
			return nil
		}
		look, err := o.Proposed(&p, v.now)
		if err != nil {
			_, words := v.explain(err)
			view.Alarm = &words
			return nil
		}
		if look != nil {
			view.Notes, view.Outcomes = notes(&look.Result), outcomeRows(look)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("proposal", fmt.Sprintf("Proposal %d", view.Number), view)
}

// proposeWriteOff proposes to credit what a device has of a line item.
func (v *visit) proposeWriteOff() error {
	return v.forDevice(func(o *backoffice.Office, d *entitlement.DeviceView) (entitlement.Command, error) {
		id, err := v.itemField(o)
		return entitlement.Propose{Proposal: entitlement.Proposal{Freeing: entitlement.FreeByWriteOff, Host: d.ID, ActivationID: id, Reason: strings.TrimSpace(v.r.PostForm.Get("reason"))}, By: v.login.Name}, err
	}, "Proposed. Somebody else has to approve it.")
}

// proposeAnswer proposes to answer a file of the inbox with a repair, or with the rights of a machine that is gone.
func (v *visit) proposeAnswer() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	order := v.order()
	if order.Repair = strings.TrimSpace(form.Get("reason")); order.Repair == "" {
		return v.again(capability.Refuse(capability.ErrForm, "reason", "a proposal needs a reason"), (*visit).inbox)
	}
	if from := strings.TrimSpace(form.Get("from")); from != "" {
		if order.Rehost, err = hostid.Parse(strings.ToUpper(from)); err != nil {
			return v.again(field("from", err), (*visit).inbox)
		}
	}
	f, err := v.waitingFile(form.Get("file"))
	if err != nil {
		return err
	}
	err = v.office(func(o *backoffice.Office) error { return o.ProposeAnswer(f.content, order, v.now) })
	if err != nil {
		return v.again(err, (*visit).inbox)
	}
	v.say("Proposed. Somebody else has to approve it.")
	return v.goTo("/waiting")
}

// approve does what somebody else proposed.
func (v *visit) approve() error {
	if _, err := v.form(); err != nil {
		return err
	}
	path := "/waiting"
	err := v.office(func(o *backoffice.Office) error {
		p, open, err := v.proposal(o)
		if err != nil {
			return err
		}
		if !open {
			path = v.tooLate(o, &p)
			return nil
		}
		r, err := o.Approve(p.Number, v.login.Name, v.now)
		if err != nil {
			return err
		}
		path = devicePath(p.Host)
		if r == nil {
			v.say("Approved: the copies are credited.")
		} else {
			v.say("Approved: response %d to %s is made, and can be downloaded below.", r.Serial, p.Host.Short())
		}
		return nil
	})
	if err != nil {
		return v.again(err, (*visit).proposalPage)
	}
	return v.goTo(path)
}

func (v *visit) turnDown() error { return v.endProposal(false) }

// takeBack ends a proposal of one's own.
func (v *visit) takeBack() error { return v.endProposal(true) }

func (v *visit) endProposal(own bool) error {
	if _, err := v.form(); err != nil {
		return err
	}
	path := ""
	err := v.office(func(o *backoffice.Office) error {
		p, open, err := v.proposal(o)
		if err != nil {
			return err
		}
		if own && !strings.EqualFold(p.By, v.login.Name) {
			return capability.Refuse(capability.ErrPermission, v.login.Name, "it is the proposal of somebody else")
		}
		if !open {
			path = v.tooLate(o, &p)
			return nil
		}
		return o.EndProposal(entitlement.EndProposal{Number: p.Number, Reason: strings.TrimSpace(v.r.PostForm.Get("reason")), By: v.login.Name}, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).proposalPage)
	}
	if path == "" {
		v.say("The proposal is ended; nothing was changed.")
		path = "/waiting"
	}
	return v.goTo(path)
}

// tooLate says to who comes after another what became of a proposal, and is the page that goes on saying it.
func (v *visit) tooLate(o *backoffice.Office, p *entitlement.Proposal) string {
	v.say("Nothing was changed: %s.", v.became(o, p))
	return fmt.Sprintf("/proposals/%d", p.Number)
}

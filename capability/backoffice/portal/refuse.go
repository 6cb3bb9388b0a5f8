package portal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
)

// A request that is looked at may be refused instead of answered. The refusal is a response too, which goes the same ways, so that the machine shows the reason.

// refuseRequest refuses a file of the inbox.
func (v *visit) refuseRequest() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	order := v.order()
	if order.Refuse = strings.TrimSpace(form.Get("reason")); order.Refuse == "" {
		return v.again(capability.Refuse(capability.ErrForm, "reason", "the customer has to read a reason"), (*visit).inbox)
	}
	f, err := v.waitingFile(form.Get("file"))
	if err != nil {
		return err
	}
	var r *backoffice.Result
	err = v.office(func(o *backoffice.Office) (err error) {
		r, err = o.RespondTo(f.content, order, v.now)
		return err
	})
	if err != nil {
		return v.again(err, (*visit).inbox)
	}
	v.p.trays.answered(trayOf(&v.login), f.ID, r)
	v.say("Refused with response %d: the machine keeps what it has, and shows the reason.", r.Serial)
	return v.goTo("/inbox")
}

// waitingFile is the file of that ID in the tray of who visits, with something in it.
func (v *visit) waitingFile(id string) (trayFile, error) {
	for _, f := range v.p.trays.take(trayOf(&v.login)) {
		if f.content != nil && f.ID == id {
			return f, nil
		}
	}
	return trayFile{}, foreign("the file")
}

// refusedWords says that an operator refused a request, and why.
func refusedWords(reason string) string {
	return fmt.Sprintf("%s %s: %s", capability.ErrRefused, capability.ErrRefused.Entry().Title, reason)
}

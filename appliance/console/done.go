package console

import (
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

// A form that is sent twice counts once. What was sent is remembered in memory: a restart ends all sessions, and with them every page that could send it again.

// maxForms are remembered; with the next one those are forgotten that are over, and all where that does not help.
const maxForms = 20_000

type doneForms struct {
	now func() time.Time

	mu   sync.Mutex
	sent map[string]doneForm
}

type doneForm struct {
	asked capability.Digest
	at    time.Time
	over  bool   // it is done, and not under way any more
	to    string // where the browser went
}

func newDoneForms(now func() time.Time) *doneForms {
	return &doneForms{now: now, sent: map[string]doneForm{}}
}

// begin says whether a form is to be done, or where the browser went when it was. The error is a *capability.Refusal.
func (d *doneForms) begin(key string, asked capability.Digest) (to string, done bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, known := d.sent[key]
	switch {
	case known && f.asked != asked:
		return "", false, capability.Refuse(capability.ErrKeyUsed, web.Once, "this form was sent before, with something else in it; load its page anew")
	case known && !f.over:
		return "", false, capability.Refuse(capability.ErrBusy, "", "this form was sent before, and is not done yet")
	case known:
		return f.to, true, nil
	}
	if len(d.sent) >= maxForms {
		for k, f := range d.sent {
			if d.now().Sub(f.at) >= formLife {
				delete(d.sent, k)
			}
		}
		if len(d.sent) >= maxForms {
			clear(d.sent)
		}
	}
	d.sent[key] = doneForm{asked: asked, at: d.now()}
	return "", false, nil
}

// end keeps where the browser goes; a form that was refused can be sent again.
func (d *doneForms) end(key, to string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.sent[key]
	if err != nil {
		delete(d.sent, key)
		return
	}
	f.over, f.to = true, to
	d.sent[key] = f
}

// act has f done on behalf of who visits, once however often its form is sent, and then the browser go where f says.
func (v *visit) act(f func() (to string, err error)) error {
	key := v.r.PostForm.Get(web.Once)
	if key == "" {
		to, err := f()
		if err != nil {
			return err
		}
		return v.goTo(to)
	}
	if err := capability.CheckName("key", key); err != nil {
		return capability.Refuse(capability.ErrForm, web.Once, "%v", err)
	}
	key = v.account() + "\x00" + key
	to, done, err := v.forms.begin(key, web.Asked(v.account(), v.r))
	if err != nil {
		return err
	}
	if !done {
		ended := false
		defer func() {
			if !ended { // f did not return
				v.forms.end(key, "", errSignInFirst)
			}
		}()
		to, err = f()
		ended = true
		if v.forms.end(key, to, err); err != nil {
			return err
		}
	}
	return v.goTo(to)
}

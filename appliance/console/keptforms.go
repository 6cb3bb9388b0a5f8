package console

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

// A form that was interrupted by the end of its session waits here while its browser is at an issuer: what is sent along with a browser has no room for it. Whoever comes with the name of one has what was typed.
// That name is in sealed cookies of the browser that left the form, and nowhere else: in no page, and in no address that somebody could give to others.

// formErrand is the cookie with that name until the browser is sent to the issuer. No other site's page makes a browser send it.
const formErrand = "form"

// What waits, in bytes: of all, and of one address. Strangers can fill it, and then a form is typed again.
const (
	waitingBytes     = 2 << 20
	waitingBytesEach = 4 * (web.MaxKept + waitingBeside)
	waitingBeside    = 512 // of each beside its text, about: it has a name, an address and a timer
)

type waitingForms struct {
	room *web.Room

	mu sync.Mutex
	of map[string]waitingForm
}

type waitingForm struct {
	text, from string
	end        *time.Timer
}

func newWaitingForms() *waitingForms {
	return &waitingForms{room: web.NewRoom(waitingBytes, waitingBytesEach), of: map[string]waitingForm{}}
}

// put keeps a form from an address for as long as an errand takes, and gives it a name, or says why not.
func (w *waitingForms) put(text, from string) (string, error) {
	if _, ok := web.ParseKept(text); !ok {
		return "", capability.Refuse(capability.ErrForm, "", "what was interrupted is no form of these pages")
	}
	if !w.room.Take(from, waitingSize(text)) {
		return "", capability.Refuse(capability.ErrBusy, "", "there is no room now for what was typed; go on later, or begin at /sign-in without it")
	}
	name := rand.Text()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[name] = waitingForm{text, from, time.AfterFunc(web.ErrandLife, func() { w.take(name) })}
	return name, nil
}

// waitingSize is what a form takes while it waits, in bytes.
func waitingSize(text string) int64 { return int64(len(text)) + waitingBeside }

// take is the form of a name, once.
func (w *waitingForms) take(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, here := w.of[name]
	if !here {
		return ""
	}
	delete(w.of, name)
	one.end.Stop()
	w.room.Give(one.from, waitingSize(one.text))
	return one.text
}

// leftForm is the name of the form that this browser has left; empty: it has left none.
func (v *visit) leftForm() (name string) {
	if _, err := v.errands.Back(v.r, formErrand, &name); err != nil {
		return ""
	}
	v.errands.Drop(v.w, formErrand)
	return name
}

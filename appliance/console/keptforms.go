package console

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability/web"
)

// A form that was interrupted by the end of its session waits here while its browser is at an issuer: what is sent along with a browser has no room for it. Whoever comes back with the name of one has what was
// typed; that is sealed in the errand of the browser that left, and nowhere else but in an address of ours that is asked for once.

// What waits, in bytes: of all, and of one address. Strangers can fill it, and then a form is typed again.
const (
	waitingBytes     = 2 << 20
	waitingBytesEach = 4 * web.MaxKept
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

// put keeps a form from an address for as long as an errand takes, and gives it a name; empty: there is no room, or it is no form.
func (w *waitingForms) put(text, from string) string {
	if _, ok := web.ParseKept(text); !ok || !w.room.Take(from, int64(len(text))) {
		return ""
	}
	name := rand.Text()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[name] = waitingForm{text, from, time.AfterFunc(web.ErrandLife, func() { w.take(name) })}
	return name
}

// look is the form of a name; empty: there is none any more.
func (w *waitingForms) look(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of[name].text
}

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
	w.room.Give(one.from, int64(len(one.text)))
	return one.text
}

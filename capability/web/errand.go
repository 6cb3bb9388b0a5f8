package web

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// ErrandLife is how long a browser may take to come back.
	ErrandLife = 10 * time.Minute

	maxErrand = 3 << 10 // bytes of what is sent with a browser: a cookie has 4 KiB
	maxDone   = 100_000 // errands that were done within ErrandLife
)

// ErrErrand: the browser does not come back from where it was sent, or comes again, or too late.
var ErrErrand = errors.New("this sign-in was not begun in this browser, or it was ended before, or it took more than 10 minutes")

// Errands are what browsers are sent away with and come back with: sealed in a cookie of the browser, so that nothing is kept of those who never come back, however many are sent. Each is done once.
type Errands struct {
	now  func() time.Time
	seal cipher.AEAD

	mu   sync.Mutex
	done map[[sha256.Size]byte]time.Time // until when it could come again
}

// Errand is one that has come back.
type Errand struct {
	id   [sha256.Size]byte
	ends time.Time
}

type sealedErrand struct {
	Ends int64 // seconds since 1970
	What json.RawMessage
}

// NewErrands have a key that only this process knows.
func NewErrands(now func() time.Time) (*Errands, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	return &Errands{now: now, seal: seal, done: map[[sha256.Size]byte]time.Time{}}, err
}

// Send gives a browser a cookie with what is to come back. SameSite says whether it comes back when another site's page sends the browser here: Lax with a link, None also with a form.
func (e *Errands) Send(w http.ResponseWriter, name string, same http.SameSite, what any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sealedErrand{e.now().Add(ErrandLife).Unix(), b})
	if err != nil {
		return err
	}
	if len(text) > maxErrand {
		return fmt.Errorf("an errand of %d bytes where at most %d are allowed", len(text), maxErrand)
	}
	value := base64.RawURLEncoding.EncodeToString(e.seal.Seal(nil, nil, text, []byte(name)))
	http.SetCookie(w, &http.Cookie{Name: cookieOf(name), Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: same, MaxAge: int(ErrandLife / time.Second)})
	return nil
}

func cookieOf(name string) string { return "__Host-errand-" + name }

// Back reads what a browser was sent away with. It is not done yet.
func (e *Errands) Back(r *http.Request, name string, what any) (*Errand, error) {
	c, err := r.Cookie(cookieOf(name))
	if err != nil {
		return nil, ErrErrand
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
	if err != nil {
		return nil, ErrErrand
	}
	text, err := e.seal.Open(nil, nil, b, []byte(name))
	if err != nil {
		return nil, ErrErrand
	}
	var s sealedErrand
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	ends := time.Unix(s.Ends, 0)
	if !e.now().Before(ends) {
		return nil, ErrErrand
	}
	return &Errand{sha256.Sum256(b), ends}, json.Unmarshal(s.What, what)
}

// Drop has a browser forget what it was sent away with. Whoever has kept it can come with it until its end; see Done.
func (e *Errands) Drop(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: cookieOf(name), Path: "/", Secure: true, HttpOnly: true, MaxAge: -1})
}

// Done ends an errand that came to a good end: whoever comes with the same again, also at the same moment, is refused.
func (e *Errands) Done(w http.ResponseWriter, name string, d *Errand) error {
	e.Drop(w, name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, again := e.done[d.id]; again {
		return ErrErrand
	}
	if len(e.done) >= maxDone {
		for id, ends := range e.done {
			if !e.now().Before(ends) {
				delete(e.done, id)
			}
		}
		if len(e.done) >= maxDone {
			return errors.New("too many sign-ins at once")
		}
	}
	e.done[d.id] = d.ends
	return nil
}

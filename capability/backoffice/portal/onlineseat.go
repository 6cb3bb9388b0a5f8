package portal

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

// Seats over the network: a product sends a request that its device key signs, and is answered with a short response. Who its user is, a token says, which the user has for a password.

// Of one address: a company's products may all come from one, and each renews some times an hour.
const (
	seatsAtOnce  = 1000
	seatInterval = 50 * time.Millisecond
)

const (
	maxTokenForm = 16 << 10  // bytes
	maxSeatFile  = 128 << 10 // bytes of a request for a seat: with a TPM's evidence and its log it is 100 kB
)

func (p *Portal) seat(w http.ResponseWriter, r *http.Request) {
	file, err := p.seated(w, r)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(file)
}

func (p *Portal) seated(w http.ResponseWriter, r *http.Request) (response []byte, err error) {
	file, err := posted(w, r, p.seats, maxSeatFile)
	if err != nil {
		return nil, err
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	err = p.office(r.Context(), func(o *backoffice.Office) (err error) {
		response, err = o.Seat(file, backoffice.Seating{Token: token, TakeOver: r.URL.Query().Has("take-over"), By: byOnline}, p.now())
		return err
	})
	return response, err
}

// tokenForm is the body of POST /token. With a code, which a slip has once, the password is a new one.
type tokenForm struct {
	Account  string `json:"account"`
	User     string `json:"user"`
	Password string `json:"password"`
	Code     string `json:"code,omitempty"`
	Device   string `json:"device"` // SHA-256 of its key, in hexadecimal digits
}

type tokenAnswer struct {
	Token string          `json:"token"`
	Until capability.Time `json:"until"`
}

func (p *Portal) token(w http.ResponseWriter, r *http.Request) {
	a, err := p.tokenFor(w, r)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(a); err != nil {
		p.Log.Debug("answer a program", "path", r.URL.Path, "error", err)
	}
}

func (p *Portal) tokenFor(w http.ResponseWriter, r *http.Request) (*tokenAnswer, error) {
	var form tokenForm
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTokenForm))
	d.DisallowUnknownFields()
	if err := d.Decode(&form); err != nil {
		return nil, web.Unread(err)
	}
	device, err := hex.DecodeString(form.Device)
	if err != nil || len(device) != len(capability.Digest{}) {
		return nil, capability.Refuse(capability.ErrForm, "device", "64 hexadecimal digits are wanted")
	}
	if form.Code != "" {
		if err := web.CheckPassword(form.Password, form.User); err != nil {
			return nil, capability.Refuse(capability.ErrForm, "password", "%v", err)
		}
	}
	err = p.office(r.Context(), func(o *backoffice.Office) error {
		if o.Book().Policy().Online == entitlement.NothingOnline {
			return capability.Refuse(capability.ErrOnline, "", "the producer serves no seats over the network")
		}
		return nil
	})
	if err != nil {
		return nil, err // before anything is tried that could be a guess
	}
	name, from := "user "+strings.ToLower(form.Account+"\x00"+form.User), web.AddressOf(r)
	if v := p.throttle.Try(name, from); v.Wait > 0 {
		return nil, capability.Refuse(capability.ErrSignIn, "", "too many tries failed; the next one in %s", v.Wait.Round(time.Second))
	}
	id := entitlement.UserID{Account: form.Account, Name: form.User}
	if err := p.shows(r, id, &form); err != nil {
		return nil, err
	}
	p.throttle.Succeeded(name, from)
	var a tokenAnswer
	err = p.office(r.Context(), func(o *backoffice.Office) (err error) {
		a.Token, a.Until, err = o.Token(id, capability.Digest(device), p.now())
		return err
	})
	return &a, err
}

// shows that whoever asks is that user: with the password, or with the code of a slip, which sets one. A try that ends otherwise stays counted as a guess: nothing that can be sent takes guesses back.
func (p *Portal) shows(r *http.Request, id entitlement.UserID, form *tokenForm) error {
	if form.Code != "" {
		hash, err := p.hashing.Hash(r.Context(), form.Password, p.Rand)
		if err != nil {
			return err
		}
		err = p.office(r.Context(), func(o *backoffice.Office) error {
			return o.Do(entitlement.UseCode{ID: id, Code: form.Code, Password: hash, By: byOnline}, p.now())
		})
		if code, _ := refusalOf(err); code == capability.ErrUserCode {
			err = capability.Refuse(code, id.Name, "") // when a code was used is nobody's business who has not used it
		}
		return err
	}
	var u entitlement.User
	if err := p.office(r.Context(), func(o *backoffice.Office) error { u, _ = o.Book().User(id); return nil }); err != nil {
		return err
	}
	// The work of a hash is done outside the office's turn, and for a name that nobody has as well.
	fits, err := p.hashing.Fits(r.Context(), form.Password, u.Password)
	if err != nil {
		return err
	}
	if !fits || u.Disabled {
		return capability.Refuse(capability.ErrSignIn, "", "")
	}
	return nil
}

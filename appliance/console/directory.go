package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// Directory has another program ask a directory of the site who somebody is. The appliance itself reaches nothing: it says where, which names and groups matter, and what was typed; what comes back is who that
// is and which of those groups he is in. That program learns of no role, and names nobody who did not come to sign in.
type Directory struct {
	appliance *appliance.Appliance
	posed     chan *posed
	crowd     *web.Room // those who wait
	ended     chan struct{}
	end       func()

	mu      sync.Mutex
	number  uint64
	out     map[uint64]*posed // questions that the program has and did not answer yet
	waiting int               // how many of its own questions for a question are open
	came    bool
	asks    time.Duration // when it asked last
	last    *DirectoryFault
}

const (
	// directoryPatience is how long somebody who signs in waits for an answer, longer than the program takes for one at most.
	directoryPatience = 20 * time.Second
	// directorySilence is how long nobody may have asked before the program counts as stopped.
	directorySilence = 30 * time.Second
	// directoryCrowd is how many may wait at a time, and directoryOfOne of one address: each keeps a connection of a browser. A directory that answers keeps nobody longer than a moment, so this is for one that hangs.
	directoryCrowd = 16
	directoryOfOne = 4
	// maxSubject bounds what a directory calls somebody, in bytes.
	maxSubject = 512
)

// DirectoryQuestion answers POST directory/next. A number of zero says that nobody is asked about yet; else one of the last three is there.
type DirectoryQuestion struct {
	Number  uint64   `json:"number"`
	URL     string   `json:"url,omitempty"`
	Account string   `json:"account,omitempty"`
	Base    string   `json:"base,omitempty"`
	Name    string   `json:"name,omitempty"`   // the attribute or the claim that names people
	Claim   string   `json:"claim,omitempty"`  // with the groups
	Scope   string   `json:"scope,omitempty"`  // beside openid and profile
	Groups  []string `json:"groups,omitempty"` // those that matter

	Password *PasswordQuestion `json:"password,omitempty"`
	Address  *AddressQuestion  `json:"address,omitempty"`
	Code     *CodeQuestion     `json:"code,omitempty"`
}

// PasswordQuestion asks whether a name and a password belong together.
type PasswordQuestion struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// AddressQuestion asks where a browser is sent that shall come back to Redirect.
type AddressQuestion struct {
	Redirect string   `json:"redirect"`
	Trip     web.Trip `json:"trip"`
}

// CodeQuestion asks whom a code means that a browser has brought back.
type CodeQuestion struct {
	AddressQuestion
	Code string `json:"code"`
}

// DirectoryAnswer is the body of POST directory/answer: an address, or who it is, or why not.
type DirectoryAnswer struct {
	Number  uint64             `json:"number"`
	Denial  *capability.Denial `json:"denial,omitempty"` // ErrApplianceSignIn: the directory said no; anything else: it gave no answer that counts
	Address string             `json:"address,omitempty"`
	Person  *Person            `json:"person,omitempty"`
}

// Person is somebody as a directory knows him.
type Person struct {
	Subject string   `json:"subject"` // never another's: the DN, or the subject at the issuer
	Name    string   `json:"name"`
	Groups  []string `json:"groups"` // of those in the question
}

// DirectoryFault is why the directory could not be asked, the last time it was.
type DirectoryFault struct {
	At   capability.Time `json:"at"`
	Text string          `json:"text"`
}

// posed is a question on its way.
type posed struct {
	question DirectoryQuestion
	answer   chan *DirectoryAnswer
}

// NewDirectory is for an appliance that runs.
func NewDirectory(a *appliance.Appliance) *Directory {
	d := &Directory{appliance: a, posed: make(chan *posed), crowd: web.NewRoom(directoryCrowd, directoryOfOne), ended: make(chan struct{}), out: map[uint64]*posed{}}
	d.end = sync.OnceFunc(func() { close(d.ended) })
	return d
}

// Handler is what the program that asks may ask: for a question, and to hear its answer taken. It is served on a socket of its own, which nobody else may open.
func (d *Directory) Handler(c *Console) http.Handler {
	return c.narrow(map[string]func(*http.Request) (any, error){"directory/next": d.next, "directory/answer": d.answered})
}

// Stop answers everybody who waits. Nobody does where there is no Directory.
func (d *Directory) Stop() {
	if d != nil {
		d.end()
	}
}

// running says that the program asks.
func (d *Directory) running() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting > 0 || len(d.out) > 0 || d.came && d.appliance.Elapsed()-d.asks < directorySilence
}

// next waits until somebody is asked about, for a while.
func (d *Directory) next(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pollPatience)
	defer cancel()
	d.mu.Lock()
	d.waiting++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.waiting--
		d.came, d.asks = true, d.appliance.Elapsed()
	}()
	select {
	case p := <-d.posed:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.number++
		p.question.Number = d.number
		d.out[d.number] = p
		return &p.question, nil
	case <-ctx.Done():
	case <-d.ended:
	}
	return &DirectoryQuestion{}, nil
}

// answered takes an answer, once.
func (d *Directory) answered(r *http.Request) (any, error) {
	var a DirectoryAnswer
	if err := decode(r, &a); err != nil {
		return nil, err
	}
	d.mu.Lock()
	p := d.out[a.Number]
	delete(d.out, a.Number)
	d.mu.Unlock()
	if p == nil {
		return nil, capability.Refuse(capability.ErrNotFound, fmt.Sprint(a.Number), "nobody waits for an answer of that number")
	}
	p.answer <- &a
	return struct{}{}, nil
}

// ask has the program answer a question, for somebody at an address. Its error is a *capability.Refusal: ErrApplianceSignIn where the directory said no, and ErrDirectory where nothing is known.
func (d *Directory) ask(caller context.Context, from string, q DirectoryQuestion) (*DirectoryAnswer, error) {
	if !d.running() {
		return nil, capability.Refuse(capability.ErrDirectory, "", "the program that asks it does not run")
	}
	if !d.crowd.Take(from, 1) {
		return nil, capability.Refuse(capability.ErrDirectory, "", "too many sign in at once")
	}
	defer d.crowd.Give(from, 1)
	ctx, cancel := context.WithTimeout(caller, directoryPatience)
	defer cancel()
	p := &posed{q, make(chan *DirectoryAnswer, 1)}
	defer d.forget(p)
	posing := d.posed
	for {
		select {
		case posing <- p:
			posing = nil
		case a := <-p.answer:
			if err := a.refusal(); err != nil {
				return nil, d.noted(err)
			}
			return a, nil
		case <-ctx.Done():
			if caller.Err() != nil { // it is no fault of the directory that somebody hangs up
				return nil, capability.Refuse(capability.ErrDirectory, "", "")
			}
			return nil, d.noted(capability.Refuse(capability.ErrDirectory, "", "no answer in time"))
		case <-d.ended:
			return nil, capability.Refuse(capability.ErrDirectory, "", "the appliance is stopping")
		}
	}
}

func (d *Directory) forget(p *posed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.out[p.question.Number] == p {
		delete(d.out, p.question.Number)
	}
}

// refusal is what the program said instead of an answer.
func (a *DirectoryAnswer) refusal() *capability.Refusal {
	switch {
	case a.Denial == nil:
		return nil
	case a.Denial.Code == capability.ErrApplianceSignIn:
		return capability.Refuse(capability.ErrApplianceSignIn, "", "")
	}
	return capability.Refuse(capability.ErrDirectory, "", "%s", a.Denial.Shown().Detail)
}

// noted keeps why the directory could not be asked, for those who admit logins; whoever would sign in hears only that it is so.
func (d *Directory) noted(no *capability.Refusal) error {
	if no.Code != capability.ErrDirectory {
		return no
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = &DirectoryFault{capability.At(d.appliance.Now()), no.Detail}
	return capability.Refuse(capability.ErrDirectory, "", "")
}

// fault is why the directory could not be asked last; nil: it could.
func (d *Directory) fault() *DirectoryFault {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// reached forgets the last fault.
func (d *Directory) reached() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = nil
}

// questionOf is a question about somebody, for these settings.
func questionOf(s *ledger.Directory) DirectoryQuestion {
	return DirectoryQuestion{URL: s.URL, Account: s.Account, Base: s.Base, Name: s.Name, Claim: s.Groups, Scope: s.Scope, Groups: s.AllGroups()}
}

// person is who an answer names, if it can be: nothing is believed of the program but what was asked.
func (a *DirectoryAnswer) person(q *DirectoryQuestion) (*Person, error) {
	p := a.Person
	if p == nil {
		return nil, errors.New("it names nobody")
	}
	if err := capability.CheckName("name", p.Name); err != nil {
		return nil, err
	}
	if p.Subject == "" || len(p.Subject) > maxSubject || strings.ContainsFunc(p.Subject, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("it calls somebody by %d bytes, or with signs that cannot be shown", len(p.Subject))
	}
	in := []string{}
	for _, g := range q.Groups {
		if slices.Contains(p.Groups, g) {
			in = append(in, g)
		}
	}
	return &Person{p.Subject, strings.TrimSpace(p.Name), in}, nil
}

// sentTo is the address that an answer has for a browser: of the issuer itself.
func (a *DirectoryAnswer) sentTo(issuer string) (string, error) {
	at, err := url.Parse(a.Address)
	of, issuerErr := url.Parse(issuer)
	if err != nil || issuerErr != nil || at.Scheme != "https" || at.User != nil || at.Host == "" || at.Host != of.Host {
		return "", errors.New("it sends browsers to another place than the issuer")
	}
	return at.String(), nil
}

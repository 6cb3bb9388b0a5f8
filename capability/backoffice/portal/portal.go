// Package portal is the back office in a browser: pages, forms and their routes for the producer's staff and for customers' license administrators, on an open back office that one goroutine owns.
//
// Start with Portal.routes: every route says what it needs of who asks. A page is a view, values taken from the book in one turn, written into a template afterwards; what a form asks for becomes a command
// of package entitlement or a method of Office. A customer's login sees its own account and those below it, and of everything else the same as of what does not exist.
package portal

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

// Options are what a portal needs.
type Options struct {
	Desk  *backoffice.Desk
	Hosts []string // the names and addresses that it goes by
	Now   func() time.Time
	Rand  io.Reader
	Log   *slog.Logger
	// CodeOf is the catalog's code of an error from below, or zero.
	CodeOf func(error) capability.Code
	// Words says what an entry of the book did; nil: nothing is said.
	Words func(*entitlement.Entry) (what, detail string)

	// Version is that of the program.
	Version string

	// Origin is how browsers and identity providers know it, as https://licenses.example.com; empty: the first of Hosts.
	Origin string
	OIDC   []OIDC
	SAML   []SAML
	// SingleSignOn says that identity providers are for everybody, and passwords for those logins only that are local.
	SingleSignOn bool
}

// Portal answers browsers.
type Portal struct {
	Options
	assets    *web.Assets
	sessions  *web.Sessions
	throttle  *web.Throttle
	exchanges *web.Rate
	seats     *web.Rate
	calls     *web.Rate     // of the REST API
	guesses   *web.Throttle // at tokens: who mistypes a script keeps nobody at that address from signing in
	tokens    *lastUses
	signIns   *web.Rate // that succeed, by login
	verifies  *web.Rate // of the whole history, all together
	hashing   web.Hashing
	room      *web.Room // for what requests bring
	pages     web.Pages
	mux       *http.ServeMux // of the pages and forms
	trays     *trays
	programs  http.Handler // of what is below restBase
	providing
}

// What requests bring that are being answered, in bytes: of all, and of one address. What is made of it takes as much again and more.
const (
	bodyBytes     = 256 << 20
	bodyBytesEach = 64 << 20
)

// New is a portal on an open back office.
func New(o Options) (*Portal, error) {
	assets, err := web.NewAssets()
	if err != nil {
		return nil, err
	}
	p := &Portal{
		Options: o, assets: assets, sessions: web.NewSessions(o.Now), throttle: web.NewThrottle(o.Now), exchanges: web.NewRate(o.Now, exchangesAtOnce, exchangeInterval), seats: web.NewRate(o.Now, seatsAtOnce, seatInterval), signIns: web.NewRate(o.Now, signInsAtOnce, signInInterval), verifies: web.NewRate(o.Now, verifiesAtOnce, verifyInterval),
		calls: web.NewRate(o.Now, callsAtOnce, callInterval), guesses: web.NewThrottle(o.Now), tokens: newLastUses(), hashing: web.NewHashing(), room: web.NewRoom(bodyBytes, bodyBytesEach), trays: newTrays(o.Now),
	}
	if err := p.openProviders(); err != nil {
		return nil, err
	}
	if p.pages, err = assets.ParsePages(templates); err != nil {
		return nil, err
	}
	p.programs, err = p.rest()
	return p, err
}

func (p *Portal) now() capability.Time { return capability.At(p.Now()) }

// Handler is everything the portal answers.
func (p *Portal) Handler() http.Handler {
	mux := http.NewServeMux()
	p.mux = mux
	all := http.NewServeMux()
	for _, r := range p.routes() {
		if r.fromElsewhere {
			all.Handle(r.pattern, p.sessions.Handler(p.handler(r))) // beside the protection, not through a hole in it
		} else {
			mux.Handle(r.pattern, p.handler(r))
		}
	}
	mux.Handle("/", p.handler(route{gate: anyone, do: (*visit).nowhere}))
	pages := http.NewCrossOriginProtection().Handler(p.sessions.Handler(mux))
	all.Handle("GET "+web.Root, p.assets)
	all.HandleFunc("POST /exchange", p.exchange)
	all.HandleFunc("POST /seat", p.seat)
	all.HandleFunc("POST /token", p.token)
	all.Handle(restBase+"/", p.programs)
	all.Handle("/", pages)
	return web.Protect(web.Bodies(p.told(all), p.room), p.Hosts)
}

// told has a panic in the log, with where it was. Whoever sent the request hears nothing.
func (p *Portal) told(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if why := recover(); why != nil && why != http.ErrAbortHandler {
				p.Log.Error("panic", "path", r.URL.Path, "why", why, "stack", string(debug.Stack()))
				panic(http.ErrAbortHandler)
			} else if why != nil {
				panic(why)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// office has f done with the back office, which nobody else uses meanwhile. What f gives out must be its own.
func (p *Portal) office(ctx context.Context, f func(*backoffice.Office) error) error {
	if err := ctx.Err(); err != nil {
		return err // who asked has gone
	}
	return p.Desk.Ask(f)
}

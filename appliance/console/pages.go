package console

import (
	"embed"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

//go:embed templates
var templates embed.FS

// site is the console for browsers: pages on what the REST API answers with, and forms that become the same commands.
type site struct {
	*Console
	assets    *web.Assets
	sessions  *web.Sessions
	pages     web.Pages
	room      *web.Room
	forms     *doneForms
	files     *writtenFiles
	deleted   *deletions
	errands   *web.Errands // of browsers at the issuer
	sent      *web.Rate    // there and back
	waiting   *waitingForms
	transfers transfers
	mux       *http.ServeMux
}

// What requests of browsers bring that are being answered, in bytes: of all, and of one address.
const (
	pageBytes     = 64 << 20
	pageBytesEach = 24 << 20
)

// Pages is what is served on the port of clients to browsers.
func (c *Console) Pages() http.Handler {
	s, err := c.site()
	if err != nil {
		panic(err) // templates and assets come with the program
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+web.Root, s.assets)
	mux.Handle("GET "+brandAt, c.Brand)
	mux.HandleFunc("GET /authority.pem", c.authority)
	api := http.NewServeMux()
	c.api(api, c.networkAsks(s.session))
	c.probes(mux, c.networkAsks(nil))
	mux.Handle(Base, s.sessions.Handler(api))
	for _, r := range liveRoutes() {
		mux.Handle(r.pattern, s.stream(r))
	}
	mux.Handle("/", s.sessions.Handler(s.mux))
	bounded := web.Bodies(s.told(http.NewCrossOriginProtection().Handler(mux)), s.room)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.Protect(bounded, s.names()).ServeHTTP(w, r)
	})
}

// session is who has signed in with a browser, and as of which change of the login; empty: nobody.
func (s *site) session(r *http.Request) (name string, since capability.Time) {
	name, at := s.sessions.Who(r.Context())
	return name, capability.Time(at)
}

// names are those that browsers know the appliance by. They change while it runs.
func (c *Console) names() []string {
	if s := c.shown(); s != nil {
		return s.Names()
	}
	return nil
}

// missing answers for what is not there.
func (c *Console) missing(w http.ResponseWriter, r *http.Request) {
	c.reply(w, r, func(*http.Request) (any, error) {
		return nil, capability.Refuse(capability.ErrNotFound, r.URL.Path, "")
	})
}

// site is the console for browsers, with nobody signed in.
func (c *Console) site() (*site, error) {
	assets, err := web.NewAssets()
	if err != nil {
		return nil, err
	}
	s := &site{Console: c, assets: assets, sessions: web.NewSessions(c.Now), room: web.NewRoom(pageBytes, pageBytesEach), forms: newDoneForms(c.Now), files: &writtenFiles{}, deleted: newDeletions(), sent: web.NewRate(c.Now, issuerAtOnce, issuerInterval), waiting: newWaitingForms(), mux: http.NewServeMux()}
	if s.errands, err = web.NewErrands(c.Now); err != nil {
		return nil, err
	}
	if s.pages, err = assets.ParsePages(templates); err != nil {
		return nil, err
	}
	for _, r := range s.routes() {
		s.mux.Handle(r.pattern, s.handler(r))
	}
	s.mux.Handle("/", s.handler(route{gate: anyone, do: (*visit).nowhere}))
	return s, nil
}

// told has a panic in the log, with where it was. Whoever sent the request hears nothing.
func (s *site) told(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if why := recover(); why != nil {
				if why != http.ErrAbortHandler {
					s.Log.Error("panic", "path", r.URL.Path, "why", why, "stack", string(debug.Stack()))
				}
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// route is one thing that a browser can ask for.
type route struct {
	pattern string // as net/http has them, with the method
	gate    gate
	do      func(*visit) error
	// stands says that it is refused while the trusted storage cannot be used: what is changed then would be gone with the repair.
	stands bool
}

// routes are all of them. A test asks each with every role.
func (s *site) routes() []route {
	return slices.Concat(
		signRoutes(),
		overviewRoutes(),
		featureRoutes(),
		deviceRoutes(),
		poolRoutes(),
		reservationRoutes(),
		exchangeRoutes(),
		settingRoutes(),
		machineRoutes(),
		reportRoutes(),
		userRoutes(),
		keyRoutes(),
		directoryRoutes(),
		helpRoutes(),
	)
}

func (s *site) handler(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		v := &visit{site: s, w: w, r: req, gate: r.gate}
		err := v.enter(r.gate)
		if err == nil && r.stands {
			err = v.look(req, func(*ledger.Ledger, ledger.Now) {})
		}
		if err != nil {
			v.problem(err)
			return
		}
		v.resume()
		if err := r.do(v); err != nil {
			v.problem(err)
		}
	})
}

// formLife is how long a form is remembered that was sent: its session lasts no longer.
const formLife = web.Longest + time.Minute

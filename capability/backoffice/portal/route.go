package portal

import (
	"net/http"
	"slices"

	"github.com/leasehold/leasehold/capability/entitlement"
)

// gate says who may use a route: a permission, or one of those below.
type gate int

const (
	anyone   gate = -1 // also who is not signed in
	signedIn gate = -2
)

// needs is the gate of a permission.
func needs(p entitlement.Permission) gate { return gate(p) }

// route is one thing that can be asked for.
type route struct {
	pattern string // as net/http has them, with the method
	gate    gate
	// staff says that nobody of a customer may use it, whatever the permission.
	staff bool
	// fromElsewhere says that another site's page may send a form to it.
	fromElsewhere bool
	do            func(*visit) error
}

// routes are all of them. A test asks each with every role, of the own account and of another's.
func (p *Portal) routes() []route {
	return slices.Concat(
		p.signRoutes(),
		p.inboxRoutes(),
		p.questionRoutes(),
		p.loginRoutes(),
		p.ownRoutes(),
		p.tokenRoutes(),
		p.providerRoutes(),
		p.passkeyRoutes(),
		p.deviceRoutes(),
		p.moveRoutes(),
		p.itemRoutes(),
		p.seatRoutes(),
		p.userRoutes(),
		p.groupRoutes(),
		p.catalogRoutes(),
		p.importRoutes(),
		p.reportRoutes(),
		p.auditRoutes(),
		p.settingRoutes(),
	)
}

func (p *Portal) handler(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		v := &visit{asker: asker{p: p, r: req, now: p.now()}, w: w}
		if err := v.enter(r); err != nil {
			v.problem(err)
			return
		}
		v.resume()
		if err := r.do(v); err != nil {
			v.problem(err)
		}
	})
}

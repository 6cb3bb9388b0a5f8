package console

import (
	"net/http"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

// Pages is what browsers are served on the port of clients, and programs that speak HTTP.
func (c *Console) Pages() http.Handler {
	assets, err := web.NewAssets()
	if err != nil {
		panic(err) // they come with the program
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+web.Root, assets)
	mux.HandleFunc("GET /authority.pem", c.authority)
	c.api(mux, c.networkAsks(nil))
	c.probes(mux, c.networkAsks(nil))
	mux.HandleFunc("/", c.missing)
	same := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var names []string
		if s := c.shown(); s != nil {
			names = s.Names() // they change while this runs
		}
		web.Protect(same, names).ServeHTTP(w, r)
	})
}

// missing answers for what is not there.
func (c *Console) missing(w http.ResponseWriter, r *http.Request) {
	c.reply(w, r, func(*http.Request) (any, error) {
		return nil, capability.Refuse(capability.ErrNotFound, r.URL.Path, "")
	})
}

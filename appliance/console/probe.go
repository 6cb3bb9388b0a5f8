package console

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// probeTimeout is well below what monitoring programs wait.
const probeTimeout = 4 * time.Second

// probes puts on a mux what monitoring asks for: whether the appliance is alive, whether it serves, and its figures. Strangers hear yes or no; the reasons, and the figures, are for who may see.
func (c *Console) probes(mux *http.ServeMux, who func(*http.Request) (asker, error)) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { c.probe(w, r, who, "alive", c.Appliance.Alive) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { c.probe(w, r, who, "serving", c.ready) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		a, err := who(r)
		if err == nil {
			err = a.passes(needs(ledger.ToSee))
		}
		if err == nil && c.Metrics == nil {
			err = capability.Refuse(capability.ErrNotFound, r.URL.Path, "")
		}
		if err != nil {
			c.reply(w, r, func(*http.Request) (any, error) { return nil, err })
			return
		}
		c.Metrics.ServeHTTP(w, r)
	})
}

// Probe answers GET /healthz and /readyz where who asks may see.
type Probe struct {
	OK         bool        `json:"ok"`
	State      string      `json:"state"`
	Conditions []Condition `json:"conditions"`
}

func (c *Console) probe(w http.ResponseWriter, r *http.Request, who func(*http.Request) (asker, error), word string, is func(context.Context) error) {
	ctx, end := context.WithTimeout(r.Context(), probeTimeout)
	defer end()
	r = r.WithContext(ctx)
	err := is(ctx)
	code := http.StatusOK
	if err != nil {
		code, word = http.StatusServiceUnavailable, "not "+word
	}
	w.Header().Set("Cache-Control", "no-store")
	if a, no := who(r); no == nil && a.may(ledger.ToSee) {
		if v, no := c.health(r); no == nil {
			h := v.(*Health)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			json.NewEncoder(w).Encode(Probe{err == nil, h.State, h.Conditions})
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	io.WriteString(w, word+"\n")
}

// ready is nil while everything that is licensed is granted: not in a hold, which renews only.
func (c *Console) ready(ctx context.Context) error {
	why := capability.Code(0)
	if err := c.Appliance.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		switch s := l.Status(now); {
		case s.Lost != 0:
			why = s.Lost
		case !s.Provisioned:
			why = capability.ErrNotProvisioned
		case s.Hold != 0:
			why = capability.ErrHold
		case !l.Machine(now).Outcome.Serves():
			why = capability.ErrBinding
		}
	}); err != nil {
		return err
	}
	if why != 0 {
		return capability.Refuse(why, "", "")
	}
	return nil
}

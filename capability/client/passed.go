package client

import (
	"slices"
	"sync"
)

// Passed is a server of the list that was passed over when one was looked for last, because it could not be reached or did not prove that it is one.
type Passed struct {
	Server string // as in the list; a back office by its address, in lower case
	Err    error  // ErrServerUnreachable, ErrServerUnproven, ErrNotProvisioned, ErrProto ...; of a back office ErrOfficeUnreachable or ErrOfficeCertificate
}

// Passed lists the servers that were passed over when this program looked for one last, in the order of the list. A client that goes on with another server tells its user
// nothing of it; this is for whoever wants to know.
func (c *Client) Passed() []Passed { return c.link.passed.list(c.order) }

// passed is what became of the last search. It is read while the next one is under way.
type passed struct {
	mu      sync.Mutex
	all     []Passed         // appliances
	offices map[string]error // back offices, of the last Acquire
}

// note replaces what is known by what one search found, in the order of the servers.
func (p *passed) note(servers []string, all []Passed) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Passed) int { return slices.Index(servers, a.Server) - slices.Index(servers, b.Server) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = all
}

// noteOffices replaces what is known of back offices by what one Acquire found.
func (p *passed) noteOffices(offices map[string]error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offices = offices
}

// list is in the order of the places.
func (p *passed) list(order []string) (all []Passed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range order {
		if at == "" {
			all = append(all, p.all...)
		} else if err := p.offices[at]; err != nil {
			all = append(all, Passed{at, err})
		}
	}
	return all
}

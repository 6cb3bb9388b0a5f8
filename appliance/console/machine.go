package console

import (
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Limits of what a probe may tell: a server with every slot taken shows some hundred IDs.
const (
	MaxFindings  = 1024
	maxTold      = 512 << 10 // bytes
	maxToldWords = 1024      // bytes of a value, a source or a flaw
)

// Machine answers GET hostids, PUT hostids, whose body is a hostid.Machine, and POST hostids/planned, whose body is empty.
type Machine struct {
	Binding                       // what it is to its binding
	At        capability.Time     `json:"at,omitempty"`    // when a probe told last; absent: in this run none did
	Again     int64               `json:"again,omitempty"` // milliseconds after which that look, which is taken for a mistake so far, is to be repeated
	Platform  capability.Platform `json:"platform"`
	Requested bool                `json:"requested"` // the last request names what is there now
	IDs       []MachineID         `json:"ids"`       // as they were told, or what is kept of them from an earlier run
	Gone      []Host              `json:"gone"`      // bound, and not shown
	Alarms    []Alarm             `json:"alarms"`
	LacksLog  bool                `json:"lacksEventLog,omitempty"` // the firmware's log is wanted: PUT hostids/eventlog
}

// Binding is the verdict on the machine, in health and in GET hostids.
type Binding struct {
	Rule    string          `json:"rule"`    // tpm, secondaries, dongle, proven-dongle
	Outcome string          `json:"outcome"` // not judged, same, drifted, grace, broken, another machine
	Score   int             `json:"score"`
	Of      int             `json:"of"`
	Frozen  bool            `json:"frozen,omitempty"` // by a planned change: else a grace would run
	Changes []string        `json:"changes,omitempty"`
	Since   capability.Time `json:"since,omitempty"`
	Grace   capability.Time `json:"graceUntil,omitempty"`
	Planned capability.Time `json:"plannedUntil,omitempty"`
	By      string          `json:"plannedBy,omitempty"`
}

// MachineID is one ID of the machine.
type MachineID struct {
	Host     Host   `json:"hostId"`
	Strength string `json:"strength"`
	Source   string `json:"source,omitempty"`
	Flaw     string `json:"flaw,omitempty"`
	Counts   bool   `json:"counts"` // it can be bound
	Bound    bool   `json:"bound"`
}

// Alarm is something that has looked like a copy or a change of the machine.
type Alarm struct {
	Code    capability.Code `json:"code"`
	Title   string          `json:"title"`
	Count   uint32          `json:"count"` // since the daemon started
	Last    capability.Time `json:"last"`
	Subject string          `json:"subject,omitempty"`
}

func alarmsOf(all []appliance.Suspicion) []Alarm {
	out := make([]Alarm, 0, len(all))
	for _, s := range all {
		out = append(out, Alarm{s.Code, s.Code.Entry().Title, s.Count, s.Last, s.Subject})
	}
	return out
}

func bindingOf(v ledger.MachineView) Binding {
	return Binding{
		Rule: v.Rule.String(), Outcome: v.Outcome.String(), Score: v.Score, Of: v.Of, Frozen: v.Frozen, Changes: v.Changes,
		Since: v.Since, Grace: v.Grace, Planned: v.Planned, By: v.By,
	}
}

// unboundProblem is why such a machine is served nothing, or nil.
func unboundProblem(v ledger.MachineView) *Problem {
	if v.Outcome.Serves() {
		return nil
	}
	r := capability.Refuse(capability.ErrBinding, "", "%s", v.Sentence())
	r.Detail = r.Detail[:min(len(r.Detail), capability.MaxDetail)]
	return ProblemOf(r)
}

func (c *Console) machine(r *http.Request) (any, error) {
	v, seen, alarms, err := c.Appliance.HostIDs(r.Context())
	if err != nil {
		return nil, err
	}
	m := &Machine{Binding: bindingOf(v), At: seen.At, Again: seen.Again.Milliseconds(), Platform: v.Platform, Requested: v.Asked, IDs: []MachineID{}, Gone: []Host{}, Alarms: alarmsOf(alarms), LacksLog: c.Appliance.LacksEventLog()}
	bound := append([]hostid.ID{v.Bound.EK}, append(slices.Clone(v.Bound.Others), v.Bound.Dongle)...)
	shows := func(id hostid.ID) bool {
		return slices.ContainsFunc(v.Shown, func(s hostid.Shown) bool { return s.ID == id })
	}
	row := func(f hostid.Finding) {
		counts := f.Flaw == "" && shows(f.ID)
		m.IDs = append(m.IDs, MachineID{HostOf(f.ID), f.Strength.String(), f.Source, f.Flaw, counts, counts && slices.Contains(bound, f.ID)})
	}
	row(hostid.Finding{ID: c.Host, Strength: hostid.Proven, Source: "TPM of this appliance"})
	if seen.At != 0 {
		for _, f := range seen.Machine.Findings {
			if f.ID != c.Host {
				row(f)
			}
		}
	} else {
		for _, s := range v.Shown {
			if s.ID != c.Host {
				row(hostid.Finding{ID: s.ID, Strength: hostid.Weak, Source: "kept from an earlier run"})
			}
		}
	}
	for _, id := range bound {
		if id != (hostid.ID{}) && !shows(id) {
			m.Gone = append(m.Gone, HostOf(id))
		}
	}
	return m, nil
}

// tell takes what a probe found.
func (c *Console) tell(r *http.Request) (any, error) {
	var m hostid.Machine
	if err := decodeUpTo(maxTold, r, &m); err != nil {
		return nil, err
	}
	if len(m.Findings) > MaxFindings {
		return nil, &capability.Malformed{Field: "findings", Cause: fmt.Sprintf("%d where at most %d are allowed", len(m.Findings), MaxFindings)}
	}
	for i, f := range m.Findings {
		if max(len(f.ID.Value), len(f.Source), len(f.Flaw)) > maxToldWords {
			return nil, &capability.Malformed{Field: fmt.Sprintf("findings[%d]", i), Cause: fmt.Sprintf("a value or a word of more than %d bytes", maxToldWords)}
		}
	}
	if err := c.Appliance.Recognize(r.Context(), m); err != nil {
		return nil, err
	}
	return c.machine(r)
}

// hearLog takes the log of the machine's firmware, which only root may read. The body is its bytes; what it answers is as for GET hostids.
func (c *Console) hearLog(r *http.Request) (any, error) {
	log, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, attest.MaxEventLogBytes))
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileSize, "", "the firmware's log: %v", err)
	}
	if err := c.Appliance.HearEventLog(log); err != nil {
		return nil, err
	}
	return c.machine(r)
}

func (c *Console) planChange(r *http.Request, by string) (any, error) {
	if err := c.Appliance.PlanChange(r.Context(), by); err != nil {
		return nil, err
	}
	return c.machine(r)
}

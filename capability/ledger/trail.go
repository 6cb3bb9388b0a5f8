package ledger

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Trail follows the audit trail entry by entry: each must name the one before. The zero Trail takes any entry as its first; from entry 1 on nothing can be missing.
type Trail struct {
	Position uint64            // of the last entry
	Head     capability.Digest // its SHA-256
	First    uint64
	codec    *wire.Codec
}

// Add takes the next entry, as it was written. The error says what does not fit; it wraps ErrCorrupt.
func (t *Trail) Add(b []byte) (Entry, error) {
	if t.codec == nil {
		t.codec = wire.New()
	}
	e, err := DecodeEntry(t.codec, b)
	switch {
	case err != nil:
		return Entry{}, err
	case t.First == 0 && e.Position == 1 && e.Previous != capability.Digest{}:
		return Entry{}, corrupt("entry 1 names an entry before it")
	case t.First == 0:
		t.First = e.Position
	case e.Position != t.Position+1:
		return Entry{}, corrupt("entry %d follows entry %d", e.Position, t.Position)
	case e.Previous != t.Head:
		return Entry{}, corrupt("entry %d names %x as the one before, which is %x", e.Position, e.Previous[:8], t.Head[:8])
	}
	t.Position, t.Head = e.Position, digest(b)
	return e, nil
}

// Words says the fact of an entry for people: its kind, what it is about, and who did it where that is an administrator.
func (e *Entry) Words() (kind, subject, by string) {
	switch {
	case e.Started != nil:
		return "started", e.Started.Cause, ""
	case e.Advanced != nil:
		return "time went on", "", ""
	case e.Provisioned != nil:
		return "response applied", fmt.Sprintf("response %d", e.Provisioned.Response.Serial), ""
	case e.Served != nil:
		return "served", fmt.Sprintf("%s, answer %d, %s", e.Served.Answer.For, e.Served.Answer.Serial, capability.Counted(len(e.Served.Leases), "lease")), e.Served.Who.User
	case e.Returned != nil:
		return "returned", fmt.Sprintf("%s of %s", capability.Counted(e.Returned.Return.Copies, "copy"), e.Returned.Return.ActivationID), e.Returned.By
	case e.Proved != nil:
		return "return proved", fmt.Sprintf("%x", e.Proved.ID), ""
	case e.Requested != nil:
		return "request written", fmt.Sprintf("request %d", e.Requested.Written.Number), e.Requested.By
	case e.Dropped != nil:
		return "lease dropped", fmt.Sprintf("%s of %s", e.Dropped.Feature, e.Dropped.Device), e.Dropped.By
	case e.Modeled != nil && len(e.Modeled.Text) == 0:
		return "model deleted", "", e.Modeled.By
	case e.Modeled != nil:
		return "model uploaded", capability.Counted(len(e.Modeled.Text), "byte"), e.Modeled.By
	case e.Reserved != nil:
		return "reservations changed", capability.Counted(len(e.Reserved.Groups), "group"), e.Reserved.By
	case e.Configured != nil:
		return "setting changed", fmt.Sprintf("%s = %q", e.Configured.Setting.Name, e.Configured.Setting.Value), e.Configured.By
	case e.Drained != nil:
		return "return begun", fmt.Sprintf("%s of %s", capability.Counted(e.Drained.Copies, "copy"), e.Drained.ActivationID), e.Drained.By
	case e.Watched != nil:
		return "clock judged", e.Clock.describe(e.Now.Wall), ""
	case e.Stated != nil:
		return "time stated", e.Stated.Time.String(), e.Stated.By
	case e.Recognized != nil:
		return "machine recognized", e.Judged.describe(e.Recognized.Shown), ""
	case e.Planned != nil:
		return "change planned", "", e.Planned.By
	case e.Counted != nil:
		return "usage counted", "", ""
	case e.Admitted != nil:
		return "login " + e.Admitted.What.String(), e.Admitted.words(), e.Admitted.By
	case e.SignedIn != nil && e.SignedIn.Failed > 0:
		return "sign-in failed", e.SignedIn.words(), ""
	case e.SignedIn != nil:
		by := "login "
		if strings.HasPrefix(e.SignedIn.How, ByDirectory) {
			by = ByDirectory + " "
		}
		return "signed in", e.SignedIn.words(), by + e.SignedIn.Name
	case e.Certified != nil:
		return "certificate " + e.Certified.What.String(), e.Certified.words(), e.Certified.By
	case e.Registered != nil && e.Registered.Removed:
		return "client key removed", e.Registered.words(), e.Registered.By
	case e.Registered != nil:
		return "client key registered", e.Registered.words(), e.Registered.By
	case e.Recovery != nil:
		return "recovery key shown", fmt.Sprintf("key %d", e.Recovery.Number), e.Recovery.By
	}
	return "unknown", "", ""
}

// words say whose login it is, what it may, and until when its tokens are good. Nothing is said of its password.
func (f *Admitted) words() string {
	g := &f.Login
	if f.What == LoginRemoved {
		return g.Name
	}
	said := []string{g.Name + ": no role"}
	for n, r := range g.Roles {
		if n == 0 {
			said[0] = g.Name + ": " + r.String()
		} else {
			said = append(said, r.String())
		}
	}
	for _, t := range g.Tokens {
		said = append(said, fmt.Sprintf("token %q until %s", t.Name, t.Ends))
	}
	return strings.Join(said, ", ")
}

// words say who tried what from where.
func (s *SignedIn) words() string {
	name := s.Name
	if name == "" {
		name = "an unknown name"
	}
	said := fmt.Sprintf("%s by %s from %s", name, s.How, s.From)
	if s.Failed > 0 {
		said += fmt.Sprintf(", %s in a row, closed until %s", capability.Counted(s.Failed, "try"), s.Closed)
	}
	return said
}

// describe says what the machine is, and by how many IDs it shows itself.
func (j *Judged) describe(shown []hostid.Shown) string {
	s := capability.Counted(len(shown), "ID")
	if j != nil {
		s += ", " + j.Outcome.String()
	}
	return s
}

func (c *Clock) describe(at capability.Time) string {
	if c == nil {
		return ""
	}
	return c.Sentence(at)
}

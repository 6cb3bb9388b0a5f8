package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Imported says what a response file did.
type Imported struct {
	Code     capability.Code // Applied, AlreadyHere or OlderResponse
	Response capability.Response
	Clear    wire.Clear
	Changes  []Change            // features whose count changed, in order
	Notices  []capability.Denial // what of the response is in force only later
}

// Change is the count of one feature before and after.
type Change struct {
	Feature       string
	Before, After uint64
}

// certificates is what clients need besides the serving key: it is kept in the ledger in the place of the appliance certificate alone.
type certificates struct {
	Key       []byte `cbor:"1,keyasint,omitempty"`
	Appliance []byte `cbor:"2,keyasint,omitempty"`
}

// Import applies a response file. Cheap and certain checks come first, the TPM last: form, signatures, for whom, apply-before, serial, then the content.
// Every refusal is a *capability.Refusal and changes nothing; AlreadyHere and OlderResponse are no failures.
func (a *Appliance) Import(ctx context.Context, file []byte) (*Imported, error) {
	s, err := a.codec.ReadResponse(file)
	if err != nil {
		return nil, refuse(err)
	}
	signer, _, err := a.codec.Verify(a.Trust, s)
	if err != nil {
		return nil, refuse(err)
	}
	if s.Clear.For != a.Host {
		return nil, capability.Refuse(capability.ErrNotOurs, "", "it is for LH-%s, and this appliance is LH-%s", s.Clear.For.Short(), a.Host.Short())
	}
	in := &Imported{Clear: s.Clear}
	var serial, number uint64
	var written []ledger.Written
	var same bool
	var now ledger.Now
	var revoked []capability.Digest
	if err := a.Look(ctx, func(l *ledger.Ledger, n ledger.Now) {
		applied, digest := l.Applied()
		serial, same, now, revoked = applied.Serial, digest == s.Digest, n, l.Revoked()
		number, written = l.Status(n).Number, l.Outstanding()
		in.Changes = totals(l, n, nil)
	}); err != nil {
		return nil, err
	}
	if err := a.codec.StillCounts(signer, revoked); err != nil {
		return nil, refuse(err)
	}
	switch {
	case serial != 0 && s.Clear.Serial == serial && same:
		in.Code, in.Changes = capability.AlreadyHere, nil
		return in, nil
	case s.Clear.Serial < serial:
		in.Code, in.Changes = capability.OlderResponse, nil
		return in, nil
	case now.Wall > s.Clear.ApplyBefore:
		return nil, capability.Refuse(capability.ErrResponseStale, "", "it was made %s, to be applied before %s, and now is %s", s.Clear.Time, s.Clear.ApplyBefore, now.Wall)
	}
	r, err := a.openResponse(s)
	if err != nil {
		return nil, err
	}
	if r.Serial > serial && !wrote(r, written, number) {
		return nil, capability.Refuse(capability.ErrResponseEpoch, "", "it answers request %d, which this trusted storage did not write; its last one is %d", r.Number, number)
	}
	// Clients get both certificates from here; the response brings them in two places.
	r.Certificate = a.codec.Encode(certificates{Key: s.Certificate(), Appliance: r.Certificate})
	c := &call{command: ledger.Provision{Response: *r, Digest: s.Digest, Key: a.codec.Fingerprint(signer.Keys), Revoked: wire.Learn(nil, signer)}}
	if err := a.do(ctx, c); err != nil {
		var refusal *capability.Refusal
		if errors.As(err, &refusal) && (refusal.Code == capability.AlreadyHere || refusal.Code == capability.OlderResponse) {
			in.Code, in.Changes = refusal.Code, nil
			return in, nil
		}
		return nil, err
	}
	in.Code, in.Response, in.Notices = capability.Applied, *r, c.decision.Notices
	before := in.Changes
	if err := a.Look(ctx, func(l *ledger.Ledger, n ledger.Now) { in.Changes = totals(l, n, before) }); err != nil {
		return nil, err
	}
	a.Log.Info(capability.Applied.Entry().Title, "code", capability.Applied.String(), "serial", r.Serial, "items", len(r.Items), "number", r.Number)
	if d, is := r.Refused(); is {
		a.Log.Warn(d.Code.Entry().Title, "code", d.Code.String(), "number", r.Number, "detail", d.Detail)
	}
	for _, d := range r.ReturnsRefused() {
		a.Log.Warn(d.Code.Entry().Title, "code", d.Code.String(), "return", d.Subject, "detail", d.Detail)
	}
	return in, nil
}

// wrote says that a response answers a request of this very storage. One to a request of a storage that was wiped, or of a copy of this one, would bring rights
// beside leases that nobody here knows of, and hide from the back office that there are two lines. Of the oldest requests the digest is not kept.
func wrote(r *capability.Response, written []ledger.Written, number uint64) bool {
	for _, w := range written {
		if w.Number == r.Number {
			return w.Digest == r.Request
		}
	}
	return r.Number <= number && len(written) == capability.MaxOutstanding && r.Number < written[0].Number
}

// openResponse asks the TPM for the content key.
func (a *Appliance) openResponse(s *wire.SealedResponse) (*capability.Response, error) {
	w, err := attest.DecodeWrapped(s.Wrap)
	if err != nil {
		return nil, capability.Refuse(capability.ErrNotOpened, "", "%v", err)
	}
	var r *capability.Response
	var closed error
	a.Guard(func() {
		var key []byte
		if key, closed = a.Machine.Activate(w); closed == nil {
			r, err = a.codec.Open(s, key)
			clear(key)
		}
	})
	if closed != nil {
		return nil, fmt.Errorf("open the response: %w", closed)
	}
	if errors.Is(err, wire.ErrSignature) {
		return nil, capability.Refuse(capability.ErrNotOpened, "", "%v", err)
	} else if err != nil {
		return nil, capability.Refuse(capability.ErrResponseForm, "", "%v", err)
	}
	return r, nil
}

// totals are the counts by feature; with an earlier reading, only what differs from it. An item that is in no response any more counts nothing, whoever still has leases of it.
func totals(l *ledger.Ledger, now ledger.Now, before []Change) []Change {
	counts := map[string]*Change{}
	for _, c := range before {
		counts[c.Feature] = &Change{Feature: c.Feature, Before: c.After}
	}
	for _, it := range l.Items(now) {
		c := counts[it.Feature]
		if c == nil {
			c = &Change{Feature: it.Feature}
			counts[it.Feature] = c
		}
		if !it.Cut {
			c.After += uint64(it.Count)
		}
	}
	out := make([]Change, 0, len(counts))
	for _, c := range counts {
		if c.Before != c.After {
			out = append(out, *c)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Feature < out[j].Feature })
	return out
}

// refuse turns an error of the wire into a refusal with the catalog's code.
func refuse(err error) error {
	if c := wire.Code(err); c != 0 {
		return capability.Refuse(c, "", "%v", err)
	}
	return err
}

// File is a request file that may be written.
type File struct {
	Number uint64
	Name   string // 8.3-safe
	Bytes  []byte
}

// Request makes the next request file: who this is, what it wants to hold, what it has applied, the proofs of what it gave up. Its number and digest are
// durable before anyone has the bytes. It can be asked for again at will: a lost file loses nothing.
func (a *Appliance) Request(ctx context.Context, desired []capability.Desired, by string) (*File, error) {
	return a.RequestFrom(ctx, desired, 0, by)
}

// RequestFrom is Request with the records of usage from that number on, as far as they are kept, acknowledged or not; zero: those not acknowledged.
// As many go along as the file has room for, the oldest first; the rest waits for the next trip.
func (a *Appliance) RequestFrom(ctx context.Context, desired []capability.Desired, from uint64, by string) (*File, error) {
	a.requests.Lock()
	defer a.requests.Unlock()
	if err := a.proveReturns(ctx); err != nil {
		return nil, err
	}
	if err := a.do(ctx, &call{command: ledger.CloseUsage{}}); err != nil {
		return nil, err
	}
	r := capability.Request{Version: capability.Protocol, Desired: desired}
	if _, err := io.ReadFull(a.Rand, r.Correlation[:]); err != nil {
		return nil, fmt.Errorf("draw a correlation ID: %w", err)
	}
	var shown []hostid.Shown
	var counted error
	var gone error
	if err := a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		applied, _ := l.Applied()
		r.Hosts = append(r.Hosts, a.Host)
		r.Applied = applied.Serial
		r.BookHead = applied.BookHead
		s := l.Status(now)
		r.Number, r.Life, r.Condition = s.Number+1, s.Life, s.Lost
		shown = a.describe(&r, l, now)
		r.Head = capability.Head{Position: s.Position, Hash: s.Head}
		for _, w := range l.Outstanding() {
			r.Outstanding = append(r.Outstanding, w.Digest)
		}
		r.Returns, r.Metered, r.Settled = l.Returns(), l.Metered(), l.Settled(now)
		r.Clock = capability.Clock{Now: capability.At(a.Now()), Floor: now.Wall}
		r.Producer = a.codec.Fingerprint(a.Trust.Root)
		if a.Found == nil {
			r.Epoch = a.Vault.Epoch()
		} else {
			if r.Epoch, counted = a.Counter(); counted == nil {
				r.Epoch, gone = a.dated(s.Epoch, r.Epoch, s.Lost)
			}
		}
		r.States = l.States(now)
		r.Records = l.Records(from, capability.MaxFile-capability.MaxQuoted-besideRecords-len(a.codec.Encode(&r)))
	}); err != nil {
		return nil, err
	}
	if counted != nil {
		return nil, fmt.Errorf("read the epoch counter: %w", counted)
	}
	if gone != nil {
		return nil, gone
	}
	file, digest, err := a.codec.SignRequest(&r, wire.AlgTPMQuote, wire.AttestationKeyID(a.ak), func(d capability.Digest) ([]byte, error) {
		e, err := a.Machine.Evidence(attest.Request, d[:])
		if err != nil {
			return nil, err
		}
		e.EventLog = a.eventLog()
		return e.Encode(), nil
	})
	if err != nil {
		return nil, err
	}
	if err := a.do(ctx, &call{command: ledger.WriteRequest{Number: r.Number, Digest: digest, Epoch: r.Epoch, Shown: shown, By: by}}); err != nil {
		return nil, err
	}
	a.Log.Info(capability.RequestMade.Entry().Title, "code", capability.RequestMade.String(), "number", r.Number, "bytes", len(file), "by", by)
	return &File{r.Number, capability.FileName("REQ", r.Number, "LHQ"), file}, nil
}

// besideRecords is what a request file has beside the request without its records and the evidence: the envelope, and what is filled in last.
const besideRecords = 4 << 10

// dated is the epoch that a request of a storage without rights names, when the one before named before and the counter is at epoch: that of the first, unless all that moved
// the counter since is a making of this process. A counter that a vault may have moved says that this is a copy from before that vault: its request would get the
// rights once more, beside all that the vault has told. A lost storage (its code is lost) is repaired at any epoch.
func (a *Appliance) dated(before, epoch uint64, lost capability.Code) (uint64, error) {
	switch {
	case before == 0, lost != 0, epoch == a.unmade:
		return epoch, nil
	case !Untold(before, epoch):
		return 0, capability.Refuse(capability.ErrStorageGone, "", "the counter is at %d, and the first request was written at %d", epoch, before)
	}
	return before, nil
}

// Return takes copies of an activation ID out of service for good (zero: all of them). When it answers, the return is durable, the epoch has moved so that no earlier
// state opens any more, and the TPM's proof is kept; the next request carries it, and so does every one until the back office has acknowledged it.
func (a *Appliance) Return(ctx context.Context, id capability.ActivationID, copies uint32, by string) (*capability.Return, error) {
	r := ledger.Return{ActivationID: id, Copies: copies, By: by}
	if _, err := io.ReadFull(a.Rand, r.ID[:]); err != nil {
		return nil, fmt.Errorf("draw a return ID: %w", err)
	}
	c := &call{command: r}
	if err := a.do(ctx, c); err != nil {
		return nil, err
	}
	a.Log.Info(capability.ReturnMade.Entry().Title, "code", capability.ReturnMade.String(), "activation", string(id), "copies", c.decision.Return.Copies, "by", by)
	a.requests.Lock()
	defer a.requests.Unlock()
	if err := a.proveReturns(ctx); err != nil {
		return nil, err
	}
	made := c.decision.Return
	err := a.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
		for _, r := range l.Returns() {
			if r.ID == made.ID {
				made = r
			}
		}
	})
	return &made, err
}

// proveReturns asks the TPM for the proof of every return that has none yet. A cut between a return and its proof is mended here: any later value of the counter proves it as well.
func (a *Appliance) proveReturns(ctx context.Context) error {
	var pending []capability.Return
	if err := a.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
		for _, r := range l.Returns() {
			if len(r.Proof) == 0 {
				pending = append(pending, r)
			}
		}
	}); err != nil {
		return err
	}
	for _, r := range pending {
		d := a.codec.ReturnDigest(r)
		proof, err := a.Machine.CertifyEpoch(a.Index, d[:])
		if err != nil {
			return fmt.Errorf("prove the return: %w", err)
		}
		if err := a.do(ctx, &call{command: ledger.Prove{ID: r.ID, Proof: proof.Encode()}}); err != nil {
			return err
		}
	}
	return nil
}

// Drop ends a device's leases of a feature by an administrator's word: they are not renewed, and the seats are free when the leases would have ended.
func (a *Appliance) Drop(ctx context.Context, d ledger.Drop) error {
	if err := a.do(ctx, &call{command: d}); err != nil {
		return err
	}
	a.Log.Info("lease dropped", "device", d.Device.String(), "feature", d.Feature, "by", d.By)
	return nil
}

// Change makes a command of an administrator a fact: a model, reservations or a setting. The log says what and who.
func (a *Appliance) Change(ctx context.Context, c ledger.Command, what, by string) (ledger.Decision, error) {
	asked := &call{command: c}
	if err := a.do(ctx, asked); err != nil {
		return ledger.Decision{}, err
	}
	if len(asked.decision.Entries) > 0 {
		a.Log.Info(what, "by", by)
	}
	return asked.decision, nil
}

package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// A device that no wire leads to borrows by the same two messages in files: the request that it would send, signed by its key, and the answer that it would hear, with
// the chain that a connection begins with. What an answer lends is kept as any answer is, so that programs find it where no server can be reached. Between the two
// everything is as between a request and an answer on the wire: in what was given back is not believed from the moment that the request is durable, which is before
// its file exists.
//
// Only the answer to the newest request counts. One to an earlier request may lend what was given back since.

// filed is the newest request that was written into a file.
type filed struct {
	Number  uint64 `cbor:"1,keyasint,omitzero"`  // grows with every one; the appliance decides none twice
	Request []byte `cbor:"2,keyasint,omitempty"` // until its answer is imported
	Over    bool   `cbor:"3,keyasint,omitzero"`  // its answer came too late, or it was overtaken: the same wish again is another request

	Lender hostid.ID `cbor:"4,keyasint,omitzero"` // the appliance whose word was had when it was written, if any
}

// overtaken notes that the whole set was decided on a wire, which takes the place of the newest file. What that one asked for and was not given is still wished for.
func (s *state) overtaken(r *capability.Response) {
	if slices.ContainsFunc(s.Away, func(a holding) bool { return covered(r, a.Feature, a.Version, uint64(a.Count)) == 0 }) {
		s.Filed.Over = true
		return
	}
	s.Filed = filed{Number: s.Filed.Number}
}

// outrun says that a request on the wire, whose answer was not heard, may have overtaken the file of that number.
func (c *Client) outrun(s *state, number uint64) bool {
	for _, p := range s.Peers {
		var q capability.Request
		if len(p.Pending) > 0 && c.codec.DecodeRequest(p.Pending, &q, capability.MaxFrame) == nil && q.Operation == capability.Grant && q.Number >= number {
			return true
		}
	}
	return false
}

// whole is what the device shall hold: what was borrowed by files, of which programs use first, and what they hold beyond it.
func (s *state) whole() []holding {
	if len(s.Away) == 0 {
		return s.Holdings
	}
	out := slices.Clone(s.Away)
	var done []string
	for _, h := range s.Holdings {
		if slices.Contains(done, h.Feature) {
			continue
		}
		done = append(done, h.Feature)
		var stock, need []level
		for _, a := range s.Away {
			if a.Feature == h.Feature {
				stock = append(stock, level{a.Version, uint64(a.Count)})
			}
		}
		for _, o := range s.Holdings {
			if o.Feature == h.Feature {
				need = append(need, level{o.Version, uint64(o.Count)})
			}
		}
		for _, l := range unmet(stock, need) {
			out = append(out, holding{Feature: h.Feature, Version: l.version, Count: clipped(l.count)})
		}
	}
	return out
}

// shall is how much of a feature the device shall hold.
func (s *state) shall(name string) (n uint64) {
	for _, l := range s.whole() {
		if l.Feature == name {
			n += uint64(l.Count)
		}
	}
	return n
}

// lent says that no appliance has to hear what programs gave back: what it lent by a file is no more than the device shall hold.
func (c *Client) lent(s *state) bool {
	kept, now := c.kept(s), c.now()
	return len(s.Away) > 0 && kept != nil && !s.pending() && !slices.ContainsFunc(kept.Rights, func(g capability.Right) bool {
		return g.Expiry > now && total(kept, capability.Feature{Name: g.Feature}) > s.shall(g.Feature)
	})
}

// BorrowFile writes the request to borrow counts of features into a file that may be carried to an appliance; of a feature that was borrowed by a file before, the
// lines are the whole of what it is from now on. borrow is for how long, in whole seconds; zero: the server's time. The request's number is durable before
// anyone has the bytes. As long as its answer is not imported the same wish writes the same request again, so that a lost file loses nothing.
func (c *Client) BorrowFile(ctx context.Context, desired []capability.Desired, borrow time.Duration) (*RequestFile, error) {
	for i, d := range desired {
		switch err := d.Validate(); {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		case d.Count == 0, d.ActivationID != "", d.Partial, d.Wait, len(d.Selectors) > 0:
			return nil, fmt.Errorf("line %d: want a feature, its version and a count", i+1)
		}
	}
	if borrow < 0 {
		return nil, fmt.Errorf("borrow for %s, which is less than nothing", borrow)
	}
	return c.writeFile(ctx, func(s *state, _ *capability.Response) error {
		if len(desired)+len(s.Away) == 0 {
			return denied(capability.Denial{Code: capability.ErrNoSuchLease, Detail: "nothing is borrowed by a file, and no feature is named"})
		}
		s.Away = slices.DeleteFunc(s.Away, func(a holding) bool {
			return slices.ContainsFunc(desired, func(d capability.Desired) bool { return d.Feature == a.Feature })
		})
		for _, d := range desired {
			s.Away = append(s.Away, holding{Feature: d.Feature, Version: d.Version, Count: d.Count})
		}
		if len(s.Away) > maxHoldings {
			return broken("borrow", fmt.Errorf("%d features and versions, and at most %d are kept", len(s.Away), maxHoldings))
		}
		if seconds := capability.Seconds(borrow / time.Second); seconds > 0 {
			s.Borrow = seconds
		}
		return nil
	})
}

// ReleaseFile gives back what this device has borrowed of a feature, before its time, and writes the request that says so into a file. When it answers, leases of
// the feature have ended, and no program of this device gets one of what was borrowed any more; the seat is free when the appliance has taken the file in. Until its
// answer is imported the same file can be written again at will. ErrNoSuchLease: nothing of the feature is borrowed.
func (c *Client) ReleaseFile(ctx context.Context, feature string) (*RequestFile, error) {
	return c.writeFile(ctx, func(s *state, kept *capability.Response) error {
		had := s.asked(c, feature) || s.shall(feature) > 0 || kept != nil && total(kept, capability.Feature{Name: feature}) > 0
		if !had {
			return denied(capability.Denial{Code: capability.ErrNoSuchLease, Subject: feature, Detail: "nothing of it is borrowed"})
		}
		of := func(h holding) bool { return h.Feature == feature }
		s.Away, s.Holdings = slices.DeleteFunc(s.Away, of), slices.DeleteFunc(s.Holdings, of)
		return nil
	}, feature)
}

// NumberAbove has the next request in a file be a new one, with a number above n: for a device whose directory was restored from a copy, or damaged, of which an appliance
// says that it has come to request n (ErrRequestPassed). n is at most half of capability.MaxNumber: there is room to go on.
func (c *Client) NumberAbove(ctx context.Context, n uint64) error {
	if n > capability.MaxNumber/2 {
		return fmt.Errorf("a request above %d, and it can be above %d at most", n, uint64(capability.MaxNumber/2))
	}
	return c.change(ctx, func(s *state) error {
		s.Filed.Number, s.Filed.Over = max(s.Filed.Number, n), true
		return nil
	})
}

// asked says that the newest request in a file has a line of the feature.
func (s *state) asked(c *Client, feature string) bool {
	q := c.filedRequest(s)
	return q != nil && slices.ContainsFunc(q.Desired, func(d capability.Desired) bool { return d.Feature == feature })
}

// filedRequest is the newest request in a file, as long as its answer is awaited; else nil.
func (c *Client) filedRequest(s *state) *capability.Request {
	var q capability.Request
	if len(s.Filed.Request) == 0 || c.codec.DecodeRequest(s.Filed.Request, &q, capability.MaxFrame) != nil {
		return nil
	}
	return &q
}

// writeFile changes what the device shall hold and makes the request that says so, which gives back what it has of these features. The order of writes is: the
// request, its number and what is not believed any more, then the file. A cut between them leaves a request that is written again by the next call.
func (c *Client) writeFile(ctx context.Context, change func(*state, *capability.Response) error, gives ...string) (out *RequestFile, err error) {
	if c.device.host != hostid.OfDigest(hostid.DeviceKey, c.device.key) {
		return nil, denied(capability.Denial{Code: capability.ErrOperation, Detail: fmt.Sprintf("this device is %s, and files are for devices that are named by their key", c.device.host)})
	}
	err = c.change(ctx, func(s *state) error {
		after := *s
		after.Away, after.Holdings, after.Less = slices.Clone(s.Away), slices.Clone(s.Holdings), slices.Clone(s.Less)
		kept := c.kept(s)
		if err := change(&after, kept); err != nil {
			return err
		}
		file, err := c.fileOf(&after, kept, gives)
		if err != nil {
			return err
		}
		*s = after
		c.mu.Lock()
		c.taking = append(c.taking, c.lapse(s)...)
		c.mu.Unlock()
		out = file
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// fileOf is the request for what the state says, in a file: the one that was written last, if that says the same.
func (c *Client) fileOf(s *state, kept *capability.Response, gives []string) (*RequestFile, error) {
	if len(s.Holdings)+len(s.Away) == 0 {
		s.Borrow = 0
	}
	r, _ := c.request(capability.Grant, s, true)
	for _, f := range gives {
		r.Desired = giveBack(r.Desired, f)
	}
	r.Producer = c.codec.Fingerprint(c.link.trust.Root)
	var lender hostid.ID
	if a, err := c.link.prove(&s.Chain); err == nil && kept != nil {
		r.Applied, lender = s.appliedOf(a.Host), a.Host
	}
	if q := c.filedRequest(s); q != nil && !s.Filed.Over && !c.outrun(s, q.Number) {
		r.Number, r.Correlation = q.Number, q.Correlation
	}
	if !bytes.Equal(c.codec.Encode(r), s.Filed.Request) {
		r.Number = s.Filed.Number + 1
		rand.Read(r.Correlation[:])
		body := c.codec.Encode(r)
		if len(body) > capability.MaxFrame {
			return nil, refuse(capability.ErrProto, fmt.Errorf("request of %d bytes where at most %d are allowed", len(body), capability.MaxFrame))
		}
		s.lessen(kept, r.Desired, c.now())
		s.Filed = filed{Number: r.Number, Request: body, Lender: lender}
		if (lender != hostid.ID{}) {
			s.peer(lender).Given = slices.Clone(s.Less)
		}
	}
	key, ok := c.device.certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("device key: a %T signs nothing", c.device.certificate.PrivateKey)
	}
	file, _, err := c.codec.SignClientRequest(rand.Reader, key, r)
	if err != nil {
		return nil, err
	}
	return &RequestFile{r.Number, capability.FileName("REQ", r.Number, "LHQ"), file}, nil
}

// appliedOf is the serial of the newest answer that was heard of an appliance.
func (s *state) appliedOf(host hostid.ID) uint64 {
	for _, p := range s.Peers {
		if p.Host == host {
			return p.Applied
		}
	}
	return 0
}

// Imported says what an answer file did.
type Imported struct {
	Code      capability.Code // Applied, AlreadyHere or OlderResponse
	Appliance hostid.ID
	Response  *capability.Response // nil unless it was applied
}

// ImportFile takes in the answer to the newest request in a file. It is judged with the producer's root alone, whatever key the appliance serves with by now. A refusal
// changes nothing; AlreadyHere and OlderResponse are none. ErrNotOurs: it is another device's. ErrOtherAppliance: it gives back what another appliance lent.
// ErrResponseStale: it came too late, and the wish is to be written once more.
func (c *Client) ImportFile(ctx context.Context, file []byte) (*Imported, error) {
	f, err := c.codec.ReadAnswerFile(file)
	if err != nil {
		return nil, refuse(wire.Code(err), err)
	}
	var out *Imported
	err = c.change(ctx, func(s *state) error {
		a, r, err := c.judgeFile(s, f)
		if err != nil {
			return err
		}
		out = &Imported{Code: capability.Applied, Appliance: a.Host}
		p, kept, q := s.peer(a.Host), c.kept(s), c.filedRequest(s)
		lender, _ := c.link.prove(&s.Chain)
		switch {
		case kept != nil && len(s.Less) == 0 && lender != nil && lender.Host == a.Host && kept.Serial == r.Serial && kept.Correlation == r.Correlation:
			out.Code = capability.AlreadyHere
			return nil
		case q == nil || q.Correlation != r.Correlation, r.Serial <= p.Applied, c.outrun(s, q.Number): // what was asked for on the wire since may have been given back there
			out.Code = capability.OlderResponse
			return nil
		case s.Filed.Lender != a.Host && len(s.given(s.Filed.Lender)) > 0:
			return denied(capability.Denial{Code: capability.ErrOtherAppliance, Detail: fmt.Sprintf("LH-%s answered, and LH-%s lent what is given back", a.Host.Short(), s.Filed.Lender.Short())})
		}
		if err := c.inLife(r); err != nil {
			s.Filed.Over = true
			return err
		}
		p.Applied = r.Serial
		if q := c.pending(p); q != nil && q.Operation == capability.Grant {
			p.Pending, p.Before = nil, nil // the file said the whole set after it
		}
		p.Given = nil
		s.Chain, s.Answer, s.Less, s.Late, s.Filed = f.Chain, f.Answer, nil, false, filed{Number: s.Filed.Number}
		if r.Time > c.now() {
			c.told(c.clock(), r.Time) // its signer knew the time better than this machine, of which all that is known is later than nothing seen here
		}
		out.Response = r
		c.adopt(s, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// given is what files gave back of an appliance's answers.
func (s *state) given(host hostid.ID) []atMost {
	for _, p := range s.Peers {
		if p.Host == host {
			return p.Given
		}
	}
	return nil
}

// judgeFile says whose word an answer file is, and that it is about this device.
func (c *Client) judgeFile(s *state, f *wire.AnswerFile) (*wire.ApplianceCertificate, *capability.Response, error) {
	a, err := c.link.prove(&f.Chain)
	var signer *wire.KeyCertificate
	if err == nil {
		signer, err = c.codec.SigningKey(c.link.trust, f.Chain.Key)
	}
	if err == nil {
		err = c.codec.StillCounts(signer, s.Revoked)
	}
	var r *capability.Response
	if err == nil {
		r, _, err = c.codec.VerifyAnswer(f.Chain.Serving, &f.Answer)
	}
	if err != nil {
		code := wire.Code(err)
		if code == 0 {
			code = capability.ErrSignature
		}
		return nil, nil, refuse(code, err)
	}
	if r.For != c.device.host {
		return nil, nil, denied(capability.Denial{Code: capability.ErrNotOurs, Detail: fmt.Sprintf("it is for LH-%s, and this device is LH-%s", r.For.Short(), c.device.host.Short())})
	}
	if err := c.ours(r); err != nil {
		return nil, nil, refuse(capability.ErrNotOurs, err)
	}
	if err := inTime(a, r.Time); err != nil {
		return nil, nil, refuse(capability.ErrSignature, err)
	}
	if r.Serial == 0 || r.Status == capability.StatusDenied {
		return nil, nil, refuse(capability.ErrResponseForm, errors.New("an answer in a file decides something, and this one does not"))
	}
	s.Revoked = wire.Learn(s.Revoked, signer)
	s.Revoked = s.Revoked[:min(len(s.Revoked), capability.MaxRevoked)]
	return a, r, nil
}

package appliance

import (
	"context"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// AnswerFile is the answer to a request file of a client, as a file.
type AnswerFile struct {
	Number   uint64 // of the request
	Host     hostid.ID
	Alias    string // as the client says
	Name     string // 8.3-safe
	Bytes    []byte
	Response capability.Response
}

// AnswerFile serves a client that no wire leads to: its request came in a file, and so does the answer. What the answer lends is durable, and the epoch has moved where
// it is lent for longer than a hold, before anyone has the bytes. The same file gets the same answer as long as it is the device's last; its signature is then of the
// run that answers, whose chain goes along. A refusal is a *capability.Refusal, changes nothing, and the same file may be brought again.
func (a *Appliance) AnswerFile(ctx context.Context, file []byte, by string) (*AnswerFile, error) {
	s, err := a.codec.ReadRequest(file)
	if err != nil {
		return nil, refuse(err)
	}
	if !s.OfClient() {
		return nil, capability.Refuse(capability.ErrFileKind, "", "it is a request of %s to a back office, and not one of a PC to an appliance", s.Request.Hosts[0].Short())
	}
	key, err := wire.VerifyClient(s)
	if err != nil {
		return nil, refuse(err)
	}
	if s.Request.Producer != a.codec.Fingerprint(a.Trust.Root) {
		return nil, capability.Refuse(capability.ErrOtherProducer, "", "it asks an appliance of the producer %x, and this one is of another", s.Request.Producer[:4])
	}
	p, err := a.prove(ctx)
	if err == nil && len(p.chain.Key) == 0 {
		err = capability.Refuse(capability.ErrNotProvisioned, "", "no response has certified this appliance, so nothing it says could be proved")
	}
	if err != nil {
		return nil, err
	}
	ca := newServe()
	ca.serve.Key, ca.serve.Request, ca.serve.Filed = key, s.Request, true
	if err := a.do(ctx, ca); err != nil {
		return nil, err
	}
	r := ca.decision.Response
	if r.Status == capability.StatusDenied {
		return nil, deniedFile(r)
	}
	out := &AnswerFile{Number: s.Request.Number, Host: r.For, Alias: s.Request.Alias, Name: capability.FileName("RSP", s.Request.Number, "LHR"), Response: *r}
	if out.Bytes = a.codec.EncodeAnswerFile(&wire.AnswerFile{Chain: *p.chain, Answer: ca.answer}); len(out.Bytes) > capability.MaxFile {
		return nil, fmt.Errorf("answer of %d bytes where at most %d are allowed", len(out.Bytes), capability.MaxFile)
	}
	a.Log.Info(capability.FileAnswered.Entry().Title, "code", capability.FileAnswered.String(), "device", r.For.Short(), "number", out.Number, "serial", r.Serial, "by", by)
	return out, nil
}

// deniedFile is the refusal that a response to a file is.
func deniedFile(r *capability.Response) error {
	if len(r.Denials) == 0 {
		return capability.Refuse(capability.ErrInternal, "", "the request of %s was denied, and nothing says why", r.For.Short())
	}
	return &capability.Refusal{Denial: r.Denials[0]}
}

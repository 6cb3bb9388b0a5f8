package backoffice

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Result is a response file, and what the operator wants to know of it.
type Result struct {
	File []byte
	Name string // 8.3-safe: RSP-0001.LHR, by the number of the request
	// Again: this very request was answered before, and File is that answer, byte for byte. Then only the fields up to ApplyBefore are set, but for Warning.
	Again       bool
	Refused     string // why an operator refused the request, now or before; empty: it was answered on its merits
	Host        hostid.ID
	Alias       string
	Tier        entitlement.Tier
	Why         string      // what the tier follows from
	RepairNote  string      // why an order to repair changed nothing
	Repaired    bool        // this answer replaced the machine's trusted storage
	Rehosted    hostid.ID   // the machine whose rights this answer gave to the one of the request; zero: none
	Foreign     uint64      // the response that the request has applied, which nobody made here, and which this answer goes above; zero: none
	Warning     string      // two histories of this machine are known, and the policy has this one answered: what contradicts
	TierNote    string      // why the certificates did not raise the tier, if so
	Booted      *BootReport // what the machine's event log says was started; nil: it sent none
	Gone, Came  []hostid.ID // host IDs beside the TPM's that its answered request before had, and has not, or the other way round
	Capped      bool        // rights end before their line items do, because of the tier
	Proven      bool        // a response was opened by this machine before: its keys are in one TPM
	Number      uint64
	Serial      uint64
	Made        capability.Time
	ApplyBefore capability.Time

	Alarms []capability.Alarm // what the machine says has looked like a copy or a change of it

	Status   capability.Status
	Lines    []Line
	Items    []capability.LineItem // the whole of what the machine now has
	Credited []entitlement.ReturnSeen
	Proved   []entitlement.Gone // copies asked back that the request proves to be gone
	Counted  int                // records of usage, for the first time
	Stated   int                // states of the day that runs, in place of those before
	Denials  []capability.Denial
}

// Line is what became of one desired line.
type Line struct {
	ActivationID capability.ActivationID `json:"activationId,omitempty"`
	Product      string                  `json:"product,omitempty"`
	Asked        uint32                  `json:"asked"`
	capability.Line
}

// Respond answers one request file. The same request again gives the same bytes. A *capability.Refusal is a no to the whole file: then no response exists,
// and the book has changed by the record of it at most.
//
// The order of writes: the request file and the response file, then the book's entry, which names the response's digest. Only then are the bytes handed out.
//
// A request of a trusted storage that is new to the book is refused, unless repair says in words why that storage takes the place of the one on record.
func (o *Office) Respond(file []byte, repair, by string, now capability.Time) (*Result, error) {
	return o.RespondTo(file, Order{Repair: repair, By: by}, now)
}

// Order is what an operator says beside a request file.
type Order struct {
	By       string    // the operator
	Repair   string    // why the trusted storage of the request takes the place of the one on record; empty: it does not
	Rehost   hostid.ID // the machine whose rights it takes over, for that reason; zero: none
	Approved string    // a second person who stands for the repair
	Refuse   string    // why the request gets nothing, for the customer to read; empty: it is answered on its merits
	Online   bool      // nobody is there: the request came over the network

	Seat *entitlement.SeatOrder // that the answer shall bring to the machine; nil: none

	// Within is the account on whose behalf the answer is given: machines and activation IDs of others are not there then. Empty: the producer's.
	Within string

	proposal uint64 // that By made, and Approved approves; zero: none
}

// RespondTo is Respond with everything an operator can say.
func (o *Office) RespondTo(file []byte, order Order, now capability.Time) (*Result, error) {
	signed, id, err := o.judge(file)
	if err != nil {
		return nil, err
	}
	if err := o.within(&signed.Request, order); err != nil {
		return nil, err
	}
	mark, _, err := o.marked()
	if err != nil {
		return nil, err
	}
	if err := o.recordSigners(order.By, now); err != nil {
		return nil, err
	}
	w := o.weigh(signed, id, order, now)
	r, d, res := &signed.Request, w.d, w.res
	if err := w.err; err != nil {
		if d != nil {
			err = errors.Join(err, o.record(file, signed.Digest, d.Entries))
		}
		return nil, refuse(err)
	}
	if d.Known != nil {
		return o.again(res, d.Known, signed.Digest)
	}
	if err := w.tooWeak(); err != nil {
		return nil, err
	}
	if err := o.allowed(d, r.Hosts[0], order.By, now); err != nil {
		return nil, err
	}
	if res.File, err = o.seal(d.Response, id); err != nil {
		return nil, err
	}
	// A cut up to here leaves the book as it was, and perhaps a file that no entry names: the next answer to this request replaces it.
	if err := put(o.place.Responses, requestName(signed.Digest), file); err != nil {
		return nil, err
	}
	// A cut here leaves the same.
	if err := put(o.place.Responses, responseName(signed.Digest), res.File); err != nil {
		return nil, err
	}
	d.Filed(digestOf(res.File))
	d.Entries[len(d.Entries)-1].Once = mark
	var asked []waits // questions that end with it
	for _, q := range o.book.QuestionsTo(r.Hosts[0]) {
		asked = append(asked, waits{q.Request, q.Host})
	}
	// A cut here leaves the same.
	if err := o.commit(d.Entries...); err != nil {
		return nil, err
	}
	// A cut here leaves an answer that nobody has: the same request brings it out.
	return o.say(res, r, d), o.discard(now, asked...)
}

// weighed is what would follow from a request.
type weighed struct {
	was     entitlement.Host // the machine before it
	res     *Result          // what is known before there is a response
	tierErr error            // why the machine's certificates raised nothing
	d       *entitlement.Decision
	err     error
}

// weigh decides about a request, and changes nothing.
func (o *Office) weigh(signed *wire.SignedRequest, id *attest.Identity, order Order, now capability.Time) *weighed {
	r := &signed.Request
	tier, why, tierErr := o.class(id, virtual(r), now)
	booted := o.booted(id)
	answer := entitlement.Answer{Request: r, Digest: signed.Digest, By: order.By, Repair: order.Repair, Rehost: order.Rehost, Approved: order.Approved, Refused: order.Refuse, Online: order.Online, Seat: order.Seat, Boot: id.PCRs, Proofs: o.proofs(r, id), Identity: entitlement.Identity{
		Host: r.Hosts[0], AKName: id.AKName, AK: id.AK, EK: id.EK, Tier: tier}, Shown: entitlement.Shown{Why: why, Platform: words(platform(r)), Booted: words(booted.Summary())}}
	was, known := o.book.Host(r.Hosts[0])
	w := &weighed{was: was, tierErr: tierErr}
	w.res = &Result{Host: r.Hosts[0], Alias: r.Alias, Tier: tier, Why: why, Booted: booted, Alarms: r.Alarms, Proven: was.Proven, Number: r.Number, Name: capability.FileName("RSP", r.Number, "LHR")}
	if tierErr != nil {
		w.res.TierNote = tierErr.Error()
	}
	var command entitlement.Command = answer
	if order.proposal != 0 {
		command = entitlement.Approve{Number: order.proposal, By: order.Approved, Answer: &answer}
	}
	if w.d, w.err = o.book.Decide(now, o.asked(command)); w.err != nil {
		return w
	}
	w.res.Proven = w.d.Host.Proven
	if n := len(was.Appearances); n > 0 {
		w.res.Gone, w.res.Came = drift(&was.Appearances[n-1], w.d)
	}
	if order.Repair != "" {
		w.res.RepairNote = idle(w.d, known)
	}
	return w
}

// tooWeak refuses where certificates that lead nowhere would have a response refuse. They are not under the request's digest. Whatever is wrong with them, an authority that is missing here or a byte that
// changed on the way, can be mended; a response that refuses would be this request's answer forever.
func (w *weighed) tooWeak() error {
	if w.tierErr == nil || !tierDenied(w.d.Response) {
		return nil
	}
	return capability.Refuse(capability.ErrTier, w.res.Host.Short(), "its certificate leads to no authority in roots/, where its maker's intermediates belong too: %v", w.tierErr)
}

// idle says why an order to repair repairs nothing, if so.
func idle(d *entitlement.Decision, known bool) string {
	switch {
	case d.Known != nil:
		return "this request was answered before, and stays answered as it was"
	case d.Answered().Repair != nil || d.Answered().Rehosted != nil || d.Answered().Foreign != nil:
		return ""
	case !known:
		return "the machine was not on record; it is now, as a new one"
	}
	return "the request is of the trusted storage on record, and needs no repair"
}

// Proven says that a request file was signed by the TPM or the device key that it names, and has the producer's form. It asks no book, so that many can be judged at once.
func Proven(file []byte) error {
	signed, err := wire.New().ReadRequest(file)
	if err != nil {
		return refuse(err)
	}
	_, err = proven(signed)
	return err
}

// proven is who signed a request.
func proven(signed *wire.SignedRequest) (*attest.Identity, error) {
	id, err := prove(signed)
	if err != nil {
		return nil, capability.Refuse(capability.ErrRequestSignature, signed.Request.Hosts[0].Short(), "%v", err)
	}
	return id, nil
}

// judge reads a request file and says whose it is, or why it is nobody's.
func (o *Office) judge(file []byte) (*wire.SignedRequest, *attest.Identity, error) {
	signed, err := o.codec.ReadRequest(file)
	if err != nil {
		return nil, nil, refuse(err)
	}
	if signed.OfClient() {
		return nil, nil, capability.Refuse(capability.ErrFileKind, "", "it is the request of a PC to an appliance: take it there")
	}
	r := &signed.Request
	id, err := proven(signed)
	if err != nil {
		return nil, nil, err
	}
	if ours := o.codec.Fingerprint(o.trust.Root); r.Producer != ours {
		return nil, nil, capability.Refuse(capability.ErrOtherProducer, r.Hosts[0].Short(), "the machine trusts the root %.8x, the root here is %.8x", r.Producer[:], ours[:])
	}
	return signed, id, nil
}

// prove says whose TPM or device key signed a request.
func prove(signed *wire.SignedRequest) (*attest.Identity, error) {
	if signed.Alg == wire.AlgEd25519 {
		return proveDevice(signed)
	}
	e, err := attest.DecodeEvidence(signed.Signature)
	if err != nil {
		return nil, err
	}
	id, err := attest.Verify(e, attest.Request, signed.Digest[:])
	if err != nil {
		return nil, err
	}
	if signed.KID != wire.AttestationKeyID(id.AK) {
		return nil, errors.New("its key ID is not that of the attestation key in the evidence")
	}
	if host := hostid.OfDigest(hostid.TPMEK, id.HostID); signed.Request.Hosts[0] != host {
		return nil, fmt.Errorf("the evidence is for %s, the request says it is %s", host.Short(), signed.Request.Hosts[0])
	}
	return id, nil
}

func tierDenied(r *capability.Response) bool {
	return slices.ContainsFunc(r.Lines, func(l capability.Line) bool {
		return l.Denial.Code == capability.ErrTier || l.Denial.Code == capability.ErrTierLimit
	})
}

// proofs judges the TPM's statement in each return. It must be about the counter that dates trusted storage: any root can make another one count.
// Whoever destroys that one and makes it anew has a value above, and a storage that never opens again, which is what a return has to show.
func (o *Office) proofs(r *capability.Request, id *attest.Identity) []entitlement.Proof {
	list := make([]entitlement.Proof, len(r.Returns))
	for n, t := range r.Returns {
		digest := o.codec.ReturnDigest(t)
		if isDevice(id) {
			list[n] = deviceProof(id, t, digest)
			continue
		}
		p, err := attest.DecodeEpochProof(t.Proof)
		if err == nil && p.Index != attest.EpochIndex {
			err = fmt.Errorf("it is about the counter %#x where %#x dates trusted storage", p.Index, uint32(attest.EpochIndex))
		}
		if err == nil {
			list[n].Epoch, err = attest.VerifyEpoch(p, id, digest[:])
		}
		if err != nil {
			list[n] = entitlement.Proof{Fault: err.Error()}
		}
	}
	return list
}

// again brings out the answer of that time.
func (o *Office) again(res *Result, k *entitlement.Known, request capability.Digest) (*Result, error) {
	file, err := o.place.Responses.Read(responseName(request), capability.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, capability.Refuse(capability.ErrBookDamaged, res.Host.Short(), "response %d to request %d is on record, and its file is gone: put responses/%s back", k.Serial, k.Number, responseName(request))
	}
	if err != nil {
		return nil, fmt.Errorf("read the response: %w", err)
	}
	if digestOf(file) != k.File {
		return nil, capability.Refuse(capability.ErrBookDamaged, res.Host.Short(), "responses/%s is not the file that was written: put the right one back", responseName(request))
	}
	s, err := o.codec.ReadResponse(file)
	if err != nil {
		return nil, fmt.Errorf("read the response: %w", err)
	}
	if err := o.revokedSince(s.Certificate(), res.Host, k.Serial); err != nil {
		return nil, err
	}
	res.File, res.Again, res.Serial, res.Made, res.ApplyBefore, res.Refused = file, true, k.Serial, s.Clear.Time, s.Clear.ApplyBefore, k.Refused
	if h, ok := o.book.Host(res.Host); ok && k.Fork {
		res.Warning = contradiction(&h, request)
	}
	return res, nil
}

func responseName(request capability.Digest) string { return fmt.Sprintf("%x.lhr", request[:]) }

// seal completes a response and makes its file: the boot state that the request quoted is signed, and those that are allowed ahead; the machine's key is certified to its clients, the
// content is encrypted to its TPM.
func (o *Office) seal(r *capability.Response, id *attest.Identity) ([]byte, error) {
	if isDevice(id) {
		return o.sealToDevice(r, id)
	}
	public, err := x509.MarshalPKIXPublicKey(o.boot.Public())
	if err != nil {
		return nil, fmt.Errorf("boot key: %w", err)
	}
	// The reference ties boot signatures to this producer's root.
	ref := o.codec.Fingerprint(o.trust.Root)
	r.Boot = capability.Boot{Key: public, Ref: ref[:]}
	for _, pcrs := range o.book.StatesFor(id.PCRs) {
		state, err := attest.SignState(o.rand, o.boot, ref[:], pcrs)
		if err != nil {
			return nil, err
		}
		r.Boot.States = append(r.Boot.States, state.Encode())
	}
	s, err := o.signerAt(r.Time)
	if err != nil {
		return nil, err
	}
	if r.Certificate, err = o.codec.CertifyAppliance(s.key, &wire.ApplianceCertificate{Host: r.For, AK: id.AK, Serial: r.Serial, From: r.Time}); err != nil {
		return nil, err
	}
	key := make([]byte, wire.ContentKeySize)
	if _, err := io.ReadFull(o.rand, key); err != nil {
		return nil, fmt.Errorf("draw a content key: %w", err)
	}
	wrap, err := attest.Wrap(o.rand, id, key)
	if err != nil {
		return nil, err
	}
	return o.codec.SealResponse(s.key, s.certificate, r, wrap.Encode(), key)
}

// say fills in what the operator reads.
func (o *Office) say(res *Result, r *capability.Request, d *entitlement.Decision) *Result {
	resp := d.Response
	res.Repaired, res.Counted = d.Answered().Repair != nil, len(d.Answered().Records)
	res.Stated = len(d.Answered().States)
	if r := d.Answered().Rehosted; r != nil {
		res.Rehosted = r.From
	}
	if f := d.Answered().Foreign; f != nil {
		res.Foreign = f.Applied
	}
	res.Proved, res.Refused = d.Answered().Gone, d.Answered().Request.Refused
	if d.Warning != nil {
		res.Warning = d.Warning.Detail
	}
	res.Serial, res.Made, res.ApplyBefore = resp.Serial, resp.Time, resp.Time.Add(resp.Lifetime)
	res.Status, res.Items, res.Credited, res.Denials = resp.Status, resp.Items, d.Credited, resp.Denials
	for n, l := range resp.Lines {
		line := Line{ActivationID: r.Desired[n].ActivationID, Asked: r.Desired[n].Count, Line: l}
		if v, ok := o.book.Item(line.ActivationID, resp.Time); ok {
			line.Product = v.Product
		}
		res.Lines = append(res.Lines, line)
	}
	for _, i := range resp.Items {
		if v, ok := o.book.Item(i.ActivationID, resp.Time); ok && v.Expiry != i.Expiry {
			res.Capped = true
		}
	}
	return res
}

// refuse gives an error about a file the catalog's code, where it has one.
func refuse(err error) error {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return err
	}
	if c := wire.Code(err); c != 0 {
		return capability.Refuse(c, "", "%v", err)
	}
	return err
}

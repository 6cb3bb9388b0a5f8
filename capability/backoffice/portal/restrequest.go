package portal

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// A request file is answered with its response file: bytes both, judged by the same rules as in the inbox. What frees rights without a proof is proposed by one login and approved by another one.

const responseKind = "application/vnd.leasehold.response+cose"

func (p *Portal) restRequests() []operation {
	see, answer, move, approve := needs(entitlement.ToSee), needs(entitlement.ToAnswer), needs(entitlement.ToMove), needs(entitlement.ToApprove)
	return []operation{
		askBytes("answer-request", "POST /requests", answer, "Answer a request file: its bytes, or its text form, give those of the response; the same request gives the same response. With refuse it is refused for that reason; with seat and user the answer brings the user's seat", responseKind, (*call).answerRequest).of(maxFileText),
		askBytes("get-response", "GET /responses/{request}", answer, "The response file to a request, by the digest of the request", responseKind, (*call).getResponse),
		ask("list-proposals", "GET /proposals", see, "Proposals that wait for a second person, oldest first", (*call).listProposals),
		ask("get-proposal", "GET /proposals/{number}", see, "A proposal, and what became of it where it is over", (*call).getProposal),
		askSlowly("propose-answer", "POST /proposals", move, "Propose to answer a request file with a repair, or with the rights of a machine that is gone", (*call).propose).of(maxFileText),
		ofStaff(ask("approve-proposal", "POST /proposals/{number}/approve", approve, "Do what somebody else proposed; the response to a request is then had by its digest", (*call).approveProposal)),
		ofStaff(ask("turn-down-proposal", "POST /proposals/{number}/turn-down", approve, "Turn a proposal down", (*call).turnDownProposal)),
		ask("take-back-proposal", "POST /proposals/{number}/take-back", move, "Take an own proposal back", (*call).takeBackProposal),
	}
}

// maxFileText bounds a file in its text form, which takes half as much again.
const maxFileText = capability.MaxFile * 3 / 2

// requestFile is the file in a body. Its signature is judged before the office's turn: what nobody signed keeps nobody waiting.
func requestFile(body []byte) ([]byte, error) {
	file, err := wire.FromText(bytes.Clone(body)) // the body's memory is used again
	if err != nil {
		return nil, capability.Refuse(wire.Code(err), "", "%v", err)
	}
	if len(file) > capability.MaxFile {
		return nil, capability.Refuse(capability.ErrFileSize, "", "a request has at most %d bytes", capability.MaxFile)
	}
	return file, backoffice.Proven(file)
}

type requestIn struct {
	Refuse  string `query:"refuse" maxLength:"256" doc:"why the request is refused, for the customer to read: the response then gives nothing and takes nothing"`
	Seat    string `query:"seat" maxLength:"64" doc:"activation ID of a line item whose seats are used offline"`
	User    string `query:"user" maxLength:"128" doc:"who gets the seat"`
	Account string `query:"account" maxLength:"128" doc:"of the user"`
	RawBody []byte
}

func (c *call) answerRequest(in *requestIn) ([]byte, error) {
	file, err := requestFile(in.RawBody)
	if err != nil {
		return nil, err
	}
	var r *backoffice.Result
	err = c.act(func(o *backoffice.Office) error {
		order := c.order()
		order.Refuse = strings.TrimSpace(in.Refuse)
		if in.Seat != "" {
			i, err := c.itemOf(o, in.Seat)
			if err != nil {
				return err
			}
			user, err := c.userFor(o, &i, entitlement.UserID{Account: in.Account, Name: in.User})
			if err != nil {
				return err
			}
			order.Seat = &entitlement.SeatOrder{ActivationID: i.ActivationID, User: user}
		}
		var err error
		r, err = o.RespondTo(file, order, c.now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.File, nil
}

type responseIn struct {
	Request string `path:"request" maxLength:"64" doc:"64 hexadecimal digits"`
}

func (c *call) getResponse(*responseIn) ([]byte, error) {
	r, err := c.response()
	if err != nil {
		return nil, err
	}
	return r.File, nil
}

// proposalOut is a proposal. Request is the digest of the request that is answered, by which the response is had.
type proposalOut struct {
	Number       uint64                  `json:"number"`
	Freeing      string                  `json:"freeing"` // write-off, re-host, repair
	Device       string                  `json:"device"`  // VALUE/TYPE
	ActivationID capability.ActivationID `json:"activationId,omitempty"`
	From         string                  `json:"from,omitempty"` // the machine that is gone
	Request      string                  `json:"request,omitempty"`
	Reason       string                  `json:"reason,omitempty"`
	By           string                  `json:"by"`
	Time         capability.Time         `json:"time"`
	Ends         capability.Time         `json:"ends"`
	Became       string                  `json:"became,omitempty"` // what did, of one that is over; empty: it is open
}

// proposalOutOf says of a proposal of the staff neither who made it nor why, where a customer asks.
func (c *call) proposalOutOf(o *backoffice.Office, p *entitlement.Proposal) proposalOut {
	out := proposalOut{Number: p.Number, Freeing: p.Freeing.String(), Device: p.Host.String(), ActivationID: p.ActivationID, By: p.By, Reason: p.Reason, Time: p.Time, Ends: p.Ends()}
	if p.From != (hostid.ID{}) {
		out.From = p.From.String()
	}
	if p.Request != (capability.Digest{}) {
		out.Request = hexOf(p.Request)
	}
	if !c.ofOwn(o, p.By) {
		out.By, out.Reason = theProducer, ""
	}
	return out
}

func (c *call) listProposals(o *backoffice.Office, in *Paging) (page[proposalOut], error) {
	var list []proposalOut
	for _, p := range o.Book().Proposals(c.now, c.login.Account) {
		list = append(list, c.proposalOutOf(o, &p))
	}
	return pageFrom(list, *in), nil
}

// ProposalPath names a proposal.
type ProposalPath struct {
	Number uint64 `path:"number"`
}

func (in *ProposalPath) text() string { return strconv.FormatUint(in.Number, 10) }

func (c *call) getProposal(o *backoffice.Office, in *ProposalPath) (proposalOut, error) {
	p, open, err := c.proposalOf(o, in.text())
	if err != nil {
		return proposalOut{}, err
	}
	out := c.proposalOutOf(o, &p)
	if !open {
		out.Became = c.became(o, &p)
	}
	return out, nil
}

type proposeIn struct {
	Reason  string `query:"reason" required:"true" minLength:"1" maxLength:"256"`
	From    string `query:"from" maxLength:"256" doc:"VALUE/TYPE of the machine that is gone; a repair if empty"`
	RawBody []byte
}

func (c *call) propose(in *proposeIn) (proposalOut, error) {
	file, err := requestFile(in.RawBody)
	if err != nil {
		return proposalOut{}, err
	}
	order := c.order()
	order.Repair = strings.TrimSpace(in.Reason)
	if in.From != "" {
		if order.Rehost, err = hostid.Parse(strings.ToUpper(strings.TrimSpace(in.From))); err != nil {
			return proposalOut{}, field("from", err)
		}
	}
	signed, err := wire.New().ReadRequest(file)
	if err != nil {
		return proposalOut{}, err
	}
	var out proposalOut
	err = c.act(func(o *backoffice.Office) error {
		if err := o.ProposeAnswer(file, order, c.now); err != nil {
			return err
		}
		for _, p := range o.Book().Proposals(c.now, c.login.Account) {
			if p.Request == signed.Digest && strings.EqualFold(p.By, c.login.Name) {
				out = c.proposalOutOf(o, &p)
			}
		}
		return nil
	})
	return out, err
}

// approveProposal wants two persons, as the book sees them.
func (c *call) approveProposal(o *backoffice.Office, in *ProposalPath) (done, error) {
	if !c.repeated(o) {
		if _, _, err := c.proposalOf(o, in.text()); err != nil {
			return done{}, err
		}
	}
	_, err := o.Approve(in.Number, c.login.Name, c.now)
	return done{true}, err
}

type endProposalIn struct {
	ProposalPath
	Body struct {
		Reason string `json:"reason,omitempty"`
	}
}

func (c *call) turnDownProposal(o *backoffice.Office, in *endProposalIn) (done, error) {
	return c.endedProposal(o, in, false)
}

func (c *call) takeBackProposal(o *backoffice.Office, in *endProposalIn) (done, error) {
	return c.endedProposal(o, in, true)
}

func (c *call) endedProposal(o *backoffice.Office, in *endProposalIn, own bool) (done, error) {
	if !c.repeated(o) {
		p, _, err := c.proposalOf(o, in.text())
		if err != nil {
			return done{}, err
		}
		if own && !strings.EqualFold(p.By, c.login.Name) {
			return done{}, capability.Refuse(capability.ErrPermission, c.login.Name, "it is the proposal of somebody else")
		}
	}
	return done{true}, o.EndProposal(entitlement.EndProposal{Number: in.Number, Reason: strings.TrimSpace(in.Body.Reason), By: c.login.Name}, c.now)
}

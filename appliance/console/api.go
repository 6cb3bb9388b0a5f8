// Package console is the appliance's REST API (and, from it, the browser console): it shows snapshots of the ledger and turns forms into commands.
//
// It is served on the Unix socket, where the kernel says who is asking, and over the network, where a token or a session does; who may do what is the matter of asker and of the table of operations. The
// types below are its JSON. Start with Handler and Pages.
package console

import (
	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Base is the path before every resource: the version and the one local instance.
const Base = "/api/v1/instances/~/"

// Health answers GET health.
type Health struct {
	Version   string              `json:"version"`
	Host      hostid.ID           `json:"host"`
	State     string              `json:"state"`               // serving, holding, not activated, refusing, stopping
	Condition *Problem            `json:"condition,omitempty"` // why it refuses
	Since     capability.Time     `json:"since"`
	Now       capability.Time     `json:"now"`
	Epoch     uint64              `json:"epoch"`
	Start     string              `json:"start"` // the start decision in words: clean stop, crash, power loss ...
	HoldUntil capability.Time     `json:"holdUntil,omitempty"`
	Applied   uint64              `json:"applied"` // serial of the response in force
	AppliedAt capability.Time     `json:"appliedAt,omitempty"`
	Requests  uint64              `json:"requests"`          // written so far
	Waiting   int                 `json:"waiting"`           // requests without an answer
	Returns   []capability.Return `json:"returns,omitempty"` // not yet acknowledged
	Drains    []Draining          `json:"drains,omitempty"`  // returns that have begun
	TakenBack []TakenBack         `json:"takenBack,omitempty"`
	Refused   []capability.Denial `json:"refused,omitempty"`  // returns, by the response in force: they are sent no more
	NotGiven  *NotGiven           `json:"notGiven,omitempty"` // the producer refused the request that the response in force answers
	Total     uint64              `json:"total"`
	Used      uint64              `json:"used"`
	Features  int                 `json:"features"`
	Devices   int                 `json:"devices"`
	Expiry    capability.Time     `json:"expiry,omitempty"` // next expiry of an item
	Policy    capability.Policy   `json:"policy"`
	NoPaper   bool                `json:"recoveryKeyNotTaken,omitempty"` // nobody has the recovery key
	Journal   capability.Head     `json:"journal"`
	Media     string              `json:"media"`           // what is done with a stick: auto, confirm, off
	Clock     *Clock              `json:"clock,omitempty"` // absent where it refuses
	Short     string              `json:"short,omitempty"` // what the disk is short of
	Binding   Binding             `json:"binding"`
	Alarms    []Alarm             `json:"alarms"`
	Usage     *Usage              `json:"usage,omitempty"`   // absent where nothing is counted
	Polling   *Polling            `json:"polling,omitempty"` // absent where no back office is asked
	Left      *LeftUpdate         `json:"left,omitempty"`    // absent where no update was left

	Certificate *certificate.View `json:"certificate,omitempty"` // absent where browsers are shown none
	Conditions  []Condition       `json:"conditions"`            // the worst first

	Connections appliance.Connections `json:"connections"`
	Goroutines  int                   `json:"goroutines"` // of the daemon: about one for each connection
}

// LeftUpdate is an update of the image that did not start well, so that the image before it runs.
type LeftUpdate struct {
	Version string `json:"version"`
	Runs    string `json:"runs"` // the release that does
}

// TakenBack are rights that the producer took back, as the response in force says: they are left out of it, and the next request shows that they are gone once nothing is lent of them any more.
type TakenBack struct {
	Code         capability.Code `json:"code"`
	Text         string          `json:"text"`
	ActivationID string          `json:"activationId"`
	Copies       uint32          `json:"copies"`
	Settled      bool            `json:"settled"` // nothing is lent of them any more
}

// NotGiven is a request that the producer refused, and why, in the producer's words.
type NotGiven struct {
	Code   capability.Code `json:"code"`
	Text   string          `json:"text"`
	Number uint64          `json:"number"` // of the request
	Time   capability.Time `json:"time"`
	Reason string          `json:"reason"`
}

// Usage is how far the back office has been told what is used.
type Usage struct {
	Last         uint64          `json:"last"`         // number of the newest record
	Acknowledged uint64          `json:"acknowledged"` // up to this number the back office has them
	Waiting      int             `json:"waiting"`      // records that ride in the next requests
	Since        capability.Time `json:"since"`        // from then on the back office knows nothing
	Detailed     bool            `json:"detailed"`     // records name users
	Full         bool            `json:"full"`         // no room for more: days are no longer told apart
}

// Clock answers GET time and POST time.
type Clock struct {
	State      string             `json:"state"`                // trusted, behind, held, ahead
	Trusted    capability.Time    `json:"trusted"`              // what dates are judged at; where the clock is ahead, expiries are judged at its own time
	System     capability.Time    `json:"system"`               // what the system clock says
	Correction capability.Seconds `json:"correction,omitempty"` // added to it in this run, since the time was stated
	Behind     capability.Seconds `json:"behind"`               // of the system clock, as corrected; negative where it is ahead
}

// ClockForm is the body of POST time: what time it is, in seconds since 1970. Zero says that the system clock is right.
type ClockForm struct {
	Time capability.Time `json:"time"`
}

// Problem is a refusal in JSON: what every error reply holds, with the members that RFC 9457 names beside ours.
type Problem struct {
	Code   capability.Code   `json:"code"`
	Symbol string            `json:"symbol"`
	Denial capability.Denial `json:"denial"`
	Text   string            `json:"text"` // the whole first sentence

	// Of error replies only.
	Title  string `json:"title,omitempty"`
	Status int    `json:"status,omitempty"` // of HTTP
	Detail string `json:"detail,omitempty"` // as Text
	Next   string `json:"next,omitempty"`   // what to do
}

// Feature is one row of GET features.
type Feature struct {
	capability.LineItem
	Total     uint64          `json:"total"`
	Used      uint64          `json:"used"`
	Available uint64          `json:"available"`
	Overage   uint64          `json:"overage,omitempty"`
	Status    string          `json:"status"`              // valid, not started, expired, clock held, overage, being returned
	Returning uint32          `json:"returning,omitempty"` // copies whose return has begun
	ReturnBy  capability.Time `json:"returnBy,omitempty"`  // when they are not renewed any more
}

// Device is one row of GET devices.
type Device struct {
	Host     Host            `json:"host"`
	Alias    string          `json:"alias,omitempty"`
	User     string          `json:"user,omitempty"`
	Type     string          `json:"deviceType,omitempty"`
	Holdings []Holding       `json:"holdings"`
	Expiry   capability.Time `json:"expiry,omitempty"` // when all it holds has lapsed
	Key      *ClientKey      `json:"key,omitempty"`    // registered, that its leases belong to; absent: they belong to one that nobody has registered
}

// Holding is a served count of a device.
type Holding struct {
	Feature      string                  `json:"feature"`
	Version      capability.Version      `json:"version"`
	ActivationID capability.ActivationID `json:"activationId"`
	Count        uint32                  `json:"count"`
	Expiry       capability.Time         `json:"expiry"`
	Dropped      bool                    `json:"dropped,omitempty"` // by an administrator: it is not renewed
	Unheard      bool                    `json:"unheard,omitempty"` // not renewed, and the device may not know it yet: booked until expiry, or until it asks again
}

// Wish is the body of POST requests: what the appliance shall hold of each activation ID. Empty asks for what is its own.
type Wish struct {
	Desired []capability.Desired `json:"desired"`
	From    uint64               `json:"from,omitempty"` // number of the first record of usage that goes along again; zero: those not acknowledged
}

// Written answers POST requests.
type Written struct {
	Number uint64 `json:"number"`
	Name   string `json:"name"` // REQ-0001.LHQ
	File   []byte `json:"file"`
}

// Imported answers POST responses, whose body is the file itself.
type Imported struct {
	Code    capability.Code       `json:"code"` // LH-2201 applied, LH-2202 already applied, LH-2203 a newer one is in force
	Serial  uint64                `json:"serial"`
	Clear   wire.Clear            `json:"clear"`
	Changes []Change              `json:"changes"` // in the order of features
	Denials []capability.Denial   `json:"denials,omitempty"`
	Closed  []capability.ReturnID `json:"closed,omitempty"`  // returns that the back office has credited
	Notices []capability.Denial   `json:"notices,omitempty"` // what of the response is in force only later
	Used    []capability.Meter    `json:"used,omitempty"`    // of metered items, before the repair that this response is
}

// Answered answers POST answers, whose body is the request file of a PC. The same file again has the same answer.
type Answered struct {
	Number uint64             `json:"number"` // of the request
	Host   hostid.ID          `json:"host"`   // of the PC
	Alias  string             `json:"alias,omitempty"`
	Name   string             `json:"name"` // RSP-0001.LHR
	File   []byte             `json:"file"`
	Serial uint64             `json:"serial"`
	Rights []capability.Right `json:"rights"` // all that the PC has now; none: it gave everything back
}

// Change is what a response did to the count of one feature.
type Change struct {
	Feature string `json:"feature"`
	Before  uint64 `json:"before"`
	After   uint64 `json:"after"`
}

// Drain is the body of POST drains: what will be returned is not served anew, and renewed for so many seconds more. POST drains/cancel looks at the ID only.
type Drain struct {
	ActivationID capability.ActivationID `json:"activationId"`
	Copies       uint32                  `json:"copies,omitempty"` // zero: all
	For          capability.Seconds      `json:"for,omitempty"`
}

// Draining is one row of GET drains, and answers POST drains and drains/cancel; the latter leaves no copies.
type Draining struct {
	ActivationID capability.ActivationID `json:"activationId"`
	Copies       uint32                  `json:"copies"`
	Deadline     capability.Time         `json:"deadline,omitempty"`
	By           string                  `json:"by,omitempty"`
	InTheWay     uint64                  `json:"inTheWay"`       // units that must come free before the copies can be returned
	Holders      []capability.Holder     `json:"holders"`        // those that end first; not all of them where there are many
	Last         capability.Time         `json:"last,omitempty"` // when all leases have ended, if nothing is renewed
}

// Giving is the body of POST returns.
type Giving struct {
	ActivationID capability.ActivationID `json:"activationId"`
	Copies       uint32                  `json:"copies,omitempty"` // zero: all
}

// Drop is the body of POST drops: an administrator ends a device's lease; the seat is free when the lease would have ended.
type Drop struct {
	Device  Host   `json:"device"`
	Feature string `json:"feature"`
	Reason  string `json:"reason,omitempty"`
}

// Examination is one line of GET doctor.
type Examination struct {
	What   string  `json:"what"`
	Result string  `json:"result"` // success, warning, failure
	Detail string  `json:"detail"`
	Code   *string `json:"code,omitempty"`
}

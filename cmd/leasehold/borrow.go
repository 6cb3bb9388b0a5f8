package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// A PC that no wire leads to borrows by files: it writes a request for an appliance, whose administrator has it answered, and takes the answer in. Nothing here asks a
// server.

// trip is what request says of a PC that borrows.
type trip struct {
	features wish
	borrow   time.Duration
	above    uint64
}

// given says that the request is a PC's to an appliance.
func (t *trip) given() bool { return len(t.features) > 0 || t.borrow != 0 || t.above != 0 }

// writeTrip writes the request of a PC, with every datum of it in words beside it.
func (p *program) writeTrip(ctx context.Context, to place, write func(*client.Client) (*client.RequestFile, error)) (*writtenRequest, error) {
	c, err := p.openOffline()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m, err := to.open(c.Host()) // before a number is spent, and before anything is given up
	if err != nil {
		return nil, terminal.Coded(courier.Code(err), err)
	}
	defer m.Close()
	f, err := write(c)
	if err != nil {
		return nil, err
	}
	return describeRequest(m, c.Host(), f.Number, f.Bytes)
}

// openOffline is the SDK's client, which asks nobody.
func (p *program) openOffline() (*client.Client, error) {
	o := client.Options{Servers: servers(p.server), TrustFile: p.trust, Dir: p.dir, Dial: noRoute}
	if err := p.own.keys(&o); err != nil {
		return nil, err
	}
	return client.New(o)
}

// requestTrip writes the request to borrow.
func (p *program) requestTrip(ctx context.Context, t trip, to place) error {
	r, err := p.writeTrip(ctx, to, func(c *client.Client) (*client.RequestFile, error) {
		if t.above > 0 {
			if err := c.NumberAbove(ctx, t.above); err != nil {
				return nil, err
			}
		}
		return c.BorrowFile(ctx, t.features, t.borrow)
	})
	if err != nil {
		return err
	}
	return p.printTrip(r, "take it to the appliance: leasehold import REQ-nnnn.LHQ; and bring back the response: leasehold import RSP-nnnn.LHR")
}

// releaseTrip gives back what was borrowed of a feature, by a file.
func (p *program) releaseTrip(ctx context.Context, f capability.Feature, to place) error {
	signal.Ignore(os.Interrupt) // whoever waits must hear what became of it
	defer signal.Reset(os.Interrupt)
	r, err := p.writeTrip(ctx, to, func(c *client.Client) (*client.RequestFile, error) { return c.ReleaseFile(ctx, f.Name) })
	if err != nil {
		return err
	}
	if !p.json {
		p.printf("released %s; nothing of it is used here any more\n", f.Name)
	}
	return p.printTrip(r, "take it to the appliance that lent it: leasehold import REQ-nnnn.LHQ; the seat is free then, and the same file can be written again until its response is here")
}

func (p *program) printTrip(r *writtenRequest, next string) error {
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			writtenRequest
		}{terminal.NewData("leasehold.request/1"), *r}))
	}
	p.printf("request %d written: %s (%d bytes)\n", r.Number, r.Request, r.Size)
	p.say("%s says in words everything that is in it.\nnext: %s\n", r.Description, next)
	return nil
}

// borrowed is leasehold.borrowed/1: what an answer did on a PC.
type borrowed struct {
	terminal.Data
	File      string          `json:"file"`
	Code      capability.Code `json:"code"` // LH-2201 applied, LH-2202 already applied, LH-2203 a newer one is awaited or in force
	Host      hostid.ID       `json:"host"`
	Appliance hostid.ID       `json:"appliance"`
	Held      []heldRow       `json:"held"` // all this device holds now
}

// importTrip takes in the answer of an appliance.
func (p *program) importTrip(ctx context.Context, name string, file []byte) error {
	c, err := p.openOffline()
	if err != nil {
		return err
	}
	defer c.Close()
	in, err := c.ImportFile(ctx, file)
	if err != nil {
		return err
	}
	held, err := c.Held(ctx)
	if err != nil {
		return err
	}
	r := borrowed{Data: terminal.NewData("leasehold.borrowed/1"), File: name, Code: in.Code, Host: c.Host(), Appliance: in.Appliance, Held: heldRows(held)}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(r))
	}
	switch in.Code {
	case capability.Applied:
		p.printf("%s response applied: signatures good, by the appliance LH-%s, for this PC\n", in.Code, in.Appliance.Short())
	case capability.AlreadyHere:
		p.printf("%s response already applied; nothing changed\n", in.Code)
	default:
		p.printf("%s the response does not answer the newest request of this PC; it was ignored and nothing changed\n", in.Code)
	}
	for _, h := range r.Held {
		p.printf("held     %d of %s:%s %s\n", h.Count, h.Feature, h.Version, until(h.Expiry))
	}
	if len(r.Held) == 0 {
		p.printf("nothing is borrowed\n")
	}
	return nil
}

// answered is leasehold.answered/1: what an appliance answered to a PC.
type answered struct {
	terminal.Data
	Number   uint64             `json:"number"`
	Host     hostid.ID          `json:"host"`
	Alias    string             `json:"alias,omitempty"`
	Response string             `json:"response"` // path
	Size     int                `json:"size"`     // bytes
	Rights   []capability.Right `json:"rights"`
}

// answerTrip has the appliance answer the request file of a PC, and writes the answer beside it or where it was said.
func (p *program) answerTrip(ctx context.Context, path string, file []byte, to place) error {
	if !to.given() {
		if path == "-" {
			return terminal.Usage("say where the answer goes: -o DIR or --stick DIR")
		}
		to.dir = filepath.Dir(path)
	}
	s, err := wire.New().ReadRequest(file)
	if err != nil {
		return terminal.Coded(wire.Code(err), err)
	}
	m, err := to.open(s.Request.Hosts[0]) // before a seat is booked
	if err != nil {
		return terminal.Coded(courier.Code(err), err)
	}
	defer m.Close()
	var a console.Answered
	if err := p.call(ctx, http.MethodPost, "answers", file, &a); err != nil {
		return err
	}
	name, err := m.Respond(a.Number, a.File)
	if err != nil { // the same request gets the same answer again
		return terminal.Coded(courier.Code(err), err)
	}
	r := answered{terminal.NewData("leasehold.answered/1"), a.Number, a.Host, a.Alias, m.Path() + "/" + name, len(a.File), a.Rights}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(r))
	}
	whose := "LH-" + a.Host.Short()
	if a.Alias != "" {
		whose = a.Alias + " (" + whose + ")"
	}
	p.printf("%s request %d of %s answered: %s (%d bytes)\n", capability.FileAnswered, a.Number, whose, r.Response, r.Size)
	for _, g := range a.Rights {
		p.printf("lent     %d of %s:%s %s\n", g.Count, g.Feature, g.Version, until(g.Expiry))
	}
	if len(a.Rights) == 0 {
		p.printf("it has given everything back\n")
	}
	p.say("next: take %s to that PC, and there: leasehold import %s\n", name, name)
	return nil
}

func heldRows(held []client.Held) []heldRow {
	rows := []heldRow{}
	for _, h := range held {
		row := heldRow{Feature: h.Feature, Version: h.Version, Count: h.Count}
		if !h.Expiry.IsZero() {
			row.Expiry = capability.At(h.Expiry)
		}
		rows = append(rows, row)
	}
	return rows
}

// checkTrip refuses what is not for a PC that borrows.
func checkTrip(t trip, w wish, from uint64, own bool) error {
	var not []string
	for name, is := range map[string]bool{"--id": len(w) > 0, "--from": from != 0, "--store": own} {
		if is {
			not = append(not, name)
		}
	}
	switch {
	case len(not) > 0:
		return terminal.Usage("%s is asked of a back office, and --feature and --borrow of an appliance", strings.Join(not, ", "))
	case t.borrow < 0:
		return terminal.Usage("--borrow %s: want a length of time like 72h", t.borrow)
	}
	for _, d := range t.features {
		if d.Count == 0 {
			return terminal.Usage("--count 0 of %s: want leasehold release %s -o DIR", d.Feature, d.Feature)
		}
	}
	return nil
}

// noRoute is how a PC reaches servers that asks by files.
func noRoute(context.Context, string) (net.Conn, error) {
	return nil, fmt.Errorf("this command asks by files, and no server")
}

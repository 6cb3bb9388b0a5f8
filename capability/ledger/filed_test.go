package ledger

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

const tripDays capability.Seconds = 10 * 24 * 60 * 60

// trip is an appliance with two seats that may be borrowed for a month, of which devices ask in files.
func trip(t *testing.T) *life {
	return begin(t, lineItem('a', "f:1.0", 2, func(i *capability.LineItem) { i.Borrow = 3 * tripDays }))
}

// file is a request of that device in a file with that number, for ten days.
func (v *life) file(device string, number uint64, line string) Serve {
	r := v.request(device, line)
	r.Number, r.Atomic, r.Borrow = number, true, tripDays
	return Serve{Key: key(device), Request: r, Filed: true}
}

func (v *life) want(what string, c Serve, want string) capability.Response {
	v.t.Helper()
	r := v.serve(c)
	if got := show(r); got != want {
		v.t.Fatalf("%s: %s where %s is wanted", what, got, want)
	}
	return r
}

// A file counts once, whatever is brought in whatever order: the same one gets the same answer, an older one none, and a seat that was given back stays free.
func TestFilesCountOnce(t *testing.T) {
	v := trip(t)
	v.lossy = true
	borrow := v.file("d", 3, "f:1.0 1")
	first := v.want("borrow", borrow, "OK | OK 1 | has 1")
	if end := v.now.Wall.Add(tripDays); first.Rights[0].Expiry != end {
		t.Fatalf("until %s where %s is asked", first.Rights[0].Expiry, end)
	}
	position := len(v.entries)
	v.pass(3600)
	again := v.want("the same file an hour later", borrow, "OK | OK 1 | has 1")
	if again.Serial != first.Serial || again.Rights[0] != first.Rights[0] || len(v.entries) != position {
		t.Fatalf("the same file again: %+v", again)
	}
	v.want("an older file", v.file("d", 2, "f:1.0 2"), "DENIED E_REQUEST_PASSED | has 0")
	v.want("another one of its number", v.file("d", 3, "f:1.0 2"), "DENIED E_REQUEST_PASSED | has 0")
	v.want("a file of another device", v.file("e", 1, "f:1.0 1"), "OK | OK 1 | has 1")

	back := v.file("d", 7, "f:1.0 0")
	back.Request.Applied = first.Serial
	v.want("early return", back, "RETURNED | OK 0 | has 0")
	v.want("the same return", back, "RETURNED | OK 0 | has 0")
	if got := v.step("items"); got != "a 1/2" {
		t.Fatalf("after the return: %s", got)
	}
	position = len(v.entries)
	v.want("the borrow brought again", borrow, "DENIED E_REQUEST_PASSED | has 0")
	restored, err := Restore(v.l.Snapshot())
	if err != nil || restored.Digest() != v.l.Digest() {
		t.Fatalf("restored: %v", err)
	}
	v.l = restored
	v.want("the borrow brought again after a start", borrow, "DENIED E_REQUEST_PASSED | has 0")
	v.pass(2 * tripDays)
	v.want("the borrow brought again after a month", borrow, "DENIED E_REQUEST_PASSED | has 0")
	if len(v.entries) != position {
		t.Fatalf("%d entries by files that were overtaken", len(v.entries)-position)
	}
	v.want("borrowed anew", v.file("d", 8, "f:1.0 1"), "OK | OK 1 | has 1")
}

// A return may come before its borrow does, and before the answer to it was heard.
func TestFilesOutOfOrder(t *testing.T) {
	v := trip(t)
	v.lossy = true
	borrow := v.file("d", 1, "f:1.0 2")
	v.want("the return first", v.file("d", 2, "f:1.0 0"), "RETURNED | OK 0 | has 0")
	v.want("then the borrow", borrow, "DENIED E_REQUEST_PASSED | has 0")
	if got := v.step("items"); got != "a 0/2" {
		t.Fatal(got)
	}
	v.want("a borrow whose answer is lost", v.file("d", 3, "f:1.0 2"), "OK | OK 2 | has 2")
	v.want("given back all the same", v.file("d", 4, "f:1.0 0"), "RETURNED | OK 0 | has 0")
	if got := v.step("items"); got != "a 0/2" {
		t.Fatalf("what was given back unheard is not free: %s", got)
	}
}

// A file that is refused is not decided: it is brought again when a seat is free.
func TestRefusedFileIsBroughtAgain(t *testing.T) {
	v := trip(t)
	v.want("all seats", Serve{Key: key("e"), Request: v.request("e", "f:1.0 2")}, "OK | OK 2 | has 2")
	before := v.l.Digest()
	borrow := v.file("d", 1, "f:1.0 1")
	v.want("no seat free", borrow, "DENIED E_NO_SEAT | has 0")
	if v.l.Digest() != before {
		t.Fatal("a refused file left a trace")
	}
	v.want("a seat is given back", Serve{Key: key("e"), Request: v.request("e", "f:1.0 1")}, "OK | OK 1 | has 1")
	v.want("the same file", borrow, "OK | OK 1 | has 1")
}

// A file for longer than the hold moves the epoch; in a hold nothing is lent, and what is given back is taken.
func TestFilesMoveTheEpoch(t *testing.T) {
	v := trip(t)
	d := v.must(v.file("d", 1, "f:1.0 1"))
	if !d.Move {
		t.Fatal("a seat was lent for ten days without a move")
	}
	short := v.file("e", 1, "f:1.0 1")
	short.Request.Borrow = 60
	if d := v.must(short); d.Move {
		t.Fatal("a lease of a minute moved the epoch")
	}
	v.must(Start{BootID: "second", HoldFor: 900, Cause: "power"})
	v.want("borrowed in a hold", v.file("e", 2, "f:1.0 2"), "DENIED E_HOLD | has 0")
	back := v.file("d", 2, "f:1.0 0")
	back.Request.Applied = d.Response.Serial
	v.want("given back in a hold", back, "RETURNED | OK 0 | has 0")
	v.pass(900)
	v.want("after it", v.file("d", 3, "f:1.0 1"), "OK | OK 1 | has 1")
}

// Over a connection a device says which number it has come to. Once that is decided, no file from before is.
func TestFilesAndTheWire(t *testing.T) {
	v := trip(t)
	borrow := v.want("borrow", v.file("d", 3, "f:1.0 1"), "OK | OK 1 | has 1")
	back := v.file("d", 4, "f:1.0 0")
	back.Request.Applied = borrow.Serial
	wire := func(n uint64, line string) Serve {
		s := Serve{Key: key("d"), Request: v.request("d", line)}
		s.Request.Number, s.Request.Applied = n, borrow.Serial
		return s
	}
	v.want("more than there is", wire(4, "f:1.0 3"), "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 1")
	v.want("the return, overtaken by what was decided all the same", back, "DENIED E_REQUEST_PASSED | has 0")
	asked := wire(5, "f:1.0 1")
	asked.Request.Operation = capability.Preview
	v.want("a preview", asked, "PREVIEW | OK 1 | has 1")
	v.want("a file that a preview leaves alone", v.file("d", 5, "f:1.0 2"), "OK | OK 2 | has 2")
	late := wire(4, "f:1.0 1") // sent before that file was written
	v.want("on the wire, from before the file", late, "OK | OK 1 | has 1")
	v.want("another file of its number", v.file("d", 5, "f:1.0 1"), "DENIED E_REQUEST_PASSED | has 0")
	v.want("the next file", v.file("d", 6, "f:1.0 0"), "RETURNED | OK 0 | has 0")
	restored, err := Restore(v.l.Snapshot())
	if err != nil || restored.Digest() != v.l.Digest() {
		t.Fatalf("restored: %v", err)
	}
}

// A file that gives something back renews nothing of the rest, and nothing of the rest keeps it from being taken: not a hold, not a seat that an administrator dropped.
func TestReturnByFileLeavesTheRest(t *testing.T) {
	days := func(i *capability.LineItem) { i.Borrow = 3 * tripDays }
	for _, c := range []struct {
		what string
		then func(v *life)
	}{
		{"days later", func(v *life) { v.pass(tripDays / 2) }},
		{"in a hold", func(v *life) { v.must(Start{BootID: "second", HoldFor: 900, Cause: "power"}) }},
		{"dropped", func(v *life) {
			v.must(Drop{Device: hostid.ID{Type: hostid.Ethernet, Value: "d"}, Feature: "g", By: "ada"})
		}},
		{"for another who waits", func(v *life) { v.serve(Serve{Key: key("e"), Request: v.request("e", "g:1.0 1")}) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 2, days), lineItem('b', "g:1.0", 1, days))
			both := v.file("d", 1, "f:1.0 1")
			both.Request.Desired = append(both.Request.Desired, v.request("d", "g:1.0 1").Desired...)
			lent := v.want("borrow", both, "OK | OK 1 | OK 1 | has 2")
			c.then(v)
			back := v.file("d", 2, "f:1.0 0")
			back.Request.Desired = append(back.Request.Desired, v.request("d", "g:1.0 1").Desired...)
			back.Request.Applied = lent.Serial
			rest := v.want("given back", back, "OK | OK 0 | OK 1 | has 1")
			if rest.Rights[0].Expiry != lent.Rights[1].Expiry {
				t.Fatalf("it ends %s, and was lent until %s", rest.Rights[0].Expiry, lent.Rights[1].Expiry)
			}
			if got := v.step("items"); got != "a 0/2, b 1/1" {
				t.Fatal(got)
			}
		})
	}
	// What a file asks for beyond what is held is granted anew, and all of it or nothing.
	v := begin(t, lineItem('a', "f:1.0", 2, days), lineItem('b', "g:1.0", 2, days))
	v.want("borrow", v.file("d", 1, "f:1.0 1"), "OK | OK 1 | has 1")
	swap := v.file("d", 2, "f:1.0 0")
	swap.Request.Desired = append(swap.Request.Desired, v.request("d", "g:1.0 3").Desired...)
	v.want("one for three", swap, "DENIED E_NO_SEAT | has 0")
	swap.Request.Desired[1].Count = 2
	v.want("one for two", swap, "OK | OK 0 | OK 2 | has 2")
}

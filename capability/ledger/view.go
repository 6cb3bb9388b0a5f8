package ledger

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// The views are copies for programs to show. They show the state as of the last entry; told times are computed for the moment given.

// Status is the ledger in totals.
type Status struct {
	Provisioned bool
	Host        hostid.ID       // the machine the response in force is for
	Serial      uint64          // of the response in force
	Applied     capability.Time // when the back office made it
	Number      uint64          // of the last request file
	Epoch       uint64          // that it was of
	Outstanding int             // request files not answered yet
	Returns     int             // returns not acknowledged yet
	Position    uint64
	Head        capability.Digest
	Now         Now // of the last entry
	BootID      string
	Life        capability.LifeID
	Lost        capability.Code    // what became of the storage before this one, until the first response
	Hold        capability.Seconds // end of the running hold on the lease clock, or zero
	HoldUntil   capability.Time    // the same as wall time
	Items       int                // in the response in force
	Overage     int                // items with more in use than licensed, or cut and still in use
	Devices     int                // that hold something
	Leases      int
	Total, Used uint64 // units of all counted items
	Overdraft   uint64 // units in use above their counts, as the producer allows
	Clock       Clock
}

// Status sums up. It costs as much as there are devices.
func (l *Ledger) Status(now Now) Status {
	s := Status{
		Provisioned: l.provisioned(), Host: l.applied.For, Serial: l.applied.Serial, Applied: l.applied.Time, Number: l.number, Outstanding: len(l.written),
		Returns: len(l.returns), Position: l.position, Head: l.head, Now: l.now, BootID: l.run.BootID, Life: l.life, Lost: l.lost, Epoch: l.epoch, Hold: l.hold, Leases: l.leases, Clock: l.clock,
	}
	if s.Hold = l.holdAt(now); s.Hold != 0 {
		s.HoldUntil = now.Told(s.Hold)
	}
	for _, it := range l.items {
		if it.cut || it.over() {
			s.Overage++
		}
		s.Overdraft += it.slices[inOverdraft].used
		if !it.cut {
			s.Items++
		}
		if !it.Uncounted {
			s.Used += it.used
			if !it.cut {
				s.Total += uint64(it.Count)
			}
		}
	}
	for _, r := range l.rows {
		if len(r.leases) > 0 {
			s.Devices++
		}
	}
	return s
}

// Item is a line item with its use.
type Item struct {
	capability.LineItem
	Used      uint64
	Overdrawn uint64          // in use of the overdraft
	Available uint64          // what could be served now; for an uncounted item MaxCount, outside its dates zero
	Cut       bool            // in no response any more; goes with its last lease
	Over      bool            // more in use than licensed: nothing is served until leases have ended
	Returning uint32          // copies whose return has begun
	ReturnBy  capability.Time // when they are not renewed any more
	Dates     Reason          // NotStarted, Expired or Doubted where it does not serve for its dates
	FirstEnd  capability.Time // when the first lease ends, or zero
}

// Items is every item, by feature and activation ID.
func (l *Ledger) Items(now Now) []Item {
	d := l.draft(now, nil, "")
	out := make([]Item, 0, len(l.items))
	for _, it := range l.items {
		v := Item{LineItem: it.LineItem, Used: uint64(d.inUse(it)), Overdrawn: uint64(d.used(it.slices[inOverdraft])), Cut: it.cut, Over: d.over(it)}
		v.Selectors = slices.Clone(it.Selectors)
		if v.Dates = it.dated(l.dates(now)); v.Dates == Usable {
			for i, n := range d.frees(it.slices) {
				if i != inOverdraft {
					v.Available += n
				}
			}
		}
		if dr := l.drainOf(it.ActivationID); dr != nil && !it.cut {
			v.Returning, v.ReturnBy = min(dr.Copies, it.Copies), dr.Deadline
		}
		v.FirstEnd, _ = d.holders(it.slices, capability.HoldersCount, 0)
		out = append(out, v)
	}
	return out
}

// Device is a device with what it holds.
type Device struct {
	ID       hostid.ID
	Key      capability.Digest
	Serial   uint64
	Who      Who
	Idle     capability.Seconds // since its last use, as it says, or since it last asked
	Holdings []Holding
	Waiting  []Wait
}

// Holding is one lease as people see it.
type Holding struct {
	Item    capability.ItemID
	Version capability.Version
	Count   uint32
	Expiry  capability.Time    // as the device hears it
	End     capability.Seconds // on the lease clock
	Dropped bool               // by an administrator: not renewed (DRAINING)
	Source  Source
	Final   capability.Time // expiry of the item itself
	Unheard bool            // not renewed: it stays booked until the device shows that it has heard so, or until Expiry
}

// Devices is every device that holds something, in the order in which they first asked; last, under the appliance's own host ID and the name BeforeRepair,
// what an earlier trusted storage had counted.
func (l *Ledger) Devices(now Now) []Device {
	out := make([]Device, 0, len(l.rows))
	for _, r := range l.rows {
		if d := r.view(now); len(d.Holdings) > 0 {
			out = append(out, d)
		}
	}
	if d := l.before.view(now); len(d.Holdings) > 0 {
		d.Idle = 0 // nobody uses it, and nobody can stop
		out = append(out, d)
	}
	return out
}

// Device is one device, also when it holds nothing. Where each key of a host ID has leases of its own, it is the first of them that holds something.
func (l *Ledger) Device(id hostid.ID, now Now) (Device, bool) {
	var first Device
	for i, r := range l.devices[id] {
		if d := r.view(now); i == 0 || len(first.Holdings) == 0 && len(d.Holdings) > 0 {
			first = d
		}
	}
	return first, len(l.devices[id]) > 0
}

func (r *row) view(now Now) Device {
	d := Device{ID: r.id, Key: r.key, Serial: r.serial, Who: r.who, Idle: now.Lease - r.active}
	for _, s := range r.live(now) {
		it := s.slice.item
		h := Holding{Item: it.ID(), Version: it.Version, Count: s.count, Expiry: now.ends(it, s.end-s.lead), End: s.end, Dropped: s.dropped, Source: s.slice.source, Final: it.Expiry}
		if h.Unheard = s.unheard(now); h.Unheard {
			h.Expiry = now.ends(it, s.end)
		}
		d.Holdings = append(d.Holdings, h)
	}
	for _, w := range r.waits {
		if w.Until > now.Lease {
			d.Waiting = append(d.Waiting, w.Wait)
		}
	}
	return d
}

// Idle is every device that holds something and was not used for so long, the longest idle first.
func (l *Ledger) Idle(after capability.Seconds, now Now) []Device {
	out := slices.DeleteFunc(l.Devices(now), func(d Device) bool { return d.Idle < after })
	slices.SortStableFunc(out, func(a, b Device) int { return cmp.Compare(b.Idle, a.Idle) })
	return out
}

// Returns is every return that the back office has not acknowledged, oldest first, with its proof where there is one.
func (l *Ledger) Returns() []capability.Return {
	out := slices.Clone(l.returns)
	for i := range out {
		out[i].Proof = slices.Clone(out[i].Proof)
	}
	return out
}

// Outstanding is every request file written since the one that the response in force answers, oldest first.
func (l *Ledger) Outstanding() []Written { return slices.Clone(l.written) }

// Policy is the policy in force, with the defaults where the producer said nothing.
func (l *Ledger) Policy() capability.Policy { return l.policy() }

// Applied is the response in force without its items, and the digest it came with; before the first it is zero. The caller must not change what it points to.
func (l *Ledger) Applied() (capability.Response, capability.Digest) { return l.applied, l.digest }

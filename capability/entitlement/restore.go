package entitlement

import (
	"encoding/binary"
	"math"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// A start takes in a snapshot: it is cut into pieces, which are read beside each other and then joined in their order. However they were read, the same bytes give the same book, or the same error.

// Beside runs task(0) to task(n-1), beside each other where it can, and comes back when all have ended.
type Beside func(n int, task func(int))

// inTurn is the Beside that runs one task after the other.
func inTurn(n int, task func(int)) {
	for i := range n {
		task(i)
	}
}

// pieceBytes is the size of a piece, about: there are some for each processor, and few texts that are in memory for several.
const pieceBytes = 8 << 20

// Restore reads what Snapshot wrote, and nothing else.
func Restore(snapshot []byte) (*Book, error) { return RestoreBeside(inTurn, snapshot) }

// RestoreBeside is Restore for large snapshots.
func RestoreBeside(run Beside, snapshot []byte) (*Book, error) {
	return restore(run, snapshot, pieceBytes)
}

func restore(run Beside, snapshot []byte, size int) (*Book, error) {
	pieces, err := cut(snapshot, size)
	if err != nil {
		return nil, err
	}
	r, total := &joining{book: New()}, counts{}
	b := r.book
	var early, hosts, late []*piece
	for _, p := range pieces {
		switch total.add(p.counts); p.about {
		case aboutHosts:
			hosts = append(hosts, p)
		case aboutBoth:
			late = append(late, p)
		default:
			early = append(early, p)
		}
	}
	b.items, b.byID = make([]*item, 0, total.items), make(map[capability.ActivationID]*item, total.items) // which need not grow
	b.hosts, b.byKey = make([]*Host, 0, total.hosts), make(map[hostid.ID]*Host, total.hosts)
	b.answered = make(map[capability.Digest]*Host, total.requests)

	run(len(early), func(n int) { early[n].read(b.codec) })
	rest := append(hosts, late...)
	run(2+len(rest), func(n int) {
		switch n {
		case 0:
			b.nameAll(early)
		case 1:
			err = r.join(early)
		default:
			rest[n-2].read(b.codec)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, i := range b.items {
		if len(b.byID) < len(b.items) && b.byID[i.ActivationID] != i {
			return nil, corrupt("snapshot has item %s twice", i.ActivationID)
		}
		b.replaced(i)
	}
	run(len(hosts), func(n int) { hosts[n].find(b) })
	if err := r.join(rest); err != nil {
		return nil, err
	}
	for _, h := range b.hosts {
		b.keepRevoked(h)
	}
	if err := b.rejoin(); err != nil {
		return nil, err
	}
	if err := b.check(run, false); err != nil {
		return nil, err
	}
	return b, nil
}

// ranks are the sections in the order in which Snapshot writes them, by their keys. Those from a host's on come again for each host.
func ranks() (list [256]uint8) {
	for i, key := range []uint8{1, 20, 21, 22, 2, 10, 50, 51, 52, 40, 65, 66, 70, 60} {
		list[key] = uint8(i + 1)
	}
	for i, key := range []uint8{3, 4, 11, 5, 6, 7, 12, 32, 33, 55, 56, 57, 8} {
		list[key] = uint8(i + hostRank)
	}
	for i, key := range []uint8{41, 42, 43} {
		list[key] = uint8(i + seatRank)
	}
	for i, key := range []uint8{30, 34} {
		list[key] = uint8(i + deviceRank)
	}
	list[31] = list[30] // what a device is to have is behind it, and before the next one
	list[23] = list[2]  // what was done with an item is behind it, and before the next one
	list[9] = list[8]   // the requests of a past life are behind it, and before the next one
	return list
}

// hostRank is that of a host. What belongs to the whole book is below it.
const hostRank = 100

// deviceRank is that of a device. All that comes after the hosts is not below it.
const deviceRank = 200

// What the records of a piece are about.
const (
	aboutBook = iota
	aboutItems
	aboutHosts
	aboutBoth // items and hosts, which are before it
)

// cut gives the records of a snapshot in pieces. It sees that every section is in its place.
func cut(snapshot []byte, size int) (pieces []*piece, err error) {
	ranks := ranks()
	var p *piece
	before := 0 // the rank of the record before
	for rest := snapshot; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, corrupt("snapshot ends inside a length")
		}
		n := binary.BigEndian.Uint32(rest)
		if n > maxRecord || uint64(n) > uint64(len(rest)-4) {
			return nil, corrupt("snapshot has a record of %d bytes where %d follow and at most %d are allowed", n, len(rest)-4, maxRecord)
		}
		key, rank := sectionKey(rest[4:4+n]), 0
		if key < uint64(len(ranks)) {
			rank = int(ranks[key])
		}
		switch {
		case rank == 0 || (before == 0) != (rank == 1) || rank == 1 && before == 1:
			return nil, corrupt("snapshot has section %d, or does not begin with its head, or has two", key)
		case rank < before && (rank != hostRank || before >= deviceRank):
			return nil, corrupt("snapshot has section %d behind its place", key)
		case before < hostRank && rank > hostRank && rank < deviceRank:
			return nil, corrupt("snapshot has a part of a host before the host")
		}
		// What belongs to an item or a host stays with it.
		about := aboutBook
		switch {
		case rank == int(ranks[2]):
			about = aboutItems
		case rank >= deviceRank:
			about = aboutBoth
		case rank >= hostRank:
			about = aboutHosts
		}
		if whole := about == aboutBook || about == aboutBoth || key == 2 || key == 3; p == nil || about != p.about || whole && len(p.bytes) >= size {
			p = &piece{about: about, bytes: rest[:0]}
			pieces = append(pieces, p)
		}
		p.bytes = p.bytes[:len(p.bytes)+4+int(n)]
		switch before, rest = rank, rest[4+n:]; key {
		case 2:
			p.items++
		case 3:
			p.hosts++
		case 4:
			p.holds++
		case 5:
			p.requests++
		}
	}
	return pieces, nil
}

// sectionKey is the key of the one pair of a record, or none that there is.
func sectionKey(record []byte) uint64 {
	r := wire.NewReader(record)
	if m := r.Open(); r.Next(&m) {
		return m.Key
	}
	return math.MaxUint64
}

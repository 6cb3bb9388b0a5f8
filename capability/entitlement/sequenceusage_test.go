package entitlement

import "github.com/leasehold/leasehold/capability"

// reported is what a machine's records say, counted beside the book: once each, up to where it was acknowledged.
type reported struct {
	life   capability.LifeID
	upto   uint64
	served uint64
}

// record has a machine sum up a day; records stay until a response acknowledges them.
func (s *sequence) record(m *box) {
	m.recorded++
	u := capability.Usage{From: s.now - s.now%capability.Time(day), Until: s.now + 1, ActivationID: s.names[0], Feature: "render", Peak: 1, Served: 1 + s.rng.Uint64N(3)}
	m.records = append(m.records[:len(m.records):len(m.records)], capability.Record{Number: m.recorded, Body: s.codec.Encode(u)})
	m.served = append(m.served[:len(m.served):len(m.served)], u.Served)
	if len(m.records) > 6 { // it keeps no more
		m.records, m.served = m.records[1:], m.served[1:]
	}
}

// acknowledged has a machine forget what was counted.
func (m *box) acknowledgedUpto(upto uint64) {
	for len(m.records) > 0 && m.records[0].Number <= upto {
		m.records, m.served = m.records[1:], m.served[1:]
	}
}

// reported adds what a response acknowledges for the first time.
func (s *sequence) reported(l *letter, upto uint64) {
	at, r := l.by.at, l.answer.Request
	if at.reported.life != r.Life {
		at.reported.life, at.reported.upto = r.Life, 0
	}
	for n, k := range r.Records {
		if k.Number > at.reported.upto && k.Number <= upto {
			at.reported.served += l.served[n]
			s.seen[outcome{"record counted", 0}]++
		}
	}
	at.reported.upto = max(at.reported.upto, upto)
	if sum, _ := s.book.Synced(at.id.Host); sum.Served != at.reported.served {
		s.fatalf("%s: records of %d uses are acknowledged, the book counts %d", at.id.Host.Short(), at.reported.served, sum.Served)
	}
}

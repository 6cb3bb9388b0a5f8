package wire

import (
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// byHand writes the messages of clients, and says whether v is one. What only the back office's messages have in them is left to the library.
func (w *Writer) byHand(c *Codec, v any) bool {
	switch v := v.(type) {
	case *capability.Request:
		if v != nil {
			w.request(c, v)
			return true
		}
	case *capability.Response:
		if v != nil {
			w.Response(c, v)
			return true
		}
	}
	return false
}

// saysWhom says that a response is for the device of its key, named by nothing but the key: so nearly all answers are.
func saysWhom(r *capability.Response) bool {
	return r.Key != (capability.Digest{}) && r.For.Is(hostid.DeviceKey, r.Key)
}

// ForKey completes a response that was read: where it does not say whom it is for, it is for the device of its key. It is false where that was said twice.
func ForKey(r *capability.Response) bool {
	if r.For == (hostid.ID{}) && r.Key != (capability.Digest{}) {
		r.For = hostid.OfDigest(hostid.DeviceKey, r.Key)
		return true
	}
	return !saysWhom(r)
}

// complete is for what was decoded and compared.
func complete(v any) {
	if r, is := v.(*capability.Response); is {
		ForKey(r)
	}
}

func (w *Writer) request(c *Codec, r *capability.Request) {
	outer := w.Map()
	w.Uint(1, uint64(r.Version))
	w.Array(2, len(r.Hosts))
	for i := range r.Hosts {
		w.putHost(&r.Hosts[i])
	}
	w.Correlation(3, &r.Correlation)
	w.Uint(4, r.Applied)
	w.Array(5, len(r.Desired))
	for i := range r.Desired {
		w.putDesired(&r.Desired[i])
	}
	w.Uint(6, uint64(r.Operation))
	w.Bool(7, r.Atomic)
	w.Text(8, r.User)
	w.Text(9, r.Alias)
	w.Text(10, r.DeviceType)
	w.pairsOf(11, r.Dictionary)
	w.Int(12, int64(r.Borrow))
	w.Uint(13, uint64(r.Granularity))
	w.Bytes(14, r.Receipt)
	w.Int(15, int64(r.Idle))
	w.Correlation(16, &r.Undoes)
	w.Uint(20, r.Number)
	if len(r.Outstanding) > 0 {
		w.other(c, 21, r.Outstanding)
	}
	w.Uint(22, r.Epoch)
	if r.Head != (capability.Head{}) {
		w.other(c, 23, r.Head)
	}
	if len(r.Returns) > 0 {
		w.other(c, 24, r.Returns)
	}
	if len(r.Records) > 0 {
		w.other(c, 25, r.Records)
	}
	if r.Clock != (capability.Clock{}) {
		w.other(c, 26, r.Clock)
	}
	w.Uint(27, uint64(r.Condition))
	w.Digest(28, &r.Policy)
	w.Digest(29, &r.Producer)
	w.Digest(30, &r.BookHead)
	w.Correlation(31, (*capability.CorrelationID)(&r.Life))
	if len(r.Metered) > 0 {
		w.other(c, 32, r.Metered)
	}
	if r.Platform != (capability.Platform{}) {
		w.other(c, 33, r.Platform)
	}
	if len(r.Alarms) > 0 {
		w.other(c, 34, r.Alarms)
	}
	w.Bool(36, r.Settled)
	if len(r.States) > 0 {
		w.other(c, 37, r.States)
	}
	w.Close(outer)
}

func (w *Writer) putDesired(d *capability.Desired) {
	outer := w.Map()
	w.Text(1, d.Feature)
	w.version(2, d.Version)
	w.Uint(3, uint64(d.Count))
	w.Bool(4, d.Partial)
	w.Text(5, string(d.ActivationID))
	w.pairsOf(6, d.Selectors)
	w.Bool(7, d.Wait)
	w.Close(outer)
}

// Response writes one. Whom it is for is not written where the key says it.
func (w *Writer) Response(c *Codec, r *capability.Response) {
	outer := w.Map()
	w.Uint(1, uint64(r.Version))
	w.Uint(2, uint64(r.Status))
	if r.For != (hostid.ID{}) && !saysWhom(r) {
		w.Key(3)
		w.putHost(&r.For)
	}
	w.Uint(4, r.Serial)
	w.Correlation(5, &r.Correlation)
	w.Int(6, int64(r.Time))
	w.Int(7, int64(r.Lifetime))
	w.Array(8, len(r.Rights))
	for i := range r.Rights {
		w.putRight(&r.Rights[i])
	}
	if len(r.Items) > 0 {
		w.other(c, 9, r.Items)
	}
	w.Array(10, len(r.Lines))
	for i := range r.Lines {
		w.putLine(&r.Lines[i])
	}
	w.Array(11, len(r.Denials))
	for i := range r.Denials {
		w.putDenial(&r.Denials[i])
	}
	if r.Policy != (capability.Policy{}) {
		w.policy(12, &r.Policy)
	}
	w.Correlation(13, (*capability.CorrelationID)(&r.Salt))
	w.Int(14, int64(r.Hold))
	w.Digest(15, &r.Key)
	w.Digest(20, &r.Request)
	w.Uint(21, r.Number)
	if len(r.Acknowledged) > 0 {
		w.other(c, 22, r.Acknowledged)
	}
	w.Uint(23, r.Records)
	if len(r.Revoked) > 0 {
		w.other(c, 24, r.Revoked)
	}
	if b := &r.Boot; b.Key != nil || b.Ref != nil || b.States != nil {
		w.other(c, 25, b)
	}
	w.Bytes(26, r.Certificate)
	w.Bool(27, r.ReturnAsked)
	w.Digest(28, &r.BookHead)
	w.Uint(29, r.Epoch)
	w.Correlation(30, (*capability.CorrelationID)(&r.Life))
	w.Close(outer)
}

func (w *Writer) putRight(r *capability.Right) {
	outer := w.Map()
	w.Text(1, r.Feature)
	w.version(2, r.Version)
	w.Uint(3, uint64(r.Count))
	w.Int(4, int64(r.Expiry))
	w.Int(5, int64(r.Final))
	w.Text(6, r.Vendor)
	w.Close(outer)
}

func (w *Writer) putLine(l *capability.Line) {
	outer := w.Map()
	w.Uint(1, uint64(l.Status))
	w.Uint(2, uint64(l.Count))
	if !absent(&l.Denial) {
		w.Key(3)
		w.putDenial(&l.Denial)
	}
	w.Close(outer)
}

// absent says that nothing was denied. Holders that are none are not the same as no holders.
func absent(d *capability.Denial) bool {
	return d.Code == 0 && d.Subject == "" && d.Asked == 0 && d.Available == 0 && d.Total == 0 && d.Used == 0 && d.Until == 0 &&
		d.Highest == capability.Version{} && d.Detail == "" && d.Holders == nil && d.Position == 0
}

func (w *Writer) putDenial(d *capability.Denial) {
	outer := w.Map()
	w.Uint(1, uint64(d.Code))
	w.Text(2, d.Subject)
	w.Uint(3, uint64(d.Asked))
	w.Uint(4, uint64(d.Available))
	w.Uint(5, uint64(d.Total))
	w.Uint(6, uint64(d.Used))
	w.Int(7, int64(d.Until))
	w.version(8, d.Highest)
	w.Text(9, d.Detail)
	w.Array(10, len(d.Holders))
	for i := range d.Holders {
		w.putHolder(&d.Holders[i])
	}
	w.Uint(11, uint64(d.Position))
	w.Close(outer)
}

func (w *Writer) putHolder(h *capability.Holder) {
	outer := w.Map()
	w.Text(1, h.Name)
	w.Uint(2, uint64(h.Count))
	w.Int(3, int64(h.Expiry))
	w.Close(outer)
}

func (w *Writer) policy(k uint64, p *capability.Policy) {
	w.Key(k)
	outer := w.Map()
	w.Int(1, int64(p.Lease))
	w.Uint(2, uint64(p.RenewPercent))
	w.Uint(3, uint64(p.Holders))
	w.Int(4, int64(p.Tolerance))
	w.Int(5, int64(p.ResponseLife))
	w.Uint(6, uint64(p.Granularity))
	w.Int(7, int64(p.BorrowMaximum))
	w.Bool(8, p.Duplicates)
	w.Uint(9, uint64(p.Binding))
	w.Int(10, int64(p.Grace))
	if p.Dongle != (hostid.ID{}) {
		w.Key(11)
		w.putHost(&p.Dongle)
	}
	w.Bool(35, p.Detail)
	w.Bool(36, p.States)
	w.Close(outer)
}

func (w *Writer) putHost(h *hostid.ID) {
	outer := w.Map()
	w.Uint(1, uint64(h.Type))
	w.Text(2, h.Value)
	w.Close(outer)
}

func (w *Writer) pairsOf(k uint64, pairs []capability.Pair) {
	w.Array(k, len(pairs))
	for i := range pairs {
		w.putPair(&pairs[i])
	}
}

func (w *Writer) putPair(p *capability.Pair) {
	outer := w.Map()
	w.Text(1, p.Key)
	w.Text(2, p.Value)
	w.Close(outer)
}

// version is there even where it is zero, as with every array.
func (w *Writer) version(k uint64, v capability.Version) {
	w.Key(k)
	w.PutArray(2)
	w.PutUint(uint64(v.Major))
	w.PutUint(uint64(v.Minor))
}

// Digest is a pair, or nothing for the zero one.
func (w *Writer) Digest(k uint64, d *capability.Digest) {
	if *d != (capability.Digest{}) {
		w.Key(k)
		w.PutBytes(d[:])
	}
}

// Correlation is a pair, or nothing for the zero one.
func (w *Writer) Correlation(k uint64, id *capability.CorrelationID) {
	if *id != (capability.CorrelationID{}) {
		w.Key(k)
		w.PutBytes(id[:])
	}
}

// other is a pair that the library writes.
func (w *Writer) other(c *Codec, k uint64, v any) {
	w.Key(k)
	w.Put(c, v)
}

package ledger

import (
	"reflect"

	"github.com/leasehold/leasehold/capability/wire"
)

// Every request that changes something makes an entry, which is hashed and kept: what Served says is written by hand. The other facts are left to the library.

// Encode is the one encoding of the entry.
func (e *Entry) Encode(c *wire.Codec) []byte {
	var w wire.Writer
	outer := w.Map()
	w.Uint(1, e.Position)
	w.Digest(2, &e.Previous)
	w.Key(3)
	w.PutArray(2)
	w.PutInt(int64(e.Now.Lease))
	w.PutInt(int64(e.Now.Wall))
	other(&w, c, 4, e.Division)
	w.Array(5, len(e.Transfers))
	for _, t := range e.Transfers {
		w.PutArray(3)
		w.PutUint(t.Item)
		w.PutUint(t.Share)
		w.PutInt(t.Count)
	}
	bookings(&w, 6, e.Booked)
	other(&w, c, 7, e.Judged)
	other(&w, c, 9, e.Clock)
	other(&w, c, 10, e.Started)
	other(&w, c, 11, e.Advanced)
	other(&w, c, 12, e.Provisioned)
	if e.Served != nil {
		w.Key(13)
		e.Served.write(&w, c)
	}
	other(&w, c, 14, e.Returned)
	other(&w, c, 15, e.Proved)
	other(&w, c, 16, e.Requested)
	other(&w, c, 17, e.Dropped)
	other(&w, c, 18, e.Modeled)
	other(&w, c, 19, e.Reserved)
	other(&w, c, 20, e.Configured)
	other(&w, c, 21, e.Drained)
	other(&w, c, 30, e.Watched)
	other(&w, c, 31, e.Stated)
	other(&w, c, 32, e.Recovery)
	other(&w, c, 33, e.Recognized)
	other(&w, c, 34, e.Planned)
	other(&w, c, 40, e.Counted)
	other(&w, c, 50, e.Admitted)
	other(&w, c, 51, e.SignedIn)
	other(&w, c, 52, e.Certified)
	other(&w, c, 53, e.Registered)
	w.Close(outer)
	return w.Written()
}

// other is a fact that the library writes, or nothing where there is none.
func other[T any](w *wire.Writer, c *wire.Codec, k uint64, v *T) {
	if v != nil {
		w.Key(k)
		w.Put(c, v)
	}
}

func (f *Served) write(w *wire.Writer, c *wire.Codec) {
	outer := w.Map()
	if f.Answer.Version != 0 || !reflect.ValueOf(&f.Answer).Elem().IsZero() {
		w.Key(1)
		w.Response(c, &f.Answer)
	}
	w.Digest(2, &f.Body)
	w.Array(3, len(f.Leases))
	for i := range f.Leases {
		f.Leases[i].write(w)
	}
	w.Uint(4, f.Receipt)
	if f.Who != (Who{}) {
		w.Key(5)
		f.Who.write(w)
	}
	w.Int(6, int64(f.Idle))
	w.Array(7, len(f.Waits))
	for i := range f.Waits {
		w.Put(c, &f.Waits[i])
	}
	other(w, c, 8, f.Reported)
	w.Correlation(9, &f.Undone)
	w.Int(10, int64(f.Spent))
	w.Int(11, int64(f.Until))
	bookings(w, 12, f.Claimed)
	w.Close(outer)
}

func (who *Who) write(w *wire.Writer) {
	outer := w.Map()
	w.Text(1, who.User)
	w.Text(2, who.Alias)
	w.Text(3, who.DeviceType)
	w.Close(outer)
}

func (n *Lease) write(w *wire.Writer) {
	outer := w.Map()
	w.Key(1)
	w.PutArray(2)
	w.PutText(string(n.Item.ActivationID))
	w.PutText(n.Item.Feature)
	w.Uint(2, uint64(n.Count))
	w.Int(3, int64(n.End))
	w.Bool(4, n.Dropped)
	w.Int(5, int64(n.Told))
	if n.Source != (Source{}) {
		w.Key(6)
		n.Source.write(w)
	}
	w.Int(7, int64(n.Lead))
	w.Close(outer)
}

func (s *Source) write(w *wire.Writer) {
	outer := w.Map()
	w.Text(1, s.Pool)
	w.Uint(2, s.Entry)
	w.Bool(3, s.Overdraft)
	w.Close(outer)
}

func bookings(w *wire.Writer, k uint64, list []Booking) {
	w.Array(k, len(list))
	for _, b := range list {
		w.PutArray(2)
		w.PutUint(b.Item)
		w.PutUint(b.Count)
	}
}

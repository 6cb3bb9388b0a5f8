package entitlement

import (
	"math"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// A start reads a record for each line item and several for each host: those are read by hand. What is in few of them is left to the library, which reads the whole
// record then, and words what is wrong with it.

// reader takes records apart. What many of them say alike is in memory once.
type reader struct {
	texts        map[string]string
	features     map[string]*listed // by product, those of its last item
	ids          wire.Texts         // of items
	entitlements wire.Texts         // whose items follow each other
	looked       wire.Texts         // up, and not needed after that
}

func newReader() reader {
	return reader{texts: map[string]string{}, features: map[string]*listed{}}
}

// listed is a list of features, and the bytes that it was read from.
type listed struct {
	bytes    []byte
	features []Feature
}

// The fewest bytes of an element, against which the length of an array is held.
const leastFeature = 1 + 4

func (r *reader) item(in *wire.Reader, i *Item) {
	versions := 0
	for m := in.Open(); in.Next(&m); {
		switch m.Key {
		case 1:
			i.ActivationID = capability.ActivationID(in.Kept(&r.ids))
		case 2:
			i.Customer = in.Shared(r.texts)
		case 3:
			i.EntitlementID = in.Kept(&r.entitlements)
		case 4:
			i.Product = in.Shared(r.texts)
		case 5:
			i.ProductVersion = in.Version()
			versions++
		case 6:
			i.Features = r.featuresOf(in, i.Product)
		case 7:
			i.Copies = uint32(in.Uint(math.MaxUint32))
		case 8:
			i.Start = capability.Time(in.Int())
		case 9:
			i.Expiry = capability.Time(in.Int())
		case 10:
			i.MinimumTier = Tier(in.Uint(math.MaxUint8))
		case 11:
			i.Issued = capability.Time(in.Int())
		case 16:
			i.Model = in.Shared(r.texts)
		case 30:
			i.User = in.Shared(r.texts)
		default:
			in.Lose()
		}
	}
	if versions == 0 { // it is there even where it is zero
		in.Lose()
	}
}

// featuresOf are the features of an item, those of the last item of the same product where they are the same.
func (r *reader) featuresOf(in *wire.Reader, product string) []Feature {
	last := r.features[product]
	if last != nil && in.Skip(last.bytes) {
		return last.features
	}
	ahead := in.Ahead()
	list := make([]Feature, in.Array(leastFeature))
	for i := range list {
		f, versions := &list[i], 0
		for m := in.Open(); in.Next(&m); {
			switch m.Key {
			case 1:
				f.Name = in.Shared(r.texts)
			case 2:
				f.Version = in.Version()
				versions++
			case 3:
				f.PerCopy = uint32(in.Uint(math.MaxUint32))
			default:
				in.Lose()
			}
		}
		if versions == 0 {
			in.Lose()
		}
	}
	if read := len(ahead) - len(in.Ahead()); !in.Lost() {
		r.features[product] = &listed{ahead[:read], list}
	}
	return list
}

func (f *Fulfillment) read(in *wire.Reader, texts *wire.Texts) {
	for m := in.Open(); in.Next(&m); {
		switch m.Key {
		case 1:
			f.ActivationID = capability.ActivationID(in.Kept(texts))
		case 2:
			f.Copies = uint32(in.Uint(math.MaxUint32))
		default:
			in.Lose()
		}
	}
}

func (k *Known) read(in *wire.Reader) {
	for m := in.Open(); in.Next(&m); {
		switch m.Key {
		case 1:
			k.Number = in.Uint(math.MaxUint64)
		case 2:
			k.Digest = in.Digest()
		case 3:
			k.Serial = in.Uint(math.MaxUint64)
		case 4:
			k.Head = in.Digest()
		case 5:
			k.File = in.Digest()
		case 6:
			k.Time = capability.Time(in.Int())
		case 7:
			k.Audit = readHead(in)
		case 8:
			k.Fork = in.Bool()
		default:
			in.Lose()
		}
	}
}

func readHead(in *wire.Reader) (h capability.Head) {
	for m := in.Open(); in.Next(&m); {
		switch m.Key {
		case 1:
			h.Position = in.Uint(math.MaxUint64)
		case 2:
			h.Hash = in.Digest()
		default:
			in.Lose()
		}
	}
	if h == (capability.Head{}) {
		in.Lose()
	}
	return h
}

func (n *hostRecord) read(in *wire.Reader, texts map[string]string) {
	for m := in.Open(); in.Next(&m); {
		switch m.Key {
		case 1:
			n.Identity.read(in)
		case 2:
			n.Alias = in.Text()
		case 3:
			n.Proven = in.Bool()
		case 4:
			n.Epoch = in.Uint(math.MaxUint64)
		case 5:
			n.Answered = in.Uint(math.MaxUint64)
		case 6:
			n.Serial = in.Uint(math.MaxUint64)
		case 7:
			n.Life = capability.LifeID(in.Correlation())
		case 9:
			n.Account = in.Shared(texts)
		default:
			in.Lose()
		}
	}
}

func (id *Identity) read(in *wire.Reader) {
	keys := 0
	for m := in.Open(); in.Next(&m); keys++ {
		switch m.Key {
		case 1:
			id.Host = in.Host()
		case 2:
			id.AKName = in.Bytes()
		case 3:
			id.AK = in.Bytes()
		case 4:
			id.EK = in.Bytes()
		case 5:
			id.Tier = Tier(in.Uint(math.MaxUint8))
		default:
			in.Lose()
		}
	}
	if keys == 0 {
		in.Lose()
	}
}

func (a *Appearance) read(in *wire.Reader, texts map[string]string) {
	for m := in.Open(); in.Next(&m); {
		switch m.Key {
		case 1:
			a.Number = in.Uint(math.MaxUint64)
		case 2:
			a.Time = capability.Time(in.Int())
		case 3:
			a.Tier = Tier(in.Uint(math.MaxUint8))
		case 4:
			a.Why = in.Shared(texts)
		case 5:
			a.Hosts = make([]hostid.ID, in.Array(1))
			for i := range a.Hosts {
				a.Hosts[i] = in.Host()
			}
		case 6:
			a.Platform = in.Shared(texts)
		case 7:
			a.State = in.Bytes()
		case 8:
			a.Booted = in.Shared(texts)
		default:
			in.Lose()
		}
	}
}

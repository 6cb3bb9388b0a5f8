package hostid

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	digest := strings.Repeat("7f3a22c9", 8)
	for text, want := range map[string]ID{
		"abc":                                   {String, "abc"},
		"02004C4F4F50/ETHERNET":                 {Ethernet, "02004C4F4F50"},
		"02004C4F4F50/ethernet":                 {Ethernet, "02004C4F4F50"},
		digest + "/TPM_EK":                      {TPMEK, digest},
		"a/b/STRING":                            {String, "a/b"},
		"//STRING":                              {String, "/"},
		"fe80::1/INTERNET6":                     {Internet6, "fe80::1"},
		strings.Repeat("x", MaxValue):           {String, strings.Repeat("x", MaxValue)},
		" ~/CONTAINER_ID":                       {ContainerID, " ~"},
		"9-1/FLEXID9":                           {Flexid9, "9-1"},
		"k/device_KEY":                          {DeviceKey, "k"},
		"d9428888-122b-11e1-b85c-61/VM_UUID":    {VMUUID, "d9428888-122b-11e1-b85c-61"},
		strings.Repeat("y", MaxValue) + "/USER": {User, strings.Repeat("y", MaxValue)},
	} {
		id, err := Parse(text)
		if err != nil || id != want {
			t.Errorf("%q: %v, %v", text, id, err)
		}
		if again, err := Parse(id.String()); err != nil || again != id {
			t.Errorf("%q: written as %q, read as %v, %v", text, id.String(), again, err)
		}
	}
	for _, text := range []string{
		"", "/", "/STRING", "a/", "a/NOTHING", "a/UNKNOWN", "a/TYPE_3", "a/ STRING", "a\nb", "a\x7fb", "\u00e9", "a\x00/STRING", "a/b",
		strings.Repeat("x", MaxValue+1), strings.Repeat("x", MaxValue+1) + "/STRING",
	} {
		if id, err := Parse(text); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v, %v", text, id, err)
		}
	}
}

// The numbers and names are on the wire and in scripts: this table is their promise.
func TestTypes(t *testing.T) {
	for number, name := range []string{
		"UNKNOWN", "TPM_EK", "TPM_AK", "ETHERNET", "STRING", "USER", "INTERNET", "INTERNET6", "FLEXID9", "FLEXID10",
		"VM_UUID", "BOARD_UUID", "DISK", "COMPOSITE", "EXTENDED", "PUBLISHER_DEFINED", "CONTAINER_ID", "DEVICE_KEY",
	} {
		typ, err := ParseType(strings.ToLower(name))
		if err != nil || typ != Type(number) || typ.String() != name {
			t.Errorf("%s: %d %q, %v", name, typ, typ, err)
		}
		if err := (ID{typ, "x"}).Validate(); (err == nil) != (typ != Unknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if DeviceKey != 17 || TPMEK != 1 || ContainerID != 16 {
		t.Error("a number moved")
	}
	if s := Type(18).String(); s != "TYPE_18" {
		t.Error(s)
	}
	if err := (ID{18, "x"}).Validate(); !errors.Is(err, ErrSyntax) {
		t.Errorf("type 18: %v", err)
	}
}

func TestShort(t *testing.T) {
	for id, want := range map[ID]string{
		{TPMEK, "7f3a22c9ffff"}:      "7F3A-22C9",
		{DeviceKey, "7F3A22C9FFFF"}:  "7F3A-22C9",
		{TPMAK, "7f3a22"}:            "7f3a22",
		{Ethernet, "02004C4F4F50AA"}: "02004C4F4F50AA",
	} {
		if got := id.Short(); got != want {
			t.Errorf("%v: %q", id, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "abc", "a/b/STRING", "x/TPM_EK", "02004C4F4F50/ethernet", "a/UNKNOWN", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again, err := Parse(id.String()); err != nil || again != id {
			t.Errorf("%q is %v, and written again %v, %v", s, id, again, err)
		}
		if id.Short() == "" {
			t.Errorf("%q has nothing to show", s)
		}
	})
}

func TestIs(t *testing.T) {
	d := [32]byte{0: 0x01, 15: 0xab, 31: 0xf0}
	for _, k := range []Type{DeviceKey, TPMEK} {
		if id := OfDigest(k, d); !id.Is(k, d) {
			t.Errorf("%s is not what it was made of", id)
		}
	}
	id := OfDigest(DeviceKey, d)
	for name, other := range map[string]ID{"type": {TPMEK, id.Value}, "shorter": {DeviceKey, id.Value[:62]}, "longer": {DeviceKey, id.Value + "00"}, "lower case": {DeviceKey, strings.ToLower(id.Value)}, "none": {}} {
		if other.Is(DeviceKey, d) {
			t.Errorf("%s: %s is taken for %s", name, other, id)
		}
	}
	for i := range d {
		e := d
		if e[i] ^= 0x10; id.Is(DeviceKey, e) {
			t.Errorf("byte %d may be another", i)
		}
	}
}

package hostid

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func shown() Machine {
	return Machine{Findings: []Finding{
		{ID: ID{TPMEK, "E"}, Strength: Proven},
		{ID: ID{BoardUUID, "B"}, Strength: Firm},
		{ID: ID{Ethernet, "N1"}, Strength: Firm},
		{ID: ID{Ethernet, "N2"}, Strength: Weak},
		{ID: ID{Disk, "D"}, Strength: Firm},
		{ID: ID{Flexid9, "F"}, Strength: Weak},
		{ID: ID{String, "S"}, Strength: Told},
		{ID: ID{Ethernet, "N0"}, Strength: Weak, Flaw: "USB network adapter"},
		{ID: ID{Flexid10, "G"}, Strength: Worthless, Flaw: "USB over IP"},
	}}
}

func without(m Machine, types ...Type) Machine {
	m.Findings = slices.DeleteFunc(slices.Clone(m.Findings), func(f Finding) bool { return slices.Contains(types, f.ID.Type) })
	return m
}

func TestChoose(t *testing.T) {
	for _, row := range []struct {
		what   string
		m      Machine
		order  []Type
		manual ID
		want   string // empty: none
	}{
		{"the TPM first", shown(), nil, ID{}, "E/TPM_EK"},
		{"then the first built-in card", without(shown(), TPMEK), nil, ID{}, "N1/ETHERNET"},
		{"then the board", without(shown(), TPMEK, Ethernet), nil, ID{}, "B/BOARD_UUID"},
		{"then the disk", without(shown(), TPMEK, Ethernet, BoardUUID), nil, ID{}, "D/DISK"},
		{"then the dongle", without(shown(), TPMEK, Ethernet, BoardUUID, Disk), nil, ID{}, "F/FLEXID9"},
		{"then what was told", without(shown(), TPMEK, Ethernet, BoardUUID, Disk, Flexid9), nil, ID{}, "S/STRING"},
		{"and never what has a flaw", without(shown(), TPMEK, Ethernet, BoardUUID, Disk, Flexid9, String), nil, ID{}, ""},
		{"a policy's order wins", shown(), []Type{Disk, TPMEK}, ID{}, "D/DISK"},
		{"and where it has nothing, the native one goes on", shown(), []Type{VMUUID, User}, ID{}, "E/TPM_EK"},
		{"a policy asks for what has a flaw", shown(), []Type{Flexid10}, ID{}, "E/TPM_EK"},
		{"a hand wins over both", shown(), []Type{Disk}, ID{Ethernet, "n2"}, "N2/ETHERNET"},
		{"but not over a flaw", shown(), nil, ID{Ethernet, "N0"}, ""},
		{"nor over absence", shown(), nil, ID{Ethernet, "N3"}, ""},
		{"nor over another type", shown(), nil, ID{Disk, "N1"}, ""},
		{"nothing", Machine{}, nil, ID{}, ""},
	} {
		f, err := Choose(row.m, row.order, row.manual)
		switch {
		case row.want == "" && !errors.Is(err, ErrUnfit):
			t.Errorf("%s: %v, %v", row.what, f, err)
		case row.want != "" && (err != nil || f.ID.String() != row.want):
			t.Errorf("%s: %v, %v, want %s", row.what, f.ID, err, row.want)
		}
	}
	if _, err := Choose(shown(), nil, ID{Ethernet, "N0"}); err == nil || !strings.Contains(err.Error(), "USB network adapter") {
		t.Errorf("the flaw is not said: %v", err)
	}
}

func TestCompose(t *testing.T) {
	whole, ok := Compose(shown().Findings)
	if !ok || whole.ID.Type != Composite || whole.ID.Validate() != nil || whole.Strength != Weak || !strings.Contains(whole.Source, "4 IDs") {
		t.Fatalf("%v, %+v", ok, whole)
	}
	turned := slices.Clone(shown().Findings)
	slices.Reverse(turned)
	if again, _ := Compose(turned); again != whole {
		t.Errorf("the order counts: %v, %v", again, whole)
	}
	for _, part := range []Type{BoardUUID, Ethernet, Disk} {
		if other, ok := Compose(without(shown(), part).Findings); !ok || other.ID == whole.ID {
			t.Errorf("without %s: %v, %v", part, ok, other.ID)
		}
	}
	for _, part := range []Type{TPMEK, Flexid9, String, Flexid10} {
		if same, _ := Compose(without(shown(), part).Findings); same != whole {
			t.Errorf("%s counts", part)
		}
	}
	for _, rest := range [][]Type{{BoardUUID, Ethernet}, {Ethernet, Disk}, {BoardUUID, Disk}, {BoardUUID, Ethernet, Disk}} {
		if one, ok := Compose(without(shown(), rest...).Findings); ok {
			t.Errorf("one kind is enough: %v", one)
		}
	}
}

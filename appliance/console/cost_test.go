package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// crowded is a ledger whose f 1.0 is served to so many devices, one count each.
func crowded(t testing.TB, devices int) (*ledger.Ledger, ledger.Now) {
	t.Helper()
	l, now := ledger.New(), ledger.At(0, start)
	do := func(c ledger.Command) {
		d, err := l.Decide(now, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range d.Entries {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	id, err := capability.NewActivationID(strings.NewReader(strings.Repeat("a", 18)))
	if err != nil {
		t.Fatal(err)
	}
	do(ledger.Provision{Response: capability.Response{
		Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "appliance"}, Serial: 1, Time: start,
		Items: []capability.LineItem{{ActivationID: id, Feature: "f", Version: capability.Version{Major: 1}, Count: uint32(devices), Copies: 1}},
	}, Digest: capability.Digest{1}})
	for i := range devices {
		do(ledger.Serve{Key: capability.Digest{2}, Request: capability.Request{
			Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.String, Value: fmt.Sprint("device ", i)}}, Correlation: capability.CorrelationID{1, byte(i), byte(i >> 8), byte(i >> 16)},
			Desired: []capability.Desired{{Feature: "f", Version: capability.Version{Major: 1}, Count: 1}},
		}})
	}
	return l, now
}

// What the owner of the ledger waits for while a dry run is made, beside the whole of it.
func BenchmarkDryRun(b *testing.B) {
	l, now := crowded(b, 100_000)
	text := []byte(poolsText)
	snapshot := l.Snapshot()
	b.Run("owner", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.Decide(now, ledger.SetModel{Text: text}); err != nil {
				b.Fatal(err)
			}
			l.Snapshot()
		}
	})
	b.Run("rest", func(b *testing.B) {
		for b.Loop() {
			l, err := ledger.Restore(snapshot)
			if err != nil {
				b.Fatal(err)
			}
			if c := CheckModel(l, now, text); c.Problem != nil {
				b.Fatal(c.Problem.Text)
			}
		}
	})
}

package console

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// outside are the settings that the ledger does not keep: the back office decides them with each response, or they are what this release does. They are
// shown beside the others, and refused by name like others.
func outside() []Setting {
	const producer, administrator, both, nobody = "producer", "administrator", "producer and administrator", "nobody"
	rows := []Setting{
		{Name: "apply-before", Default: "2592000", Owner: producer},
		{Name: "built-in-nic", Default: "true", Owner: producer, KnownAs: "licensing.enableBuiltinHostId"},
		{Name: "expiry-sweep", Default: "at the next expiry", Owner: nobody, KnownAs: "licensing.clientExpiryTimer"},
		{Name: "log-directory", Default: "journal", Owner: administrator, KnownAs: "logging.directory"},
		{Name: "poll-page", Default: "100", Owner: producer, KnownAs: "lfs.*"},
		{Name: "seat-tolerance", Default: "86400", Owner: producer},
		{Name: "security", Default: "true", Owner: both, KnownAs: "security.enabled"},
		{Name: "sync-from", Default: "producer's choice", Owner: producer, KnownAs: "lfs.*"},
		{Name: "sync-to", Default: "producer's choice", Owner: producer, KnownAs: "lfs.syncTo.enabled"},
		{Name: "tiers", Default: "hardware all, others as the producer says", Owner: producer},
		{Name: "virtual-check", Default: "true", Owner: producer, KnownAs: "licensing.disableVirtualMachineCheck"},
	}
	for i := range rows {
		rows[i].Value = rows[i].Default
	}
	return rows
}

// settings is every setting by name, those of the ledger and those outside it.
func settings(l *ledger.Ledger) []Setting {
	out := outside()
	for _, s := range l.Settings() {
		row := Setting{Name: s.Name, Value: s.Value, Default: s.Default, Owner: s.Owner.String(), Changed: s.Changed, KnownAs: s.Vendor, Note: s.Note}
		if row.Name == "host-id-order" && row.Value == "" {
			row.Default, row.Value = "TPM_EK, then native order", "TPM_EK, then native order"
		}
		out = append(out, row)
	}
	slices.SortFunc(out, func(a, b Setting) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// refuseOutside says why a setting outside the ledger is not changed here. The error is a *capability.Refusal.
func refuseOutside(name string) error {
	at := slices.IndexFunc(outside(), func(s Setting) bool { return s.Name == name })
	if at < 0 {
		return nil
	}
	s := outside()[at]
	if s.Owner == "producer" {
		return capability.Refuse(capability.ErrLocked, s.Name, "it belongs to the producer, and is %s", s.Value)
	}
	return capability.Refuse(capability.ErrSetElsewhere, s.Name, "it is %s", s.Value)
}

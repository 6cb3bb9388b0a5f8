package hostid

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnfit is in the error of Choose where nothing that was asked for can be the identity of this machine.
var ErrUnfit = errors.New("no identity of this machine")

// NativeOrder is the order of types in which an identity is chosen where no policy says otherwise: the TPM's key, then the built-in network card,
// then what else is built in, then what is plugged in or told. Types that are not in it are never chosen by themselves.
func NativeOrder() []Type {
	return []Type{TPMEK, Ethernet, BoardUUID, VMUUID, Disk, Composite, Flexid9, Flexid10, Extended, PublisherDefined, String, ContainerID}
}

// Choose names the finding that is this machine's identity. A manual choice, unless it is the zero ID, overrides everything; then come the types
// of order, then those of NativeOrder, and of one type the first that m lists. A finding with a flaw is never chosen, not even by hand.
func Choose(m Machine, order []Type, manual ID) (Finding, error) {
	if manual != (ID{}) {
		i := slices.IndexFunc(m.Findings, func(f Finding) bool { return f.ID.Type == manual.Type && strings.EqualFold(f.ID.Value, manual.Value) })
		if i < 0 {
			return Finding{}, fmt.Errorf("%w: it does not show %s", ErrUnfit, manual)
		}
		if f := m.Findings[i]; f.Flaw != "" {
			return Finding{}, fmt.Errorf("%w: %s: %s", ErrUnfit, manual, f.Flaw)
		}
		return m.Findings[i], nil
	}
	for _, t := range slices.Concat(order, NativeOrder()) {
		for _, f := range m.Findings {
			if f.ID.Type == t && f.Flaw == "" {
				return f, nil
			}
		}
	}
	return Finding{}, fmt.Errorf("%w: it shows nothing that only one machine has", ErrUnfit)
}

// Compose is the identity of a machine without a TPM: the digest of all its UUIDs, built-in network cards and boot disks that have no flaw, in whatever
// order they are listed. There must be two of the three kinds; it is as strong as the weakest part. Whether a machine that lost one part is still
// the same is not said by this value but by the weights of the parts.
func Compose(findings []Finding) (Finding, bool) {
	whole := Finding{Strength: Proven}
	var parts []string
	kinds := map[string]bool{}
	for _, f := range findings {
		kind := f.ID.Type.String()
		switch f.ID.Type {
		case BoardUUID, VMUUID:
			kind = "UUID"
		case Ethernet, Disk:
		default:
			continue
		}
		if f.Flaw == "" {
			kinds[kind] = true
			parts = append(parts, f.ID.String())
			whole.Strength = min(whole.Strength, f.Strength)
		}
	}
	if len(kinds) < 2 {
		return Finding{}, false
	}
	slices.Sort(parts)
	parts = slices.Compact(parts)
	whole.ID = OfDigest(Composite, sha256.Sum256([]byte(strings.Join(parts, "\n"))))
	whole.Source = fmt.Sprintf("digest of %d IDs: UUID, built-in network cards, boot disk", len(parts))
	return whole, true
}

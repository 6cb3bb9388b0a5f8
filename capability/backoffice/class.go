package backoffice

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// class is the tier of a machine: what its certificates prove, and never more than virtual where it says itself that it is a virtual machine (monitor is its name for that): a chip that was handed into
// one can be handed on. The words say why; the error says what is wrong with certificates that raised nothing.
func (o *Office) class(id *attest.Identity, monitor string, now capability.Time) (entitlement.Tier, string, error) {
	tier, by, err := attest.Class(id, o.roots, now.Std())
	switch {
	case isDevice(id):
		return entitlement.Software, "it has shown no TPM, only a key of its own", nil
	case err != nil:
		return entitlement.Software, words(err.Error()), err
	case tier == attest.Software:
		return entitlement.Software, "its TPM has shown no certificate", nil
	}
	why := fmt.Sprintf("a certificate of its TPM leads to %s", by.Subject)
	switch {
	case tier == attest.Virtual:
		return entitlement.Virtual, words(why), nil
	case monitor != "":
		return entitlement.Virtual, words(fmt.Sprintf("it says that it is a virtual machine (%s), though %s", monitor, why)), nil
	}
	return entitlement.Hardware, words(why), nil
}

// booted replays the machine's event log, if it sent one.
func (o *Office) booted(id *attest.Identity) *BootReport {
	if len(id.EventLog) == 0 {
		return nil
	}
	return replay(id.EventLog, id.PCRs)
}

// drift is what changed of the host IDs since the appearance before.
func drift(before *entitlement.Appearance, d *entitlement.Decision) (gone, came []hostid.ID) {
	if d.Known != nil || d.Answered().Appearance == nil {
		return nil, nil
	}
	return d.Answered().Appearance.Drift(before)
}

// words makes a text of strangers fit for the book: at most capability.MaxText bytes that no screen takes for something else.
func words(s string) string {
	s = strings.Map(func(r rune) rune {
		if capability.CheckText(string(r)) != nil {
			return '?'
		}
		return r
	}, s)
	if len(s) > capability.MaxText {
		s = strings.ToValidUTF8(s[:capability.MaxText-3], "") + "..."
	}
	return s
}

// virtual is the virtual machine monitor that a machine names; empty, it names none. A container alone is no reason: its TPM is that of the machine it runs on.
func virtual(r *capability.Request) string {
	if r.Platform.Virtual == capability.Bare {
		return ""
	}
	return r.Platform.Virtual
}

// platform is all that it says it runs on, in words for people.
func platform(r *capability.Request) string {
	words := virtual(r)
	if c := r.Platform.Container; c != "" && c != capability.Bare {
		if words != "" {
			words += ", "
		}
		words += "container " + c
	}
	return words
}

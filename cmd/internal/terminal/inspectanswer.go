package terminal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/hostid"
)

// describeAnswer says what an appliance answers to a PC in a file.
func describeAnswer(b *strings.Builder, a *client.InspectedAnswer) {
	fmt.Fprintf(b, "response %d of an appliance, made %s\n", a.Serial, a.Time)
	section(b, "Everything it says of what is lent", Fields(*a), answerWords())
	b.WriteString("\nNothing in it is encrypted, and it is of use to the one PC that it is for.\n")
}

// answerVerdict is the end of the first line.
func answerVerdict(a *client.InspectedAnswer) string {
	by := ""
	if a.Appliance != (hostid.ID{}) {
		by = "  by the appliance LH-" + a.Appliance.Short()
	}
	return by + "  for LH-" + a.For.Short()
}

func answerWords() map[string]string {
	return map[string]string{
		"for":            "the PC: digest of its device key",
		"appliance":      "who answered: digest of its TPM",
		"serial":         "order of the answers to this PC; the newest counts",
		"status":         "what became of the request",
		"time":           "when it was made",
		"applyBefore":    "last second in which the PC takes it in",
		"epoch":          "value of the counter that dates the appliance's trusted storage",
		"rights":         "what the PC has now",
		"rights.feature": "feature",
		"rights.version": "up to this version",
		"rights.count":   "how many",
		"rights.expiry":  "first second without it",
	}
}

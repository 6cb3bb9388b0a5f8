package terminal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
)

// describeKey is a key request, or a certified key.
func describeKey(b *strings.Builder, k *client.InspectedKeyFile) {
	if k.Number > 0 || k.Limits != nil {
		fmt.Fprintf(b, "certificate %d of the signing key %s\n", k.Number, k.Name)
	} else {
		fmt.Fprintf(b, "asks for a certificate of the signing key %s\n", k.Name)
	}
	section(b, "The key", Fields(k.InspectedKey), keyWords())
	fmt.Fprintf(b, "\nRoot: %x\n", k.Root[:])
	describeRevoked(b, k.Revoked)
	if k.Limits == nil {
		return
	}
	fmt.Fprintln(b, "\nLimits:")
	for _, line := range limitLines(k.Limits) {
		fmt.Fprintf(b, "  %s\n", Plain(line))
	}
}

// describeRevoked lists the signing keys that a certificate revokes, where there are any.
func describeRevoked(b *strings.Builder, list []wire.RevokedKey) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(b, "\nSigning keys that its certificate revokes:")
	for _, r := range list {
		since := ""
		if r.Since != 0 {
			since = ", in other hands since " + r.Since.String()
		}
		fmt.Fprintf(b, "  %x%s\n", r.Key[:], since)
	}
}

func limitLines(l *wire.Limits) []string {
	if l.None() {
		return []string{"none"}
	}
	number := func(n uint32, of string) string {
		if n == 0 {
			return "any number of " + of
		}
		return fmt.Sprintf("%d %s", n, of)
	}
	lines := []string{number(l.Hour, "responses an hour"), number(l.Day, "responses a day")}
	for _, p := range l.Products {
		lines = append(lines, fmt.Sprintf("%s: %s, %s", p.Product, number(p.Copies, "copies in a response"), number(p.Day, "more copies a day")))
	}
	return lines
}

// keyVerdict is the end of the first line.
func keyVerdict(in *client.Inspection) string {
	switch {
	case in.KeyRequest != nil:
		return fmt.Sprintf("  by the key %x, which it asks a certificate for", in.KeyRequest.Fingerprint[:minDigits])
	case in.Certified != nil:
		return fmt.Sprintf("  by the root %x", in.Certified.Root[:minDigits])
	case in.Update != nil:
		return "  key " + in.Update.Key.Name
	}
	return ""
}

// minDigits bytes of a fingerprint tell two keys apart for people; the whole is below.
const minDigits = len(capability.Digest{}) / 4

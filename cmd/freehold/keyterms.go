package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// termFlags are the terms of a certificate on the command line.
type termFlags struct {
	from, until            string
	revoke, product, after []string
	perHour, perDay        uint32
	unknown                bool
}

func limitFlags() []string { return []string{"per-hour", "per-day", "product"} }

// limitsNamed says whether the command line names limits.
func limitsNamed(c *cobra.Command) bool { return slices.ContainsFunc(limitFlags(), c.Flags().Changed) }

func (t *termFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&t.from, "from", "", "`date` from which the key signs; as requested if absent")
	c.Flags().StringVar(&t.until, "until", "", "`date` after which it signs no more; as requested if absent")
	c.Flags().StringArrayVar(&t.revoke, "revoke", nil, "`fingerprint` of a signing key that counts no more, with @DATE from when on others may have had it; may be repeated")
	c.Flags().BoolVar(&t.unknown, "unknown", false, "revoke also keys that are not on record here")
	t.addLimits(c)
}

func (t *termFlags) addLimits(c *cobra.Command) {
	c.Flags().Uint32Var(&t.perHour, "per-hour", 0, "`number` of responses that the key may sign in an hour; 0: any")
	c.Flags().Uint32Var(&t.perDay, "per-day", 0, "`number` of responses that it may sign in a day; 0: any")
	c.Flags().StringArrayVar(&t.product, "product", nil, "product that it may give, and no other, as `NAME[:COPIES[:DAY]]`: copies in one response, and more copies in a day; may be repeated")
}

func (t *termFlags) terms() (terms backoffice.Terms, err error) {
	if terms.From, err = date("from", t.from, false); err != nil {
		return terms, err
	}
	if terms.Until, err = date("until", t.until, true); err != nil {
		return terms, err
	}
	for _, s := range t.revoke {
		key, day, _ := strings.Cut(s, "@")
		since, err := date("revoke", day, false)
		if err != nil {
			return terms, err
		}
		r, err := backoffice.ParseRevoked(key, since)
		if err != nil {
			return terms, terminal.Usage("--revoke: %w", err)
		}
		terms.Revoke = append(terms.Revoke, r)
	}
	terms.Unknown = t.unknown
	terms.Limits.Hour, terms.Limits.Day = t.perHour, t.perDay
	for _, s := range t.product {
		p, err := parseProductLimit(s)
		if err != nil {
			return terms, terminal.Usage("--product: %w", err)
		}
		terms.Limits.Products = append(terms.Limits.Products, p)
	}
	slices.SortFunc(terms.Limits.Products, func(a, b wire.ProductLimit) int { return strings.Compare(a.Product, b.Product) })
	if err := terms.Limits.Validate(); err != nil {
		return terms, terminal.Usage("--product: %w", err)
	}
	for _, name := range t.after {
		b, err := readOurs(name)
		if err != nil {
			return terms, err
		}
		terms.After = append(terms.After, b)
	}
	return terms, nil
}

func parseProductLimit(s string) (p wire.ProductLimit, err error) {
	parts := strings.Split(s, ":")
	p.Product = parts[0]
	if len(parts) > 3 {
		return p, fmt.Errorf("%q: want NAME, NAME:COPIES or NAME:COPIES:DAY", s)
	}
	for n, to := range []*uint32{&p.Copies, &p.Day} {
		if len(parts) < n+2 || parts[n+1] == "" {
			continue
		}
		v, err := strconv.ParseUint(parts[n+1], 10, 32)
		if err != nil || v == 0 {
			return p, fmt.Errorf("%q is not a number of copies in %q", parts[n+1], s)
		}
		*to = uint32(v)
	}
	return p, nil
}

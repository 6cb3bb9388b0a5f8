package model

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Report is what a dry run says.
type Report struct {
	Model        *Model       // nil where an upload of the text is refused
	Findings     []Finding    // in the order of the text; those with Refused set are why
	Read         bool         // the text could be read to its end, so that what follows is about the whole of it
	Distribution Distribution // what the pools would get; a pool named twice is there twice
}

// Check is the dry run of an upload: it reports all that Parse would refuse, as far as the text can be read, and all that Lint doubts, together.
// It changes nothing. Nil items are an inventory that is not known.
func Check(text []byte, now capability.Time, items []capability.LineItem) Report {
	m, refusals := read(text)
	r := Report{Findings: refusals, Read: m != nil}
	if m == nil {
		return r
	}
	stock := newStock(now, items)
	r.Distribution = m.distribute(stock)
	if items == nil {
		stock = nil
	}
	r.Findings = append(r.Findings, m.lint(r.Distribution, stock)...)
	slices.SortStableFunc(r.Findings, inText)
	if len(refusals) == 0 {
		r.Model = m
	}
	return r
}

package model

import (
	"fmt"
	"strings"
)

// Print writes the model in its one canonical form: what Parse reads back is the same model. Comments are not part of a model; whoever wants them
// keeps the text.
func (m *Model) Print() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "model %s {\n", Quote(m.Name))
	if len(m.Pools) > 0 {
		b.WriteString("  partitions {\n")
		for _, p := range m.Pools {
			fmt.Fprintf(&b, "    partition %s {\n", Quote(p.Name))
			for _, a := range p.Allocations {
				fmt.Fprintf(&b, "      %s\n", a)
			}
			b.WriteString("    }\n")
		}
		b.WriteString("  }\n")
	}
	for _, r := range m.Rules {
		fmt.Fprintf(&b, "  on %s {\n", r.Condition)
		if len(r.Use) > 0 {
			fmt.Fprintf(&b, "    use %s\n", list(r.Use))
		}
		if r.Spec != nil {
			fmt.Fprintf(&b, "    %s\n", r.Spec)
		}
		if len(r.Limits) > 0 {
			fmt.Fprintf(&b, "    max %s\n", list(r.Limits))
		}
		fmt.Fprintf(&b, "    %s\n  }\n", r.Action)
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

// list joins what the language separates by commas.
func list[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i, t := range all {
		texts[i] = t.String()
	}
	return strings.Join(texts, ", ")
}

func (n Name) String() string { return Quote(n.Text) }

func (p Pattern) String() string {
	if p.Regexp {
		return "~/" + strings.ReplaceAll(p.Text, "/", `\/`) + "/"
	}
	return Quote(p.Text)
}

func (p Pair) String() string {
	if p.AnyValue {
		return Quote(p.Key) + ": *"
	}
	return Quote(p.Key) + ": " + p.Pattern.String()
}

func (a Allocation) String() string {
	s := fmt.Sprintf("%s %s %s", Quote(a.Feature), a.Version, a.Amount)
	for _, f := range a.Filters {
		s += fmt.Sprintf(" %s matches %s", f.Property, f.Pattern)
	}
	return s
}

func (l SpecLine) String() string {
	return fmt.Sprintf("%s %s %d", Quote(l.Feature), l.Version, l.Count)
}

func (l Limit) String() string {
	return fmt.Sprintf("%s %s %d per %s", Quote(l.Feature), l.Version, l.Count, l.Per)
}

func (s *Spec) String() string {
	if len(s.All) > 0 {
		return "without requested features { all from " + list(s.All) + " }"
	}
	lines := make([]string, len(s.Lines))
	for i, l := range s.Lines {
		lines[i] = l.String() + " "
	}
	return "without requested features { " + strings.Join(lines, "") + "}"
}

func (t Test) String() string {
	switch t.Subject {
	case AnyRequest:
		return "any()"
	case Dictionary:
		return "dictionary(" + list(t.Pairs) + ")"
	}
	return t.Subject.String() + "(" + list(t.Patterns) + ")"
}

func (c Condition) String() string {
	s := c.bare()
	if c.Parenthesized {
		return "(" + s + ")"
	}
	return s
}

func (c Condition) bare() string {
	switch c.Operator {
	case Not:
		return "not " + c.Parts[0].String()
	case IsTest:
		return c.Test.String()
	}
	parts := make([]string, len(c.Parts))
	for i, p := range c.Parts {
		parts[i] = p.String()
	}
	if c.Operator == Or {
		return strings.Join(parts, " or ")
	}
	return strings.Join(parts, " and ")
}

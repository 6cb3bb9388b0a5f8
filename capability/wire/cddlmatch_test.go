package wire

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// This file reads the part of RFC 8610 that capability.cddl uses, so that the file is checked against bytes and not only against names.

type cddlNode struct {
	op      string // "/" choice, ".." range, a control, "map", "array", "tag", "name", "value"
	name    string
	value   any
	parts   []*cddlNode
	entries []cddlEntry
}

type cddlEntry struct {
	least, most int
	key         any // of a map; nil in an array
	node        *cddlNode
}

type cddlRule struct {
	params []string
	node   *cddlNode
}

type cddlParser struct {
	t      testing.TB
	tokens []string
}

func parseCDDL(t testing.TB, lines []string) map[string]cddlRule {
	t.Helper()
	p := &cddlParser{t: t}
	token := regexp.MustCompile(`"[^"]*"|h'[^']*'|#6\.\d+|\.\.|\.[a-z]+|-?\d+|[A-Za-z][\w-]*|[{}\[\]()<>,:=/?*]|\S`)
	for _, l := range lines {
		if i := strings.IndexByte(l, ';'); i >= 0 {
			l = l[:i]
		}
		p.tokens = append(p.tokens, token.FindAllString(l, -1)...)
	}
	rules := map[string]cddlRule{}
	for len(p.tokens) > 0 {
		name := p.next()
		if _, ok := rules[name]; ok {
			t.Fatalf("rule %s is there twice", name)
		}
		var r cddlRule
		if p.accept("<") {
			for !p.accept(">") {
				r.params = append(r.params, p.next())
				p.accept(",")
			}
		}
		p.want("=")
		r.node = p.choice()
		rules[name] = r
	}
	return rules
}

func (p *cddlParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *cddlParser) next() string {
	s := p.peek()
	if s == "" {
		p.t.Fatal("the CDDL ends inside a rule")
	}
	p.tokens = p.tokens[1:]
	return s
}

func (p *cddlParser) accept(s string) bool {
	if p.peek() != s {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *cddlParser) want(s string) {
	p.t.Helper()
	if got := p.next(); got != s {
		p.t.Fatalf("%q where the CDDL should have %q, before %q", got, s, p.tokens[:min(5, len(p.tokens))])
	}
}

func (p *cddlParser) choice() *cddlNode {
	n := p.controlled()
	if p.peek() != "/" {
		return n
	}
	n = &cddlNode{op: "/", parts: []*cddlNode{n}}
	for p.accept("/") {
		n.parts = append(n.parts, p.controlled())
	}
	return n
}

func (p *cddlParser) controlled() *cddlNode {
	n := p.primary()
	if op := p.peek(); strings.HasPrefix(op, ".") {
		p.next()
		return &cddlNode{op: op, parts: []*cddlNode{n, p.primary()}}
	}
	return n
}

func (p *cddlParser) primary() *cddlNode {
	switch s := p.next(); {
	case s == "(":
		n := p.choice()
		p.want(")")
		return n
	case s == "{":
		return &cddlNode{op: "map", entries: p.group("}")}
	case s == "[":
		return &cddlNode{op: "array", entries: p.group("]")}
	case strings.HasPrefix(s, "#6."):
		p.want("(")
		n := &cddlNode{op: "tag", value: p.number(s[3:]), parts: []*cddlNode{p.choice()}}
		p.want(")")
		return n
	case s[0] == '"':
		return &cddlNode{op: "value", value: s[1 : len(s)-1]}
	case strings.HasPrefix(s, "h'"):
		return &cddlNode{op: "value", value: unhex(s[2 : len(s)-1])}
	case s[0] == '-' || s[0] >= '0' && s[0] <= '9':
		return &cddlNode{op: "value", value: p.number(s)}
	default:
		n := &cddlNode{op: "name", name: s}
		if p.accept("<") {
			for !p.accept(">") {
				n.parts = append(n.parts, p.choice())
				p.accept(",")
			}
		}
		return n
	}
}

func (p *cddlParser) number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// group reads entries: an occurrence, a key with a colon, a type. In an array the key is a name for people.
func (p *cddlParser) group(end string) (list []cddlEntry) {
	for !p.accept(end) {
		e := cddlEntry{least: 1, most: 1}
		if p.accept("?") {
			e.least = 0
		} else if len(p.tokens) > 2 && p.tokens[1] == "*" {
			e.least, e.most = int(p.number(p.tokens[0])), int(p.number(p.tokens[2]))
			p.tokens = p.tokens[3:]
		}
		if len(p.tokens) > 1 && p.tokens[1] == ":" {
			if key := p.next(); end == "}" {
				e.key = p.number(key)
			}
			p.want(":")
		}
		e.node = p.choice()
		list = append(list, e)
		p.accept(",")
	}
	return list
}

// matcher checks values against rules and notes the rules that something matched.
type matcher struct {
	rules map[string]cddlRule
	seen  map[string]bool
}

type scope struct {
	params map[string]*cddlNode
	outer  *scope
}

func (m *matcher) match(n *cddlNode, v any, s *scope) error {
	switch n.op {
	case "value":
		if b, ok := n.value.([]byte); ok && !bytes.Equal(b, asBytes(v)) || !ok && n.value != v {
			return fmt.Errorf("%v where %v is wanted", v, n.value)
		}
		return nil
	case "/":
		var err error
		for _, part := range n.parts {
			if err = m.match(part, v, s); err == nil {
				return nil
			}
		}
		return err
	case "name":
		return m.name(n, v, s)
	case "tag":
		tag, ok := v.(cbor.Tag)
		if !ok || int64(tag.Number) != n.value {
			return fmt.Errorf("%T where tag %v is wanted", v, n.value)
		}
		return m.match(n.parts[0], plain(tag.Content), s)
	case "map":
		return m.fields(n, v, s)
	case "array":
		return m.elements(n, v, s)
	}
	return m.control(n, v, s)
}

func (m *matcher) name(n *cddlNode, v any, s *scope) error {
	if s != nil && s.params[n.name] != nil {
		return m.match(s.params[n.name], v, s.outer)
	}
	ok := false
	switch n.name {
	case "uint":
		switch i := v.(type) {
		case int64:
			ok = i >= 0
		case uint64: // above 2^63
			ok = true
		}
	case "bytes":
		_, ok = v.([]byte)
	case "text":
		_, ok = v.(string)
	case "true":
		ok = v == true
	case "null":
		ok = v == nil
	default:
		r, known := m.rules[n.name]
		if !known || len(r.params) != len(n.parts) {
			return fmt.Errorf("the CDDL has no rule %s of %d parameters", n.name, len(n.parts))
		}
		inner := &scope{params: map[string]*cddlNode{}, outer: s}
		for i, p := range r.params {
			inner.params[p] = n.parts[i]
		}
		if err := m.match(r.node, v, inner); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		m.seen[n.name] = true
		return nil
	}
	if !ok {
		return fmt.Errorf("%T %v where %s is wanted", v, v, n.name)
	}
	return nil
}

func (m *matcher) fields(n *cddlNode, v any, s *scope) error {
	in, ok := v.(map[any]any)
	if !ok {
		return fmt.Errorf("%T where a map is wanted", v)
	}
	found := 0
	for _, e := range n.entries {
		value, there := in[e.key]
		if !there && e.least == 0 {
			continue
		}
		if !there {
			return fmt.Errorf("%v is missing", e.key)
		}
		found++
		if err := m.match(e.node, value, s); err != nil {
			return fmt.Errorf("%v: %w", e.key, err)
		}
	}
	if found != len(in) {
		return fmt.Errorf("a field that is no field: %v", in)
	}
	return nil
}

func (m *matcher) elements(n *cddlNode, v any, s *scope) error {
	in, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%T where an array is wanted", v)
	}
	for _, e := range n.entries {
		count := 0
		for ; count < e.most && len(in) > 0; count++ {
			if err := m.match(e.node, in[0], s); err != nil {
				return err
			}
			in = in[1:]
		}
		if count < e.least {
			return fmt.Errorf("%d elements where at least %d are wanted", count, e.least)
		}
	}
	if len(in) != 0 {
		return fmt.Errorf("%d elements too many", len(in))
	}
	return nil
}

func (m *matcher) control(n *cddlNode, v any, s *scope) error {
	left, right := n.parts[0], n.parts[1]
	if n.op == ".." {
		return inRange(v, left.value.(int64), right.value.(int64))
	}
	if err := m.match(left, v, s); err != nil {
		return err
	}
	switch n.op {
	case ".ne":
		if v == right.value {
			return fmt.Errorf("%v", v)
		}
		return nil
	case ".size":
		size := int64(len(asBytes(v)))
		if right.op == ".." {
			return inRange(size, right.parts[0].value.(int64), right.parts[1].value.(int64))
		}
		return inRange(size, right.value.(int64), right.value.(int64))
	case ".regexp":
		if !regexp.MustCompile(`^(?:` + right.value.(string) + `)$`).MatchString(v.(string)) {
			return fmt.Errorf("%q does not match %q", v, right.value)
		}
		return nil
	case ".cbor":
		inner, err := decodeAny(asBytes(v))
		if err != nil {
			return err
		}
		return m.match(right, inner, s)
	}
	return fmt.Errorf("control %s is not known here", n.op)
}

func inRange(v any, least, most int64) error {
	if i, ok := v.(int64); !ok || i < least || i > most {
		return fmt.Errorf("%v where %d to %d are allowed", v, least, most)
	}
	return nil
}

func asBytes(v any) []byte {
	switch b := v.(type) {
	case []byte:
		return b
	case string:
		return []byte(b)
	}
	return nil
}

func decodeAny(b []byte) (any, error) {
	// The decoder steps over the tag that says "this is CBOR"; the match wants to see it.
	if rest, ok := bytes.CutPrefix(b, unhex("d9d9f7")); ok {
		v, err := decodeAny(rest)
		return cbor.Tag{Number: 55799, Content: v}, err
	}
	var v any
	err := cbor.Unmarshal(b, &v)
	return plain(v), err
}

// plain makes all integers of one type where they fit.
func plain(v any) any {
	switch x := v.(type) {
	case uint64:
		if x < 1<<63 {
			return int64(x)
		}
	case []any:
		for i := range x {
			x[i] = plain(x[i])
		}
	case map[any]any:
		out := make(map[any]any, len(x))
		for k, e := range x {
			out[plain(k)] = plain(e)
		}
		return out
	}
	return v
}

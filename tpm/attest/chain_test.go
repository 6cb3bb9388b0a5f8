package attest_test

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/tpm/attest"
)

// TestIntermediates: a machine's own intermediates lead to a root that is trusted, and are none. Whatever lies beside them changes nothing.
func TestIntermediates(t *testing.T) {
	f := newForger(t)
	m := newMaker(t, rand.New(rand.NewPCG(1, 2)), &f.ek.PublicKey)
	leaf, roots, between := m.chain(t)
	roots.Intermediates = nil
	twin := newMaker(t, m.rng, m.ek) // same names, other keys
	_, _, others := twin.chain(t)
	root := m.certify(t, m.root, m.root, m.rootKey.Public(), m.rootKey).Raw
	// Two authorities that certify each other, under the names of the chain.
	a := m.certify(t, m.middle, twin.root, m.middleKey.Public(), twin.rootKey)
	b := m.certify(t, twin.root, m.middle, twin.rootKey.Public(), m.middleKey)
	for name, c := range map[string]struct {
		between [][]byte
		tier    attest.Tier
	}{
		"none":                    {nil, attest.Software},
		"as the maker wrote them": {between, attest.Hardware},
		"with the root":           {append(slices.Clone(between), root), attest.Hardware},
		"with an empty one":       {append([][]byte{{}}, between...), attest.Hardware},
		"with noise":              {append([][]byte{[]byte("noise"), bytes.Repeat([]byte{0xff}, 100)}, between...), attest.Hardware},
		"with those of the twin":  {append(slices.Clone(others), between...), attest.Hardware},
		"five times":              {slices.Repeat(between, 5), attest.Hardware},
		"in a circle, and sound":  {[][]byte{a.Raw, b.Raw, between[0]}, attest.Hardware},
		"in a circle":             {[][]byte{a.Raw, b.Raw}, attest.Software},
		"those of the twin":       {others, attest.Software},
		"the leaf itself":         {[][]byte{leaf}, attest.Software},
		"the root alone":          {[][]byte{root}, attest.Software},
		"noise alone":             {[][]byte{[]byte("noise")}, attest.Software},
		"cut":                     {[][]byte{between[0][:len(between[0])-1]}, attest.Software},
		"with a byte more":        {[][]byte{append(bytes.Clone(between[0]), 0)}, attest.Software},
	} {
		f.certificates, f.between = [][]byte{leaf}, c.between
		e, err := attest.DecodeEvidence(f.evidence(attest.Request, data(), nil).Encode())
		must(t, err)
		id, err := attest.Verify(e, attest.Request, data())
		must(t, err)
		tier, by, err := attest.Class(id, roots, m.at)
		if tier != c.tier || (err == nil) != (c.tier == attest.Hardware) || tier == attest.Hardware && !bytes.Equal(by.Raw, root) && by.Subject.CommonName != "A maker's root" {
			t.Errorf("%s: classed %v by %v: %v", name, tier, by, err)
		}
		if tier, _, err := attest.Class(id, attest.Roots{}, m.at); tier != attest.Software || err == nil {
			t.Errorf("%s: without a root classed %v: %v", name, tier, err)
		}
		if len(c.between) == 0 {
			continue
		}
		if err := attest.VerifySession(e.AK, e, data()); err == nil || !strings.Contains(err.Error(), "intermediate") {
			t.Errorf("%s: as a session statement: %v", name, err)
		}
	}
}

// TestHugeAuthority: no signature is computed with a key that only a stranger would have made so large.
func TestHugeAuthority(t *testing.T) {
	f := newForger(t)
	m := newMaker(t, rand.New(rand.NewPCG(1, 2)), &f.ek.PublicKey)
	for bits, tried := range map[uint]bool{4096: true, 8192: true, 8193: false, 16384: false} {
		public := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits-1), big.NewInt(1)), E: 65537}
		leaf, roots, _ := m.chain(t)
		roots.Intermediates = nil
		f.certificates, f.between = [][]byte{leaf}, [][]byte{m.certify(t, m.middle, m.root, public, m.rootKey).Raw}
		id, err := attest.Verify(f.evidence(attest.Request, data(), nil), attest.Request, data())
		must(t, err)
		// crypto/x509 names the authority whose signature it tried.
		if tier, err := attest.TierOf(id, roots, m.at); tier != attest.Software || err == nil || strings.Contains(err.Error(), "possibly because of") != tried {
			t.Errorf("%d bits: classed %v: %v", bits, tier, err)
		}
	}
}

// TestIntermediatesEncoded: evidence with intermediates has a format of its own, bounded in number and bytes; those of before are as they were.
func TestIntermediatesEncoded(t *testing.T) {
	e := newForger(t).evidence(attest.Request, data(), nil)
	plain := e.Encode()
	e.EventLog = []byte("log")
	logged := e.Encode()
	e.Intermediates = [][]byte{[]byte("one"), []byte("two")}
	both := e.Encode()
	if want := slices.Concat([]byte{0x13}, plain[1:], []byte("\x02\x00\x03one\x00\x03two\x00\x03log")); !bytes.Equal(both, want) {
		t.Errorf("encoded as %x, want %x", both, want)
	}
	e.EventLog = nil
	if b := e.Encode(); !bytes.Equal(b, append(bytes.Clone(both[:len(both)-5]), 0, 0)) {
		t.Errorf("without a log: %x", b)
	}
	for name, b := range map[string][]byte{"plain": plain, "with a log": logged, "with intermediates": e.Encode(), "with both": both} {
		got, err := attest.DecodeEvidence(b)
		if err != nil || !bytes.Equal(got.Encode(), b) {
			t.Errorf("%s: %v", name, err)
		}
		for n := range b {
			if _, err := attest.DecodeEvidence(b[:n]); err == nil {
				t.Errorf("%s: the first %d bytes of %d decode", name, n, len(b))
			}
		}
		if _, err := attest.DecodeEvidence(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: decodes with a byte left over", name)
		}
	}
	if _, err := attest.DecodeEvidence(slices.Concat([]byte{0x13}, plain[1:], []byte{0, 0, 0})); err == nil {
		t.Error("no intermediates decode in the format that has some")
	}
	const most, bytesOfAll = 6, 6144
	full := make([]byte, bytesOfAll/most)
	for name, c := range map[string]struct {
		between [][]byte
		ok      bool
	}{
		"as many as may be":   {slices.Repeat([][]byte{full}, most), true},
		"one more":            {slices.Repeat([][]byte{{0x30}}, most+1), false},
		"one byte more":       {append(slices.Repeat([][]byte{full}, most-1), append(bytes.Clone(full), 0)), false},
		"one of all bytes":    {[][]byte{make([]byte, bytesOfAll)}, true},
		"one that is too big": {[][]byte{make([]byte, bytesOfAll+1)}, false},
	} {
		e.Intermediates = c.between
		if _, err := attest.DecodeEvidence(e.Encode()); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := attest.Verify(e, attest.Request, data()); (err == nil) != c.ok {
			t.Errorf("%s: verified: %v", name, err)
		}
	}
	// The most of everything fits.
	most4k := make([]byte, 4<<10)
	largest := &attest.Evidence{EK: make([]byte, 512), AK: make([]byte, 512), Quoted: make([]byte, 512), Signature: make([]byte, 128), PCRs: make([]byte, 96),
		EKCertificates: [][]byte{most4k, most4k}, Intermediates: slices.Repeat([][]byte{full}, most), EventLog: make([]byte, attest.MaxEventLogBytes)}
	if _, err := attest.DecodeEvidence(largest.Encode()); err != nil {
		t.Errorf("the largest evidence: %v", err)
	}
}

// TestChooseIntermediates: of what a TPM holds, a machine shows those that certify its keys.
func TestChooseIntermediates(t *testing.T) {
	f := newForger(t)
	m := newMaker(t, rand.New(rand.NewPCG(1, 2)), &f.ek.PublicKey)
	top := m.certify(t, m.middle, m.root, m.middleKey.Public(), m.rootKey)
	template := *m.middle
	template.Subject.CommonName = "below"
	below := m.certify(t, &template, top, m.middleKey.Public(), m.middleKey)
	leaf := m.certify(t, m.leaf, below, m.ek, m.middleKey).Raw
	root := m.certify(t, m.root, m.root, m.rootKey.Public(), m.rootKey).Raw
	template.Subject.CommonName = "of another maker"
	stranger := m.certify(t, &template, m.root, m.middleKey.Public(), m.rootKey).Raw
	template = *m.middle
	template.Subject.CommonName, template.IsCA, template.MaxPathLen = "below", false, 0
	noAuthority := m.certify(t, &template, top, m.middleKey.Public(), m.middleKey).Raw
	circle := m.certify(t, m.root, &template, m.rootKey.Public(), m.middleKey).Raw // "below" certifies the root
	template = *m.middle
	template.Subject.CommonName = "below"
	large := func(n int) (of [][]byte) {
		for i := range n {
			template.SerialNumber, template.OCSPServer = big.NewInt(int64(i)+100), []string{"http://" + strings.Repeat("x", 1500)}
			of = append(of, m.certify(t, &template, top, m.middleKey.Public(), m.middleKey).Raw)
		}
		return of
	}
	many := func(n int) (of [][]byte) {
		for i := range n {
			template.SerialNumber, template.OCSPServer = big.NewInt(int64(i)+200), nil
			of = append(of, m.certify(t, &template, top, m.middleKey.Public(), m.middleKey).Raw)
		}
		return of
	}
	tooMany, tooLong := many(9), large(9)
	for name, c := range map[string]struct{ found, want [][]byte }{
		"nothing":               {nil, nil},
		"in order":              {[][]byte{below.Raw, top.Raw}, [][]byte{below.Raw, top.Raw}},
		"the other way":         {[][]byte{top.Raw, below.Raw}, [][]byte{below.Raw, top.Raw}},
		"twice, with the root":  {[][]byte{root, top.Raw, below.Raw, below.Raw, top.Raw, root}, [][]byte{below.Raw, top.Raw}},
		"with noise":            {[][]byte{[]byte("noise"), nil, below.Raw, {0x30, 0}, top.Raw}, [][]byte{below.Raw, top.Raw}},
		"of another maker":      {[][]byte{stranger}, nil},
		"without what is below": {[][]byte{top.Raw}, nil},
		"no authority":          {[][]byte{noAuthority, top.Raw}, nil},
		"in a circle":           {[][]byte{below.Raw, top.Raw, circle}, [][]byte{below.Raw, top.Raw, circle}},
		"the leaf":              {[][]byte{leaf}, nil},
		"too many":              {tooMany, tooMany[:attest.MaxIntermediates]},
		"too long":              {tooLong, tooLong[:3]},
	} {
		got := attest.ChooseIntermediates(c.found, [][]byte{leaf})
		if fmt.Sprintf("%x", got) != fmt.Sprintf("%x", c.want) {
			t.Errorf("%s: %d chosen, want %d", name, len(got), len(c.want))
		}
		if len(attest.ChooseIntermediates(c.found, nil)) != 0 {
			t.Errorf("%s: some are chosen for no certificate", name)
		}
		e := newForger(t).evidence(attest.Request, data(), nil)
		e.Intermediates = got
		if _, err := attest.DecodeEvidence(e.Encode()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package tpm_test

import (
	"bytes"
	"crypto"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// chained is a TPM whose P-256 key an intermediate certifies; nothing of the intermediate is in it yet.
type chained struct {
	*tpmtest.TPM
	d     *tpm.Device
	below *tpmtest.Authority
}

func newChained(t *testing.T) chained {
	t.Helper()
	m, d := machine(t, tpmtest.None)
	a, err := tpmtest.TheAuthority()
	must(t, err)
	below, err := a.Below("An intermediate")
	must(t, err)
	der, err := below.Certify(endorsementKey(t, d), nil)
	must(t, err)
	must(t, m.WriteNV(0x01C0000A, der))
	return chained{m, d, below}
}

func endorsementKey(t *testing.T, d *tpm.Device) crypto.PublicKey {
	t.Helper()
	ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](identify(t, d).EK)
	must(t, err)
	public, err := tpm2.Pub(*ek)
	must(t, err)
	return public
}

// TestChain: a chip that has its maker's intermediate is classed by the root alone. Whatever else the range holds, nothing is classed higher
// by it than its certificates allow, and there is always evidence.
func TestChain(t *testing.T) {
	pool, err := tpmtest.Roots()
	must(t, err)
	roots := attest.Roots{Hardware: pool}
	a, err := tpmtest.TheAuthority()
	must(t, err)
	twin, err := tpmtest.NewAuthority()
	must(t, err)
	forged, err := twin.Below("An intermediate")
	must(t, err)
	stranger, err := a.Below("Another intermediate")
	must(t, err)
	type area struct {
		index tpm2.TPMHandle
		data  []byte
	}
	const first, last = 0x01C00100, 0x01C001FF
	pad := bytes.Repeat([]byte{0xff}, 50)
	for _, c := range []struct {
		name  string
		areas func(der []byte) []area
		tier  attest.Tier
		shown int
	}{
		{"nothing", func([]byte) []area { return nil }, attest.Software, 0},
		{"its intermediate", func(der []byte) []area { return []area{{first, der}} }, attest.Hardware, 1},
		{"at the end of the range", func(der []byte) []area { return []area{{last, der}} }, attest.Hardware, 1},
		{"before the range", func(der []byte) []area { return []area{{first - 1, der}} }, attest.Software, 0},
		{"past the range", func(der []byte) []area { return []area{{last + 1, der}} }, attest.Software, 0},
		{"with padding", func(der []byte) []area { return []area{{first, slices.Concat(der, pad)}} }, attest.Hardware, 1},
		{"with the root, one after the other", func(der []byte) []area { return []area{{first, slices.Concat(a.Certificate.Raw, der)}} }, attest.Hardware, 1},
		{"over two indexes", func(der []byte) []area { return []area{{first, der[:200]}, {first + 1, der[200:]}} }, attest.Hardware, 1},
		{"over three indexes", func(der []byte) []area {
			return []area{{first, der[:1]}, {first + 1, der[1:200]}, {first + 2, slices.Concat(der[200:], pad)}}
		}, attest.Hardware, 1},
		{"behind padding", func(der []byte) []area {
			return []area{{first, slices.Concat(stranger.Certificate.Raw, pad)}, {first + 1, der}}
		}, attest.Hardware, 1},
		{"behind one that was never ended", func(der []byte) []area { return []area{{first, der[:200]}, {first + 1, der}} }, attest.Hardware, 1},
		{"behind noise", func(der []byte) []area { return []area{{first, []byte("noise")}, {first + 5, der}} }, attest.Hardware, 1},
		{"twice", func(der []byte) []area { return []area{{first, der}, {first + 1, der}} }, attest.Hardware, 1},
		{"with a forged one", func(der []byte) []area { return []area{{first, slices.Concat(forged.Certificate.Raw, der)}} }, attest.Hardware, 2},
		{"a forged one", func([]byte) []area {
			return []area{{first, slices.Concat(forged.Certificate.Raw, twin.Certificate.Raw)}}
		}, attest.Software, 1},
		{"one of another chip", func([]byte) []area { return []area{{first, stranger.Certificate.Raw}} }, attest.Software, 0},
		{"cut", func(der []byte) []area { return []area{{first, der[:len(der)-1]}} }, attest.Software, 0},
		{"noise", func([]byte) []area {
			return []area{{first, pad}, {first + 1, make([]byte, 300)}, {first + 2, []byte("\x30\x84\xff\xff\xff\xff")}}
		}, attest.Software, 0},
		{"sequences without an end", func([]byte) []area { return []area{{first, bytes.Repeat([]byte{0x30, 0x80}, 1000)}} }, attest.Software, 0},
		{"behind too many indexes", func(der []byte) []area {
			var all []area
			for i := range tpm2.TPMHandle(16) {
				all = append(all, area{first + i, []byte{0}})
			}
			return append(all, area{first + 16, der})
		}, attest.Software, 0},
		{"behind too many bytes", func(der []byte) []area {
			var all []area
			for i := range tpm2.TPMHandle(9) {
				all = append(all, area{first + i, make([]byte, 2000)})
			}
			return append(all, area{first + 9, der})
		}, attest.Software, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newChained(t)
			for _, area := range c.areas(m.below.Certificate.Raw) {
				must(t, m.WriteNV(area.index, area.data))
			}
			m.d.Forget()
			e, err := m.d.Evidence(attest.Request, []byte("data"))
			must(t, err)
			back, err := attest.DecodeEvidence(e.Encode())
			must(t, err)
			id, err := attest.Verify(back, attest.Request, []byte("data"))
			must(t, err)
			tier, err := attest.TierOf(id, roots, time.Now())
			if tier != c.tier || (err == nil) != (c.tier == attest.Hardware) || len(id.Intermediates) != c.shown {
				t.Errorf("tier is %v, %v, want %v; %d intermediates, want %d", tier, err, c.tier, len(id.Intermediates), c.shown)
			}
			if statement, err := m.d.Evidence(attest.Session, []byte("data")); err != nil || len(statement.Intermediates) != 0 || attest.VerifySession(id.AK, statement, []byte("data")) != nil {
				t.Errorf("a session statement has %d intermediates, %v", len(statement.Intermediates), err)
			}
			if n := len(c.areas(m.below.Certificate.Raw)); n == 0 && e.Encode()[0] != 0x11 {
				t.Errorf("evidence without a chain has format %#x", e.Encode()[0])
			}
		})
	}
}

// TestChainMightLock: an index whose password a wrong try of counts against is left alone.
func TestChainMightLock(t *testing.T) {
	m := newChained(t)
	platform := tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}
	_, err := tpm2.NVDefineSpace{
		AuthHandle: platform,
		Auth:       tpm2.TPM2BAuth{Buffer: []byte("secret")},
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: 0x01C00100, NameAlg: tpm2.TPMAlgSHA256, DataSize: 100,
			Attributes: tpm2.TPMANV{PPWrite: true, AuthRead: true, PlatformCreate: true}}),
	}.Execute(m.Bus())
	must(t, err)
	for range 3 {
		m.d.Forget()
		identify(t, m.d)
	}
	if info, err := m.d.Info(); err != nil || info.Lockout != 0 {
		t.Errorf("%d wrong tries are counted, %v", info.Lockout, err)
	}
}

// TestChainReadOnce: the second request costs no command for the chain, and one without certificates none at all.
func TestChainReadOnce(t *testing.T) {
	count := func(d *tpm.Device, r *tpmtest.Recorder, of ...tpm2.TPMCC) int {
		before := len(r.Commands())
		_, err := d.Evidence(attest.Request, nil)
		must(t, err)
		return len(slices.DeleteFunc(r.Commands()[before:], func(c tpm2.TPMCC) bool { return len(of) > 0 && !slices.Contains(of, c) }))
	}
	over := func(m *tpmtest.TPM) (*tpm.Device, *tpmtest.Recorder) {
		r := &tpmtest.Recorder{TPM: m.Bus()}
		d, err := tpm.New(r)
		must(t, err)
		return d, r
	}
	without, _ := machine(t, tpmtest.P256)
	d, r := over(without)
	first, second := count(d, r), count(d, r)
	if first != second+2 { // the list of indexes, and how much one read gives
		t.Errorf("without a chain %d commands, then %d", first, second)
	}
	m, _ := machine(t, tpmtest.Chained)
	dc, rc := over(m)
	if n := count(dc, rc); n <= first {
		t.Errorf("with a chain %d commands, without %d", n, first)
	}
	if n := count(dc, rc); n != second {
		t.Errorf("with a chain the second time %d commands, without %d", n, second)
	}
	bare, _ := machine(t, tpmtest.None)
	db, rb := over(bare)
	if n := count(db, rb, tpm2.TPMCCGetCapability, tpm2.TPMCCNVRead); n != 0 {
		t.Errorf("without certificates %d commands for the chain", n)
	}
}

package terminal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Inspected is the JSON of an inspection.
type Inspected struct {
	Data
	Inspection any `json:"inspection"`
}

// Inspect prints what is in a request, response or trust bundle: the same words for all programs. The first line is the verdict on the signatures.
// here is the host ID of this machine's appliance, if one is known. The error, if any, carries the exit status that follows from the verdict.
func Inspect(w io.Writer, asJSON bool, file []byte, trust *wire.Trust, here hostid.ID) error {
	in, err := client.Inspect(file, trust)
	if asJSON {
		if err := JSON(w, Inspected{NewData("leasehold.inspect/1", warnings(in)...), Hexed(in)}); err != nil {
			return err
		}
	} else if _, err := io.WriteString(w, Describe(in, here)); err != nil {
		return err
	}
	if err != nil {
		return Coded(wire.Code(err), err)
	}
	if in.Code != 0 {
		return ExitStatus(capability.ExitFile)
	}
	return nil
}

func warnings(in *client.Inspection) []string {
	if in.Why == "" {
		return nil
	}
	return []string{in.Why}
}

// Describe is an inspection in words: every datum of the file, with the names of SPEC.md and what each is for.
// For a request it is the REQ-nnnn.TXT that lies beside it, by which a security officer judges what leaves the site.
func Describe(in *client.Inspection, here hostid.ID) string {
	var b strings.Builder
	b.WriteString(verdict(in, here) + "\n")
	if in.Why != "" {
		word := "because"
		if in.Signature == client.Good {
			word = "but"
		}
		fmt.Fprintf(&b, word+": %s %s: %s\n", in.Code, in.Code.Entry().Title, in.Why)
	}
	switch {
	case in.Request != nil:
		describeRequest(&b, in)
	case in.Response != nil:
		describeResponse(&b, in)
	case in.Answer != nil:
		describeAnswer(&b, in.Answer)
	case in.Trust != nil:
		section(&b, "trust bundle", Fields(*in.Trust), trustWords())
	case in.KeyRequest != nil:
		describeKey(&b, in.KeyRequest)
	case in.Certified != nil:
		describeKey(&b, in.Certified)
	case in.Update != nil:
		describeUpdate(&b, in.Update)
	}
	fmt.Fprintf(&b, "\nThe file has %d bytes; its SHA-256 is %x.\n", in.Size, in.Digest)
	return plainLines(b.String())
}

// verdict is the first line.
func verdict(in *client.Inspection, here hostid.ID) string {
	line := "signature: " + in.Signature
	switch {
	case in.Response != nil:
		if k := in.Response.Key; k != nil {
			line += fmt.Sprintf("  key %s", k.Name)
		}
		if h := in.Halves; h != nil {
			line += fmt.Sprintf(" (Ed25519 %s, ML-DSA-87 %s)", goodOrBad(h.Ed25519), goodOrBad(h.MLDSA87))
		}
		line += "  for LH-" + in.Response.Clear.For.Short()
		if here != (hostid.ID{}) {
			if here == in.Response.Clear.For {
				line += " (this appliance)"
			} else {
				line += " (another appliance; this one is LH-" + here.Short() + ")"
			}
		}
	case in.Request != nil && in.Request.Machine != nil:
		line += "  by a key in the TPM of LH-" + in.Request.Machine.Host.Short()
	case in.Answer != nil:
		line += answerVerdict(in.Answer)
	case in.Request != nil && in.Request.Device != nil && in.Request.ForAppliance:
		line += "  by the device key of LH-" + in.Request.Device.Host.Short() + ", for an appliance"
	case in.Request != nil && in.Request.Device != nil:
		line += "  by the device key of LH-" + in.Request.Device.Host.Short() + ", in no TPM"
	case in.Trust != nil:
		line += "  trust bundle of " + in.Trust.Producer
	}
	return line + keyVerdict(in)
}

func goodOrBad(good bool) string {
	if good {
		return "good"
	}
	return "bad"
}

func describeRequest(b *strings.Builder, in *client.Inspection) {
	r := in.Request
	f := &r.Fields
	fmt.Fprintf(b, "request %d of LH-%s, %s\n", f.Number, f.Hosts[0].Short(), wish(f))
	section(b, "Everything the request says", Fields(*f), requestWords())
	section(b, "Its signature", Fields(struct {
		Alg     int64             `json:"alg"`
		KID     wire.KeyID        `json:"kid"`
		Digest  capability.Digest `json:"requestDigest"`
		Trusted bool              `json:"forTrusted"`
		Octets  []byte            `json:"signature"`
	}{r.Algorithm, r.KeyID, r.RequestDigest, r.ForTrusted, r.Signature}), signatureWords())
	if r.Machine != nil {
		section(b, "What the evidence in the signature says of the machine", Fields(*r.Machine), machineWords())
	}
	if r.Device != nil {
		section(b, "The key that signed it", Fields(*r.Device), deviceWords())
	}
	for i, p := range r.Proofs {
		section(b, fmt.Sprintf("Proof of returns[%d]", i), Fields(p), proofWords())
	}
	b.WriteString("\nNothing else is in the file.\n")
}

// wish is what a request asks for, in one clause.
func wish(r *capability.Request) string {
	var parts []string
	for _, d := range r.Desired {
		what := string(d.ActivationID)
		if what == "" {
			what = fmt.Sprintf("%q %s", d.Feature, d.Version)
		}
		parts = append(parts, fmt.Sprintf("%d of %s", d.Count, what))
	}
	asks := "asks for what is its own"
	if len(parts) > 0 {
		asks = "asks for " + strings.Join(parts, ", ")
	}
	if n := len(r.Returns); n > 0 {
		asks += fmt.Sprintf("; carries %s", capability.Counted(n, "return"))
	}
	return asks
}

func describeResponse(b *strings.Builder, in *client.Inspection) {
	c := in.Response.Clear
	fmt.Fprintf(b, "response %d, answers request %d, made %s, apply before %s\n", c.Serial, c.Number, c.Time, c.ApplyBefore)
	section(b, "What anyone may read", Fields(c), clearWords())
	r := *in.Response
	if r.Key != nil {
		section(b, "The key that signed it", Fields(*r.Key), keyWords())
	}
	describeRevoked(b, r.Revoked)
	section(b, "Its parts", Fields(struct {
		Certificate int       `json:"certificate"`
		Wrap        int       `json:"wrap"`
		WrapHost    hostid.ID `json:"wrapHost"`
		Cipher      int       `json:"cipher"`
	}{r.Certificate, r.Wrap, r.WrapHost, r.Cipher}), partWords())
	if c.For.Type == hostid.DeviceKey {
		b.WriteString("\nThe rights in it are encrypted to the key of the machine it is for: only that can show them.\n")
		return
	}
	b.WriteString("\nThe rights in it are encrypted to the TPM it is for: only that machine can show them.\n")
}

// section prints fields as lines of path, meaning and value; values come last, because a certificate is a long line.
func section(b *strings.Builder, title string, fields []Field, words map[string]string) {
	fmt.Fprintf(b, "\n%s:\n", title)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		fmt.Fprintf(t, "  %s\t%s: %s\n", f.Path, words[generic(f.Path)], Plain(f.Value))
	}
	t.Flush()
}

// generic is a path without its indices: returns[0].proof is returns.proof.
func generic(path string) string {
	var b strings.Builder
	skip := false
	for _, r := range path {
		switch {
		case r == '[':
			skip = true
		case r == ']':
			skip = false
		case !skip:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainLines makes text safe for a terminal and leaves its lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(Plain(l), " ")
	}
	return strings.Join(lines, "\n")
}

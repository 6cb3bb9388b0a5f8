package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// EXCHANGE.md says byte for byte what the vectors say, and the values in it are those that follow from them.
func TestExchange(t *testing.T) {
	c := New()
	vectors := map[string]*vector{}
	for _, v := range readVectors(t) {
		vectors[v.Name] = v
	}
	var answer Answer
	if err := c.Decode(vectors["answer-alone"].bytes(), &answer, 1<<16); err != nil {
		t.Fatal(err)
	}
	var proof sign1
	if err := c.Decode(answer.Proof, &proof, 1<<16); err != nil {
		t.Fatal(err)
	}
	trust, err := c.DecodeTrust(unhex(vectors["chain-good"].Keys["trust"]))
	if err != nil {
		t.Fatal(err)
	}
	request, err := c.ReadRequest(vectors["request-file-device"].bytes())
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.ReadResponse(vectors["response-file-device"].bytes())
	if err != nil || response.Clear.Request != request.Digest {
		t.Fatalf("the response file answers another request: %v", err)
	}
	fingerprint, root := c.Fingerprint(trust.Root), leafHash(answer.Response)
	if request.Request.Producer != fingerprint {
		t.Error("the request file is to another producer")
	}
	stated := sha256.Sum256(append([]byte("leasehold session v1\x00"), unhex(vectors["answer-alone"].Keys["serving"])...))
	values := map[string][]byte{"fingerprint": fingerprint[:], "stated": stated[:], "root": root[:], "signed": c.toBeSigned(proof.Protected, root[:]), "request": request.Digest[:]}
	shown := strings.Fields("frame-ask frame-chain frame-request frame-answer request-file-device response-file-device")

	for block := range blocks(readDocument(t, "EXCHANGE.md")) {
		what, name, ok := strings.Cut(block[0], " ")
		var want []byte
		switch {
		case ok && what == "vector" && slices.Contains(shown, name):
			want = vectors[name].bytes()
			shown = slices.DeleteFunc(shown, func(s string) bool { return s == name })
		case ok && what == "value" && values[name] != nil:
			want = values[name]
			delete(values, name)
		default:
			t.Errorf("a block that begins with %q", block[0])
			continue
		}
		for _, line := range block[1:] {
			said, _, _ := strings.Cut(line, ";")
			said = strings.ReplaceAll(said, " ", "")
			if skip, is := strings.CutPrefix(said, ".."); is {
				n, err := strconv.Atoi(skip)
				if err != nil || n > len(want) {
					t.Fatalf("%s: %q leaves more out than there is", name, line)
				}
				want = want[n:]
				continue
			}
			b, err := hex.DecodeString(said)
			if err != nil || len(b) == 0 || !bytes.HasPrefix(want, b) {
				t.Fatalf("%s: %q where the vector goes on with %x: %v", name, line, want[:min(16, len(want))], err)
			}
			want = want[len(b):]
		}
		if len(want) > 0 {
			t.Errorf("%s: the last %d bytes are not told", name, len(want))
		}
	}
	if len(shown) > 0 || len(values) > 0 {
		t.Errorf("not shown: %q, %d values", shown, len(values))
	}
}

// blocks are the indented blocks of a document, each line without the spaces around it.
func blocks(lines []string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		var block []string
		for _, l := range append(lines, "") {
			if strings.HasPrefix(l, "    ") && (len(block) > 0 || strings.HasPrefix(strings.TrimSpace(l), "v")) {
				block = append(block, strings.TrimSpace(l))
				continue
			}
			if len(block) > 0 && !yield(block) {
				return
			}
			block = nil
		}
	}
}

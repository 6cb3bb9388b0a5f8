package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage/storagetest"
)

// testdata/interop is a second reader, in JavaScript, written from SPEC.md, the CDDL and the vectors by somebody who had not seen this package. Where the two differ,
// one of them or the document is wrong.

// SecondReader runs a program of testdata/interop and gives what it printed, a line of JSON each, and whether it ended well. Without Node.js or the packages
// the test fails: what cannot be run has not been shown.
func SecondReader(t testing.TB, stdin []byte, program string, args ...string) (lines [][]byte, ok bool) {
	t.Helper()
	return runReader(t, filepath.Join("testdata", "interop"), stdin, program, args...)
}

func runReader(t testing.TB, dir string, stdin []byte, program string, args ...string) (lines [][]byte, ok bool) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("the second reader needs Node.js 20.19 or newer: make deps says how: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@noble", "post-quantum", "ml-dsa.js")); err != nil {
		t.Fatalf("the packages of the second reader are missing: make deps: %v", err)
	}
	script, err := filepath.Abs(filepath.Join(dir, program))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{"--preserve-symlinks", "--preserve-symlinks-main", script}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) || stderr.Len() > 0 {
		t.Fatalf("%s: %v\n%s", program, err, &stderr)
	}
	return bytes.Split(bytes.TrimSpace(out), []byte("\n")), err == nil
}

// judged is what the second reader says of a vector.
type judged struct {
	Name, Kind, Expect, Got, Why, Refusal string
	As                                    bool
}

func readJudged(t testing.TB, lines [][]byte) (all []judged) {
	t.Helper()
	for _, l := range lines {
		var j judged
		if err := json.Unmarshal(l, &j); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		all = append(all, j)
	}
	return all
}

// The second reader takes every good vector, reads in it what went in, and refuses every other for the reason that the vector names.
func TestSecondReaderJudgesVectors(t *testing.T) {
	lines, ok := SecondReader(t, nil, "vectors.mjs", vectorDir)
	verified, refused, kinds := 0, map[string]int{}, map[string]bool{}
	for _, j := range readJudged(t, lines) {
		kinds[j.Kind] = true
		if !j.As {
			t.Errorf("%s: %s where %s is expected: %s%s", j.Name, j.Got, j.Expect, j.Why, j.Refusal)
		} else if j.Got == "ok" {
			verified++
		} else {
			refused[j.Got]++
		}
	}
	n := 0
	for _, c := range refused {
		n += c
	}
	if want := len(readVectors(t)); verified+n != want || !ok {
		t.Errorf("%d verified and %d refused of %d, ended well: %v", verified, n, want, ok)
	}
	t.Logf("%d vectors of %d kinds: %d verified, %d refused as they say (%s), 0 skipped", verified+n, len(kinds), verified, n, counts(refused))
}

func counts(by map[string]int) string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(by)) {
		s = append(s, fmt.Sprintf("%s %d", k, by[k]))
	}
	return strings.Join(s, ", ")
}

// One bit of any byte of what is signed is another: the second reader refuses all of them. Items with signatures of ML-DSA-87 take long, so of their bytes few
// are looked at, spread evenly, and every one in a release's test.
func TestSecondReaderRefusesEveryFlip(t *testing.T) {
	step := max(1, 13000/storagetest.Size(t, 40, 1300, 13000))
	flips, refused := 0, 0
	for _, run := range [][]string{
		{"1", "answer-third-of-five", "answer-last-of-seven", "answer-named", "receipt-good", "request-file-device", "request-file-client", "request-file-client-p256", "request-file-client-return", "request-file-activation", "request-file-every-field"},
		{fmt.Sprint(step), "response-file-good", "chain-good", "answer-file-good", "certified-key-good", "key-request-good", "update-good"},
	} {
		lines, _ := SecondReader(t, nil, "flips.mjs", append([]string{vectorDir}, run...)...)
		for _, l := range lines {
			var f struct {
				Name           string
				Flips, Refused int
				Classes        map[string]int
				Taken          []int
			}
			if err := json.Unmarshal(l, &f); err != nil {
				t.Fatalf("%v: %s", err, l)
			}
			if len(f.Taken) > 0 || f.Flips == 0 || f.Refused != f.Flips {
				t.Errorf("%s: of %d flips %d were refused; taken: those of the bytes %v", f.Name, f.Flips, f.Refused, f.Taken)
			}
			t.Logf("%s: every byte or every %s. of it: %d flips refused (%s)", f.Name, run[0], f.Refused, counts(f.Classes))
			flips, refused = flips+f.Flips, refused+f.Refused
		}
	}
	t.Logf("%d of %d flips refused", refused, flips)
	storagetest.Tried(t, flips, flips-refused)
}

// Readers with a bug, as somebody might write one: the vectors find each.
func TestVectorsFindBugsInAReader(t *testing.T) {
	bugs := []struct{ what, kinds, file, right, wrong string }{ // kinds: a kind, or how the names of some vectors of it begin
		{"takes numbers longer than needed", "request", "cbor.mjs", "if (major !== 7) must(number", "if (major > 7) must(number"},
		{"takes the last of two equal keys", "request", "cbor.mjs", "Buffer.compare(before, encoded) < 0", "true"},
		{"looks at nothing behind an item", "request", "cbor.mjs", "must(end === bytes.length", "must(end <= bytes.length"},
		{"drops a byte order mark", "request", "cbor.mjs", "ignoreBOM: true", "ignoreBOM: false"},
		{"takes a zero for absent", "request", "fields.mjs", "must(field.zero || !isZero(value, field.type)", "must(true"},
		{"takes fields that it does not know", "request", "fields.mjs", "must(Object.hasOwn(table, key)", "must(true"},
		{"does not compare typ", "answer", "cose.mjs", "header.get(LABEL.typ) !== typ", "false"},
		{"takes any label", "request-file", "cose.mjs", "must(header.size === want.length &&", "must(true ||"},
		{"takes a tree of any size", "answer", "chain.mjs", "must(size === BigInt(said.size)", "must(true"},
		{"believes the leaf", "answer", "chain.mjs", "sha256(Buffer.from([0]), response)", "sha256(Buffer.from([1]), response)"},
		{"believes a response before its signature", "answer", "chain.mjs", "if (!verifyEd25519(serving", "if (false && !verifyEd25519(serving"},
		{"asks for one signature of two", "response-file", "cose.mjs", "if (classical !== lattice)", "if (!classical && !lattice)"},
		{"does not look at the time of a key", "response-file", "files.mjs", "if (!isWithin(certificate, clear.time))", "if (false)"},
		{"does not look at what is revoked", "response-file", "files.mjs", "for (const key of known)", "for (const key of [])"},
		{"opens any wrap", "response-file", "files.mjs", "if (!equal(wrap.subarray(1, 33), id))", "if (false)"},
		{"does not compare what the clear part says", "response-file", "files.mjs", "must(so, `${what} of the content", "must(true, `${what} of the content"},
		{"does not ask what a quote is about", "request-file", "evidence.mjs", "equal(a.extra, extra)", "true"},
		{"does not ask whose quote it is", "request-file", "files.mjs", "if (!messages.sameHost(message.hosts[0], asker))", "if (false)"},
		{"asks no signature of a client", "request-file", "evidence.mjs", "if (!good) refuse('signature', 'of the device key')", "if (false) refuse('signature', 'of the device key')"},
		{"takes any fields from a client's file", "request-file", "files.mjs", "if (ofClient) messages.toAppliance(message)", "if (false) messages.toAppliance(message)"},
		{"takes another device key beside", "request-file", "files.mjs", "type !== messages.HOST.DEVICE_KEY), 'another", "true), 'another"},
		{"takes a part that no frame holds", "answer-file", "files.mjs", "if (chain.raw.length > MAX_FRAME", "if (false && chain.raw.length > MAX_FRAME"},
		{"takes limits that nobody signed", "certified-key", "files.mjs", "certificate.limits ?? Buffer.alloc(0)", "digest ?? Buffer.alloc(0)"},
		{"opens a wrap for any host", "response-file-tpm", "wrap.mjs", "no(parts.host.equals(host)", "no(true"},
		{"does not look at the integrity of a credential", "response-file-tpm", "wrap.mjs", "no(timingSafeEqual(integrity, blob.subarray(2, 34))", "no(true"},
		{"opens a wrap to another AK", "response-file-tpm", "wrap.mjs", "BITS_256), encrypted, name)", "BITS_256), encrypted, blob.subarray(0, 0))"},
		{"opens with one credential of two", "response-file-tpm", "wrap.mjs", "if (!parts.rsaBlob.length) return credential", "return credential"},
		{"takes keys of any template", "request-file", "evidence.mjs", "equal(bytes.subarray(0, start.length), start)", "true"},
		{"does not ask whether a TPM made it", "request-file", "evidence.mjs", "if (a.magic !== 0xff544347 || a.type !== 0x8018)", "if (a.type !== 0x8018)"},
		{"takes a quote of any PCRs", "request-file", "evidence.mjs", "a.banks.length === 1 && a.banks[0][0] === 0x000b && a.banks[0][1] === '801800'", "true"},
		{"takes the certificate of another EK", "request-file", "evidence.mjs", "if (!key.equals(ek))", "if (false)"},
		{"takes lines of text in any order", "text", "text.mjs", "said === String(number) && symbols", "symbols"},
		{"does not look at what a line's check says", "text", "text.mjs", "must(sum.toString('base64url') === check", "must(true"},
		{"reads base64 as its library does", "text", "text.mjs", "bytes.toString('base64url') === symbols", "true"},
		{"takes codes of any number of symbols", "text", "text.mjs", "number === Number(all) || full % 3 === 0 :", "true :"},
		{"takes a code of another file", "text", "text.mjs", "(codes.get(number) ?? spaced) === spaced", "true"},
		{"counts in base 45 past a byte", "text", "text.mjs", "1 << 8 : 1 << 16", "1 << 11 : 1 << 16"},
		{"takes an answer to another request", "answer", "chain.mjs", "if (!response.correlation || !equal(response.correlation, request))", "if (false)"},
		{"takes an answer for another key", "answer", "chain.mjs", "if (!response.key || !equal(response.key, key))", "if (false)"},
		{"takes an answer that is older", "answer", "chain.mjs", "response.serial < newest", "false"},
		{"takes a response for another machine", "response-file-received", "files.mjs", "if (!messages.sameHost(clear.for, host)) refuse('not-ours'", "if (false) refuse('not-ours'"},
		{"takes a response at any time", "response-file-received", "files.mjs", "if (now > clear.applyBefore)", "if (false)"},
		{"takes activation IDs with one symbol wrong", "activation-id", "messages.mjs", "p === 0 && q === 0", "p === q || p !== q"},
	}
	for _, bug := range bugs {
		dir := t.TempDir()
		files, err := filepath.Glob("testdata/interop/*.mjs")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range append(files, "testdata/interop/node_modules") {
			from, err := filepath.Abs(f)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(f) != bug.file {
				if err := os.Symlink(from, filepath.Join(dir, filepath.Base(f))); err != nil {
					t.Fatal(err)
				}
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil || bytes.Count(b, []byte(bug.right)) != 1 {
				t.Fatalf("%s: %q is there %d times: %v", bug.file, bug.right, bytes.Count(b, []byte(bug.right)), err)
			}
			if err := os.WriteFile(filepath.Join(dir, bug.file), bytes.Replace(b, []byte(bug.right), []byte(bug.wrong), 1), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var in bytes.Buffer
		for _, v := range readVectors(t) {
			if v.Kind == bug.kinds || strings.HasPrefix(v.Name, bug.kinds) && strings.Count(bug.kinds, "-") > 1 {
				if err := json.NewEncoder(&in).Encode(v); err != nil {
					t.Fatal(err)
				}
			}
		}
		lines, ok := runReader(t, dir, in.Bytes(), "vectors.mjs", "-")
		found := slices.DeleteFunc(readJudged(t, lines), func(j judged) bool { return j.As })
		if ok || len(found) == 0 {
			t.Errorf("no vector finds a reader that %s", bug.what)
			continue
		}
		t.Logf("%s: %d vectors find it, %s first", bug.what, len(found), found[0].Name)
	}
}

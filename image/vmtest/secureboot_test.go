//go:build vm

package vm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

const loader = "EFI/BOOT/BOOTX64.EFI"

// A machine without keys takes the builder's at its first start. From then on it starts what the builder has signed, to the byte; and where somebody takes its keys away, it starts what he likes and opens nothing.
func TestSecureBoot(t *testing.T) {
	t.Parallel()
	s := newScenario(t)
	s.vm.Hardware.Locked = true
	ctx := s.within(bootTime)
	s.switchesOn()
	found, err := s.vm.WaitSerial(ctx, `keys successfully enrolled|secure boot variable: .*|Linux version`)
	s.must(err)
	if s.log("%s", found[0]); !strings.HasPrefix(found[0], "keys") {
		t.Fatal("the keys are not enrolled")
	}
	s.booted()
	s.shows(`STATE NOT ACTIVATED`)
	s.trusts()
	stick := s.courier("stick.img")
	s.visits(stick, false, `^USB stick .* - request 1 WRITTEN\. SAFE TO REMOVE$`)
	s.producer()
	s.answers(stick, s.wrote(stick, "REQ-0001.LHQ", "REQ-0001.TXT"), "REQ-0001.LHQ")
	s.attests("REQ-0001.LHQ")
	s.visits(stick, false, `^Response 1: .*APPLIED: 1 product, 1 feature, 40 seats\. SAFE TO REMOVE$`)
	s.shows(`STATE SERVING`)
	s.must(s.vm.PowerOff(ctx))
	s.log("off")

	kernel := s.edits("EFI/Linux", flipped)
	s.denies(`Error loading \\EFI\\Linux\\leasehold\S*: Access denied`)
	if again := s.edits("EFI/Linux", flipped); again != kernel {
		t.Errorf("%s is %s now", kernel, again)
	}

	var signed []byte
	s.edits(loader, func(b []byte) []byte {
		signed = b
		return s.unsigned(b)
	})
	s.denies(`BdsDxe: failed to load Boot[0-9A-F]{4} .*: Access Denied`)

	// The same loader in the same machine, which has no keys any more and finds none.
	s.must(os.Rename(filepath.Join(s.dir, "a", "variables.qcow2"), filepath.Join(s.dir, "enrolled.qcow2")))
	s.must(s.vm.NewVariables(ctx))
	s.must(s.vm.EditESP(ctx, func(esp Stick) error {
		_, err := esp.mtools(ctx, nil, "mdeltree", "::/loader/keys")
		return err
	}))
	s.startsAs("secure-boot-off", `NOT SERVING - LH-4005 `)
	s.refuses("one")
	s.vm.Kill()

	s.edits(loader, func([]byte) []byte { return signed })
	s.must(os.Rename(filepath.Join(s.dir, "enrolled.qcow2"), filepath.Join(s.dir, "a", "variables.qcow2")))
	s.boots()
	s.shows(`STATE (SERVING|HOLDING)`)
	s.shoot("secure-boot-on")
}

// edits changes a file on the EFI system partition of the machine that is off, the only one where a folder is named, and gives its name.
func (s *scenario) edits(name string, change func([]byte) []byte) string {
	s.t.Helper()
	ctx := s.within(stepTime)
	s.must(s.vm.EditESP(ctx, func(esp Stick) error {
		files, err := esp.Files(ctx)
		if err != nil {
			return err
		}
		files = slices.DeleteFunc(files, func(f string) bool { return !strings.HasPrefix(f, name) })
		if len(files) != 1 {
			s.t.Fatalf("%s: %q", name, files)
		}
		name = files[0]
		b, err := esp.Read(ctx, name)
		if err != nil {
			return err
		}
		return esp.Write(ctx, name, change(b))
	}))
	return name
}

func flipped(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

// unsigned is a program for firmware without its signature.
func (s *scenario) unsigned(b []byte) []byte {
	s.t.Helper()
	path := filepath.Join(s.dir, "unsigned.efi")
	s.must(os.WriteFile(path, b, 0o600))
	s.must(run(s.within(stepTime), "sbattach", "--remove", path))
	plain, err := os.ReadFile(path)
	s.must(err)
	if bytes.Equal(plain, b) {
		s.t.Fatal("there was no signature")
	}
	return plain
}

// denies switches the machine on, waits until it has said so and has nothing left to start, and fails if a kernel was.
func (s *scenario) denies(expression string) {
	s.t.Helper()
	s.switchesOn()
	for _, line := range []string{expression, `No bootable option or device was found`} {
		found, err := s.vm.WaitSerial(s.within(bootTime), line)
		s.must(err)
		s.log("serial: %s", found[0])
	}
	text, err := s.vm.Serial()
	s.must(err)
	if regexp.MustCompile(`Linux version|EFI stub|Reached target`).MatchString(text) {
		s.t.Errorf("a kernel runs:\n%s", tail(text))
	}
	s.vm.Kill()
}

// attests compares what the machine's TPM has quoted, and the event log bears out: Secure Boot is on, the builder's certificate is the only key in each of its lists, and what runs was let in by it.
func (s *scenario) attests(request string) {
	s.t.Helper()
	var said struct {
		Files []struct {
			Booted struct {
				SecureBoot string `json:"secureBoot"`
				Events     []struct {
					PCR                int
					Type, Digest, Text string
					Hashed             bool // the digest is that of what the log has
				} `json:"events"`
			} `json:"booted"`
		} `json:"files"`
	}
	s.must(json.Unmarshal([]byte(s.freehold("respond", filepath.Join(s.dir, request), "-o", filepath.Join(s.dir, "out-"+request), "--json")), &said))
	if len(said.Files) != 1 {
		s.t.Fatalf("%+v", said)
	}
	booted := said.Files[0].Booted
	if booted.SecureBoot != "on" {
		s.t.Errorf("by the TPM's quote Secure Boot is %q", booted.SecureBoot)
	}
	measured := map[string][]string{}
	for _, e := range booted.Events {
		if e.PCR == 7 && e.Hashed {
			name, _, _ := strings.Cut(e.Text, ",")
			measured[e.Type+" "+name] = append(measured[e.Type+" "+name], e.Digest)
		}
	}
	for name, digest := range s.keys() {
		if got := measured[name]; !slices.Equal(got, []string{digest}) {
			s.t.Errorf("%s: measured %q, the builder's certificate alone is %s", name, got, digest)
		}
	}
	s.log("by the TPM's quote Secure Boot is %s", booted.SecureBoot)
}

// keys are what firmware measures into PCR 7 where the builder's certificate is the only key: the three lists, and the entry that let in what was started.
func (s *scenario) keys() map[string]string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(s.image), "test", "secureboot.pem"))
	s.must(err)
	block, _ := pem.Decode(b)
	sum := sha256.Sum256(block.Bytes)
	// In an EFI_GUID the first three numbers are little endian.
	owner := slices.Clone(sum[:16])
	slices.Reverse(owner[0:4])
	slices.Reverse(owner[4:6])
	slices.Reverse(owner[6:8])
	entry := slices.Concat(owner, block.Bytes)
	header, err := hex.DecodeString("a159c0a5e494a74a87b5ab155c2bf072") // EFI_CERT_X509_GUID
	s.must(err)
	for _, n := range []int{16 + 3*4 + len(entry), 0, len(entry)} {
		header = binary.LittleEndian.AppendUint32(header, uint32(n))
	}
	list := append(header, entry...)
	const global, security = "61dfe48bca93d211aa0d00e098032b8c", "cbb219d73a3d9645a3bcdad00e67656f"
	return map[string]string{
		"EV_EFI_VARIABLE_DRIVER_CONFIG PK":  s.variable(global, "PK", list),
		"EV_EFI_VARIABLE_DRIVER_CONFIG KEK": s.variable(global, "KEK", list),
		"EV_EFI_VARIABLE_DRIVER_CONFIG db":  s.variable(security, "db", list),
		"EV_EFI_VARIABLE_AUTHORITY db":      s.variable(security, "db", entry),
	}
}

// variable is the SHA-256 of a UEFI_VARIABLE_DATA, in hex.
func (s *scenario) variable(vendor, name string, value []byte) string {
	s.t.Helper()
	b, err := hex.DecodeString(vendor)
	s.must(err)
	letters := utf16.Encode([]rune(name))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(letters)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	for _, l := range letters {
		b = binary.LittleEndian.AppendUint16(b, l)
	}
	sum := sha256.Sum256(append(b, value...))
	return hex.EncodeToString(sum[:])
}

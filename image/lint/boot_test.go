//go:build image

package lint

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// esp runs one of mtools on the EFI system partition of the disk.
func esp(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, append([]string{"-i", base(t) + ".disk@@1M"}, args...)...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1", "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return out
}

func onESP(t *testing.T, name string) []byte {
	t.Helper()
	return esp(t, "mtype", "::/"+name)
}

// signer is the certificate that the image is signed by, and its file: the one that CERT names, or a test image's.
func signer(t *testing.T) (string, *x509.Certificate) {
	t.Helper()
	path := os.Getenv("CERT")
	if path == "" {
		path = filepath.Join(filepath.Dir(base(t)), "test", "secureboot.pem")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s is no certificate", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return path, cert
}

// The boot partition has a loader, the kernel image that is shipped, with three starts at most before it is known to be good, the keys, and nothing else that could be started or read.
func TestBootPartition(t *testing.T) {
	kernel := "EFI/Linux/" + filepath.Base(base(t)) + "+3.efi"
	var files []string
	for line := range strings.Lines(string(esp(t, "mdir", "-/", "-b", "-a", "::/"))) {
		if name := strings.TrimPrefix(strings.TrimSpace(line), "::/"); !strings.HasSuffix(name, "/") {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	if want := []string{"EFI/BOOT/BOOTX64.EFI", kernel, "loader/keys/auto/KEK.auth", "loader/keys/auto/PK.auth", "loader/keys/auto/db.auth", "loader/loader.conf"}; !slices.Equal(files, want) {
		t.Errorf("the boot partition has %q, want %q", files, want)
	}
	shipped, err := os.ReadFile(base(t) + ".efi")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(onESP(t, kernel), shipped) {
		t.Error("the kernel image on the disk is not the one that is shipped")
	}
	conf := string(onESP(t, "loader/loader.conf"))
	for _, want := range []string{"editor no\n", "timeout 0\n", "secure-boot-enroll if-safe\n"} {
		if !strings.Contains(conf, want) {
			t.Errorf("the boot loader lacks %q:\n%s", want, conf)
		}
	}
}

// What firmware starts is signed, with a certificate that it has been given, and one byte of another is not.
func TestSigned(t *testing.T) {
	cert, _ := signer(t)
	for _, name := range []string{"EFI/BOOT/BOOTX64.EFI", "EFI/Linux/" + filepath.Base(base(t)) + "+3.efi"} {
		b := onESP(t, name)
		path := filepath.Join(t.TempDir(), "program.efi")
		verify := func() ([]byte, error) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return exec.Command("sbverify", "--cert", cert, path).CombinedOutput()
		}
		if out, err := verify(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		b[len(b)/2] ^= 1
		if _, err := verify(); err == nil {
			t.Errorf("%s is signed whatever is in it", name)
		}
	}
}

// What a machine without keys is given is the builder's certificate and nothing else, signed by its own key.
func TestKeys(t *testing.T) {
	path, cert := signer(t)
	if cert.PublicKeyAlgorithm != x509.RSA {
		t.Errorf("firmware wants a key of RSA, this is %s", cert.PublicKeyAlgorithm)
	}
	const global, security = "61dfe48bca93d211aa0d00e098032b8c", "cbb219d73a3d9645a3bcdad00e67656f"
	for name, vendor := range map[string]string{"PK": global, "KEK": global, "db": security} {
		b := onESP(t, "loader/keys/auto/"+name+".auth")
		// EFI_VARIABLE_AUTHENTICATION_2 is a time of 16 bytes and a WIN_CERTIFICATE_UEFI_GUID with PKCS #7 in it; the value follows.
		if len(b) < 40 {
			t.Fatalf("%s has %d bytes", name, len(b))
		}
		end := 16 + int(binary.LittleEndian.Uint32(b[16:]))
		if end < 40 || end > len(b) {
			t.Fatalf("%s: a signature until byte %d of %d", name, end, len(b))
		}
		if month, day := b[2], b[3]; month < 1 || month > 12 || day < 1 || day > 28 {
			t.Errorf("%s was signed on day %d of month %d", name, day, month)
		}
		value := b[end:]
		// One EFI_SIGNATURE_LIST with one EFI_SIGNATURE_DATA: the kind, three lengths, an owner, the certificate.
		lengths := binary.LittleEndian.AppendUint32(nil, uint32(len(value)))
		lengths = binary.LittleEndian.AppendUint32(lengths, 0)
		lengths = binary.LittleEndian.AppendUint32(lengths, uint32(16+len(cert.Raw)))
		if len(value) != 44+len(cert.Raw) || hex.EncodeToString(value[:16]) != "a159c0a5e494a74a87b5ab155c2bf072" || !bytes.Equal(value[16:28], lengths) || !bytes.Equal(value[44:], cert.Raw) {
			t.Errorf("%s is not the certificate alone: %x", name, value[:min(len(value), 44)])
		}
		// Signed are the name, its GUID, the attributes, the time and the value.
		var signed []byte
		for _, l := range utf16.Encode([]rune(name)) {
			signed = binary.LittleEndian.AppendUint16(signed, l)
		}
		guid, err := hex.DecodeString(vendor)
		if err != nil {
			t.Fatal(err)
		}
		signed = binary.LittleEndian.AppendUint32(append(signed, guid...), 0x27)
		signed = append(append(signed, b[:16]...), value...)
		if out, err := verified(t, path, b[40:end], signed); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		signed[len(signed)-1] ^= 1
		if _, err := verified(t, path, b[40:end], signed); err == nil {
			t.Errorf("%s is signed whatever is in it", name)
		}
	}
}

// verified checks a SignedData of PKCS #7 by the certificate in a file, and by no other.
func verified(t *testing.T, cert string, signature, signed []byte) ([]byte, error) {
	t.Helper()
	b, err := asn1.Marshal(struct {
		Kind  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: signature}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"signature": b, "signed": signed} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return exec.Command("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", filepath.Join(dir, "signature"), "-content", filepath.Join(dir, "signed"),
		"-nointern", "-certfile", cert, "-noverify", "-out", filepath.Join(dir, "out")).CombinedOutput()
}

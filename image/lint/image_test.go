//go:build image

package lint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/leasehold/leasehold/image"
)

const (
	mib = 1 << 20

	// What an update carries over a stick, and what the disk takes: more is a surprise that somebody should look at.
	maxUpdate = 80 * mib
	maxUKI    = 32 * mib
)

// base is the path of the build, without the endings.
func base(t *testing.T) string {
	t.Helper()
	b := os.Getenv("IMAGE")
	if b == "" {
		t.Fatal("no image to look at; type: make -C image lint")
	}
	return b
}

// uki opens the unified kernel image.
func uki(t *testing.T, ending string) *os.File {
	t.Helper()
	f, err := os.Open(base(t) + ending)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func section(t *testing.T, f io.ReaderAt, name string) string {
	t.Helper()
	b, err := image.Section(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rootHash is the one on the kernel command line.
func rootHash(t *testing.T) string {
	t.Helper()
	for _, w := range strings.Fields(section(t, uki(t, ".efi"), ".cmdline")) {
		if hash, ok := strings.CutPrefix(w, "roothash="); ok {
			return hash
		}
	}
	t.Fatal("the kernel command line has no root hash")
	return ""
}

// table is the disk's partition table as sfdisk tells it.
type table struct {
	Table struct {
		Label      string `json:"label"`
		FirstLBA   int64  `json:"firstlba"`
		Partitions []struct {
			Start, Size      int64
			Type, UUID, Name string
			Attrs            string
		} `json:"partitions"`
	} `json:"partitiontable"`
}

func partitions(t *testing.T) table {
	t.Helper()
	out, err := exec.Command("sfdisk", "--json", base(t)+".disk").Output()
	if err != nil {
		t.Fatal(err)
	}
	var p table
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// unpacked is the root of the image in a directory, from the partition on the disk. It is unpacked once.
func unpacked(t *testing.T) string {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var root = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lhlint")
	if err != nil {
		return "", err
	}
	roots, err := filepath.Glob(os.Getenv("IMAGE") + "_*.root")
	if err != nil || len(roots) != 1 {
		os.Remove(dir)
		return "", fmt.Errorf("want one root beside the image, there are %d", len(roots))
	}
	to := filepath.Join(dir, "root")
	out, err := exec.Command("unsquashfs", "-quiet", "-no-progress", "-dest", to, roots[0]).CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return to, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := root(); err == nil && dir != "" {
		os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

// The partitions of slot A are named by the root hash, so the command line finds them and nothing else.
func TestPartitions(t *testing.T) {
	p, hash := partitions(t), rootHash(t)
	if p.Table.Label != "gpt" || p.Table.FirstLBA != 2048 || len(p.Table.Partitions) != 3 {
		t.Fatalf("%+v", p)
	}
	half := func(h string) string {
		return strings.ToUpper(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
	}
	version := filepath.Base(base(t))
	for i, want := range []struct {
		kind, uuid, name, attrs string
		mib                     int64
	}{
		{"C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "", "esp", "", 256},
		{"4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", half(hash[:32]), version, "GUID:60", 192},
		{"2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5", half(hash[32:]), version, "GUID:60", 8},
	} {
		got := p.Table.Partitions[i]
		if got.Type != want.kind || want.uuid != "" && got.UUID != want.uuid || got.Name != want.name || got.Attrs != want.attrs || got.Size*512 != want.mib*mib {
			t.Errorf("partition %d is %+v, want %+v", i+1, got, want)
		}
	}
}

// What an update carries is what is on the disk, and the hash tree belongs to the root.
func TestSlot(t *testing.T) {
	disk, err := os.Open(base(t) + ".disk")
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	p, hash := partitions(t), rootHash(t)
	var files []string
	var size int64
	for i, ending := range []string{"root", "verity"} {
		found, err := filepath.Glob(base(t) + "_*." + ending)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", ending, found, err)
		}
		part := p.Table.Partitions[1+i]
		if !strings.EqualFold(filepath.Base(found[0]), filepath.Base(base(t))+"_"+part.UUID+"."+ending) {
			t.Errorf("%s is not named by partition %s", found[0], part.UUID)
		}
		b, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		on := make([]byte, len(b))
		if _, err := disk.ReadAt(on, part.Start*512); err != nil || !bytes.Equal(on, b) {
			t.Errorf("%s is not what is on the disk: %v", found[0], err)
		}
		files, size = append(files, found[0]), size+int64(len(b))
	}
	if out, err := exec.Command("veritysetup", "verify", files[0], files[1], hash).CombinedOutput(); err != nil {
		t.Errorf("the hash tree does not belong to the root: %v\n%s", err, out)
	}
	info, err := uki(t, ".efi").Stat()
	if err != nil {
		t.Fatal(err)
	}
	if size += info.Size(); size > maxUpdate || info.Size() > maxUKI {
		t.Errorf("an update is %d bytes and the kernel image %d where %d and %d are allowed", size, info.Size(), maxUpdate, maxUKI)
	}
	t.Logf("update %.1f MiB, kernel image %.1f MiB", float64(size)/mib, float64(info.Size())/mib)
}

// A production image takes nothing from SMBIOS, whoever owns the virtual machine; the command line of tests differs in that alone.
func TestCommandLine(t *testing.T) {
	words := strings.Fields(section(t, uki(t, ".efi"), ".cmdline"))
	line := " " + strings.Join(words, " ") + " "
	for _, want := range []string{" systemd.import_credentials=no ", " lockdown=integrity ", " usbcore.authorized_default=0 ", " ro ", " root=/dev/mapper/root ", " roothash="} {
		if !strings.Contains(line, want) {
			t.Errorf("the command line lacks%s: %s", want, line)
		}
	}
	for _, bad := range []string{" init=", " rd.break", " single", "debug", " systemd.unit="} {
		if strings.Contains(line, bad) {
			t.Errorf("the command line has%s: %s", bad, line)
		}
	}
	test := strings.Fields(section(t, uki(t, ".test.efi"), ".cmdline"))
	if got := strings.Replace(line, " systemd.import_credentials=no", "", 1); got != " "+strings.Join(test, " ")+" " {
		t.Errorf("the test command line is %v", test)
	}
}

// What is shipped as the boot's measurement is that of the kernel image that is shipped.
func TestMeasurement(t *testing.T) {
	b, err := os.ReadFile(base(t) + ".measure.json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Hash  string `json:"root_hash"`
		PCR11 string `json:"pcr_11"`
		PCR12 string `json:"pcr_12"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	pcr, err := image.PCR11(uki(t, ".efi"), image.Ready())
	if err != nil {
		t.Fatal(err)
	}
	if m.Hash != rootHash(t) || m.PCR11 != hex.EncodeToString(pcr[:]) || m.PCR12 != strings.Repeat("0", 2*sha256.Size) {
		t.Errorf("%+v is not what the image measures: %x", m, pcr)
	}
}

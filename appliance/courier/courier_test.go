package courier

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

func host(n byte) hostid.ID { return hostid.OfDigest(hostid.TPMEK, [32]byte{n, 0xab, 0xcd, 0xef}) }

func response(t *testing.T, to hostid.ID, serial uint64) []byte {
	t.Helper()
	c := wire.New()
	key, err := wire.NewProducerKey(bytes.Repeat([]byte{7}, wire.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.SealResponse(key, []byte("certificate"), &capability.Response{Version: 1, For: to, Serial: serial, Time: 5000, Lifetime: 3600, Number: serial}, []byte("wrap"), make([]byte, wire.ContentKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func request(t *testing.T, from hostid.ID) []byte {
	t.Helper()
	b, _, err := wire.New().SignRequest(&capability.Request{Version: 1, Hosts: []hostid.ID{from}, Correlation: capability.CorrelationID{1}, Number: 1}, wire.AlgTPMQuote, wire.KeyID{1},
		func(capability.Digest) ([]byte, error) { return []byte("evidence"), nil })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// tree is every path below dir with its size.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		fmt.Fprintf(&b, "%s %d\n", strings.TrimPrefix(path, dir+"/"), i.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStickLayout(t *testing.T) {
	stick := t.TempDir()
	if _, err := OpenStick(stick, host(0x7f), false); !errors.Is(err, ErrNoFolder) || tree(t, stick) != "" {
		t.Fatalf("a stick that is not ours: %v, %s", err, tree(t, stick))
	}
	m, err := OpenStick(stick, host(0x7f), true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	name, err := m.Write(1, request(t, host(0x7f)), "one\ntwo\r\n")
	if err != nil || name != "REQ-0001.LHQ" {
		t.Fatal(name, err)
	}
	if _, err := m.Receipt(1, "applied\n"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"README.TXT": readme(), "7FABCDEF/REQ-0001.TXT": "one\r\ntwo\r\n", "7FABCDEF/RCP-0001.TXT": "applied\r\n", "7FABCDEF/REQ-0001.LHQ": string(request(t, host(0x7f)))} {
		if b, err := os.ReadFile(filepath.Join(stick, Folder, path)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	if strings.Contains(tree(t, stick), ".TMP") {
		t.Error("a temporary file is left over")
	}
	// The same again, after a stick was pulled with half a file and a temporary one on it.
	put(t, filepath.Join(stick, Folder, "7FABCDEF/REQ-0001.LHQ"), request(t, host(0x7f))[:50])
	put(t, filepath.Join(stick, Folder, "7FABCDEF/REQ-0001.TMP"), []byte("half"))
	if _, err := m.Write(1, request(t, host(0x7f)), "text"); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(filepath.Join(stick, Folder, "7FABCDEF/REQ-0001.LHQ")); !bytes.Equal(b, request(t, host(0x7f))) {
		t.Error("the half request was not repaired")
	}
	if _, err := m.Write(1, request(t, host(9)), ""); err != nil {
		t.Errorf("the courier judges what it carries: %v", err)
	}
	if _, err := m.Write(1, request(t, host(0x7f)), ""); !errors.Is(err, ErrForeign) {
		t.Errorf("another machine's request was overwritten: %v", err)
	}
}

func TestNames(t *testing.T) {
	for n, want := range map[uint64]string{0: "REQ-0000.LHQ", 1: "REQ-0001.LHQ", 9999: "REQ-9999.LHQ", 10000: "R0010000.LHQ", 9999999: "R9999999.LHQ"} {
		if got := capability.FileName("REQ", n, "LHQ"); got != want {
			t.Errorf("%d: %s where %s is wanted", n, got, want)
		}
	}
	for id, want := range map[hostid.ID]string{
		host(0x7f): "7FABCDEF", {Type: hostid.String, Value: "../../etc"}: "ETC", {Type: hostid.String, Value: "/"}: "UNNAMED",
		{Type: hostid.String, Value: "a very long name"}: "AVERYLON", {Type: hostid.String, Value: "ünï"}: "N",
	} {
		if got := FolderName(id); got != want {
			t.Errorf("%s: %s where %s is wanted", id, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	me, other := host(1), host(2)
	dir := t.TempDir()
	put(t, dir+"/RSP-0001.LHR", response(t, me, 1))
	put(t, dir+"/RSP-0003.LHR", response(t, me, 3))
	put(t, dir+"/holiday.jpg", response(t, me, 2)) // content decides
	put(t, dir+"/RSP-0009.LHR", response(t, other, 9))
	put(t, dir+"/RSP-0008.LHR", []byte("\xff\xd8 a picture"))
	put(t, dir+"/RSP-0007.lhr", response(t, me, 7)[:900])
	put(t, dir+"/RSP-0006.LHR", make([]byte, capability.MaxFile+1))
	put(t, dir+"/REQ-0001.LHQ", request(t, me))
	put(t, dir+"/deep/RSP-0005.LHR", response(t, me, 5))
	put(t, dir+"/RESPONSE.TXT", []byte("As text, from a mail:\r\n"+strings.ReplaceAll(wire.Text(response(t, me, 6)), "\n", "\r\n")))
	put(t, dir+"/-rf", nil)
	put(t, dir+"/new\nline.LHR", response(t, me, 4))
	m, err := Open(dir, me)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	found, skipped, err := m.Find()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%d%t", f.Clear.Serial, f.Ours))
	}
	if want := "6true 4true 3true 2true 1true 9false"; strings.Join(got, " ") != want {
		t.Errorf("found %v where %s is wanted", got, want)
	}
	codes := map[capability.Code]int{}
	for _, s := range skipped {
		codes[Code(s)]++
	}
	if len(skipped) != 3 || codes[capability.ErrFileKind] != 1 || codes[capability.ErrFileCut] != 1 || codes[capability.ErrFileSize] != 1 {
		t.Errorf("passed over %v", skipped)
	}
}

func TestNothingToFind(t *testing.T) {
	empty, err := Open(t.TempDir(), host(1))
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if _, _, err := empty.Find(); !errors.Is(err, ErrNone) || Code(err) != capability.ErrFileNone {
		t.Error(err)
	}
	if _, err := Open(t.TempDir()+"/none", host(1)); Code(err) != capability.ErrFileRead || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A medium full of traps: nothing hangs, nothing outside is read or written.
func TestTraps(t *testing.T) {
	outside := t.TempDir()
	put(t, outside+"/RSP-0001.LHR", response(t, host(1), 1))
	dir := t.TempDir()
	if err := errors.Join(
		syscall.Mkfifo(dir+"/RSP-0001.LHR", 0o644),
		os.Symlink(outside+"/RSP-0001.LHR", dir+"/RSP-0002.LHR"),
		os.Symlink("/dev/zero", dir+"/RSP-0003.LHR"),
		os.Symlink("RSP-0004.LHR", dir+"/RSP-0004.LHR"),
		os.Mkdir(dir+"/RSP-0005.LHR", 0o755),
		os.Symlink(outside, dir+"/RSP-0006.LHR"),
	); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := syscall.Mknod(dir+"/RSP-0007.LHR", syscall.S_IFCHR|0o644, 1<<8|5); err != nil { // /dev/zero
			t.Logf("no device node here: %v", err)
		}
	}
	m, err := Open(dir, host(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if found, _, err := m.Find(); !errors.Is(err, ErrNone) {
		t.Errorf("found %v, %v", found, err)
	}
	for _, name := range []string{"RSP-0001.LHR", "RSP-0002.LHR", "RSP-0003.LHR", "RSP-0004.LHR", "RSP-0005.LHR", "RSP-0006.LHR", "../" + filepath.Base(outside) + "/RSP-0001.LHR"} {
		if _, err := m.read(name); err == nil {
			t.Errorf("%s was read", name)
		}
		if name[0] != '.' {
			if _, err := ReadFile(dir + "/" + name); err == nil {
				t.Errorf("%s was read by its path", name)
			}
		}
	}
	before := tree(t, outside)
	for _, row := range []struct {
		name string
		trap func(dir string) error
	}{
		{"target is a link to outside", func(d string) error { return os.Symlink(outside+"/RSP-0001.LHR", d+"/REQ-0001.LHQ") }},
		{"target is a pipe", func(d string) error { return syscall.Mkfifo(d+"/REQ-0001.LHQ", 0o644) }},
		{"target is a directory", func(d string) error { return os.Mkdir(d+"/REQ-0001.LHQ", 0o755) }},
		{"description is a directory", func(d string) error { return os.MkdirAll(d+"/REQ-0001.TXT/x", 0o755) }},
		{"temporary is a full directory", func(d string) error { return os.MkdirAll(d+"/REQ-0001.TMP/x", 0o755) }},
	} {
		d := t.TempDir()
		if err := row.trap(d); err != nil {
			t.Fatal(err)
		}
		m, err := Open(d, host(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Write(1, request(t, host(1)), strings.Repeat("text", 1<<20)); err == nil || Code(err) != capability.ErrFileRead {
			t.Errorf("%s: %v", row.name, err)
		}
		m.Close()
	}
	// A link where the temporary file or the description goes is replaced, not followed.
	d := t.TempDir()
	if err := errors.Join(os.Symlink(outside+"/RSP-0001.LHR", d+"/REQ-0001.TMP"), os.Symlink(outside+"/RSP-0001.LHR", d+"/REQ-0001.TXT")); err != nil {
		t.Fatal(err)
	}
	m2, err := Open(d, host(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m2.Close()
	if _, err := m2.Write(1, request(t, host(1)), "text"); err != nil {
		t.Error(err)
	}
	for _, trap := range []func(stick string) error{
		func(s string) error { return os.Symlink(outside, s+"/LEASEHOLD") },
		func(s string) error { return os.WriteFile(s+"/LEASEHOLD", nil, 0o644) },
		func(s string) error {
			return errors.Join(os.Mkdir(s+"/LEASEHOLD", 0o755), os.Symlink(outside, s+"/LEASEHOLD/"+FolderName(host(1))))
		},
	} {
		s := t.TempDir()
		if err := trap(s); err != nil {
			t.Fatal(err)
		}
		if m, err := OpenStick(s, host(1), true); err == nil {
			m.Close()
			t.Errorf("a trap was entered: %s", tree(t, s))
		}
	}
	if after := tree(t, outside); after != before {
		t.Errorf("outside was %s and is %s", before, after)
	}
}

func TestTenThousandOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 10_000 {
		put(t, fmt.Sprintf("%s/IMG_%05d.JPG", dir, i), nil)
	}
	put(t, dir+"/RSP-0001.LHR", response(t, host(1), 1))
	m, err := Open(dir, host(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	found, skipped, err := m.Find()
	if err != nil || len(found) != 1 || len(skipped) != 1 || !strings.Contains(skipped[0].Error(), "9937 more files were not looked at") {
		t.Errorf("found %d, passed over %v, %v", len(found), skipped, err)
	}
}

// Folders and links are nothing that is looked into, however many they are; what they are is asked of so many, as a stick answers that slowly.
func TestManyFolders(t *testing.T) {
	for folders, want := range map[int]int{200: 1, 2 * maxAsked: 0} {
		dir := t.TempDir()
		for i := range folders {
			if err := os.Mkdir(fmt.Sprintf("%s/FOLDER%04d", dir, i), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		put(t, dir+"/HOLIDAY.JPG", response(t, host(1), 1))
		m, err := Open(dir, host(1))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if found, skipped, err := m.Find(); len(found) != want || (want == 0) != (len(skipped) == 1 && errors.Is(err, ErrMore)) {
			t.Errorf("behind %d folders: found %d, passed over %v, %v", folders, len(found), skipped, err)
		}
	}
}

func TestReadOnlyMedium(t *testing.T) {
	if os.Getuid() == 0 {
		// Root writes anywhere but where the disk is full; /dev/full is no directory, so a size limit stands in for it. It holds for the log of the test itself too, which is shorter.
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old) })
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Open(dir, host(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Write(1, request(t, host(1)), strings.Repeat("text", 1<<20)); err == nil || Code(err) != capability.ErrFileRead {
		t.Errorf("written to what takes no writes: %v", err)
	}
	if left := tree(t, dir); strings.Contains(left, ".LHQ") || strings.Contains(left, ".TMP") {
		t.Errorf("left behind:\n%s", left)
	}
}

// What a stick that was pulled out too early was left with goes, and nothing else.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	whole := request(t, host(1))
	for name, b := range map[string][]byte{
		"REQ-0001.TMP": []byte("half"), "RCP-0009.tmp": []byte("half"), "R0010000.TMP": nil, "REQ-0002.LHQ": whole[:len(whole)/2], "req-0003.lhq": nil, // these go
		"REQ-0004.LHQ": whole, "REQ-0004.TXT": []byte("words"), "RSP-0001.LHR": []byte("half"), "RSP-0001.TMP": nil, "REQ-1.TMP": nil, "REQ-00001.TMP": nil, "REQUEST.TMP": nil, "R00100000.TMP": nil, "REQ-0001": nil, "REQ-0001.TMP.TMP": nil, "NOTES.LHQ": nil,
	} {
		put(t, dir+"/"+name, b)
	}
	if err := errors.Join(os.Mkdir(dir+"/REQ-0007.TMP", 0o755), os.Symlink("/etc/passwd", dir+"/REQ-0008.TMP")); err != nil {
		t.Fatal(err)
	}
	m, err := Open(dir, host(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if n, err := m.Tidy(); n != 5 || err != nil {
		t.Errorf("%d taken away, %v", n, err)
	}
	if n, err := m.Tidy(); n != 0 || err != nil {
		t.Errorf("%d more taken away, %v", n, err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 13 {
		t.Errorf("%d are left: %v, %v", len(names), names, err)
	}
	if b, err := m.Request(4); err != nil || !bytes.Equal(b, whole) || !m.HasText("REQ", 4) || m.HasText("RCP", 4) {
		t.Error(err)
	}
	if _, err := m.Request(2); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	put(t, dir+"/REQ-0005.LHQ", request(t, host(2)))
	if _, err := m.Request(5); !errors.Is(err, ErrForeign) {
		t.Errorf("another machine's request is taken for ours: %v", err)
	}
	put(t, dir+"/REQ-0006.LHQ", whole[:20])
	if _, err := m.Request(6); err == nil {
		t.Error("half a request is taken for one")
	}
}

// What the kernel says of a medium has a code of its own where there is something to do about it.
func TestCodesOfAMedium(t *testing.T) {
	for err, want := range map[error]capability.Code{syscall.ENOSPC: capability.ErrMediumFull, syscall.EROFS: capability.ErrMediumLocked, syscall.EIO: capability.ErrFileRead, ErrNoFolder: capability.ErrFileNone} {
		if got := Code(fmt.Errorf("write it: %w", err)); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
	stick := t.TempDir()
	if _, err := OpenStick(stick, host(1), false); errors.Is(err, ErrNoOwn) || !errors.Is(err, ErrNoFolder) {
		t.Error(err)
	}
	if err := os.Mkdir(stick+"/"+Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStick(stick, host(1), false); !errors.Is(err, ErrNoOwn) || !errors.Is(err, ErrNoFolder) {
		t.Error(err)
	}
}

// answerFor is what an appliance answers to a PC, as far as the courier looks at it.
func answerFor(t *testing.T, to hostid.ID) []byte {
	t.Helper()
	c := wire.New()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	leaf := c.Encode(&capability.Response{Version: 1, For: to, Serial: 1, Time: 5000, Salt: [16]byte{1}})
	return c.EncodeAnswerFile(&wire.AnswerFile{
		Chain:  wire.Chain{Key: []byte("key"), Appliance: []byte("appliance"), Serving: key.Public().(ed25519.PublicKey), Statement: []byte("statement")},
		Answer: c.Answer(c.SignTree(key, wire.Grow([][]byte{leaf}), 5000, 1), 0, leaf),
	})
}

// The answer to a PC goes beside its request, over an older or half an answer to it, and over nobody else's file.
func TestRespond(t *testing.T) {
	mine, other := host(1), host(2)
	for _, c := range []struct {
		name  string
		there []byte
		no    bool
	}{
		{"nothing there", nil, false},
		{"an older one", answerFor(t, mine), false},
		{"half of one", answerFor(t, mine)[:40], false},
		{"another PC's", answerFor(t, other), true},
		{"a back office's", response(t, other, 1), true},
	} {
		dir := t.TempDir()
		if c.there != nil {
			put(t, filepath.Join(dir, "RSP-0001.LHR"), c.there)
		}
		m, err := Open(dir, mine)
		if err != nil {
			t.Fatal(err)
		}
		b := append(answerFor(t, mine), 0)
		name, err := m.Respond(1, b)
		if c.no != errors.Is(err, ErrForeign) || !c.no && (err != nil || name != "RSP-0001.LHR") {
			t.Errorf("%s: %q, %v", c.name, name, err)
		}
		got, _ := os.ReadFile(filepath.Join(dir, "RSP-0001.LHR"))
		if want := map[bool][]byte{true: c.there, false: b}[c.no]; !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes are there", c.name, len(got))
		}
		m.Close()
	}
}

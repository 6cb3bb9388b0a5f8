//go:build vm

package vm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/tpm/attest"
)

// later are two releases after the image, built from the same files, each with a higher security version than the image's: the paths of what was built, without the endings.
func later(t *testing.T) (next, last string) {
	t.Helper()
	image := built(t)
	b, err := os.ReadFile(image + ".efi")
	if err != nil {
		t.Fatal(err)
	}
	ours := fmt.Sprintf("%x", sha256.Sum256(b))
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(image), "leasehold_*.beside"))
	if err != nil {
		t.Fatal(err)
	}
	paths = slices.DeleteFunc(paths, func(p string) bool {
		of, err := os.ReadFile(p)
		return err != nil || strings.TrimSpace(string(of)) != ours
	})
	slices.Sort(paths)
	if len(paths) != 2 {
		t.Fatalf("%q are releases to update to; type: make e2e, or make -C image later", paths)
	}
	return strings.TrimSuffix(paths[0], ".beside"), strings.TrimSuffix(paths[1], ".beside")
}

func release(image string) string {
	return strings.TrimPrefix(filepath.Base(image), "leasehold_")
}

// updates makes a stick with an update to an image, signed by the test producer. change is done to its root before it is signed.
func (s *scenario) updates(image string, change func(root []byte)) Stick {
	s.t.Helper()
	ctx := s.within(stepTime)
	prefix := filepath.Join(s.dir, "to-"+release(image))
	files, err := filepath.Glob(image + "*")
	s.must(err)
	for _, f := range files {
		to := prefix + strings.TrimPrefix(f, image)
		switch filepath.Ext(f) {
		case ".root":
			b, err := os.ReadFile(f)
			s.must(err)
			if change != nil {
				change(b)
			}
			s.must(os.WriteFile(to, b, 0o600))
		case ".verity", ".efi":
			s.must(os.Symlink(f, to))
		}
	}
	dir := prefix + "-stick"
	said := s.freehold("update", prefix, "-o", dir)
	s.log("signed: release %s", strings.TrimSpace(strings.SplitN(said, "  release ", 2)[1]))
	stick, err := NewStick(ctx, prefix+".stick", 192) // a name by which it is not kept as evidence
	s.must(err)
	_, err = stick.mtools(ctx, nil, "mcopy", "-s", filepath.Join(dir, "LEASEHOLD"), "::/")
	s.must(err)
	s.must(os.RemoveAll(dir))
	return stick
}

// takes plugs a stick with an update in, waits for the last word about that, which must match, and pulls it out. That a request is written on the stick too is a word before.
func (s *scenario) takes(stick Stick, expression string) {
	s.t.Helper()
	ctx := s.within(bootTime)
	before := s.settled()
	begin := time.Now()
	in, err := s.vm.Plug(ctx, stick, "UPDATE", false)
	s.must(err)
	want := regexp.MustCompile(expression)
	for {
		lines := slices.DeleteFunc(s.told(), func(l string) bool { return slices.Contains(before, l) })
		if at := slices.IndexFunc(lines, want.MatchString); at >= 0 {
			s.log("%.1f s: %s", time.Since(begin).Seconds(), lines[at])
			break
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			s.shoot("no-word-of-the-update")
			s.t.Fatalf("the screen has no word that matches %q: %q", expression, lines)
		}
	}
	s.must(in.Pull(ctx))
}

// switchesOff presses the power button, and gives the names of the kernel images that the boot loader has to choose from.
func (s *scenario) switchesOff() []string {
	s.t.Helper()
	s.must(s.vm.PowerOff(s.within(stepTime)))
	files, err := s.loaders().Files(s.within(stepTime))
	s.must(err)
	var names []string
	for _, f := range files {
		if name, kernel := strings.CutPrefix(f, "EFI/Linux/"); kernel {
			names = append(names, name)
		}
	}
	s.log("kernel images: %s", strings.Join(names, ", "))
	return names
}

// loaders is a copy of the boot loader's partition of a machine that is off: it begins at 1 MiB, and has 256.
func (s *scenario) loaders() Stick {
	s.t.Helper()
	path := filepath.Join(s.dir, "loaders")
	s.must(run(s.within(stepTime), "qemu-img", "dd", "-U", "-f", "qcow2", "-O", "raw", "bs=1M", "skip=1", "count=257", "if="+s.vm.Disk(), "of="+path))
	return Stick(path)
}

// serves wants an appliance that serves what it had, measured as what was built says that this image is.
func (s *scenario) serves(image string) {
	s.t.Helper()
	s.shows(`STATE SERVING - 0 of 40 seats in use`)
	ctx := s.within(stepTime)
	c := s.opens("one")
	defer c.Close()
	l, err := c.Acquire(ctx, "render", client.Count(seats))
	s.must(err)
	s.must(l.Release(ctx))
	b, err := os.ReadFile(image + ".measure.json")
	s.must(err)
	var m struct {
		PCR11 string `json:"pcr_11"`
		PCR12 string `json:"pcr_12"`
	}
	s.must(json.Unmarshal(b, &m))
	want, err := hex.DecodeString(m.PCR11 + m.PCR12)
	s.must(err)
	stick := s.courier("runs-" + release(image) + ".img")
	s.visits(stick, false, `^USB stick .* - request \d+ WRITTEN\. SAFE TO REMOVE$`)
	own, name := s.request(stick)
	request, err := stick.Read(ctx, own+"/"+name)
	s.must(err)
	in, err := client.Inspect(request, nil)
	s.must(err)
	e, err := attest.DecodeEvidence(in.Request.Signature)
	s.must(err)
	if len(e.PCRs) != 96 || !bytes.Equal(e.PCRs[32:], want) {
		s.t.Errorf("PCR 7, 11 and 12 are %x, and %s would have 11 and 12 as %x", e.PCRs, release(image), want)
	}
	s.log("release %s serves, measured as it was built", release(image))
}

// Updates by stick, one after the other on one machine that serves: an image that does not start is left by the machine itself, and told of; the next one is started, opens the storage by the boot state that was signed
// ahead, and serves.
func TestUpdates(t *testing.T) {
	t.Parallel()
	next, last := later(t)
	s := goesOn(t, activated)
	ours, bad, good := release(s.image), release(next), release(last)

	// The first block of its root is another than when its hash tree was made.
	broken := s.updates(next, func(root []byte) { root[100] ^= 1 })
	s.takes(broken, `Update `+regexp.QuoteMeta(bad)+` INSTALLED\. .*NEXT: restart the machine`)
	s.shoot("installed")
	if names := s.switchesOff(); !slices.Equal(names, []string{"leasehold_" + ours + ".efi", "leasehold_" + bad + "+3-0.efi"}) {
		t.Errorf("after the update: %q", names)
	}
	begin := time.Now()
	s.switchesOn()
	_, err := s.vm.WaitSerial(s.within(bootTime), `(?s)(STATE DAMAGED.*){3}`)
	s.must(err)
	_, err = s.vm.WaitScreen(s.within(bootTime), `STATE SERVING`)
	s.must(err)
	s.log("three tries, and back on the image before by itself: %.0f s", time.Since(begin).Seconds())
	s.shows(`LH-2410 warning: .* it is ` + regexp.QuoteMeta(bad) + `, and ` + regexp.QuoteMeta(ours) + ` runs again`)
	s.shoot("left")
	s.serves(s.image)
	s.takes(broken, `LH-2410 .*it is `+regexp.QuoteMeta(bad)+`.* Nothing was changed\. SAFE TO REMOVE`)

	s.takes(s.updates(last, nil), `Update `+regexp.QuoteMeta(good)+` INSTALLED\. .*NEXT: restart the machine`)
	if names := s.switchesOff(); !slices.Equal(names, []string{"leasehold_" + ours + ".efi", "leasehold_" + good + "+3-0.efi"}) {
		t.Errorf("after the next update: %q", names)
	}
	begin = time.Now()
	s.boots()
	s.serves(last)
	s.log("updated: %.0f s", time.Since(begin).Seconds())
	s.shoot("updated")
}

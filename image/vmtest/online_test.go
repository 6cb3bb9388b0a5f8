//go:build vm

package vm

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
)

// enters makes the first login with the code that is on the screen, and one of ada, who brings files.
func (s *scenario) enters() {
	s.t.Helper()
	code, err := os.ReadFile(filepath.Join(s.dir, "code"))
	s.must(err)
	first, second := s.secret("first", "correct horse battery"), s.secret("second", "another horse battery")
	status, said := s.web("POST", "/api/v1/instances/~/first-login", map[string]string{"code": string(code), "name": "keller", "password": "correct horse battery"})
	if status != http.StatusOK && status != http.StatusCreated {
		s.t.Fatalf("first login: %d %s", status, said)
	}
	s.signsIn("keller", first)
	s.manages(0, "users", "add", "ada", "--role", "license administrator", "--role", "operator", "--password-file", second, "--own-password-file", first)
	s.signsIn("ada", second)
	s.log("a first login, and one of a license administrator")
}

// Without a stick: from a PC on the network, by the code on the screen, a request and a response as files.
func TestFiles(t *testing.T) {
	s := goesOn(t, unprovisioned)
	if status, said := s.web("GET", "/healthz", nil); status != http.StatusOK || strings.TrimSpace(said) != "alive" {
		t.Errorf("/healthz: %d %q", status, said)
	}
	s.enters()
	if out := s.manages(0, "status"); !strings.Contains(out, "not activated") {
		t.Errorf("status: %s", out)
	}
	s.run(12, "leasehold", append([]string{"acquire", "render"}, s.client("one")...)...)
	s.producer()
	id := strings.TrimSpace(s.freehold("entitle", "--customer", "Acme", "--product", "Render", "--feature", "render:2026.1", "--count", "40"))
	out := filepath.Join(s.dir, "out")
	s.must(os.Mkdir(out, 0o700))
	s.manages(0, "request", "--id", id, "--count", "40", "-o", out)
	s.freehold("respond", filepath.Join(out, "REQ-0001.LHQ"), "-o", out)
	s.manages(0, "import", out)
	s.run(0, "leasehold", append([]string{"acquire", "render"}, s.client("one")...)...)
	if out := s.manages(0, "status"); !strings.Contains(out, "1 of 40") {
		t.Errorf("status after a lease: %s", out)
	}
}

// Check 30: where sticks are forbidden the request leaves as pictures on the screen, and the response comes back as text.
func TestCheck30Codes(t *testing.T) {
	s := goesOn(t, unprovisioned)
	ctx := s.within(bootTime)
	s.enters()
	s.must(s.vm.Press(ctx, "f4"))
	codes := map[string]bool{}
	for n, total := 0, 0; total == 0 || len(codes) < total; n++ {
		text, err := s.picture("code.png")
		if err != nil {
			select {
			case <-time.After(look):
				continue
			case <-ctx.Done():
				t.Fatalf("%d codes of %d: %v", len(codes), total, err)
			}
		}
		var part int
		if _, err := fmt.Sscanf(text, "LH1/%dOF%d/", &part, &total); err != nil {
			t.Fatalf("a code says %q", text)
		}
		if !codes[text] {
			codes[text] = true
			s.shoot(fmt.Sprintf("code-%d-of-%d", part, total))
			s.log("code %d of %d, %d characters", part, total, len(text))
		}
	}
	s.must(s.vm.Press(ctx, "f1"))
	scanned := []byte(strings.Join(slices.Collect(maps.Keys(codes)), "\n"))
	file, err := wire.FromText(scanned)
	s.must(err)
	in, err := client.Inspect(file, nil)
	if err != nil || in.Signature != client.Good {
		t.Fatalf("the codes give a request that is not good: %v", err)
	}

	s.producer()
	request := filepath.Join(s.dir, "scanned")
	s.must(os.WriteFile(request, scanned, 0o600))
	s.freehold("device", "set", in.Request.Fields.Hosts[0].String(), "--name", "mill", "--server")
	id := strings.TrimSpace(s.freehold("entitle", "--customer", "Acme", "--product", "Render", "--feature", "render:2026.1", "--count", "40"))
	s.freehold("map", "mill", id, "40")
	out := filepath.Join(s.dir, "out")
	s.must(os.Mkdir(out, 0o700))
	s.freehold("respond", request, "-o", out)
	files, err := os.ReadDir(out)
	s.must(err)
	pasted := filepath.Join(s.dir, "pasted")
	s.must(os.WriteFile(pasted, []byte(s.freehold("text", filepath.Join(out, files[0].Name()))), 0o600))
	s.manages(0, "import", pasted)
	s.shows(`STATE SERVING - 0 of 40 seats in use`)
}

// picture reads the code on the machine's screen as a camera does.
func (s *scenario) picture(name string) (string, error) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	s.must(s.vm.Screenshot(s.within(stepTime), path))
	b, err := os.ReadFile(path)
	s.must(err)
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	clean, err := straight(img)
	if err != nil {
		return "", err
	}
	bits, err := gozxing.NewBinaryBitmapFromImage(clean)
	if err != nil {
		return "", err
	}
	r, err := qrcode.NewQRCodeReader().Decode(bits, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		return "", err
	}
	return r.GetText(), nil
}

// straight is the code in a picture of a screen, as it was before it was drawn with the signs of a font: a dark pattern of seven modules on top at the left, and another on top at the right.
func straight(img image.Image) (*image.Gray, error) {
	dark := func(x, y int) bool { return color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y < 64 }
	b := img.Bounds()
	left, top, right, unit := 0, 0, 0, 0
	for top = b.Min.Y; top < b.Max.Y && unit == 0; top++ {
		run := 0
		for x := b.Min.X; x < b.Max.X; x++ {
			if dark(x, top) {
				run++
				continue
			}
			switch {
			case run >= 7 && unit == 0:
				left, unit = x-run, run/7
				right = x
			case unit > 0 && run == 7*unit:
				right = x
			}
			run = 0
		}
	}
	top--
	if unit == 0 || right-left < 21*unit {
		return nil, errors.New("no code on the screen")
	}
	const scale, border = 4, 4
	side := (right - left) / unit
	out := image.NewGray(image.Rect(0, 0, (side+2*border)*scale, (side+2*border)*scale))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	for y := range side {
		for x := range side {
			if dark(left+x*unit+unit/2, top+y*unit+unit/2) {
				draw.Draw(out, image.Rect(0, 0, scale, scale).Add(image.Pt((x+border)*scale, (y+border)*scale)), image.Black, image.Point{}, draw.Src)
			}
		}
	}
	return out, nil
}

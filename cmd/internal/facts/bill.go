package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bill is a bill of materials as CycloneDX 1.5 has it, no more than is used here.
type bill struct {
	Format     string   `json:"bomFormat"`
	Spec       string   `json:"specVersion"`
	Serial     string   `json:"serialNumber"`
	Version    int      `json:"version"`
	Metadata   metadata `json:"metadata"`
	Components []part   `json:"components"`
}

type metadata struct {
	Timestamp string `json:"timestamp"`
	Component part   `json:"component"`
}

type part struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	URL     string `json:"purl,omitempty"`
}

// newBill sorts the parts and drops doubles. Its serial number follows from what is in it.
func newBill(version string, at time.Time, parts []part) bill {
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.Ref, b.Ref) })
	parts = slices.CompactFunc(parts, func(a, b part) bool { return a.Ref == b.Ref })
	h := sha256.New()
	fmt.Fprintln(h, version, at.Unix())
	for _, p := range parts {
		fmt.Fprintln(h, p.Ref)
	}
	id := h.Sum(nil)[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562, version 8
	return bill{
		Format: "CycloneDX", Spec: "1.5", Version: 1, Serial: fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		Metadata:   metadata{at.Format(time.RFC3339), part{Type: "firmware", Ref: "leasehold-image", Name: "leasehold-image", Version: version}},
		Components: parts,
	}
}

// debianParts reads lines of name, version and architecture.
func debianParts(list string) ([]part, error) {
	var out []part
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("packages: %q is no name, version and architecture", strings.TrimSpace(line))
		}
		u := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s", url.PathEscape(f[0]), url.PathEscape(f[1]), f[2])
		out = append(out, part{Type: "library", Ref: u, Name: f[0], Version: f[1], URL: u})
	}
	return out, nil
}

// goParts are the modules that programs are linked from, and the Go release.
func goParts(root string, programs ...string) ([]part, error) {
	var out []part
	for _, name := range programs {
		info, err := buildinfo.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, fmt.Errorf("read what %s is built from: %w", name, err)
		}
		out = append(out, goPart("stdlib", strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")))
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			out = append(out, goPart(m.Path, m.Version))
		}
	}
	return out, nil
}

func goPart(path, version string) part {
	u := "pkg:golang/" + path + "@" + url.PathEscape(version)
	return part{Type: "library", Ref: u, Name: path, Version: version, URL: u}
}

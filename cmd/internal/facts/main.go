// Facts writes what is known of a built image beside it: the bill of materials (CycloneDX), the list of files, and what a boot of it will measure.
//
// It is part of the image's build and never shipped.
package main

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/leasehold/leasehold/image"
)

func main() {
	root := flag.String("root", "", "directory of the image's root")
	packages := flag.String("packages", "", "file with a line \"name version architecture\" for each package in it")
	uki := flag.String("uki", "", "the unified kernel image")
	version := flag.String("version", "", "version of the image")
	at := flag.Int64("time", 0, "time of the build, in seconds since 1970")
	out := flag.String("o", "", "where the files go, without their endings")
	flag.Parse()
	if err := write(*root, *packages, *uki, *version, *out, time.Unix(*at, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, "facts:", err)
		os.Exit(1)
	}
}

func write(root, packages, uki, version, out string, at time.Time) error {
	list, err := os.ReadFile(packages)
	if err != nil {
		return err
	}
	parts, err := debianParts(string(list))
	if err != nil {
		return err
	}
	modules, err := goParts(root, "usr/bin/leaseholdd", "usr/bin/leasehold")
	if err != nil {
		return err
	}
	bill, err := json.MarshalIndent(newBill(version, at, append(parts, modules...)), "", "  ")
	if err != nil {
		return err
	}
	files, err := fileList(root)
	if err != nil {
		return err
	}
	m, err := measurements(uki)
	if err != nil {
		return err
	}
	measure, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{".cdx.json": append(bill, '\n'), ".files": files, ".measure.json": append(measure, '\n')} {
		if err := os.WriteFile(out+name, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Measured is what a boot of the image will show, SHA-256 in hex.
type Measured struct {
	RootHash string `json:"root_hash"`
	PCR11    string `json:"pcr_11"` // at Phase
	Phase    string `json:"phase"`
	PCR12    string `json:"pcr_12"` // zero until somebody adds to the kernel command line
}

func measurements(uki string) (*Measured, error) {
	f, err := os.Open(uki)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pcr, err := image.PCR11(f, image.Ready())
	if err != nil {
		return nil, err
	}
	line, err := image.Section(f, ".cmdline")
	if err != nil {
		return nil, err
	}
	var hash string
	for _, w := range strings.Fields(strings.TrimRight(string(line), "\x00")) {
		if v, ok := strings.CutPrefix(w, "roothash="); ok {
			hash = v
		}
	}
	if b, err := hex.DecodeString(hash); err != nil || len(b) != 32 {
		return nil, fmt.Errorf("%s: the kernel command line has no root hash of 32 bytes", uki)
	}
	return &Measured{RootHash: hash, PCR11: hex.EncodeToString(pcr[:]), Phase: strings.Join(image.Ready(), ":"), PCR12: strings.Repeat("00", 32)}, nil
}

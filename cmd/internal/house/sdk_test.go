package house

import (
	"slices"
	"strings"
	"testing"
)

// C is linked where that is the whole point, and nowhere else: every program that is shipped is static.
func TestC(t *testing.T) {
	_, all := files(t)
	found := false
	for _, f := range all {
		if !slices.Contains(imports(f), "C") {
			continue
		}
		if f.pkg != "cmd/libleasehold" {
			t.Errorf("%s links C", f.path)
		}
		found = true
	}
	if !found {
		t.Error("the library for C was not found: the test looks in the wrong place")
	}
}

// A program that uses the SDK carries no code that talks to a TPM or looks at the machine, unless it hands that in itself.
func TestSDKIsLean(t *testing.T) {
	_, all := files(t)
	parts, next := map[string]bool{}, []string{"capability/client"}
	for len(next) > 0 {
		pkg := next[0]
		if next = next[1:]; parts[pkg] {
			continue
		}
		parts[pkg] = true
		for _, f := range all {
			if f.pkg != pkg || f.test {
				continue
			}
			for _, imp := range imports(f) {
				if to, ours := strings.CutPrefix(imp, module+"/"); ours {
					next = append(next, to)
				}
				if strings.HasPrefix(imp, "github.com/google/go-tpm/tpm2/transport") || strings.HasPrefix(imp, "github.com/google/go-tpm/legacy") {
					t.Errorf("%s imports %s, and is part of the SDK", f.path, imp)
				}
			}
		}
	}
	if !parts["capability/wire"] || !parts["tpm/attest"] {
		t.Fatalf("the parts of the SDK were not found: %v", parts)
	}
	for _, pkg := range []string{"tpm", "hostid/probe", "hostid/dongle", "storage", "systemd", "capability/ledger", "capability/backoffice"} {
		if parts[pkg] {
			t.Errorf("%s is part of the SDK", pkg)
		}
	}
}

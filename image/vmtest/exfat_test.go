//go:build vm

package vm

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
)

// What is written of exFAT here is what its checker takes for whole.
func TestExFAT(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	x, err := NewExFAT(context.Background(), path, 16, "LEASEHOLD")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("fsck.exfat", "-n", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	if files := x.Files(); len(files) != 0 {
		t.Errorf("an empty stick has %v", files)
	}
}

//go:build vm

package vm

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
	}
	if files := x.Files(); len(files) != 0 {
		t.Errorf("an empty stick has %v", files)
	}
}

// A stick keeps what is written on it, and nothing that is taken away.
func TestStick(t *testing.T) {
	ctx := context.Background()
	k, err := NewStick(ctx, filepath.Join(t.TempDir(), "k"), 40)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{k.Folder(ctx, "LEASEHOLD"), k.Write(ctx, "LEASEHOLD/A.TXT", []byte("1")), k.Write(ctx, "LEASEHOLD/A.TXT", []byte("22")), k.Write(ctx, "B.TXT", []byte("3")), k.Remove(ctx, "B.TXT")} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if files, err := k.Files(ctx); err != nil || !slices.Equal(files, []string{"LEASEHOLD/A.TXT"}) {
		t.Errorf("%q, %v", files, err)
	}
	if b, err := k.Read(ctx, "LEASEHOLD/A.TXT"); err != nil || string(b) != "22" {
		t.Errorf("%q, %v", b, err)
	}
	if damage := k.Damage(ctx); damage != "" {
		t.Error(damage)
	}
}

// The firmware's item works on a TPM as it was left.
func TestClearTPM(t *testing.T) {
	m := Open(t.TempDir(), "tcg")
	if err := m.NewTPM(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.ClearTPM(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// A terminal shows what was drawn on it, in the places where it was drawn.
func TestScreen(t *testing.T) {
	text := render([]byte("boot\r\n\x1b[2J\x1b[H\x1b[1;33m+- Leasehold -+\x1b[2;1H| STATE    NOT |\x1b[3;1H|          ACT |\x1b[2;12HYES\x1b]0;title\x07\x1bP+q\x1b\\"))
	if want := "+- Leasehold -+\n| STATE    YES |\n|          ACT |"; strings.TrimRight(text, "\n") != want {
		t.Errorf("%q, want %q", text, want)
	}
	if got := joined(text); got != "+- Leasehold -+ STATE YES ACT" {
		t.Errorf("%q", got)
	}
	lines := told("| x |\n| 10:00:01 USB stick A - reading ... |\n| 10:00:02 LH-2103 it is not for us. |\n| SAFE TO REMOVE |\n+ F1 status ---+")
	if want := []string{"10:00:01 USB stick A - reading ...", "10:00:02 LH-2103 it is not for us. SAFE TO REMOVE"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
}

// What was said so far may end within a sign or a command, and lines may say anything.
func TestHalfAScreen(t *testing.T) {
	whole := []byte("\x1b[2;3H┌─ é ─┐\x1b]0;title\x07\x1b[1;33m\xff\x80x")
	for n := range whole {
		if rows := strings.Count(render(whole[:n]), "\n"); rows != screenRows-1 {
			t.Errorf("%q is drawn in %d rows", whole[:n], rows+1)
		}
	}
	if got, want := strings.Split(render(whole), "\n")[1], "  ┌─ é ─┐\ufffd\ufffdx"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

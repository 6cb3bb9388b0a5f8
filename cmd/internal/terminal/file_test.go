package terminal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// Whatever is wrong with a trust bundle, its file is named.
func TestReadTrustNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{"absent.lht": nil, "large.lht": make([]byte, capability.MaxSigned+1), "words.lht": []byte("words")} {
		path := filepath.Join(dir, name)
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := ReadTrust(path)
		if err == nil || CodeOf(err) != capability.ErrTrust || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package tpmfault

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm"
)

// Every error that package tpm names has a code, which tells it from the others, however it is wrapped; any other has none.
func TestCode(t *testing.T) {
	named := map[string]error{
		"ErrUnavailable": tpm.ErrUnavailable, "ErrBootState": tpm.ErrBootState, "ErrEpoch": tpm.ErrEpoch, "ErrCounter": tpm.ErrCounter,
		"ErrNotOurs": tpm.ErrNotOurs, "ErrLockout": tpm.ErrLockout, "ErrPassword": tpm.ErrPassword, "ErrOld": tpm.ErrOld,
	}
	f, err := parser.ParseFile(token.NewFileSet(), "../../../tpm/tpm.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Err") && named[v.Names[0].Name] == nil {
			t.Errorf("tpm.%s has no code here", v.Names[0].Name)
		}
		return true
	})
	codes := map[capability.Code]string{}
	for name, err := range named {
		c := Code(fmt.Errorf("read the counter: %w", errors.Join(err, errors.New("TPM_RC_HANDLE"))))
		if c == 0 || codes[c] != "" || c.Entry().Next == "" {
			t.Errorf("tpm.%s: %s, as %s", name, c, codes[c])
		}
		codes[c] = name
	}
	for _, err := range []error{nil, errors.New("tpm does not answer")} {
		if c := Code(err); c != 0 {
			t.Errorf("%v: %s", err, c)
		}
	}
}

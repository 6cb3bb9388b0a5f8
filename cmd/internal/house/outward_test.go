package house

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// The daemon reaches nothing outside: no package that it is made of opens a connection, but to a Unix socket and to its TPM. The SDK, which does, is there for what it says of files, and the programs' words use nothing else of it.
func TestDaemonReachesNothing(t *testing.T) {
	set, all := files(t)
	byPkg := map[string][]file{}
	for _, f := range all {
		if !f.test {
			byPkg[f.pkg] = append(byPkg[f.pkg], f)
		}
	}
	const sdk = "capability/client"
	parts, next := map[string]bool{}, []string{"cmd/leaseholdd"}
	for len(next) > 0 {
		pkg := next[0]
		if next = next[1:]; parts[pkg] {
			continue
		}
		parts[pkg] = true
		for _, f := range byPkg[pkg] {
			for _, imp := range imports(f) {
				if to, ours := strings.CutPrefix(imp, module+"/"); ours {
					next = append(next, to)
				}
			}
		}
	}
	if !parts["appliance"] || !parts["storage"] || !parts["appliance/console"] {
		t.Fatalf("the daemon's parts were not found: %v", parts)
	}
	outward := map[string][]string{
		"net":  {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "Dialer", "DefaultResolver", "LookupHost", "LookupIP", "LookupAddr", "ResolveTCPAddr"},
		"tls":  {"Dial", "DialWithDialer", "Dialer", "Client"},
		"http": {"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "Transport", "DefaultTransport", "NewRequest", "NewRequestWithContext"},
		"rpc":  {"Dial", "DialHTTP"}, "smtp": {"Dial", "SendMail"},
	}
	for pkg := range parts {
		if pkg == "tpm" || pkg == sdk {
			continue
		}
		for _, f := range byPkg[pkg] {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 2 {
					if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Dial" {
						if what, ok := call.Args[0].(*ast.BasicLit); ok && what.Value == `"unix"` {
							return false
						}
					}
				}
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if ok && slices.Contains(outward[x.Name], sel.Sel.Name) {
					t.Errorf("%s: %s.%s in a part of the daemon", set.Position(sel.Pos()), x.Name, sel.Sel.Name)
				}
				if ok && x.Name == "client" && slices.Contains([]string{"New", "Office", "OpenStandalone"}, sel.Sel.Name) && !strings.HasSuffix(f.path, "_test.go") {
					t.Errorf("%s: the daemon asks nobody, client.%s does", set.Position(sel.Pos()), sel.Sel.Name)
				}
				return true
			})
		}
	}
}

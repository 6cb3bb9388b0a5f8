package ledger

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What is assigned to a user serves nobody else, and is reserved for nobody.
func TestAssigned(t *testing.T) {
	mine := func(i *capability.LineItem) { i.User = "ana" }
	v := begin(t, lineItem('a', "f:1.0", 2, mine), lineItem('b', "g:1.0", 1, mine), lineItem('c', "g:1.0", 1))
	v.play([][2]string{
		{"d f:1.0 1", "PARTLY | INSUFFICIENT 0 E_ASSIGNED | has 0"},
		{"d user:bob f:1.0 1", "PARTLY | INSUFFICIENT 0 E_ASSIGNED | has 0"},
		{"d user:ana f:1.0 1", "OK | OK 1 | has 1"},
		{"d user:ana f:1.0 1", "OK | OK 1 | has 1"},
		{"e user:bob g:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
		{"e user:bob g:1.0 1", "OK | OK 1 | has 1"},
		{"x user:ana g:1.0 1", "OK | OK 1 | has 1"},
	})
	v.play([][2]string{{"slices", "default a 1/2, default b 1/1, default c 1/1"}})
}

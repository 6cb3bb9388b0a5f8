package console

import (
	"sync"

	"github.com/leasehold/leasehold/capability"
)

// undoTime is how long a deletion can be undone.
const undoTime capability.Seconds = 10 * 60

// deletions are the last ones of each login, in memory: whoever deletes sees at once whether it was meant.
type deletions struct {
	mu   sync.Mutex
	last map[string]deletion
}

type deletion struct {
	rows []Reserved
	at   capability.Time
}

func newDeletions() *deletions { return &deletions{last: map[string]deletion{}} }

func (d *deletions) keep(name string, rows []Reserved, now capability.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last[name] = deletion{rows, now}
}

// of is the last deletion of a login, while it can be undone; nil: there is none.
func (d *deletions) of(name string, now capability.Time) *deletion {
	d.mu.Lock()
	defer d.mu.Unlock()
	one, ok := d.last[name]
	if !ok || now >= one.at.Add(undoTime) {
		delete(d.last, name)
		return nil
	}
	return &one
}

func (d *deletions) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.last, name)
}

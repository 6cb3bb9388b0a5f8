package console

import (
	"context"
	"errors"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/ledger/history"
)

// past follows the audit trail for the reports. It begins with the first report that is asked for, which waits until all entries are read: some seconds a million. Each further one reads what came since.
type past struct {
	reading chan struct{} // who holds it reads, and asks
	once    sync.Once
	life    capability.LifeID
	next    uint64
	h       *history.History
}

// entries is Appliance.Entries.
type entries func(ctx context.Context, from uint64, f func(*ledger.Entry) (more bool, err error)) error

// ask catches up with the trail and has f ask the history. A trusted storage that was made anew has a trail of its own.
func (p *past) ask(ctx context.Context, life capability.LifeID, now ledger.Now, read entries, f func(*history.History) error) error {
	p.once.Do(func() { p.reading = make(chan struct{}, 1) })
	select {
	case p.reading <- struct{}{}:
		defer func() { <-p.reading }()
	case <-ctx.Done():
		return capability.Refuse(capability.ErrBusy, "", "the entries are being read for another report")
	}
	if p.h == nil || p.life != life {
		p.life, p.next, p.h = life, 1, history.New()
	}
	err := read(ctx, p.next, func(e *ledger.Entry) (bool, error) {
		p.h.Add(e)
		p.next = e.Position + 1
		return true, ctx.Err() // who waits no more is read for no more; the next one goes on from here
	})
	if no := (*capability.Refusal)(nil); errors.As(err, &no) && no.Code == capability.ErrNoArchive {
		err = nil // before the first response there is nothing to report
	}
	if err != nil {
		return err
	}
	p.h.Pass(now)
	return f(p.h)
}

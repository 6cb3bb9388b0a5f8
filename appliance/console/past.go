package console

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/ledger/history"
	"github.com/leasehold/leasehold/capability/wire"
)

// past follows the audit trail for the reports. It begins with the first report that is asked for, which waits until all entries are read: some seconds a million. Each further one reads what came since.
type past struct {
	reading chan struct{} // who holds it reads, and asks
	once    sync.Once
	life    capability.LifeID
	next    uint64
	h       *history.History
	codec   *wire.Codec
}

// ask catches up with the trail and has f ask the history. A trusted storage that was made anew has a trail of its own.
func (p *past) ask(ctx context.Context, life capability.LifeID, now ledger.Now, read func(ctx context.Context, from uint64, w io.Writer) error, f func(*history.History) error) error {
	p.once.Do(func() { p.reading = make(chan struct{}, 1) })
	select {
	case p.reading <- struct{}{}:
		defer func() { <-p.reading }()
	case <-ctx.Done():
		return capability.Refuse(capability.ErrBusy, "", "the entries are being read for another report")
	}
	if p.h == nil || p.life != life {
		p.life, p.next, p.h, p.codec = life, 1, history.New(), wire.New()
	}
	err := read(ctx, p.next, p)
	if no := (*capability.Refusal)(nil); errors.As(err, &no) && no.Code == capability.ErrNoArchive {
		err = nil // before the first response there is nothing to report
	}
	if err != nil {
		return err
	}
	p.h.Pass(now)
	return f(p.h)
}

// Write takes one entry, as the trail is written.
func (p *past) Write(b []byte) (int, error) {
	e, err := ledger.DecodeEntry(p.codec, b)
	if err != nil {
		return 0, err
	}
	if e.Position >= p.next {
		p.h.Add(&e)
		p.next = e.Position + 1
	}
	return len(b), nil
}

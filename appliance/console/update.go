package console

import (
	"fmt"
	"io"
	"net/http"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// Updating is what the appliance thinks of an update of its image. POST updates/check asks for it, POST updates makes ready for it; the body of both is the file that the producer signed.
type Updating struct {
	Update wire.Update `json:"update"`
	Lowest uint32      `json:"lowest"` // security version that may run
}

// Proving is the body of POST updates/proved.
type Proving struct {
	Left string `json:"left,omitempty"` // release of an update that did not start well, so that the image before it runs; empty: there is none
}

// Proved answers it.
type Proved struct {
	Lowest uint32 `json:"lowest"` // security version that may run from now on; zero: anyone
}

func (c *Console) checkUpdate(r *http.Request) (any, error) { return c.update(r, false) }

func (c *Console) takeUpdate(r *http.Request) (any, error) { return c.update(r, true) }

func (c *Console) update(r *http.Request, keep bool) (any, error) {
	file, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, capability.MaxSigned))
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileSize, "", "the update: %v", err)
	}
	u, err := c.Appliance.Update(r.Context(), file, keep)
	if err != nil {
		return nil, err
	}
	return &Updating{*u.Update, u.Lowest}, nil
}

// proved hears that the image has started well. What was left is told as long as it is newer than what runs.
func (c *Console) proved(r *http.Request) (any, error) {
	var p Proving
	if err := decode(r, &p); err != nil {
		return nil, err
	}
	if wire.CompareReleases(p.Left, c.Appliance.Image.Version) > 0 {
		c.left.Store(&LeftUpdate{p.Left, c.Appliance.Image.Version})
	} else {
		c.left.Store(nil)
	}
	lowest, err := c.Appliance.Proved(r.Context())
	if err != nil {
		return nil, fmt.Errorf("remember the image: %w", err)
	}
	return &Proved{lowest}, nil
}

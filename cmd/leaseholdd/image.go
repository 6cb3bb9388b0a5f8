package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/image"
)

// runs is the image that runs; zero on a machine that runs another system.
func runs(release string) (appliance.Image, error) {
	b, err := os.ReadFile(release)
	if errors.Is(err, fs.ErrNotExist) {
		return appliance.Image{}, nil
	}
	if err != nil {
		return appliance.Image{}, terminal.Coded(capability.ErrConfig, err)
	}
	version, security, err := image.Release(b)
	if err != nil {
		return appliance.Image{}, terminal.Coded(capability.ErrConfig, fmt.Errorf("%s: %w", release, err))
	}
	return appliance.Image{Version: version, Security: security}, nil
}

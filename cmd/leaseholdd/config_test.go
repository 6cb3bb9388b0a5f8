package main

import (
	"context"
	"slices"
	"testing"

	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/cmd/internal/settings"
)

// Every flag of the daemon but --config is a key of its configuration files, and there are no others.
func TestFilesSetWhatFlagsSet(t *testing.T) {
	var names []string
	command(context.Background()).Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" && f.Name != "version" {
			names = append(names, f.Name)
		}
	})
	known := slices.Sorted(slices.Values(settings.Names()))
	if slices.Sort(names); !slices.Equal(names, known) {
		t.Errorf("flags %q, keys of files %q", names, known)
	}
}

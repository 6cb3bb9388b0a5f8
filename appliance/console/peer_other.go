//go:build !linux

package console

import (
	"context"
	"net"
)

// WithPeer is for the appliance, which runs on Linux: elsewhere nobody knows who connected.
func WithPeer(ctx context.Context, _ net.Conn) context.Context { return ctx }

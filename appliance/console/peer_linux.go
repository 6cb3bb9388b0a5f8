package console

import (
	"context"
	"net"

	"golang.org/x/sys/unix"
)

// WithPeer is for http.Server.ConnContext: it asks the kernel who connected.
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, Peer{int(cred.Pid), int(cred.Uid), int(cred.Gid)})
}

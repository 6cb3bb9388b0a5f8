package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/tpm"
)

// Bounds on what browsers may keep of the daemon, before anybody has signed in.
const (
	askedAtOnce  = 64 // requests
	askedFromOne = askedAtOnce / 4
	streamsOfOne = 32 // HTTP/2
	headTimeout  = 5 * time.Second
	bodyTimeout  = time.Minute
	idleTimeout  = 2 * time.Minute
	maxHeader    = 16 << 10
	retryAfter   = "1"
	// In the state directory: public, but for keys that are encrypted to the TPM.
	authorityFile   = "authority.pem"
	siteFile        = "certificate.pem"
	askedFile       = "certificate-request.pem"
	renewalInterval = time.Hour
)

// pageServer answers browsers. How long they may take to read an answer is the business of the appliance, and how much they may send that of the console.
func pageServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           crowded(h, web.NewRoom(askedAtOnce, askedFromOne)),
		ReadHeaderTimeout: headTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: streamsOfOne},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// crowded answers as many requests at once as there is room for: what browsers ask for must not keep devices waiting.
func crowded(next http.Handler, room *web.Room) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		if !room.Take(from, 1) {
			w.Header().Set("Retry-After", retryAfter)
			http.Error(w, capability.ErrBusy.String()+" "+web.ErrRoom.Error(), http.StatusServiceUnavailable)
			return
		}
		defer room.Give(from, 1)
		next.ServeHTTP(w, r)
	})
}

// browsing is what browsers are shown, once there is something.
type browsing struct {
	shown atomic.Pointer[certificate.Shown]
}

func (b *browsing) certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := b.shown.Load()
	if s == nil {
		return nil, errors.New("there is no certificate for browsers yet")
	}
	return s.Certificate(h)
}

// keep makes what is shown, as soon as that is possible, and renews it until ctx ends.
func (b *browsing) keep(ctx context.Context, log *slog.Logger, options func(context.Context) (certificate.Options, error)) {
	for wait := time.Second; ; wait = min(2*wait, renewalInterval) {
		var err error
		if s := b.shown.Load(); s != nil {
			err = s.Renew()
		} else {
			err = b.begin(ctx, options)
		}
		if err == nil {
			wait = renewalInterval
		} else if ctx.Err() == nil {
			log.Warn("no certificate for browsers", "cause", err.Error())
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (b *browsing) begin(ctx context.Context, options func(context.Context) (certificate.Options, error)) error {
	o, err := options(ctx)
	if err != nil {
		return err
	}
	s, err := certificate.New(o)
	if err == nil {
		b.shown.Store(s)
	}
	return err
}

// authorityOf is what the appliance's own authority is made of.
func authorityOf(f flags, a *appliance.Appliance, c *console.Console, device *tpm.Device, log *slog.Logger) func(context.Context) (certificate.Options, error) {
	return func(ctx context.Context) (certificate.Options, error) {
		o := certificate.Options{Machine: "LH-" + c.Host.Short(), Hosts: namesOf(f, log), Rand: rand.Reader, Log: log}
		var err error
		if o.Key, err = device.Authority(); err != nil {
			return o, coded(err)
		}
		kept := func(name string) []byte {
			b, err := os.ReadFile(filepath.Join(f.state, name))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				log.Warn("a file in the state directory cannot be read", "file", name, "cause", err.Error())
			}
			return b
		}
		keep := func(name string) func([]byte) error {
			return func(b []byte) error {
				if b == nil {
					return removeFile(filepath.Join(f.state, name))
				}
				return replaceFile(filepath.Join(f.state, name), b)
			}
		}
		if block, _ := pem.Decode(kept(authorityFile)); block != nil {
			o.Kept = block.Bytes
		}
		o.Keep = func(der []byte) error {
			return keep(authorityFile)(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		}
		o.Site, o.KeepSite, o.Asked, o.KeepAsked, o.Sealer = kept(siteFile), keep(siteFile), kept(askedFile), keep(askedFile), device.Setup()
		o.Now = func() (now time.Time, err error) {
			within, end := context.WithTimeout(ctx, 10*time.Second)
			defer end()
			err = a.Look(within, func(_ *ledger.Ledger, at ledger.Now) { now = at.Wall.Std() })
			return now, err
		}
		return o, nil
	}
}

// namesOf are those that an administrator gave, after the machine's own.
func namesOf(f flags, log *slog.Logger) (hosts []string) {
	own, err := os.Hostname()
	if err != nil {
		log.Warn("the host name is not known", "cause", err.Error())
	}
	for i, name := range append([]string{own}, f.names...) {
		host, ok := certificate.Host(name)
		if ok && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		} else if !ok && i > 0 {
			log.Warn("no certificate can be for this name", "name", name)
		}
	}
	if len(hosts) == 0 {
		hosts = []string{"leasehold"}
	}
	return hosts
}

// replaceFile writes a file so that after a power cut there is the old one or the new one, whole.
func replaceFile(name string, b []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return courier.SyncDirectory(filepath.Dir(name))
}

// removeFile is the same without a new one.
func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return courier.SyncDirectory(filepath.Dir(name))
}

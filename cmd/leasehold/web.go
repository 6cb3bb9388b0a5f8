package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) webCommand() *cobra.Command {
	var port uint16
	var quiet bool
	c := &cobra.Command{
		Use: "web", Short: "Open an appliance's console in the browser of this machine", Args: cobra.NoArgs,
		Long: "Opens the console of the appliance at --server. This program checks the appliance's certificate, by --fingerprint or by the authorities that this machine trusts, and stands between the browser and the appliance: " +
			"nothing has to be installed in the browser, and nobody is asked to trust a certificate by looking at it.\n\n" +
			"The browser asks on this machine only, on a port that is open until the program is ended. Who signs in is asked by the appliance, as everywhere.",
		Example: "  leasehold web --server 10.20.0.15 --fingerprint \"$(cat appliance.sha256)\"",
		RunE: func(c *cobra.Command, _ []string) error {
			host, err := p.appliance()
			if err != nil {
				return err
			}
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
			if err != nil {
				return terminal.Usage("--port %d: %w", port, err)
			}
			between, err := p.between(host, l.Addr().String())
			if err != nil {
				l.Close()
				return err
			}
			if err := between.reach(c.Context()); err != nil {
				l.Close()
				return err
			}
			at := "http://" + l.Addr().String() + "/"
			p.printf("%s\n", at)
			if !quiet {
				p.browse(at)
			}
			return serveUntil(c.Context(), l, between)
		},
	}
	c.Flags().Uint16Var(&port, "port", 0, "`port` on this machine; 0: a free one")
	c.Flags().BoolVar(&quiet, "no-browser", false, "start no browser: the address is on the first line of the output")
	return c
}

// between stands between a browser of this machine and an appliance.
type between struct {
	host  string // of the appliance, with its port
	own   string // of this machine, with the port
	proxy *httputil.ReverseProxy
}

func (p *program) between(host, own string) (*between, error) {
	config, err := p.pinned(host)
	if err != nil {
		return nil, err
	}
	b := &between{host: host, own: own}
	b.proxy = &httputil.ReverseProxy{
		Rewrite:       b.rewrite,
		Transport:     &http.Transport{TLSClientConfig: config, Proxy: nil, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute},
		FlushInterval: -1, // live state is told as it comes
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			no := b.refusal(err)
			http.Error(w, no.Code.String()+" "+no.Sentence()+"\n"+no.Code.Entry().Next, http.StatusBadGateway)
		},
	}
	return b, nil
}

// ServeHTTP answers for this machine's own name only: a page elsewhere may have pointed another name at it.
func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != b.own {
		http.Error(w, "this program answers for "+b.own, http.StatusMisdirectedRequest)
		return
	}
	b.proxy.ServeHTTP(w, r)
}

// rewrite makes a request of the browser one to the appliance, which goes by its own name. What says where a page is from is said of the appliance where it was said of this program, and else left alone.
func (b *between) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", b.host, b.host
	for _, name := range []string{"Origin", "Referer"} {
		at, err := url.Parse(r.In.Header.Get(name))
		if err == nil && at.Scheme == "http" && at.Host == b.own {
			at.Scheme, at.Host = "https", b.host
			r.Out.Header.Set(name, at.String())
		}
	}
	r.Out.Header.Del("X-Forwarded-For")
}

// reach says why the appliance cannot be reached.
func (b *between) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.host+web.Root, nil)
	if err != nil {
		return terminal.Usage("--server %s: %w", b.host, err)
	}
	w, err := b.proxy.Transport.RoundTrip(r)
	if err != nil {
		return b.refusal(err)
	}
	return w.Body.Close()
}

// refusal is what an error of the network comes to.
func (b *between) refusal(err error) *capability.Refusal {
	var no *capability.Refusal
	switch {
	case errors.As(err, &no):
		return no
	case isCertificate(err):
		return capability.Refuse(capability.ErrApplianceCertificate, "", "%s: %v", b.host, cause(err))
	}
	return capability.Refuse(capability.ErrNoDaemon, "", "%s: %v", b.host, cause(err))
}

// serveUntil answers until the context ends.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// browse opens an address in the browser of this machine. Where there is none, the address that was printed is enough.
func (p *program) browse(at string) {
	name, args := "xdg-open", []string{at}
	switch runtime.GOOS {
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", at}
	case "darwin":
		name = "open"
	}
	if err := exec.Command(name, args...).Start(); err != nil {
		p.say("no browser was started: %s\n", err)
	}
}

package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

func (p *program) fingerprintCommand() *cobra.Command {
	return &cobra.Command{
		Use: "fingerprint", Short: "Show the SHA-256 of the certificate that browsers are shown", Args: cobra.NoArgs,
		Long: "Shows the SHA-256 of the certificate that this appliance shows to browsers on the port of clients, to compare with what a browser shows of it.\n\n" +
			"The appliance's own certificate is another one after each start. The one of its authority, which has signed it, stays until the machine is reached at a new address: who trusts that is warned no more. It is at https://HOST:7070/authority.pem, and may name nothing but this machine. " +
			"The authority's key always stays, as it comes from the TPM: it is the one for --fingerprint.",
		RunE: func(c *cobra.Command, _ []string) error {
			var v certificate.View
			if err := p.call(c.Context(), http.MethodGet, "certificate", nil, &v); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, struct {
					terminal.Data
					SHA256    string `json:"sha256"`
					Authority string `json:"authoritySha256"`
					Key       string `json:"authorityKeySha256"`
				}{terminal.NewData("leasehold.fingerprint/1"), v.Fingerprint, v.Authority, v.Key})
			}
			p.printFingerprints(&v)
			return nil
		},
	}
}

func (p *program) printFingerprints(v *certificate.View) {
	p.printf("certificate  %s\n", v.Fingerprint)
	if v.Authority != "" {
		p.printf("authority    %s\nits key      %s\n", v.Authority, v.Key)
	}
}

func (p *program) certificateCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "certificate", Short: "Show what browsers are shown, and have the site's authority sign it", Args: cobra.NoArgs,
		Long: "Without more, the appliance shows browsers a certificate of its own authority, see leasehold-fingerprint(1). A site that has an authority signs one: write a request, bring back what the authority makes of it, and install that. " +
			"It can travel on the stick that other requests travel on.\n\n" +
			"The private key is drawn on the appliance and leaves it never. For the next certificate write the next request in time; the one in use is shown until the next one is installed, without a restart.",
		Example: "  leasehold certificate\n  leasehold certificate request --name licenses.example.org -o /media/usb\n  leasehold certificate install /media/usb/SERVER.CRT",
		RunE: func(c *cobra.Command, _ []string) error {
			var v certificate.View
			if err := p.call(c.Context(), http.MethodGet, "certificate", nil, &v); err != nil {
				return err
			}
			return p.printCertificate(&v)
		},
	}
	c.AddCommand(p.certificateRequest(), p.certificateInstall(), p.certificateRemove())
	return c
}

func (p *program) certificateRequest() *cobra.Command {
	var names []string
	var to string
	c := &cobra.Command{
		Use: "request -o DIR", Short: "Draw a key, and write a request for the site's authority (PKCS #10)", Args: cobra.NoArgs,
		Long: "Writes SERVER.CSR, in PEM. An older request is not answered any more by that.",
		RunE: func(c *cobra.Command, _ []string) error {
			medium, err := courier.Open(to, hostid.ID{})
			if err != nil {
				return terminal.Coded(courier.Code(err), err)
			}
			defer medium.Close()
			var r console.CertificateRequest
			if err := p.call(c.Context(), http.MethodPost, "certificate/request", console.CertificateWish{Names: names}, &r); err != nil {
				return err
			}
			name, err := medium.CertificateRequest([]byte(r.Request))
			if err != nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			path := medium.Path() + string(os.PathSeparator) + name
			if p.json {
				return terminal.JSON(p.out, struct {
					terminal.Data
					File  string   `json:"file"`
					Names []string `json:"names"`
				}{terminal.NewData("leasehold.certificate-request/1"), path, r.Names})
			}
			p.printf("%s\n", path)
			p.say("have it signed for a server by the name %s, and bring back the certificate: leasehold certificate install FILE\n", strings.Join(r.Names, ", "))
			return nil
		},
	}
	c.Flags().StringSliceVar(&names, "name", nil, "`name` that browsers use; may be repeated; else those that the machine goes by")
	c.Flags().StringVarP(&to, "output", "o", "", "`directory` for the request")
	c.MarkFlagRequired("output")
	c.MarkFlagDirname("output")
	return c
}

func (p *program) certificateInstall() *cobra.Command {
	return &cobra.Command{
		Use: "install FILE", Short: "Show the certificate that the site's authority has made", Args: cobra.ExactArgs(1),
		Long: "FILE has the certificate and those above it, in PEM; the site's root is not needed. One for another key or name, or that is not good today, is refused, and what is shown stays.",
		RunE: func(c *cobra.Command, args []string) error {
			b, err := courier.ReadFile(args[0])
			if err != nil {
				return terminal.Coded(courier.Code(err), err)
			}
			var v certificate.View
			if err := p.call(c.Context(), http.MethodPut, "certificate", b, &v); err != nil {
				return err
			}
			return p.printCertificate(&v)
		},
	}
}

func (p *program) certificateRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove", Short: "Show the appliance's own certificate again, and forget the site's and its key", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var v certificate.View
			if err := p.call(c.Context(), http.MethodDelete, "certificate", nil, &v); err != nil {
				return err
			}
			return p.printCertificate(&v)
		},
	}
}

func (p *program) printCertificate(v *certificate.View) error {
	var notes []string
	if v.Asked != "" {
		notes = append(notes, "a certificate of the site's authority is asked for: leasehold certificate install FILE")
	}
	if v.Lost != "" {
		lost := capability.ErrCertificateLost
		notes = append(notes, fmt.Sprintf("%s %s: %s; %s", lost, lost.Entry().Title, v.Lost, lost.Entry().Next))
	}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			certificate.View
		}{terminal.NewData("leasehold.certificate/1", notes...), *v}))
	}
	p.printFingerprints(v)
	p.printf("signed by    %s\n", v.Issuer)
	p.printf("names        %s\n", strings.Join(v.Names, ", "))
	p.printf("good         from %s until %s\n", minute(v.From), minute(v.Until))
	for _, n := range notes {
		p.printf("# %s\n", n)
	}
	return nil
}

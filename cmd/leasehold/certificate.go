package main

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) fingerprintCommand() *cobra.Command {
	return &cobra.Command{
		Use: "fingerprint", Short: "Show the SHA-256 of the certificate that browsers are shown", Args: cobra.NoArgs,
		Long: "Shows the SHA-256 of the certificate that this appliance shows to browsers on the port of clients, to compare with what a browser shows of it.\n\n" +
			"That certificate is another one after each start. The one of the appliance's authority, which has signed it, stays: who trusts that is warned no more. It is at https://HOST:7070/authority.pem, and may name nothing but this machine.",
		RunE: func(c *cobra.Command, _ []string) error {
			var v certificate.View
			if err := p.call(c.Context(), http.MethodGet, "certificate", nil, &v); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, struct {
					terminal.Data
					certificate.View
				}{terminal.NewData("leasehold.fingerprint/1"), v})
			}
			p.printf("certificate  %s\n", v.Fingerprint)
			if v.Authority != "" {
				p.printf("authority    %s\n", v.Authority)
			}
			p.printf("names        %s\n", strings.Join(v.Names, ", "))
			p.printf("good         from %s until %s\n", minute(v.From), minute(v.Until))
			return nil
		},
	}
}

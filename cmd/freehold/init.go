package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// trustData is freehold.trust/1.
type trustData struct {
	terminal.Data
	Producer    string          `json:"producer"`
	Fingerprint string          `json:"fingerprint"` // SHA-256 of the root's two public keys
	Root        wire.PublicKeys `json:"root"`
	File        string          `json:"file,omitempty"` // where the bundle was written
}

func initCommand(f *flags) *cobra.Command {
	var (
		setup             backoffice.Setup
		trust, tier       string
		forks             string
		repairs           int
		binding, dongle   string
		grace             time.Duration
		hardware, virtual []string
		limits            []string
		shipped           bool
		elsewhere         string
	)
	setup.Policy = entitlement.DefaultPolicy("")
	lease, life := setup.Policy.Lease.Duration(), setup.Policy.ResponseLife.Duration()
	c := &cobra.Command{
		Use: "init --producer NAME", Short: "Make the producer's keys and an empty book",
		Long: "Init makes the root key and the first signing key, both sealed with the passphrase, and an empty book. Once done it is never done again in the same directory.\n\n" +
			"The root key is needed only to certify another signing key: copy keys/root.key to two safe places and remove it here. " +
			"The trust bundle holds the root's public keys; it goes into the producer's products and onto every appliance.",
		Example: "  freehold init --producer \"Example Software\" --trust example.lht --hardware-roots tpm-makers.pem",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if setup.Policy.MinimumTier, err = entitlement.ParseTier(tier); err != nil {
				return terminal.Usage("--minimum-tier: %w", err)
			}
			if setup.Policy.Forks, err = entitlement.ParseForkPolicy(forks); err != nil {
				return terminal.Usage("--forks: %w", err)
			}
			if repairs < 0 || repairs > int(entitlement.MaxRepairs) {
				return terminal.Usage("--repairs: %d where 0 to %d are allowed", repairs, entitlement.MaxRepairs)
			}
			setup.Policy.Repairs = entitlement.LimitRepairs(repairs)
			if err := bind(&setup.Policy, binding, dongle, grace); err != nil {
				return err
			}
			if setup.Policy.Limits, err = tierLimits(limits); err != nil {
				return err
			}
			setup.Policy.Lease, setup.Policy.ResponseLife = capability.Seconds(lease.Seconds()), capability.Seconds(life.Seconds())
			if elsewhere != "" {
				if err := rootOf(&setup, elsewhere); err != nil {
					return err
				}
			}
			if err := setup.Policy.Validate(); err != nil {
				return terminal.Usage("%w", err)
			}
			if setup.Hardware, err = readFiles(hardware); err != nil {
				return err
			}
			if setup.Virtual, err = readFiles(virtual); err != nil {
				return err
			}
			if shipped {
				if setup.Shipped, err = backoffice.Shipped(); err != nil {
					return err
				}
			}
			return f.create(c.OutOrStdout(), setup, trust)
		},
	}
	c.Flags().StringVar(&setup.Policy.Producer, "producer", "", "`name` of the producer, as people read it")
	c.Flags().DurationVar(&lease, "lease-interval", lease, "longest `time` from one renewal of a lease to the next, and the hold after a power loss; 1m to 1h")
	c.Flags().DurationVar(&life, "response-lifetime", life, "`time` in which a response file can be applied; 1h to 8784h")
	c.Flags().StringVar(&tier, "minimum-tier", entitlement.Hardware.String(), "lowest `tier` of machines that may hold rights: hardware, virtual or software")
	c.Flags().StringArrayVar(&limits, "tier-limit", nil, "how many copies of an item a machine of a tier may have, and for how long after each response, as `TIER:COPIES:TIME[:PRODUCT]` (virtual:10:30d); may be repeated")
	c.Flags().StringVar(&binding, "binding", hostid.RuleTPM.String(), "`rule` for what an appliance must show beside its TPM: tpm (nothing), secondaries (3 of 5 points: board 2, network cards 2, disk 1), dongle, or proven-dongle, which answers a challenge")
	c.Flags().DurationVar(&grace, "binding-grace", capability.DefaultGrace.Duration(), "`time` for which that may be missing before nothing is served; up to 8784h")
	c.Flags().StringVar(&dongle, "binding-dongle", "", "the dongle, as `VALUE/TYPE`; the first that the appliance shows if absent")
	c.Flags().StringVar(&forks, "forks", entitlement.RefuseForks.String(), "`policy` for a second history of one machine, which is a copy: refuse it, or warn and answer the history that is ahead")
	c.Flags().IntVar(&repairs, "repairs", entitlement.DefaultRepairs.Count(), "`number` of repairs of one machine in 365 days that one person may order; 0 to 100")
	c.Flags().StringSliceVar(&hardware, "hardware-roots", nil, "PEM `files` with the authorities of TPM makers")
	c.Flags().StringSliceVar(&virtual, "virtual-roots", nil, "PEM `files` with the authorities of makers of virtual TPMs")
	c.Flags().BoolVar(&shipped, "shipped-roots", true, "also trust the authorities that ship with freehold: freehold roots names them")
	c.Flags().StringVar(&setup.KeyName, "key-name", "producer-A", "`name` of the first signing key, as inspect shows it")
	c.Flags().StringVar(&trust, "trust", "", "also write the trust bundle to `file`, which must not be there")
	c.Flags().StringVar(&elsewhere, "root-elsewhere", "", "trust `bundle` of a root that was made in a ceremony: no root is made here, and no signing key before one is requested")
	c.MarkFlagsOneRequired("producer", "root-elsewhere")
	return c
}

// rootOf has the back office believe a root that is elsewhere.
func rootOf(s *backoffice.Setup, file string) error {
	b, err := readOurs(file)
	if err != nil {
		return err
	}
	if s.Root, err = wire.New().DecodeTrust(b); err != nil {
		return terminal.Coded(wire.Code(err), err)
	}
	switch s.Policy.Producer {
	case "", s.Root.Producer:
		s.Policy.Producer = s.Root.Producer
	default:
		return terminal.Usage("--producer %q, and the root is that of %q", s.Policy.Producer, s.Root.Producer)
	}
	return nil
}

// bind puts what is asked of an appliance beside its TPM into the policy.
func bind(p *entitlement.Policy, rule, dongle string, grace time.Duration) (err error) {
	if p.Binding, err = hostid.ParseRule(rule); err != nil {
		return terminal.Usage("--binding: %w", err)
	}
	switch s := capability.Seconds(grace / time.Second); {
	case s < 0 || s > capability.MaxGrace:
		return terminal.Usage("--binding-grace %s: want 0 to %s", grace, capability.MaxGrace)
	case s == 0:
		p.Grace = capability.NoGrace
	case s != capability.DefaultGrace:
		p.Grace = s
	}
	if dongle != "" {
		if p.Dongle, err = hostid.Parse(dongle); err != nil {
			return terminal.Usage("--binding-dongle: %w", err)
		}
	}
	return nil
}

func readFiles(names []string) ([][]byte, error) {
	var list [][]byte
	for _, name := range names {
		b, err := readBounded(name)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

func (f *flags) create(w io.Writer, s backoffice.Setup, trust string) error {
	s.Cost = f.cost
	place := backoffice.Dir(f.dir)
	if err := backoffice.Free(place); err != nil {
		return f.coded(err) // before anyone is asked for a passphrase, twice
	}
	if trust != "" && !isAbsent(trust) {
		return terminal.Coded(capability.ErrFileRead, fmt.Errorf("--trust: %s is there already; nothing was changed", trust))
	}
	pass, err := f.passphrase.read(true)
	if err != nil {
		return err
	}
	if len(pass) < backoffice.MinPassphrase {
		return terminal.Usage("the passphrase has %d bytes; at least %d are needed", len(pass), backoffice.MinPassphrase)
	}
	s.By = operator()
	if _, err := backoffice.Create(place, pass, s, now(), rand.Reader); err != nil {
		return f.coded(err)
	}
	if trust != "" {
		if err := f.writeTrust(trust); err != nil {
			return err
		}
	}
	if s.Root != nil {
		return f.printTrust(w, trust, "next: freehold key request --name "+s.KeyName+" -o request.lhk, and take it to the root")
	}
	return f.printTrust(w, trust, "next: keep keys/root.key in two safe places off this machine, then: freehold entitle --help")
}

func trustCommand(f *flags) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "trust", Short: "Show or write the trust bundle, the public keys that products and appliances embed", Args: cobra.NoArgs,
		Long: "The trust bundle names the producer and holds the two public keys of its root. Compare the fingerprint by voice when the bundle travels by an unsafe way. It needs no passphrase.",
		RunE: func(c *cobra.Command, _ []string) error {
			if file != "" {
				if err := f.writeTrust(file); err != nil {
					return err
				}
			}
			return f.printTrust(c.OutOrStdout(), file, "")
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "write the bundle to `file`, which must not be there with other content")
	return c
}

func (f *flags) writeTrust(file string) error {
	b, _, err := backoffice.Trust(backoffice.Dir(f.dir))
	if err != nil {
		return f.coded(err)
	}
	return writeNew(file, b)
}

func (f *flags) printTrust(w io.Writer, file, next string) error {
	_, t, err := backoffice.Trust(backoffice.Dir(f.dir))
	if err != nil {
		return f.coded(err)
	}
	fingerprint := fmt.Sprintf("%x", wire.New().Fingerprint(t.Root))
	if f.json {
		return printJSON(w, trustData{terminal.NewData("freehold.trust/1"), t.Producer, fingerprint, t.Root, file})
	}
	fmt.Fprintf(w, "producer     %s\nfingerprint  %s\n", terminal.Plain(t.Producer), fingerprint)
	if file != "" {
		fmt.Fprintf(w, "written      %s\n", terminal.Plain(file))
	}
	if next != "" {
		fmt.Fprintln(w, next)
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/dongle"
)

// defaultKey is where the credential of a security key is kept. It is no secret, and whoever changes it has another dongle than the one that is bound.
const defaultKey = "/etc/leasehold/security-key.json"

// keys are the security keys that are plugged in, and how one is opened.
type keys struct {
	list func() ([]dongle.Device, error)
	open func(dongle.Device) (*dongle.Key, error)
}

func keysHere() keys {
	return keys{list: func() ([]dongle.Device, error) {
		root, err := os.OpenRoot("/")
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return dongle.List(root)
	}, open: dongle.Open}
}

// keyFlags say which security key is meant, and that it is a new one.
type keyFlags struct {
	file   string
	enroll bool
}

func (k *keyFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&k.file, "key", defaultKey, "`file` with the credential of the security key, which --tell asks to prove itself where there is one")
	c.Flags().BoolVar(&k.enroll, "enroll-key", false, "make the one security key (FIDO2) that is plugged in a dongle that proves itself, and write its credential to the file of --key; it must be touched once")
	c.MarkFlagFilename("key", "json")
}

// enrollKey makes a credential in the one key that is plugged in and writes it to a new file.
func (p *program) enrollKey(ctx context.Context, k keys, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return terminal.Advised(capability.ErrFileSystem, fmt.Errorf("%s is there already", file), "move it away: without it the security key that it is of proves nothing any more")
	}
	h, err := p.health(ctx)
	if err != nil {
		return err
	}
	d, err := theOnly(k)
	if err != nil {
		return err
	}
	key, err := k.open(d)
	if err != nil {
		return terminal.Coded(capability.ErrNotFound, err)
	}
	c, _, err := key.Enroll(ctx, h.Host, func() { p.say("Touch the security key.\n") })
	if err = errors.Join(err, key.Close()); err != nil {
		return terminal.Advised(capability.ErrNotFound, err, "use a FIDO2 key without a PIN for this, and touch it when it blinks")
	}
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, append(b, '\n'), 0o644)); err != nil {
		return terminal.Coded(capability.ErrFileSystem, err)
	}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			Key hostid.ID `json:"key"`
		}{terminal.NewData("leasehold.key/1"), c.HostID()}))
	}
	p.printf("%s\n", c.HostID())
	p.say("The security key is a dongle from now on, by this host ID. Its credential is in %s; leasehold hostid --tell proves it to the daemon.\n", file)
	return nil
}

// theOnly is the one key that is plugged in.
func theOnly(k keys) (dongle.Device, error) {
	all, err := k.list()
	if err != nil {
		return dongle.Device{}, terminal.Coded(capability.ErrNotFound, err)
	}
	var fit []dongle.Device
	var flaws []string
	for _, d := range all {
		if d.Flaw == "" {
			fit = append(fit, d)
		} else {
			flaws = append(flaws, d.Path+" does not count: "+d.Flaw)
		}
	}
	if len(fit) != 1 {
		err := fmt.Errorf("%d security keys are plugged in where one is wanted", len(fit))
		if len(flaws) > 0 {
			err = fmt.Errorf("%w; %s", err, strings.Join(flaws, "; "))
		}
		return dongle.Device{}, terminal.Advised(capability.ErrNotFound, err, "plug in the one to enroll, and pull out the others")
	}
	return fit[0], nil
}

// proveKey lets the security key of a credential prove itself to the daemon, and gives what the machine is then; without a file nothing is proven. That the key does not answer is told
// to the daemon too: it is how it hears within two seconds that one was pulled out.
func (p *program) proveKey(ctx context.Context, k keys, file string, m *console.Machine) error {
	b, err := courier.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && file == defaultKey {
		return nil
	}
	if err != nil {
		return terminal.Coded(courier.Code(err), err)
	}
	var c hostid.Credential
	err = json.Unmarshal(b, &c)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return terminal.Coded(capability.ErrFileForm, fmt.Errorf("%s: %w", file, err))
	}
	var answer hostid.Assertion
	for range 2 { // one that is there may fail once: another program uses it, or its bus is reset
		// They are looked for first: from the question on there are two seconds.
		devices, err := k.list()
		if err != nil {
			p.say("# the security keys that are plugged in cannot be listed: %s\n", err)
		}
		var q hostid.Challenge
		if err := p.call(ctx, http.MethodPost, "hostids/challenge", c, &q); err != nil {
			return err
		}
		if answer, err = dongle.Prove(ctx, devices, k.open, c, q); err == nil {
			break
		}
		answer = hostid.Assertion{}
		p.say("# no proof of the security key: %s\n", err)
	}
	return p.call(ctx, http.MethodPost, "hostids/answer", console.KeyAnswer{Key: c.HostID(), Assertion: answer}, m)
}

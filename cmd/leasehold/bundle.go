package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/cmd/internal/settings"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

const (
	maxPart      = 4 << 20          // bytes of one part: the journal's last lines, or ten thousand line items
	partPatience = 20 * time.Second // for one program of the system
	journalLines = "2000"
)

// piece is one file of a support bundle. What it lacks is said in it, and in missing.
type piece struct {
	Name    string `json:"name"`
	What    string `json:"what"`
	Bytes   int    `json:"bytes"`
	Missing string `json:"missing"` // why it could not be had, or empty
	text    []byte
}

func (p *program) supportBundleCommand() *cobra.Command {
	var out string
	var list, yes bool
	c := &cobra.Command{
		Use: "support-bundle (-o FILE | --list) [--yes]", Short: "Write one file for the producer's support, and say before what is in it", Args: cobra.NoArgs,
		Long: "Collects what support asks for first: how the appliance is, what the doctor says, what is licensed, the settings, and the daemon's last messages. All of it is listed before the file is written, " +
			"and on a terminal it is asked whether to write it; --yes answers that.\n\n" +
			"There are no keys, tokens, codes and passwords in it, no names of users, and of activation IDs the last five symbols only. Names of machines can be: of this one, and of devices that an alarm is about. " +
			"Each part is plain text in a tar archive, to be read before it is sent: tar -xzf FILE.\n\n" +
			"A daemon that does not answer keeps nothing from being written: the parts that it would have told say so.",
		Example: "  leasehold support-bundle --list\n  leasehold support-bundle -o support.tar.gz",
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "-" || (out == "") == !list {
				return terminal.Usage("say which file to write, with -o FILE, or --list to see what would be in it")
			}
			parts := p.parts(c.Context())
			if err := p.listParts(parts, out); err != nil || list {
				return err
			}
			if !yes && p.asks() && !p.agreed("Write "+out+"? [y/N] ") {
				p.say("Nothing was written.\n")
				return nil
			}
			if err := p.put(out, func(w io.Writer) error { return pack(w, parts, time.Now()) }); err != nil {
				return err
			}
			p.say("Written: %s\n", out)
			return nil
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "`file` to write; it must not be there yet")
	c.Flags().BoolVar(&list, "list", false, "say what would be in it, and write nothing")
	c.Flags().BoolVar(&yes, "yes", false, "write without asking")
	c.MarkFlagsMutuallyExclusive("output", "list")
	return c
}

// agreed is a person's yes.
func (p *program) agreed(question string) bool {
	p.say("%s", question)
	var answer string
	if _, err := fmt.Fscanln(p.stdin, &answer); err != nil {
		return false
	}
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

func (p *program) listParts(parts []piece, out string) error {
	if p.json {
		var notes []string
		for _, a := range parts {
			if a.Missing != "" {
				notes = append(notes, a.Name+": "+a.Missing)
			}
		}
		return terminal.JSON(p.out, struct {
			terminal.Data
			File  string  `json:"file"` // empty with --list
			Parts []piece `json:"parts"`
		}{terminal.NewData("leasehold.support-bundle/1", notes...), out, parts})
	}
	return p.table("PART\tBYTES\tWHAT", len(parts), func(i int) string {
		what := parts[i].What
		if parts[i].Missing != "" {
			what += "; not to be had: " + parts[i].Missing
		}
		return fmt.Sprintf("%s\t%d\t%s", parts[i].Name, parts[i].Bytes, what)
	})
}

// parts collects everything, and takes secrets out of each part before anyone sees it.
func (p *program) parts(ctx context.Context) []piece {
	var parts []piece
	add := func(name, what string, text []byte, err error) {
		a := piece{Name: name, What: what}
		if err != nil {
			a.Missing = strings.Join(strings.Fields(redact(err.Error())), " ")
			text = []byte("not to be had: " + a.Missing + "\n")
		}
		if len(text) > maxPart { // the newest is at the end
			text = text[len(text)-maxPart:]
		}
		a.text = []byte(redact(string(text)))
		a.Bytes = len(a.text)
		parts = append(parts, a)
	}
	add("version.txt", "the version of this program and what it was built for", []byte(fmt.Sprintf("leasehold %s\n%s %s/%s\n", terminal.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)), nil)
	for _, a := range []struct{ name, path, what string }{
		{"status.json", "health", "how the appliance is, with its host ID and its alarms"},
		{"doctor.json", "doctor", "what the doctor finds"},
		{"features.json", "features", "what is licensed and how much of it is in use"},
		{"pools.json", "pools", "the named license pools and their counts"},
		{"policies.json", "policies", "the settings"},
		{"time.json", "time", "what time it is for the appliance"},
	} {
		text, err := p.told(ctx, a.path)
		add(a.name, a.what, text, err)
	}
	text, err := configuration()
	add("config.json", "what the configuration files of the daemon set", text, err)
	for _, a := range []struct {
		name, what string
		program    []string
	}{
		{"units.txt", "how systemd runs the daemon and what belongs to it", []string{"systemctl", "status", "--no-pager", "--full", "--lines=0", "leaseholdd.service", "leaseholdd.socket", "leasehold-poll.service", "leasehold-directory.service", "leasehold-hostid.service"}},
		{"journal.txt", "the last " + journalLines + " messages of the daemon", []string{"journalctl", "--no-pager", "--output=short-iso", "--lines=" + journalLines, "--unit=leaseholdd.service", "--unit=leasehold-poll.service", "--unit=leasehold-directory.service", "--unit=leasehold-hostid.service"}},
	} {
		text, err := said(ctx, a.program)
		add(a.name, a.what, text, err)
	}
	for _, a := range []struct{ name, path, what string }{{"os-release.txt", "/etc/os-release", "the operating system"}, {"kernel.txt", "/proc/version", "the kernel"}} {
		text, err := terminal.ReadFile(a.path, maxPart)
		add(a.name, a.what, text, err)
	}
	return parts
}

// told is what the daemon says, as JSON for people.
func (p *program) told(ctx context.Context, path string) ([]byte, error) {
	var raw []byte
	if err := p.call(ctx, http.MethodGet, path, nil, &raw); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func configuration() ([]byte, error) {
	conf, err := settings.Read(settings.Dir)
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(conf, "", "  ")
	return append(b, '\n'), err
}

// said is what a program of the system prints. One that ends with a status of its own has said it all the same.
func said(ctx context.Context, program []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, partPatience)
	defer cancel()
	c := exec.CommandContext(ctx, program[0], program[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	b, err := c.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(b) > 0 {
		err = nil
	}
	return b, err
}

// redact takes out what nobody needs to know to help: activation IDs but for their last five symbols, and what looks like a key, a token, a code or a password. None of
// them should be in what is collected but the activation IDs; the rest is for what others have written into the journal.
func redact(s string) string {
	for _, r := range []struct{ what, instead string }{
		{`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`, "(private key)"},
		{`\b[0-9A-Z]{5}(?:-[0-9A-Z]{5}){4,}\b`, "(key)"},
		{`\b(?:[0-9A-Z]{5}-){3}([0-9A-Z]{5})\b`, "#####-#####-#####-$1"},
		{`\b[a-z]{2}_[-_A-Za-z0-9]{32,}`, "(token)"},
		{`(?i)\b(bearer|basic)\s+[-._~+/0-9a-z]{8,}=*`, "$1 (token)"},
		{`(?i)\b(pass(?:word|phrase)?|token|secret|pin|(?:login|one-time|user)[- ]code)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;"'{}\[\]]{4,})`, "$1$2(taken out)"},
		{`://[^/\s:@]+:[^/\s@]+@`, "://(user)@"},
	} {
		s = regexp.MustCompile(r.what).ReplaceAllString(s, r.instead)
	}
	return s
}

// pack writes the parts as a compressed tar archive, made at a time.
func pack(w io.Writer, parts []piece, now time.Time) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, a := range parts {
		err := t.WriteHeader(&tar.Header{Name: "leasehold-support/" + a.Name, Mode: 0o644, Size: int64(len(a.text)), ModTime: now})
		if err == nil {
			_, err = t.Write(a.text)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

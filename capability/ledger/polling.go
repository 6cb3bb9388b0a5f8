package ledger

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// The settings of the exchange with a back office over the network. Without an address there is none.
const (
	OfficeURL         = "backoffice-url"
	OfficeCertificate = "backoffice-certificate"
	PollPeriod        = "poll-period"
	PollRetries       = "poll-retries"
	PollRetryPeriod   = "poll-retry-period"
)

// Polling says where a back office is asked, and how often.
type Polling struct {
	URL         string             // empty: files are the only link
	Certificate string             // SHA-256 of what it shows, in hexadecimal digits; empty: an authority stands for it
	Period      capability.Seconds // from one exchange to the next
	Retries     uint32             // of one that came to nothing
	RetryPeriod capability.Seconds
}

// Polling are the settings in force.
func (l *Ledger) Polling() Polling {
	number := func(name string) int64 {
		n, err := strconv.ParseInt(l.setting(name), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return Polling{
		URL: l.setting(OfficeURL), Certificate: l.setting(OfficeCertificate),
		Period: capability.Seconds(number(PollPeriod)), Retries: uint32(number(PollRetries)), RetryPeriod: capability.Seconds(number(PollRetryPeriod)),
	}
}

// location is the one form of an HTTPS address, without what could be a secret.
func location(value string) (string, error) {
	if err := capability.CheckText(value); err != nil {
		return "", err
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is no address", value)
	case u.Scheme != "https" || u.Hostname() == "":
		return "", fmt.Errorf("%q where https://HOST:PORT is wanted", value)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("%q with a name, a question or a mark where https://HOST:PORT is wanted", value)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// fingerprint is the one form of a SHA-256, which may be written with colons.
func fingerprint(value string) (string, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
	if err != nil || len(b) != len(capability.Digest{}) {
		return "", fmt.Errorf("%q where a SHA-256 of 64 hexadecimal digits is wanted", value)
	}
	return hex.EncodeToString(b), nil
}

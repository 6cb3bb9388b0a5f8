package main

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability/web"
)

// A certificate is warned of for a month before its end, and after it.
func TestCertificateEnds(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	pem, err := web.NewCertificate([]string{"localhost"}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(pem, pem)
	if err != nil || c.Leaf == nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]string{0: "", c.Leaf.NotAfter.Sub(now) - endsSoon - time.Second: "", c.Leaf.NotAfter.Sub(now) - endsSoon: "it ends 2028-02-16", c.Leaf.NotAfter.Sub(now) + time.Second: "it ended 2028-02-16"} {
		if got := ending(c.Leaf, now.Add(after)); !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
}

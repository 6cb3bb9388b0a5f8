package console

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/dongle"
	"github.com/leasehold/leasehold/hostid/dongle/dongletest"
)

// Root asks for a question, carries it to the security key, and brings the answer; nobody else does, and nothing but the answer counts.
func TestSecurityKeys(t *testing.T) {
	f, err := dongletest.New().Plug()
	if err != nil {
		t.Fatal(err)
	}
	k := dongle.Over(f)
	defer k.Close()
	c, _, err := k.Enroll(t.Context(), hostid.ID{Type: hostid.String, Value: "appliance"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	stranger := told(t, func(Peer) bool { return false })
	for path, body := range map[string]string{"hostids/challenge": text(c), "hostids/answer": text(KeyAnswer{Key: c.HostID()})} {
		if status, p, _ := stranger("POST", Base+path, body); status != http.StatusForbidden || p.Code != capability.ErrForbidden {
			t.Errorf("%s by somebody else: %d %s", path, status, p.Code)
		}
	}

	call := told(t, func(Peer) bool { return true })
	if status, _, b := call("PUT", Base+"hostids", machineJSON(t, finding(hostid.BoardUUID, "B1", ""))); status != http.StatusOK {
		t.Fatal(b)
	}
	for what, body := range map[string]string{"nothing": "{}", "no JSON": "x", "more than there is room for": `{"serial":"` + strings.Repeat("x", maxAnswer) + `"}`, "no point": text(hostid.Credential{ID: []byte{1}, PublicKey: make([]byte, 65)})} {
		if status, _, b := call("POST", Base+"hostids/challenge", body); status < 400 || status >= 500 {
			t.Errorf("a challenge for %s: %d %s", what, status, b)
		}
	}
	status, _, b := call("POST", Base+"hostids/challenge", text(c))
	if status != http.StatusOK {
		t.Fatal(b)
	}
	q := read[hostid.Challenge](t, b)
	a, err := k.Prove(t.Context(), c, q)
	if err != nil {
		t.Fatal(err)
	}
	wrong := hostid.Assertion{AuthenticatorData: a.AuthenticatorData, Signature: a.Signature[:len(a.Signature)-1]}
	if status, p, _ := call("POST", Base+"hostids/answer", text(KeyAnswer{c.HostID(), wrong})); status < 400 || p.Code != capability.ErrBinding {
		t.Errorf("a wrong answer: %d %s", status, p.Code)
	}
	shows := func(b string) bool { return strings.Contains(b, c.HostID().Value) }
	if _, _, b := call("GET", Base+"hostids", ""); shows(b) {
		t.Errorf("proven by a wrong answer: %s", b)
	}
	if status, _, b := call("POST", Base+"hostids/answer", text(KeyAnswer{c.HostID(), a})); status != http.StatusOK {
		t.Errorf("%d %s", status, b)
	}
	if status, p, _ := call("POST", Base+"hostids/answer", text(KeyAnswer{c.HostID(), a})); status < 400 || p.Code != capability.ErrBinding {
		t.Errorf("the same answer again: %d %s", status, p.Code)
	}
	if _, _, b := call("GET", Base+"hostids", ""); !shows(b) {
		t.Errorf("a key that answered is not shown: %s", b)
	}
}

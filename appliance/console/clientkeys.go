package console

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
)

// ClientKey is a registered key of a client, in GET keys. POST keys takes the file of a public key, and answers with it; ?name=NAME says whose it is. DELETE keys/{key} takes the digest.
type ClientKey struct {
	SHA256 string          `json:"sha256"` // of the DER SubjectPublicKeyInfo, in hexadecimal digits: the value of the device's DEVICE_KEY
	Kind   wire.KeyKind    `json:"kind"`
	Name   string          `json:"name,omitempty"`
	Since  capability.Time `json:"since,omitempty"`
}

func (c *Console) keyOperations() []operation {
	return []operation{
		look("keys", c.clientKeys),
		change("POST keys", ledger.ToSet, c.uploadKey),
		change("DELETE keys/{key}", ledger.ToSet, c.removeKey),
	}
}

func clientKeyOf(k ledger.ClientKey) ClientKey {
	return ClientKey{fmt.Sprintf("%X", k.Key), k.Kind, k.Name, k.Since}
}

func clientKeysOf(list []ledger.ClientKey) (out []ClientKey) {
	for _, k := range list {
		out = append(out, clientKeyOf(k))
	}
	return out
}

func (c *Console) clientKeys(r *http.Request) (any, error) {
	out := []ClientKey{}
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) { out = append(out, clientKeysOf(l.ClientKeys())...) })
	return out, err
}

func (c *Console) uploadKey(r *http.Request, by string) (any, error) {
	file, err := io.ReadAll(io.LimitReader(r.Body, wire.MaxKeyFile+1))
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileRead, "", "%v", err)
	}
	return c.registerKey(r.Context(), file, r.URL.Query().Get("name"), by)
}

// registerKey registers the key in a file. What is refused is kept nowhere.
func (c *Console) registerKey(ctx context.Context, file []byte, name, by string) (*ClientKey, error) {
	kind, digest, err := wire.ReadClientKey(file)
	if err != nil {
		return nil, err
	}
	if _, err := c.Appliance.Change(ctx, ledger.RegisterKey{Key: digest, Kind: kind, Name: strings.TrimSpace(name), By: by}, "client key registered", by); err != nil {
		return nil, err
	}
	var out ClientKey
	err = c.Appliance.Look(ctx, func(l *ledger.Ledger, _ ledger.Now) {
		k, _ := l.ClientKey(digest)
		out = clientKeyOf(k)
	})
	return &out, err
}

func (c *Console) removeKey(r *http.Request, by string) (any, error) {
	return struct{}{}, c.endKey(r.Context(), r.PathValue("key"), by)
}

func (c *Console) endKey(ctx context.Context, text, by string) error {
	key, err := keyDigest(text)
	if err == nil {
		_, err = c.Appliance.Change(ctx, ledger.RemoveKey{Key: key, By: by}, "client key removed", by)
	}
	return err
}

// keyDigest reads the digest of a key, in digits of any case.
func keyDigest(text string) (d capability.Digest, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(d) {
		return d, &capability.Malformed{Field: "key", Cause: fmt.Sprintf("%d hexadecimal digits are wanted", 2*len(d))}
	}
	return capability.Digest(b), nil
}

func keyRoutes() []route {
	set := needs(ledger.ToSet)
	return []route{
		{pattern: "GET /keys", gate: needs(ledger.ToSee), do: (*visit).keysPage},
		{pattern: "POST /keys", gate: set, do: (*visit).uploadKeyForm, stands: true},
		{pattern: "POST /keys/remove", gate: set, do: (*visit).removeKeyForm, stands: true},
	}
}

type keysView struct {
	web.Sent
	Table tableView
	Sets  bool
	Only  bool // registered keys are served, and no others
}

func (v *visit) keysPage() error {
	rows, err := got[[]ClientKey](v, v.Console.clientKeys)
	if err != nil {
		return err
	}
	devices, err := got[[]Device](v, v.Console.devices)
	if err != nil {
		return err
	}
	holds := map[string]*Device{}
	for n := range devices {
		if devices[n].Host.Type == "DEVICE_KEY" {
			holds[devices[n].Host.Value] = &devices[n]
		}
	}
	view := keysView{Sent: v.Sent, Sets: v.may(ledger.ToSet)}
	if err := v.look(v.r, func(l *ledger.Ledger, _ ledger.Now) { view.Only = l.ServesRegistered() }); err != nil {
		return err
	}
	columns := []column[ClientKey]{
		{name: "name", title: "Name", text: func(k *ClientKey) string { return k.Name }},
		{name: "kind", title: "Kind", text: func(k *ClientKey) string { return k.Kind.String() }},
		{name: "sha256", title: "SHA-256", id: true, text: func(k *ClientKey) string { return k.SHA256 }, path: func(k *ClientKey) string {
			if d := holds[k.SHA256]; d != nil {
				return devicePath(d.Host)
			}
			return ""
		}},
		{name: "since", title: "Registered", text: func(k *ClientKey) string { return k.Since.String() }, less: byNumber(func(k *ClientKey) capability.Time { return k.Since })},
		{name: "holds", title: "Holds", text: func(k *ClientKey) string {
			if d := holds[k.SHA256]; d != nil {
				return heldFeatures(d)
			}
			return ""
		}},
	}
	if view.Sets {
		columns = append(columns, column[ClientKey]{name: "remove", title: "Remove", form: func(k *ClientKey) *rowForm {
			label := k.Name
			if label == "" {
				label = k.SHA256
			}
			return &rowForm{Path: "/keys/remove", Button: "Remove", Label: "Remove " + label, Hidden: []pair{{"key", k.SHA256}}}
		}})
	}
	view.Table = tableOf(v, "/keys", rows, columns, "No client key is registered.")
	return v.show("keys", "Client Key Operations", view)
}

func (v *visit) uploadKeyForm() error {
	form, files, err := v.uploads()
	if err == nil && len(files) != 1 {
		err = capability.Refuse(capability.ErrForm, "file", "choose the file of one public key")
	}
	if err != nil {
		return v.again(err, (*visit).keysPage)
	}
	return v.again(v.act(func() (string, error) {
		k, err := v.registerKey(v.r.Context(), files[0].Content, form.Get("name"), v.by)
		if err != nil {
			return "", err
		}
		v.say("The %s key %s is registered.", k.Kind, k.SHA256)
		return "/keys", nil
	}), (*visit).keysPage)
}

func (v *visit) removeKeyForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) {
		if err := v.endKey(v.r.Context(), form.Get("key"), v.by); err != nil {
			return "", err
		}
		v.say("The key %s is not registered any more.", strings.ToUpper(form.Get("key")))
		return "/keys", nil
	}), (*visit).keysPage)
}

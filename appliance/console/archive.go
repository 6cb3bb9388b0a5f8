package console

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
)

// Recovery answers GET recovery.
type Recovery struct {
	Storage string          `json:"storage"` // names the trusted storage: in each the numbers begin anew
	Number  uint32          `json:"number"`
	By      string          `json:"by,omitempty"`
	Taken   capability.Time `json:"taken,omitempty"` // zero: nobody has it
}

// RecoveryForm is the body of POST recovery.
type RecoveryForm struct {
	New bool `json:"new,omitempty"` // another key; the one before opens only backups that were made before
}

// RecoveryKey answers POST recovery.
type RecoveryKey struct {
	Storage string                 `json:"storage"`
	Number  uint32                 `json:"number"`
	Key     capability.RecoveryKey `json:"key"`
}

// ArchiveFile is one line of GET backup: a file of the archive, encrypted.
type ArchiveFile struct {
	Name  string `json:"name"`
	Bytes []byte `json:"bytes"`
}

// RestoreForm is the body of POST restore: two files of a backup of this very machine.
type RestoreForm struct {
	Key  []byte `json:"key"`
	Note []byte `json:"note"`
}

// Configuration is the body of PUT configuration and answers GET configuration: what administrators have set, and no right.
type Configuration struct {
	Model        string           `json:"model,omitempty"`
	Reservations []ledger.Group   `json:"reservations,omitempty"`
	Settings     []ledger.Setting `json:"settings,omitempty"`
	ClientKeys   []ClientKey      `json:"clientKeys,omitempty"` // to be registered beside those that are
}

// Configured answers PUT configuration and POST restore.
type Configured struct {
	Changed []string            `json:"changed"`
	Refused []capability.Denial `json:"refused,omitempty"` // what the producer or the rights of this appliance do not allow
}

const maxRestore = 8 << 20 // bytes of the form: a note of 4 MiB in base64

func (c *Console) recovery(r *http.Request) (any, error) {
	var out Recovery
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) { out = recoveryOf(l) })
	return out, err
}

func (c *Console) takeRecovery(r *http.Request, by string) (any, error) {
	var form RecoveryForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	key, err := c.Appliance.RecoveryKey(r.Context(), form.New, by)
	if err != nil {
		return nil, err
	}
	var out Recovery
	err = c.look(r, func(l *ledger.Ledger, _ ledger.Now) { out = recoveryOf(l) })
	return RecoveryKey{out.Storage, out.Number, key}, err
}

func recoveryOf(l *ledger.Ledger) Recovery {
	v := l.Recovery()
	return Recovery{v.Life.Short(), v.Number, v.By, v.Taken}
}

// audit streams the audit trail as a CBOR sequence, from an entry on.
func (c *Console) audit(r *http.Request, w io.Writer) error {
	from := uint64(1)
	if s := r.URL.Query().Get("from"); s != "" {
		var err error
		if from, err = strconv.ParseUint(s, 10, 64); err != nil {
			return &capability.Malformed{Field: "from", Cause: "is not the number of an entry"}
		}
	}
	return c.Appliance.Audit(r.Context(), from, w)
}

func (c *Console) backup(r *http.Request, w io.Writer) error {
	out := json.NewEncoder(w)
	return c.Appliance.Backup(r.Context(), func(name string, b []byte) error { return out.Encode(ArchiveFile{name, b}) })
}

func (c *Console) configuration(r *http.Request) (any, error) {
	var out Configuration
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) { out = ConfigurationOf(l.Configuration()) })
	return out, err
}

// ConfigurationOf is the form of a configuration; the numbers of reservations are left out, as they mean something on their own appliance only.
func ConfigurationOf(c ledger.Configuration) Configuration {
	for i := range c.Groups {
		g := &c.Groups[i]
		g.ID = 0
		for j := range g.Reservations {
			g.Reservations[j].ID = 0
			for k := range g.Reservations[j].Entries {
				g.Reservations[j].Entries[k].ID = 0
			}
		}
	}
	return Configuration{Model: string(c.Model), Reservations: c.Groups, Settings: c.Settings, ClientKeys: clientKeysOf(c.Keys)}
}

func (c *Console) configure(r *http.Request, a asker) (any, error) {
	var form Configuration
	if err := decodeUpTo(maxRestore, r, &form); err != nil {
		return nil, err
	}
	return c.putConfiguration(r, form, a)
}

func (c *Console) restore(r *http.Request, a asker) (any, error) {
	var form RestoreForm
	if err := decodeUpTo(maxRestore, r, &form); err != nil {
		return nil, err
	}
	note, err := c.OpenNote(form.Key, form.Note)
	if err != nil {
		return nil, err
	}
	var conf ledger.Configuration
	if err := wire.New().Decode(note, &conf, maxRestore); err != nil {
		return nil, capability.Refuse(capability.ErrRecovery, "note", "%v", err)
	}
	return c.putConfiguration(r, ConfigurationOf(conf), a)
}

// putConfiguration makes the appliance's configuration this one, part by part: what is refused leaves the rest in force, and is told.
func (c *Console) putConfiguration(r *http.Request, form Configuration, a asker) (*Configured, error) {
	by := a.by
	c.changing.Lock()
	defer c.changing.Unlock()
	if form.Model != "" && len(form.Reservations) > 0 {
		return nil, &capability.Malformed{Field: "model", Cause: "beside reservations"}
	}
	var modeled, reserved bool
	var before []Setting
	if err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) {
		m, _ := l.Model()
		groups, _ := l.Reservations()
		modeled, reserved, before = m != nil, len(groups) > 0, settings(l)
	}); err != nil {
		return nil, err
	}
	out := &Configured{Changed: []string{}}
	change := func(command ledger.Command, what string) error {
		d, err := c.Appliance.Change(r.Context(), command, what+" restored", by)
		if p := ProblemOf(err); err != nil && p.Code != capability.ErrInternal && p.Code != capability.ErrBusy {
			p.Denial.Code = p.Code
			out.Refused = append(out.Refused, p.Denial)
			return nil
		}
		if err == nil && len(d.Entries) > 0 {
			out.Changed = append(out.Changed, what)
		}
		return err
	}
	var commands []ledger.Command
	var names []string
	add := func(command ledger.Command, name string) {
		commands, names = append(commands, command), append(names, name)
	}
	for _, k := range form.ClientKeys { // before a setting serves these alone
		key, err := keyDigest(k.SHA256)
		if err != nil {
			return nil, err
		}
		add(ledger.RegisterKey{Key: key, Kind: k.Kind, Name: k.Name, By: by}, "client key "+k.SHA256)
	}
	for _, s := range form.Settings {
		if ofDirectory(s.Name) && !a.may(ledger.ToAdmit) {
			// Who may restore what is licensed could give himself every role else.
			if !slices.ContainsFunc(before, func(b Setting) bool { return b.Name == s.Name && b.Value == s.Value }) {
				out.Refused = append(out.Refused, refuseDirectory(s.Name).Denial)
			}
			continue
		}
		add(ledger.SetPolicy{Name: s.Name, Value: s.Value, By: by}, s.Name)
	}
	if modeled && form.Model == "" {
		add(ledger.DeleteModel{By: by}, "model")
	}
	if reserved || len(form.Reservations) > 0 {
		add(ledger.SetReservations{Groups: form.Reservations, By: by}, "reservations")
	}
	if form.Model != "" {
		add(ledger.SetModel{Text: []byte(form.Model), By: by}, "model")
	}
	for i, command := range commands {
		if err := change(command, names[i]); err != nil {
			return out, err
		}
	}
	return out, nil
}

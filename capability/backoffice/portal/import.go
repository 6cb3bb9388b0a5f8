package portal

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) importRoutes() []route {
	return []route{
		{pattern: "GET /import", gate: needs(entitlement.ToEntitle), do: (*visit).importPage},
		{pattern: "POST /import", gate: needs(entitlement.ToEntitle), do: (*visit).importTable},
		{pattern: "GET /export/{table}", gate: needs(entitlement.ToReport), do: (*visit).export},
	}
}

type importView struct{ Tables []string }

func (v *visit) importPage() error {
	view := importView{}
	for _, n := range backoffice.Nouns() {
		view.Tables = append(view.Tables, string(n))
	}
	return v.show("import", "Many at once", view)
}

// importTable reads a table into the book: all of it, or nothing.
func (v *visit) importTable() error {
	_, files, err := web.ReadUploads(v.w, v.r)
	if err != nil {
		return err
	}
	done, noun := &backoffice.Imported{}, backoffice.Noun("")
	err = v.act(func(o *backoffice.Office) error {
		if len(files) != 1 {
			return capability.Refuse(capability.ErrForm, "file", "%d files, and one is wanted", len(files))
		}
		n, rows, err := backoffice.ReadTable(files[0].Content)
		if err != nil {
			return fmt.Errorf("%s: %w", files[0].Name, err)
		}
		noun = n
		if done, err = o.Import(n, rows, v.login.Name, v.now); err != nil {
			return fmt.Errorf("%s: %w", files[0].Name, err)
		}
		return nil
	})
	if err != nil {
		return v.again(err, (*visit).importPage)
	}
	if done.Again {
		v.say("This form was sent before, and what it asked for was done then.")
	} else {
		v.say("%s: %d new, %d changed, %d there already.", noun, done.New, done.Changed, done.Same)
	}
	if noun == backoffice.Entitlements {
		return v.goTo("/items")
	}
	return v.goTo("/" + string(noun))
}

// export sends a table of the book, as an import reads it: to a customer its own line items.
func (v *visit) export() error {
	name := v.r.PathValue("table")
	noun, write, kind := backoffice.Noun(""), backoffice.WriteCSV, "text/csv; charset=utf-8"
	for _, n := range backoffice.Nouns() {
		switch name {
		case string(n) + ".csv":
			noun = n
		case string(n) + ".json":
			noun, write, kind = n, backoffice.WriteJSON, "application/json"
		}
	}
	b, err := v.exported(name, noun, write)
	if err != nil {
		return err
	}
	return v.send(name, kind, b)
}

// exported is a table of what who asks may see: for a customer its own line items.
func (v *asker) exported(name string, noun backoffice.Noun, write func(io.Writer, backoffice.Noun, []backoffice.Row) error) ([]byte, error) {
	if !slices.Contains(backoffice.Nouns(), noun) || v.login.Account != "" && noun != backoffice.Entitlements {
		return nil, foreign(name)
	}
	var rows []backoffice.Row
	err := v.read(func(o *backoffice.Office, pause backoffice.Pause) (err error) {
		rows, err = o.RowsInPieces(noun, entitlement.ItemFilter{Within: v.login.Account}, v.now, pause)
		return err
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = write(&b, noun, rows)
	return b.Bytes(), err
}

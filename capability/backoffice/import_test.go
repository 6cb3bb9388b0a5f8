package backoffice

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage/storagetest"
)

const (
	someAccounts = "name,parent,contact,keeps_online\nACME,,'=HYPERLINK(1),\nACME East,ACME,eva,yes\n"
	someProducts = "name,version,features,parts\nRender,2026.1,render:2026.1;export:2=5,\nSuite,,,Render:2026.1=3\n"
	someModels   = "name,state,kind,metered,reusable,undo,limits\nTeam,deployed,floating,,,,return:4:365d\nTokens,deployed,floating,yes,yes,10m,\nOld,inactive,node-locked,,,,\n"
	someItems    = "key,customer,product,product_version,model,features,copies,start,expires,minimum_tier,limits,user,notice\n" +
		"o-1,ACME,Render,2026.1,Team,,40,2026-01-01,2096-03-31,virtual,virtual:10:30d,,\"a \"\"notice\"\", quoted\"\n" +
		"o-2,'-ACME East,Own,,,a%3Bb%3A=2;plain,1,,,,,,\n" +
		"o-3,\"'@x\",Own,,Tokens,tokens,1000,,2096-03-31T12:00:00Z,,,,''=y\n"
)

// importAll imports CSV texts in their order.
func importAll(t testing.TB, o *Office, files ...string) []*Imported {
	t.Helper()
	var all []*Imported
	for _, f := range files {
		n, rows, err := ReadTable([]byte(f))
		if err != nil {
			t.Fatal(err)
		}
		done, err := o.Import(n, rows, "operator", today)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, done)
	}
	return all
}

// tables are those of an office in a form.
func tables(t testing.TB, o *Office, write func(*bytes.Buffer, Noun, []Row) error) (files []string) {
	t.Helper()
	for _, n := range Nouns() {
		var b bytes.Buffer
		if err := write(&b, n, o.Rows(n, entitlement.ItemFilter{}, today)); err != nil {
			t.Fatal(err)
		}
		files = append(files, b.String())
	}
	return files
}

func asCSV(b *bytes.Buffer, n Noun, rows []Row) error  { return WriteCSV(b, n, rows) }
func asJSON(b *bytes.Buffer, n Noun, rows []Row) error { return WriteJSON(b, n, rows) }

// What is exported and imported elsewhere is the same, in both forms; imported where it comes from it changes nothing.
func TestTablesRoundTrip(t *testing.T) {
	_, o := newOffice(t, nil)
	first := importAll(t, o, someAccounts, someProducts, someModels, someItems)
	if first[0].New != 2 || first[1].New != 2 || first[2].New != 3 || first[3].New != 3 || len(first[3].Items) != 3 {
		t.Fatalf("%+v", first)
	}
	v, _ := o.Book().Item(first[3].Items[1], today)
	if want := []entitlement.Feature{{Name: "a;b:", PerCopy: 2}, {Name: "plain", PerCopy: 1}}; v.Customer != "-ACME East" || !reflect.DeepEqual(v.Features, want) || v.EntitlementID != "o-2" {
		t.Errorf("%+v", v.Item)
	}
	if v, _ := o.Book().Item(first[3].Items[2], today); v.Customer != "@x" || !v.Metered || v.UndoInterval != 600 || v.Marks.Notice != "'=y" {
		t.Errorf("%+v", v.Item)
	}
	for name, write := range map[string]func(*bytes.Buffer, Noun, []Row) error{"CSV": asCSV, "JSON": asJSON} {
		before := tables(t, o, write)
		for _, line := range strings.Split(before[3], "\n") {
			for cell := range strings.SplitSeq(line, ",") {
				if name == "CSV" && strings.IndexAny(strings.Trim(cell, `"`), "=+-@\t\r") == 0 {
					t.Errorf("a spreadsheet takes %q for a formula", cell)
				}
			}
		}
		_, length := o.Book().Head()
		for i, done := range importAll(t, o, before...) {
			if done.New+done.Changed != 0 || done.Same == 0 {
				t.Errorf("%s %d, back where it comes from: %+v", name, i, done)
			}
		}
		if _, n := o.Book().Head(); n != length {
			t.Errorf("%s: %d entries more", name, n-length)
		}
		_, other := newOffice(t, nil)
		importAll(t, other, before...)
		if after := tables(t, other, write); !reflect.DeepEqual(before, after) {
			t.Errorf("%s became\n%s\nfrom\n%s", name, after, before)
		}
	}
}

// The same import again is nothing new, also when the first was cut at any group; the same key is the same line item.
func TestImportAgain(t *testing.T) {
	var b strings.Builder
	b.WriteString("key,customer,product,features,copies\n")
	const rows = importGroup + 5
	for n := range rows {
		fmt.Fprintf(&b, "order %d,ACME,Own,f,%d\n", n, n%7+1)
	}
	noun, table, err := ReadTable([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	begin := func() (*storagetest.Machine, Place, *Office) {
		m := storagetest.New(1)
		p := simulated(m)
		if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
			t.Fatal(err)
		}
		return m, p, mustOpen(t, p, m)
	}
	m, _, o := begin()
	m.Plan(nil)
	whole, err := o.Import(noun, table, "operator", today)
	if err != nil || whole.New != rows {
		t.Fatalf("%+v, %v", whole, err)
	}
	steps := len(m.Calls())
	o.Close()
	cut := false
	for n := range steps {
		m, p, o := begin()
		m.Plan(storagetest.At(n, storagetest.Fault{Stop: true, Effect: storagetest.Whole}))
		_, err := o.Import(noun, table, "operator", today)
		if err == nil {
			t.Fatalf("step %d: it ended, and was told", n)
		}
		o.Close()
		m.Plan(nil)
		m.Kill()
		o = mustOpen(t, p, m)
		some, _ := o.Book().Size()
		cut = cut || some == importGroup
		done, err := o.Import(noun, table, "operator", today)
		if err != nil || done.New != rows-some || done.Same != some {
			t.Fatalf("step %d: %+v after %d rows, %v", n, done, some, err)
		}
		verify(t, o, fmt.Sprint("step ", n), 1+rows)
		o.Close()
	}
	if !cut {
		t.Error("no cut was between two groups")
	}
}

func TestImportUnderKey(t *testing.T) {
	_, o := newOffice(t, nil)
	n, rows, err := ReadTable([]byte("key,customer,product,features,copies\na,ACME,Own,f,2\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		o.Once("import 1", capability.Digest{1})
		done, err := o.Import(n, rows, "operator", today)
		if err != nil || done.Again != (i == 1) || len(done.Items) != 1 {
			t.Errorf("time %d: %+v, %v", i, done, err)
		}
	}
	o.Once("import 1", capability.Digest{2})
	if _, err := o.Import(n, rows, "operator", today); Code(err) != capability.ErrKeyUsed {
		t.Errorf("another import under the key: %v", err)
	}
}

// A column that a file does not have says nothing of what is on record; an empty cell says that there is nothing.
func TestImportOfFewColumns(t *testing.T) {
	_, o := newOffice(t, nil)
	importAll(t, o, "name,parent,contact,keeps_online\nACME,,,\nEast,ACME,a@acme,yes\n", "name,kind,state,grace_days\nTeam,floating,deployed,9\n", "name,version,features\nRender,2,render=3\n")
	done := importAll(t, o, "name,contact\nEast,b@acme\n", "name,kind,state\nTeam,floating,inactive\n", "name,version,parts\nRender,2,\n")
	east, _ := o.Book().AccountRecord("East")
	if east != (entitlement.Account{Name: "East", Parent: "ACME", Contact: "b@acme", KeepsOnline: true}) {
		t.Errorf("%+v", east)
	}
	if m, _ := o.Book().Model("Team"); m.GraceDays != 9 || m.State != entitlement.ModelInactive {
		t.Errorf("%+v", m)
	}
	if done[2].Same != 1 {
		t.Errorf("%+v", done[2])
	}
	importAll(t, o, "name,parent\nEast,\n")
	if east, _ := o.Book().AccountRecord("East"); east.Parent != "" || !east.KeepsOnline {
		t.Errorf("%+v", east)
	}
}

// A wrong row is named with its line and column, and nothing is written, whatever rows are before and behind it.
func TestWrongRows(t *testing.T) {
	_, o := newOffice(t, nil)
	importAll(t, o, someAccounts, someProducts, someModels, someItems)
	other := must(capability.NewActivationID(rand.Reader))
	items := "key,customer,product,features,copies,expires,model\ngood,ACME,Own,f,1,,\n"
	_, length := o.Book().Head()
	for name, c := range map[string]struct {
		file, column string
		line         int
	}{
		"empty file":           {"", "", 1},
		"no table":             {"this,that\n1,2\n", "", 1},
		"a column twice":       {"name,name\na,b\n", "name", 1},
		"not UTF-8":            {"name\n\xff\n", "", 1},
		"too few cells":        {items + "a,ACME\n", "", 3},
		"a quote":              {items + "a,\"ACME\"x,Own,f,1,,\n", "", 3},
		"no customer":          {items + "a,,Own,f,1,,\n", "customer", 3},
		"a number":             {items + "a,ACME,Own,f,many,,\n", "copies", 3},
		"too large a number":   {items + "a,ACME,Own,f,4294967296,,\n", "copies", 3},
		"a negative number":    {items + "a,ACME,Own,f,-1,,\n", "copies", 3},
		"a date":               {items + "a,ACME,Own,f,1,soon,\n", "expires", 3},
		"a feature":            {items + "a,ACME,Own,f=0,1,,\n", "features", 3},
		"features without end": {items + "a,ACME,Own," + strings.Repeat("f;", 1<<20) + "f,1,,\n", "features", 3},
		"a version":            {items + "a,ACME,Own,f:x,1,,\n", "features", 3},
		"no key":               {items + ",ACME,Own,f,1,,\n", "key", 3},
		"a key twice":          {items + "good,ACME,Own,f,2,,\n", "key", 3},
		"no copies":            {items + "a,ACME,Own,f,0,,\n", "", 3},
		"expired":              {items + "a,ACME,Own,f,1,2020-01-01,\n", "", 3},
		"a model that is not":  {items + "a,ACME,Own,f,1,,None\n", "", 3},
		"a product that isn't": {items + "a,ACME,None,,1,,\n", "", 3},
		"another's key":        {items + "o-1,ACME,Render,f,41,,\n", "product_version", 3},
		"another number":       {strings.Replace(someItems, ",40,", ",41,", 1), "copies", 2},
		"a wrong ID":           {"activation_id,customer,product,features,copies\n" + string(other[:22]) + "!,ACME,Own,f,1\n", "activation_id", 2},
		"a parent":             {"name,parent\nnew,ACME\nnewer,nobody\n", "", 3},
		"a bundle of itself":   {"name,parts\nA,A\n", "", 2},
		"a deployed model":     {"name,state,kind\nNew,deployed,floating\nTeam,deployed,node-locked\n", "", 3},
		"JSON: schema":         {"{\"schema\": \"other\", \"rows\": []}", "", 1},
		"JSON: column":         {"{\"schema\": \"freehold.accounts-table/1\", \"rows\": [\n{\"name\": \"new\"},\n{\"other\": 1}]}", "other", 3},
		"JSON: twice":          {"{\"schema\": \"freehold.accounts-table/1\", \"rows\": [\n{\"name\": \"new\",\n\"name\": \"newer\"}]}", "name", 3},
		"JSON: a list":         {"{\"schema\": \"freehold.accounts-table/1\", \"rows\": [\n{\"name\": []}]}", "name", 2},
		"JSON: cut":            {"{\"schema\": \"freehold.accounts-table/1\", \"rows\": [\n{\"name\": \"new\"}", "", 2},
		"JSON: more":           {"{\"schema\": \"freehold.accounts-table/1\", \"rows\": [\n]} {}", "", 2},
	} {
		n, rows, err := ReadTable([]byte(c.file))
		if err == nil {
			_, err = o.Import(n, rows, "operator", today)
		}
		row := (*RowError)(nil)
		if !errors.As(err, &row) || row.Line != c.line || row.Column != c.column || Code(err) != capability.ErrRow {
			t.Errorf("%s: %v, want line %d, column %q", name, err, c.line, c.column)
		}
	}
	if _, n := o.Book().Head(); n != length {
		t.Errorf("%d entries more", n-length)
	}
}

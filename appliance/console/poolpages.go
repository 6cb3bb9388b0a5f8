package console

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func poolRoutes() []route {
	see, serve := needs(ledger.ToSee), needs(ledger.ToServe)
	return []route{
		{pattern: "GET /pools", gate: see, do: (*visit).poolList},
		{pattern: "GET /pools/model", gate: see, do: (*visit).modelPage},
		{pattern: "POST /pools/model/check", gate: serve, do: (*visit).checkModelForm, stands: true},
		{pattern: "POST /pools/model", gate: serve, do: (*visit).uploadModelForm, stands: true},
		{pattern: "POST /pools/model/delete", gate: serve, do: (*visit).deleteModelForm, stands: true},
	}
}

func poolTabs(here string) []tab {
	return tabs(here, navLink{"/pools", "Named License Pools"}, navLink{"/pools/model", "Model"})
}

type poolsView struct {
	Tabs   []tab
	Search string
	Hidden []pair
	Total  int
	Pools  []poolView
	Picker []pageLink
	Model  string // name of the one in force
}

// poolView is one pool. Its number is its place among all of them.
type poolView struct {
	Number  int
	Name    string
	Rows    []sliceView
	More    int
	Open    bool
	Reserve bool
}

type sliceView struct{ Feature, Version, Expires, Allocated, Used, Status, Class string }

// poolRowsShown are the features of a pool that are listed where many pools are.
const poolRowsShown = 200

func (v *visit) poolList() error {
	rows, err := got[[]Pool](v, v.Console.pools)
	if err != nil {
		return err
	}
	view := poolsView{Tabs: poolTabs("/pools"), Search: v.query("q")}
	if err := v.look(v.r, func(l *ledger.Ledger, _ ledger.Now) {
		if m, _ := l.Model(); m != nil {
			view.Model = m.Name
		}
	}); err != nil {
		return err
	}
	text := strings.ToLower(strings.TrimSpace(view.Search))
	all, at := []poolView(nil), map[string]int{}
	for _, p := range rows {
		n, known := at[p.Pool]
		if !known {
			n = len(all)
			at[p.Pool] = n
			all = append(all, poolView{Number: n + 1, Name: p.Pool, Open: v.query("pool") == p.Pool})
		}
		if text != "" && !strings.Contains(strings.ToLower(p.Pool+"\x00"+p.Feature+"\x00"+p.Version.String()+"\x00"+p.Status), text) {
			continue
		}
		if pool := &all[n]; len(pool.Rows) == poolRowsShown && !pool.Open {
			pool.More++
		} else {
			pool.Rows = append(pool.Rows, sliceOf(&p))
		}
	}
	if text != "" {
		all = slices.DeleteFunc(all, func(p poolView) bool { return len(p.Rows) == 0 })
	}
	size := v.pageSize()
	view.Total = len(all)
	pages := max(1, (len(all)+size-1)/size)
	page, _ := strconv.Atoi(v.query("page"))
	page = min(max(page, 1), pages)
	view.Pools = all[(page-1)*size : min(page*size, len(all))]
	view.Picker = picker(page, pages, func(n int) string { return web.PathTo("/pools", "q", view.Search, "page", strconv.Itoa(n)) })
	return v.show("pools", "Named License Pools", view)
}

func sliceOf(p *Pool) sliceView {
	allocated := counted(p.Count)
	if p.Uncounted {
		allocated = "uncounted"
	}
	status := p.Status
	if status == "valid" {
		status = "normal"
	}
	if p.Computed > p.Count {
		status += ", of " + counted(p.Computed) + " that it is due"
	}
	class := statusClass(p.Status)
	return sliceView{p.Feature, p.Version.String(), expiry(p.Expiry), allocated, counted(p.Used), status, class}
}

type modelView struct {
	web.Sent
	Tabs      []tab
	Name      string
	Text      string
	Serves    bool
	Reserved  bool        // reservations exist, so that no model can be in force
	Check     *ModelCheck // of the text that was sent
	Tried     string
	Converted bool
}

func (v *visit) modelPage() error { return v.modelWith(nil, "") }

// modelWith is the page of the model, with what a dry run of a text said.
func (v *visit) modelWith(check *ModelCheck, tried string) error {
	view := modelView{Sent: v.Sent, Tabs: poolTabs("/pools/model"), Serves: v.may(ledger.ToServe), Check: check, Tried: tried}
	if tried == "" && v.Action != "" {
		view.Tried = v.Filled.Get("text")
	}
	err := v.look(v.r, func(l *ledger.Ledger, _ ledger.Now) {
		if m, text := l.Model(); m != nil {
			view.Name, view.Text = m.Name, string(text)
		}
		groups, _ := l.Reservations()
		view.Reserved = len(groups) > 0
	})
	if err != nil {
		return err
	}
	if v.query("from") == "reservations" && view.Tried == "" {
		m, err := got[*Model](v, v.Console.reservationsAsModel)
		if err != nil {
			return err
		}
		view.Tried, view.Converted = m.Text, true
	}
	return v.show("model", "Named License Pools", view)
}

// modelText is the text of a model that a form brings: of its file, or else as it was typed. Browsers send lines of a text that end as on Windows.
func (v *visit) modelText() (string, error) {
	form, files, err := v.uploads()
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if len(f.Content) > 0 {
			v.r.PostForm.Set("text", string(f.Content))
			return string(f.Content), nil
		}
	}
	text := strings.ReplaceAll(form.Get("text"), "\r\n", "\n")
	if strings.TrimSpace(text) == "" {
		return "", capability.Refuse(capability.ErrForm, "file", "choose a model definition file, or type its text")
	}
	return text, nil
}

func (v *visit) checkModelForm() error {
	text, err := v.modelText()
	if err != nil {
		return v.again(err, (*visit).modelPage)
	}
	out, err := v.dryRun(v.r, []byte(text))
	if err != nil {
		return v.again(err, (*visit).modelPage)
	}
	return v.modelWith(out, text)
}

func (v *visit) uploadModelForm() error {
	text, err := v.modelText()
	if err != nil {
		return v.again(err, (*visit).modelPage)
	}
	err = v.act(func() (string, error) {
		out, err := v.putModel(v.r, []byte(text), v.by)
		if err != nil {
			return "", err
		}
		v.say("The model is in force: %s, %s moved.", capability.Counted(len(out.Findings), "finding"), capability.Counted(len(out.Moves), "lease"))
		return "/pools", nil
	})
	if r := (*capability.Refusal)(nil); errors.As(err, &r) && r.Code == capability.ErrModel {
		// Where the text is wrong is said by a dry run.
		if out, tried := v.dryRun(v.r, []byte(text)); tried == nil {
			v.Sent = web.Sent{Refused: err, Action: v.r.URL.Path, Filled: v.r.PostForm}
			return v.modelWith(out, text)
		}
	}
	return v.again(err, (*visit).modelPage)
}

func (v *visit) deleteModelForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if form.Get("sure") != "yes" {
		return v.again(capability.Refuse(capability.ErrForm, "sure", "say that it shall be deleted"), (*visit).modelPage)
	}
	return v.again(v.act(func() (string, error) {
		if _, err := v.deleteModel(v.r, v.by); err != nil {
			return "", err
		}
		v.say("The model is deleted: all counts are in the default pool.")
		return "/pools/model", nil
	}), (*visit).modelPage)
}

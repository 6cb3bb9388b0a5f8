package portal

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// A response is named by the digest of the request that it answers, and comes out of the book as it was handed out: as a file, as text, as codes for a camera, or with others in an archive for a stick.

// response is the one that the path names.
func (v *asker) response() (r *backoffice.Result, err error) {
	name := v.r.PathValue("request")
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(capability.Digest{}) {
		return nil, foreign(name)
	}
	return r, v.office(func(o *backoffice.Office) error {
		host, _, err := o.Book().AnswerTo(capability.Digest(b))
		if host == (hostid.ID{}) || !v.within(o, o.Book().OwnerOf(host)) {
			return foreign(name)
		}
		if err != nil {
			return err
		}
		r, err = o.Response(capability.Digest(b))
		return err
	})
}

func hexOf(d capability.Digest) string { return hex.EncodeToString(d[:]) }

// send writes a file that the browser keeps.
func (v *visit) send(name, kind string, content []byte) error {
	h := v.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	h.Set("Content-Length", strconv.Itoa(len(content)))
	v.w.WriteHeader(http.StatusOK)
	v.w.Write(content)
	return nil
}

func (v *visit) responseFile() error {
	r, err := v.response()
	if err != nil {
		return err
	}
	return v.send(r.Name, "application/vnd.leasehold.response+cose", r.File)
}

type responseView struct {
	Request, Host, Short, Name string
	Serial                     uint64
	Text                       string
	Frames                     []int
}

func (v *visit) responseView(r *backoffice.Result) responseView {
	return responseView{Request: v.r.PathValue("request"), Host: r.Host.String(), Short: r.Host.Short(), Name: r.Name, Serial: r.Serial}
}

func (v *visit) responseText() error {
	r, err := v.response()
	if err != nil {
		return err
	}
	view := v.responseView(r)
	view.Text = wire.Text(r.File)
	return v.show("text", "Response as text", view)
}

func (v *visit) responseCodes() error {
	r, err := v.response()
	if err != nil {
		return err
	}
	view := v.responseView(r)
	for n := range frames(r.File) {
		view.Frames = append(view.Frames, n+1)
	}
	return v.show("codes", "Response as QR codes", view)
}

func (v *visit) responseCode() error {
	r, err := v.response()
	if err != nil {
		return err
	}
	list := frames(r.File)
	n, err := strconv.Atoi(v.r.PathValue("frame"))
	if err != nil || n < 1 || n > len(list) {
		return foreign(v.r.URL.Path)
	}
	image, err := picture(list[n-1])
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "image/svg+xml")
	v.w.Write(image)
	return nil
}

// inboxZip is everything that was created and lies in the tray, laid out for the stick.
func (v *visit) inboxZip() error {
	var list []*backoffice.Result
	for _, f := range v.p.trays.take(trayOf(&v.login)) {
		if f.answer != nil {
			list = append(list, f.answer)
		}
	}
	if len(list) == 0 {
		return capability.Refuse(capability.ErrNotFound, "responses.zip", "no response lies here: drop the requests again")
	}
	b, err := stick(list)
	if err != nil {
		return err
	}
	return v.send("responses.zip", "application/zip", b)
}

// stick is an archive to unpack on a stick: the folder LEASEHOLD, in it one of each machine, as the machines make them. Importers look at content and never at names, so that two machines of one short name,
// or two responses of one number, only need to differ.
func stick(list []*backoffice.Result) ([]byte, error) {
	var b bytes.Buffer
	z, of, taken := zip.NewWriter(&b), map[string]hostid.ID{}, map[string]bool{}
	for _, r := range list {
		short := strings.ReplaceAll(r.Host.Short(), "-", "")
		folder := short
		for n := 2; of[folder] != (hostid.ID{}) && of[folder] != r.Host; n++ {
			folder = fmt.Sprintf("%s.%03d", short, n)
		}
		of[folder] = r.Host
		name := path.Join("LEASEHOLD", folder, r.Name)
		for n := 2; taken[name]; n++ {
			name = path.Join("LEASEHOLD", folder, fmt.Sprintf("R%02d%s", n, r.Name[3:]))
		}
		taken[name] = true
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: r.Made.Std()})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(r.File); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

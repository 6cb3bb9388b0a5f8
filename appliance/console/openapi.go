package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/hostid"
)

// The API describes itself: GET openapi.json is its OpenAPI 3.1 document, made from the table below and from the types that are read and written.

// described is what the document says of an operation: what it does, what its body is, what it answers with, and what its address may ask. A body or an answer of bytes is the kind of the bytes.
type described struct {
	summary string
	takes   any
	answers any
	query   []string
}

// octets are a body or an answer of bytes, by their kind.
type octets string

// descriptions are those of all operations, by their patterns.
func descriptions() map[string]described {
	const file = octets("application/octet-stream")
	reportQuery := []string{"feature", "from", "to", "by", "count"}
	return map[string]described{
		"GET openapi.json": {"This document", nil, octets("application/openapi+json"), nil},
		"GET health":       {"The state, what stands in the way, and how much is in use", nil, Health{}, nil},
		"GET features":     {"The line items: what is licensed, and how much of it is in use", nil, []Feature{}, nil},
		"GET devices":      {"Devices that hold something", nil, []Device{}, nil},
		"GET doctor":       {"An examination of storage, TPM and clock", nil, []Examination{}, nil},
		"GET trust":        {"The producer's trust bundle, as clients need it", nil, file, nil},

		"GET session":                        {"Who asks, and what they may", nil, Session{}, nil},
		"POST session":                       {"Sign in, for a token that is good for a while", SignInForm{}, SignedIn{}, nil},
		"DELETE session":                     {"Sign out", nil, struct{}{}, nil},
		"PUT password":                       {"Change the own password", PasswordForm{}, User{}, nil},
		"POST tokens":                        {"Make a token of one's own", TokenForm{}, NewToken{}, nil},
		"DELETE tokens/{token}":              {"End a token of one's own", CurrentForm{}, struct{}{}, nil},
		"GET first-login":                    {"The code for the first login", nil, FirstLogin{}, nil},
		"POST first-login":                   {"Make the first login", FirstLoginForm{}, User{}, nil},
		"GET users":                          {"The logins", nil, []User{}, nil},
		"POST users":                         {"Make a login", UserForm{}, User{}, nil},
		"GET users/{name}":                   {"A login", nil, User{}, nil},
		"PUT users/{name}":                   {"Change a login", UserForm{}, User{}, nil},
		"DELETE users/{name}":                {"Remove a login with its tokens", CurrentForm{}, struct{}{}, nil},
		"POST users/{name}/tokens":           {"Make a token of somebody's login", TokenForm{}, NewToken{}, nil},
		"DELETE users/{name}/tokens/{token}": {"End a token of somebody's login", CurrentForm{}, struct{}{}, nil},

		"GET directory": {"The directory of the site that judges sign-ins too, and whether it is asked", nil, DirectoryState{}, nil},
		"PUT directory": {"Change a setting of it", DirectoryForm{}, DirectoryState{}, nil},

		"GET certificate":          {"The certificate that browsers are shown", nil, certificate.View{}, nil},
		"POST certificate/request": {"Ask for a certificate of the site's own authority", CertificateWish{}, CertificateRequest{}, nil},
		"PUT certificate":          {"Show the certificate of the site's own authority: its chain in PEM", octets("application/x-pem-file"), certificate.View{}, nil},
		"DELETE certificate":       {"Show the certificate of the appliance's own authority again", nil, certificate.View{}, nil},

		"POST requests":      {"Write a request file", Wish{}, Written{}, nil},
		"POST responses":     {"Apply a response file", file, Imported{}, nil},
		"POST answers":       {"Answer the request file of a PC that no wire leads to", file, Answered{}, nil},
		"POST returns":       {"Return copies of an activation ID", Giving{}, capability.Return{}, nil},
		"GET drains":         {"Returns that have begun", nil, []Draining{}, nil},
		"POST drains":        {"Serve copies no more, so that they can be returned", Drain{}, Draining{}, nil},
		"POST drains/cancel": {"Serve them again", Drain{}, Draining{}, nil},
		"POST drops":         {"End a lease: it is not renewed", Drop{}, Holding{}, nil},

		"GET time":  {"What is held of the clock", nil, Clock{}, nil},
		"POST time": {"State what time it is", ClockForm{}, Clock{}, nil},

		"GET hostids":            {"The host IDs of the machine, and what it is bound to", nil, Machine{}, nil},
		"PUT hostids":            {"Tell what the machine shows; for the appliance's own programs", hostid.Machine{}, Machine{}, nil},
		"PUT hostids/eventlog":   {"Hand over the log of the firmware; for the appliance's own programs", file, Machine{}, nil},
		"POST hostids/challenge": {"Ask for a question to a security key; for the appliance's own programs", hostid.Credential{}, hostid.Challenge{}, nil},
		"POST hostids/answer":    {"Answer it; for the appliance's own programs", KeyAnswer{}, Machine{}, nil},
		"POST hostids/planned":   {"Say that the machine is about to change", nil, Machine{}, nil},

		"POST updates/check":  {"Judge an update of the image; for the appliance's own programs", file, Updating{}, nil},
		"POST updates":        {"Make ready for an update of the image; for the appliance's own programs", file, Updating{}, nil},
		"POST updates/proved": {"Say that the image has started well; for the appliance's own programs", Proving{}, Proved{}, nil},

		"GET recovery":      {"Who has the recovery key", nil, Recovery{}, nil},
		"POST recovery":     {"Show the recovery key, once, or make another", RecoveryForm{}, RecoveryKey{}, nil},
		"GET configuration": {"Model, reservations, settings and registered keys", nil, Configuration{}, nil},
		"PUT configuration": {"Make them these", Configuration{}, Configured{}, nil},
		"POST restore":      {"Take them from a backup of this machine", RestoreForm{}, Configured{}, nil},
		"GET audit":         {"The audit trail: the entries, as a CBOR sequence", nil, octets("application/cbor-seq"), []string{"from"}},
		"GET backup":        {"A backup: a file on each line, encrypted", nil, octets("application/x-ndjson"), nil},

		"GET keys":          {"The registered keys of clients", nil, []ClientKey{}, nil},
		"POST keys":         {"Register a client's public key: its DER", file, ClientKey{}, []string{"name"}},
		"DELETE keys/{key}": {"End a registration, by the SHA-256 of the key", nil, struct{}{}, nil},

		"GET poll":          {"When the back office is asked over the network, and what came of it", nil, Polling{}, []string{"done"}},
		"POST poll/refresh": {"Ask it now", Wish{}, Polling{}, nil},

		"GET model":                {"The model in force", nil, Model{}, nil},
		"POST model/check":         {"What a model would do", octets("text/plain"), ModelCheck{}, nil},
		"PUT model":                {"Put a model in force", octets("text/plain"), ModelCheck{}, nil},
		"DELETE model":             {"Do without a model", nil, Model{}, nil},
		"GET pools":                {"What each pool holds", nil, []Pool{}, nil},
		"GET reservations":         {"The reservations and their state", nil, []Reserved{}, nil},
		"GET reservations/model":   {"The reservations as a model", nil, Model{}, nil},
		"POST reservations":        {"Add a reservation", Reserved{}, []Reserved{}, nil},
		"PUT reservations":         {"Make the reservations these", []Reserved{}, []Reserved{}, nil},
		"POST reservations/edit":   {"Change a reservation, or a group, in place", ReservedEdit{}, []Reserved{}, nil},
		"DELETE reservations/{id}": {"Delete an entry, all that a host has in a group, or a group", nil, []Reserved{}, nil},
		"GET policies":             {"The settings, and who may change them", nil, []Setting{}, nil},
		"POST policies":            {"Change a setting", SettingForm{}, Setting{}, nil},
		"GET seats":                {"Who holds what, the longest idle first, and who waits", nil, Seats{}, []string{"feature", "idle"}},
		"POST seats/disconnect":    {"End what nobody has used for so long", Disconnect{}, Disconnected{}, nil},
		"GET reports":              {"The reports that there are", nil, Reports{}, nil},
		"GET reports/{report}":     {"A report", nil, Report{}, reportQuery},
		"GET reports/{report}/csv": {"A report for a spreadsheet", nil, octets("text/csv"), reportQuery},
		"GET reports/{report}/svg": {"A report as a picture", nil, octets("image/svg+xml"), reportQuery},
	}
}

// document writes the document.
func (c *Console) document(_ *http.Request, w io.Writer) error {
	b, err := document(c.operations())
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// document is the OpenAPI document of these operations.
func document(operations []operation) ([]byte, error) {
	schemas := huma.NewMapRegistry("#/components/schemas/", schemaName)
	for _, t := range []reflect.Type{reflect.TypeFor[capability.Digest](), reflect.TypeFor[capability.LifeID](), reflect.TypeFor[capability.ReturnID](), reflect.TypeFor[capability.CorrelationID]()} {
		schemas.RegisterTypeAlias(t, reflect.TypeFor[[]uint16]()) // JSON shows their bytes as numbers
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Leasehold", Version: "1", Description: "The appliance for programs. Times are seconds since 1970, lengths of time seconds. Bodies are JSON, or CBOR with the same names where Accept or Content-Type say application/cbor. " +
			"On the Unix socket the kernel says who asks; over the network a token does."},
		Servers: []*huma.Server{{URL: strings.TrimSuffix(Base, "/")}},
		Components: &huma.Components{Schemas: schemas, SecuritySchemes: map[string]*huma.SecurityScheme{
			"token": {Type: "http", Scheme: "bearer", Description: "made by leasehold users token, or by signing in"},
		}},
	}
	all := descriptions()
	refused := schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	for _, op := range operations {
		d, said := all[op.pattern]
		if !said {
			return nil, fmt.Errorf("nothing says what %s does", op.pattern)
		}
		doc.AddOperation(d.operation(op, schemas, refused))
	}
	return json.Marshal(doc)
}

// schemaName tells types of the same name apart: those of other packages have the package in front.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if pkg := path.Base(t.PkgPath()); t.Name() != "" && t.PkgPath() != reflect.TypeFor[Problem]().PkgPath() {
		return strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	return name
}

// operation is what the document says of one.
func (d described) operation(op operation, schemas huma.Registry, refused *huma.Schema) *huma.Operation {
	method, at, _ := strings.Cut(op.pattern, " ")
	id := strings.ToLower(method) + "-" + strings.NewReplacer("/", "-", "{", "", "}", "", ".", "-").Replace(at)
	tag, _, _ := strings.Cut(at, "/")
	o := &huma.Operation{
		OperationID: id, Method: method, Path: "/" + at, Summary: d.summary, Tags: []string{tag}, Description: fmt.Sprintf("For: %s.", op.gate),
		Responses: map[string]*huma.Response{"200": {Description: "done", Content: d.content(d.answers, schemas, id+"Answer")}},
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		o.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: refused}, "application/problem+cbor": {Schema: refused}}}
	}
	if d.takes != nil {
		o.RequestBody = &huma.RequestBody{Required: true, Content: d.content(d.takes, schemas, id+"Form")}
	}
	if op.gate != anyone {
		o.Security = []map[string][]string{{"token": {}}}
	}
	param := func(name, in string, must bool) {
		o.Parameters = append(o.Parameters, &huma.Param{Name: name, In: in, Required: must, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	for part := range strings.SplitSeq(at, "/") {
		if name := strings.Trim(part, "{}"); name != part {
			param(name, "path", true)
		}
	}
	for _, name := range d.query {
		param(name, "query", false)
	}
	if method == http.MethodPost {
		param("Idempotency-Key", "header", false)
	}
	slices.SortStableFunc(o.Parameters, func(a, b *huma.Param) int { return cmp.Compare(b.In, a.In) })
	return o
}

// content is a body: a value in either form, or bytes of a kind.
func (d described) content(v any, schemas huma.Registry, name string) map[string]*huma.MediaType {
	if kind, is := v.(octets); is {
		return map[string]*huma.MediaType{string(kind): {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	}
	schema := schemas.Schema(reflect.TypeOf(v), true, name)
	return map[string]*huma.MediaType{"application/json": {Schema: schema}, web.CBORType: {Schema: schema}}
}

package backoffice

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage"
)

// Two signed requests with one number prove that a machine was copied, to whoever doubts the producer's word too. So the file of every request that was
// answered is kept beside its response, and the file of one that was refused as a whole under evidence/, as many as the book keeps incidents of a machine.
// There too is the file that a proposal is about, as long as somebody may approve it, and the one that a question is about, as long as it is open.

// record keeps a refused request: its file, then the book's entry. A cut between leaves a file that no entry names; the same request again puts it in its place.
func (o *Office) record(file []byte, request capability.Digest, entries []*entitlement.Entry) error {
	if err := o.putBy(file, request); err != nil {
		return err
	}
	return o.commit(entries...)
}

// putBy puts the file of a request under evidence/, where there is a place for it.
func (o *Office) putBy(file []byte, request capability.Digest) error {
	if o.place.Evidence == nil {
		return nil
	}
	if o.place.make != nil { // a back office from before there was evidence has no place for it
		if err := o.place.make(); err != nil {
			return fmt.Errorf("make a place for evidence: %w: %w", ErrWrite, err)
		}
	}
	return put(o.place.Evidence, requestName(request), file)
}

func requestName(request capability.Digest) string { return fmt.Sprintf("%x.lhq", request[:]) }

// RequestFile says where, in the directory of the back office, the signed file of a request is; empty where it is not, or is not that request's any more.
func (o *Office) RequestFile(request capability.Digest) string {
	name := requestName(request)
	for _, place := range []struct {
		dir  string
		disk storage.Disk
	}{{"evidence", o.place.Evidence}, {"responses", o.place.Responses}} {
		if place.disk == nil {
			continue
		}
		file, err := place.disk.Read(name, capability.MaxFile)
		if err != nil {
			continue
		}
		if s, err := o.codec.ReadRequest(file); err == nil && s.Digest == request {
			return place.dir + "/" + name
		}
	}
	return ""
}

// contradiction is what the incident of a request says.
func contradiction(h *entitlement.Host, request capability.Digest) string {
	for _, i := range h.Incidents {
		if i.Digest == request {
			return i.Detail
		}
	}
	return "it contradicted the record"
}

// Quoted is the boot state that a request file proves its machine to run in (the values of PCR 7, 11 and 12), and whose file it is.
func (o *Office) Quoted(file []byte) (hostid.ID, []byte, error) {
	signed, id, err := o.judge(file)
	if err != nil {
		return hostid.ID{}, nil, err
	}
	return signed.Request.Hosts[0], id.PCRs, nil
}

package console

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/leasehold/leasehold/capability"
)

// What a program sends with an Idempotency-Key is done once, however often it is sent, and answered alike: the answer may have been lost on the way. Keys belong to who asks. They are remembered while the daemon
// runs, the latest of them; what must not happen twice over a restart is stated as what shall be, and not as one more.

const (
	maxKey       = 100      // bytes of a key
	maxDone      = 1000     // keys that are remembered
	maxDoneBytes = 64 << 10 // of an answer: a longer one is not kept, and its key cannot be used again
	maxKept      = 4 << 20  // of all answers
)

// again are the requests that had a key.
type again struct {
	mu    sync.Mutex
	key   []byte // drawn when it is first needed: what is remembered of a body says nothing of a password in it
	done  map[doneKey]*doneOnce
	order []doneKey
	bytes int // of the answers that are kept
}

type doneKey struct{ who, key string }

// doneOnce is one request, and its answer once there is one.
type doneOnce struct {
	asked  [sha256.Size]byte
	ended  chan struct{}
	status int
	header http.Header
	body   []byte
	lost   bool // the answer was too long, or is shown once
	kept   int  // bytes of the body, once they are counted
}

// once answers a request that has a key with what was answered the first time, or has f answer. Secret says that the answer is not to be kept.
func (g *again) once(w http.ResponseWriter, r *http.Request, a asker, secret bool, f http.HandlerFunc) error {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || r.Method != http.MethodPost || a.by == "" { // strangers have nothing in common, and fill no memory
		f(w, r)
		return nil
	}
	if err := capability.CheckName("Idempotency-Key", key); err != nil || len(key) > maxKey {
		return &capability.Malformed{Field: "Idempotency-Key", Cause: fmt.Sprintf("1 to %d bytes of text are wanted", maxKey)}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRestore))
	if err != nil {
		return &capability.Malformed{Field: "body", Cause: err.Error()}
	}
	h := hmac.New(sha256.New, g.secret())
	for _, part := range [][]byte{[]byte(r.URL.RequestURI()), []byte(r.Header.Get("Content-Type")), []byte(r.Header.Get("Accept")), b} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	k := doneKey{owner(a), key}
	d, first := g.of(k, [sha256.Size]byte(h.Sum(nil)))
	if d == nil {
		return capability.Refuse(capability.ErrKeyUsed, "Idempotency-Key", "")
	}
	if first {
		defer close(d.ended)
		kept := &keptAnswer{ResponseWriter: w, status: http.StatusOK}
		d.lost = true // until it is known
		r.Body = io.NopCloser(bytes.NewReader(b))
		f(kept, r)
		if d.status, d.header, d.body, d.lost = kept.status, w.Header().Clone(), kept.body, secret || kept.long; d.lost {
			d.body = nil
		}
		g.keep(k, d)
		return nil
	}
	select {
	case <-d.ended:
	case <-r.Context().Done():
		return capability.Refuse(capability.ErrBusy, "", "the same is being done")
	}
	if d.lost {
		return capability.Refuse(capability.ErrKeyUsed, "Idempotency-Key", "it was done, and its answer is not shown again")
	}
	for name, values := range d.header {
		w.Header()[name] = values
	}
	w.WriteHeader(d.status)
	w.Write(d.body)
	return nil
}

// owner is whose keys somebody uses: on the Unix socket an account's, whichever program asks.
func owner(a asker) string {
	if a.guest != "" {
		return a.guest
	}
	account, _, _ := strings.Cut(a.by, " (")
	return account
}

func (g *again) secret() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.key == nil {
		g.key = make([]byte, sha256.Size)
		rand.Read(g.key)
	}
	return g.key
}

// keep counts what an answer takes, and makes room for it. Of what nothing came, the same may be tried again.
func (g *again) keep(k doneKey, d *doneOnce) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done[k] != d {
		return // made room for another while it was done
	}
	if d.status >= http.StatusInternalServerError {
		g.forget(k)
		return
	}
	d.kept = len(d.body)
	for g.bytes += d.kept; g.bytes > maxKept; {
		g.forget(g.order[0])
	}
}

// forget lets go of a request.
func (g *again) forget(k doneKey) {
	g.bytes -= g.done[k].kept
	delete(g.done, k)
	g.order = slices.DeleteFunc(g.order, func(o doneKey) bool { return o == k })
}

// of is the request of a key, and whether it is the first; nil where the key was used for another one.
func (g *again) of(k doneKey, asked [sha256.Size]byte) (d *doneOnce, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d = g.done[k]; d != nil {
		if d.asked != asked {
			return nil, false
		}
		return d, false
	}
	if g.done == nil {
		g.done = map[doneKey]*doneOnce{}
	}
	if len(g.order) >= maxDone {
		g.forget(g.order[0])
	}
	d = &doneOnce{asked: asked, ended: make(chan struct{})}
	g.done[k] = d
	g.order = append(g.order, k)
	return d, true
}

// keptAnswer keeps what is answered, as far as it is short.
type keptAnswer struct {
	http.ResponseWriter
	status int
	body   []byte
	long   bool
}

func (k *keptAnswer) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}

func (k *keptAnswer) Write(b []byte) (int, error) {
	if k.long = k.long || len(k.body)+len(b) > maxDoneBytes; !k.long {
		k.body = append(k.body, b...)
	}
	return k.ResponseWriter.Write(b)
}

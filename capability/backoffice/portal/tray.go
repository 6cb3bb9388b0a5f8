package portal

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

const (
	maxTrayFiles = 64               // of one login, and in one form
	maxTrayBytes = 16 << 20         // of them
	maxTrays     = 256 << 20        // bytes of all logins; with more the trays that were idle for longest are emptied
	trayLife     = 30 * time.Minute // after the last use
	maxFileName  = 80               // bytes of a file's name, which is only shown
)

// trays are where request files wait between being dropped and being answered, by login, in memory. What is lost with a restart is dropped again.
type trays struct {
	now func() time.Time

	mu    sync.Mutex
	of    map[string]*tray
	bytes int
}

type tray struct {
	used  time.Time
	files []trayFile
}

// trayFile is one file, and what became of it.
type trayFile struct {
	ID      string // digest of the content
	Name    string
	content []byte
	refused error              // what was wrong with it as it came; then there is no content
	answer  *backoffice.Result // once it is answered
}

// trayOf names the tray of a login. Another login that gets its name later has another one.
func trayOf(l *entitlement.Login) string { return fmt.Sprintf("%d %s", l.Made, l.Name) }

func newTrays(now func() time.Time) *trays { return &trays{now: now, of: map[string]*tray{}} }

// newTrayFile names a file by its content. The name it came with is for people.
func newTrayFile(name string, content []byte, refused error) trayFile {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name[strings.LastIndexAny(name, `/\`)+1:])
	sum := sha256.Sum256(append([]byte(name+"\x00"), content...))
	if refused == nil {
		sum = sha256.Sum256(content)
	}
	// Name is cut out of what came: without a copy the whole of it would be kept.
	return trayFile{ID: hex.EncodeToString(sum[:]), Name: strings.Clone(strings.ToValidUTF8(name[:min(len(name), maxFileName)], "")), content: content, refused: refused}
}

// put adds files to a login's tray, each content once. What was answered, or could not be read, makes room: its answer is in the book.
func (t *trays) put(login string, files []trayFile) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	kept, size := []trayFile{}, 0
	if was := t.of[login]; was != nil {
		kept = slices.DeleteFunc(slices.Clone(was.files), func(f trayFile) bool { return f.answer != nil || f.refused != nil })
	}
	for _, f := range files {
		if !slices.ContainsFunc(kept, func(o trayFile) bool { return o.ID == f.ID }) {
			kept = append(kept, f)
		}
	}
	for _, f := range kept {
		size += len(f.content)
	}
	if len(kept) > maxTrayFiles || size > maxTrayBytes {
		return capability.Refuse(capability.ErrForm, "", "%d files of %d bytes would wait here, and at most %d of %d bytes may: answer those that wait, or take them away", len(kept), size, maxTrayFiles, maxTrayBytes)
	}
	t.drop(login)
	t.of[login] = &tray{t.now(), kept}
	t.bytes += size
	for t.bytes > maxTrays {
		oldest := ""
		for name, o := range t.of {
			if name != login && (oldest == "" || o.used.Before(t.of[oldest].used)) {
				oldest = name
			}
		}
		t.drop(oldest)
	}
	return nil
}

// take are the files of a login, in the order they came.
func (t *trays) take(login string) []trayFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	own := t.of[login]
	if own == nil {
		return nil
	}
	own.used = t.now()
	return slices.Clone(own.files)
}

// answered keeps what became of a file.
func (t *trays) answered(login, id string, r *backoffice.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own := t.of[login]; own != nil {
		for n := range own.files {
			if own.files[n].ID == id {
				own.files[n].answer = r
			}
		}
	}
}

// clear empties a login's tray.
func (t *trays) clear(login string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(login)
}

func (t *trays) drop(login string) {
	if own := t.of[login]; own != nil {
		for _, f := range own.files {
			t.bytes -= len(f.content)
		}
		delete(t.of, login)
	}
}

func (t *trays) forget() {
	for login, own := range t.of {
		if t.now().Sub(own.used) >= trayLife {
			t.drop(login)
		}
	}
}

package stick

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Sound is what is heard at the machine, for who does not look at its screen.
type Sound string

// The sounds: two short beeps, three that rise, a long one.
const (
	Silent  Sound = ""
	Written Sound = "written"
	Applied Sound = "applied"
	Failed  Sound = "failed"
)

// Line is something that was told about a stick.
type Line struct {
	Time  capability.Time `json:"time"`
	Code  string          `json:"code,omitempty"` // LH-nnnn
	Text  string          `json:"text"`
	Sound Sound           `json:"sound,omitempty"`
	Last  bool            `json:"last,omitempty"` // nothing more is told about this stick
}

// What is told lies in one file of a directory that goes with a restart of the machine. A file that has grown begins anew, and the one before is kept.
const (
	toldFile  = "told"
	oldFile   = "told.old"
	allowFile = "allowed"

	// maxTold bounds each of the two files, in bytes: some hundred sticks.
	maxTold = 64 << 10
	// AllowedFor is how long sticks are let in after somebody at the machine has said so.
	AllowedFor = 5 * time.Minute
)

// Tell adds a line, in one write, so that two sticks at once do not mix their words.
func Tell(dir string, l Line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, toldFile)
	if i, err := os.Stat(path); err == nil && i.Size() > maxTold {
		if err := os.Rename(path, filepath.Join(dir, oldFile)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

// Telling is what is told in a directory, for who looks again and again: files that are as they were are not read again. It is for one goroutine.
type Telling struct {
	dir   string
	seen  [2]fs.FileInfo
	lines []Line
}

// NewTelling is that of a directory, which may come later.
func NewTelling(dir string) *Telling { return &Telling{dir: dir} }

// Lines is Told, for the caller to read only.
func (t *Telling) Lines() ([]Line, error) {
	var now [2]fs.FileInfo
	same := true
	for i, name := range []string{oldFile, toldFile} {
		is, err := os.Stat(filepath.Join(t.dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		was := t.seen[i]
		if err == nil {
			now[i] = is
		}
		same = same && (now[i] == nil) == (was == nil) && (was == nil || os.SameFile(was, is) && was.Size() == is.Size() && was.ModTime().Equal(is.ModTime()))
	}
	if same {
		return t.lines, nil
	}
	lines, err := Told(t.dir)
	if err != nil {
		return nil, err
	}
	t.seen, t.lines = now, lines // what was told since the look before is read once more
	return lines, nil
}

// Told is what was told, the oldest first; none where there is no such directory.
func Told(dir string) (lines []Line, err error) {
	for _, name := range []string{oldFile, toldFile} {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(f, 2*maxTold))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		for text := range bytes.Lines(b) {
			var l Line
			if json.Unmarshal(text, &l) == nil && l.Text != "" {
				lines = append(lines, l)
			}
		}
	}
	return lines, nil
}

// Allow lets sticks in for AllowedFor. now is the time since the machine started, by a clock that nobody sets.
func Allow(dir string, now time.Duration) error {
	path := filepath.Join(dir, allowFile)
	if err := os.WriteFile(path+".new", []byte(strconv.FormatInt(int64(now), 10)), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Allowed is for how much longer sticks are let in.
func Allowed(dir string, now time.Duration) time.Duration {
	b, err := os.ReadFile(filepath.Join(dir, allowFile))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if at := time.Duration(n); err == nil && at <= now && now-at < AllowedFor {
		return AllowedFor - (now - at)
	}
	return 0
}

// String is the line as it is shown: the code is before its words where they do not name it.
func (l Line) String() string {
	if l.Code == "" || strings.Contains(l.Text, l.Code) {
		return l.Text
	}
	return fmt.Sprintf("%s %s", l.Code, l.Text)
}

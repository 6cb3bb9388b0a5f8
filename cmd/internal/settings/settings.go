// Package settings reads the configuration files of leaseholdd: leaseholdd.toml in a directory, and then each conf.d/*.toml beside it in the order of their names, so
// that a package, an administrator and a tool can each have a file of their own. What is said later counts, and a flag counts more than any file.
//
// It is for leaseholdd, which starts with the settings or not at all, and for leasehold config check, which says beforehand what the daemon would say.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

const (
	// Dir is where the configuration is, if nobody says otherwise.
	Dir = "/etc/leasehold"

	mainFile = "leaseholdd.toml"
	dropIns  = "conf.d"
	maxFile  = 64 << 10 // bytes of one file: all settings with their comments fill a fraction of it
)

// file is what a configuration file may have. Each key is the name of a flag of leaseholdd.
type file struct {
	State           *string `toml:"state"`
	TPM             *string `toml:"tpm"`
	EventLog        *string `toml:"event-log"`
	Trust           *string `toml:"trust"`
	Listen          *string `toml:"listen"`
	Socket          *string `toml:"socket"`
	PollSocket      *string `toml:"poll-socket"`
	OSRelease       *string `toml:"os-release"`
	DirectorySocket *string `toml:"directory-socket"`
	Branding        *string `toml:"branding"`
	LogLevel        *string `toml:"log-level"`

	Names []string `toml:"name"` // a flag that may be repeated is a list
}

// Setting is one value that the files set, and where it is from. Of a list it has the values with commas between them, as the flag takes them.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	File  string `json:"file"`
	Line  int    `json:"line"`
}

// Configuration is what all files say together: the settings in the order of their names here, each once, and the files that were read.
type Configuration struct {
	Files    []string  `json:"files"`
	Settings []Setting `json:"settings"`
}

// Names are the keys that a file may have.
func Names() (names []string) {
	t := reflect.TypeFor[file]()
	for n := range t.NumField() {
		names = append(names, t.Field(n).Tag.Get("toml"))
	}
	return names
}

// Read reads the configuration in a directory. Dir may be absent, and says nothing then; one that somebody named may not. What cannot be read or used in one is an error with ErrConfig, which names
// the file and the line.
func Read(dir string) (*Configuration, error) {
	if _, err := os.Stat(dir); err != nil && !(dir == Dir && errors.Is(err, fs.ErrNotExist)) {
		return nil, terminal.Coded(capability.ErrConfig, err)
	}
	paths, err := filesOf(dir)
	if err != nil {
		return nil, terminal.Coded(capability.ErrConfig, err)
	}
	c := &Configuration{Files: paths, Settings: []Setting{}}
	said := map[string]Setting{}
	for _, path := range paths {
		b, err := terminal.ReadFile(path, maxFile)
		if err == nil {
			err = take(b, path, said)
		}
		if err != nil {
			return nil, terminal.Coded(capability.ErrConfig, named(path, err))
		}
	}
	for _, name := range Names() {
		if s, ok := said[name]; ok {
			c.Settings = append(c.Settings, s)
		}
	}
	return c, nil
}

// named says which file an error is about, once.
func named(path string, err error) error {
	if inner := (*fs.PathError)(nil); errors.As(err, &inner) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// filesOf are the configuration files in a directory, in the order in which they count.
func filesOf(dir string) ([]string, error) {
	paths := []string{}
	if _, err := os.Stat(filepath.Join(dir, mainFile)); err == nil {
		paths = append(paths, filepath.Join(dir, mainFile))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(dir, dropIns)) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") {
			paths = append(paths, filepath.Join(dir, dropIns, e.Name()))
		}
	}
	return paths, nil
}

// take adds what one file says.
func take(b []byte, path string, said map[string]Setting) error {
	var f file
	if err := terminal.TOML(b, &f); err != nil {
		return err
	}
	v := reflect.ValueOf(f)
	for n := range v.NumField() {
		name := v.Type().Field(n).Tag.Get("toml")
		var values []string
		switch x := v.Field(n).Interface().(type) {
		case *string:
			if x != nil {
				values = []string{*x}
			}
		case []string:
			values = x
		}
		if values == nil {
			continue
		}
		s := Setting{name, strings.Join(values, ","), path, terminal.LineOf(b, name)}
		for _, value := range values {
			if err := check(name, value); err != nil {
				return fmt.Errorf("line %d: %s = %q: %w", s.Line, name, value, err)
			}
		}
		said[s.Name] = s
	}
	return nil
}

// check refuses a value that could not be meant. Whether it works is only known when the daemon starts.
func check(name, value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
		return errors.New("it has a control character")
	}
	switch name {
	case "log-level":
		if new(slog.Level).UnmarshalText([]byte(value)) != nil {
			return errors.New("want debug, info, warn or error")
		}
	case "listen":
		_, port, err := net.SplitHostPort(value)
		if err != nil {
			return errors.New("want HOST:PORT, or :PORT for all addresses")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q is no port", port)
		}
	case "tpm":
		if !filepath.IsAbs(value) && !strings.HasPrefix(value, "unix:") && !strings.HasPrefix(value, "tcp:") {
			return errors.New("want a device, unix:SOCKET or tcp:HOST:PORT")
		}
	case "name":
		if value == "" || strings.ContainsAny(value, ", \"'/") {
			return errors.New("want a name, as licenses.example.com")
		}
	case "event-log", "poll-socket", "directory-socket", "branding":
		if value != "" && !filepath.IsAbs(value) {
			return errors.New("want a path from the root on, or nothing")
		}
	case "state", "trust", "socket":
		if !filepath.IsAbs(value) {
			return errors.New("want a path from the root on")
		}
	}
	return nil
}

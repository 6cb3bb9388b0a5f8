package network

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	suffix = ".card" // of a file with what one card is given
	asked  = "dhcp"  // in place of an address: the network is asked

	// Bounds on what is read of a directory: no machine has so many cards, and no setup so many bytes.
	maxCards = 64
	maxSetup = 256
)

// Keep puts what a card is given into a directory, whole and durable.
func (s Setup) Keep(dir string) error {
	return replace(filepath.Join(dir, s.Card+suffix), s.text())
}

// text is what the file of a card says.
func (s Setup) text() string {
	address := asked
	if s.Address.IsValid() {
		address = s.Address.String()
	}
	text := "address=" + address + "\n"
	if s.Gateway.IsValid() {
		text += "gateway=" + s.Gateway.String() + "\n"
	}
	return text
}

// Forget takes away what a directory has of a card.
func Forget(dir, card string) error {
	err := os.Remove(filepath.Join(dir, card+suffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, durable(dir))
}

// Replace takes away what a directory has of cards that are not in the machine any more and had an address in the network of this one: it has come in their place.
func (s Setup) Replace(dir string, here []string) error {
	list, _ := Kept(dir) // what of it is wrong stays without an effect
	for _, k := range list {
		if slices.Contains(here, k.Card) || s.Beside(k.Card, k.Address) == nil {
			continue
		}
		if err := Forget(dir, k.Card); err != nil {
			return err
		}
	}
	return nil
}

// Kept are what some directories have of cards, in the order of their names. Of a card that several have the last one counts, and so it does of cards in one network. What is no setup is left out, and so is
// a card in the network of another one of its directory; wrong says what, and a directory that is not there has none.
func Kept(dirs ...string) (list []Setup, wrong error) {
	for _, dir := range slices.Backward(dirs) {
		names, err := namesIn(dir)
		wrong = errors.Join(wrong, err)
		for _, name := range names {
			s, err := read(filepath.Join(dir, name), strings.TrimSuffix(name, suffix))
			if err == nil && slices.ContainsFunc(list, func(later Setup) bool { return later.Card == s.Card }) {
				continue
			}
			for _, other := range list {
				err = errors.Join(err, s.Beside(other.Card, other.Address))
			}
			if err != nil {
				wrong = errors.Join(wrong, err)
				continue
			}
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b Setup) int { return strings.Compare(a.Card, b.Card) })
	return list, wrong
}

// namesIn are the files of cards in a directory.
func namesIn(dir string) (names []string, err error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	all, err := d.Readdirnames(maxCards)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, name := range all {
		if card, is := strings.CutSuffix(name, suffix); is && named(card) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// read takes the file of a card as what was typed, and nothing else.
func read(path, card string) (Setup, error) {
	if i, err := os.Lstat(path); err != nil || !i.Mode().IsRegular() || i.Size() > maxSetup {
		return Setup{}, errors.Join(fmt.Errorf("%s is no setup of a network card", path), err)
	}
	f, err := os.Open(path)
	if err != nil {
		return Setup{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSetup))
	if err != nil {
		return Setup{}, err
	}
	address, gateway, _ := strings.Cut(strings.TrimPrefix(string(b), "address="), "\n")
	if address == asked {
		address = ""
	}
	got, err := Parse(card, address, strings.TrimPrefix(gateway, "gateway="))
	if err != nil {
		return Setup{}, fmt.Errorf("%s: %w", path, err)
	}
	if got.text() != string(b) {
		return Setup{}, fmt.Errorf("%s is no setup of a network card", path)
	}
	return got, nil
}

// Tell makes a directory of systemd-networkd say what cards are given, and nothing of cards that was told before.
func Tell(dir string, list []Setup) error {
	before, err := filepath.Glob(filepath.Join(dir, "70-*.network"))
	if err != nil {
		return err
	}
	for _, path := range before {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	for _, s := range list {
		if !s.Address.IsValid() {
			continue
		}
		if err := replace(filepath.Join(dir, "70-"+s.Card+".network"), s.File()); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file so that after a power cut there is the old one or the new one, whole.
func replace(path, text string) error {
	temp := path + ".new"
	if err := os.RemoveAll(temp); err != nil { // of a cut, or somebody else's: the disk may have been in another machine
		return err
	}
	if i, err := os.Lstat(path); err == nil && i.IsDir() {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	// Systemd-networkd runs as another account, whatever mask this program has.
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return durable(filepath.Dir(path))
}

// durable makes the names in a directory so.
func durable(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"
)

// look is how often a file or a port is looked at that something is waited for in.
const look = 200 * time.Millisecond

// colors are what terminals obey and people do not read.
func colors() *regexp.Regexp {
	return regexp.MustCompile("\x1b(\\[[0-9;?=]*[A-Za-z]|\\][^\x07\x1b]*(\x07|\x1b\\\\)|[()][0-9A-B]|[=>78cDEHM])|[\x00-\x08\x0b-\x1f]")
}

// Serial is what the machine has said on its serial line since this start, without control codes.
func (m *Machine) Serial() (string, error) {
	return m.read("serial.log")
}

// read is what was said on a line since this start, without control codes.
func (m *Machine) read(log string) (string, error) {
	b, err := os.ReadFile(m.path(log))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return colors().ReplaceAllString(string(b), ""), err
}

// WaitSerial waits until the serial line has said something that the expression matches, and gives its groups.
func (m *Machine) WaitSerial(ctx context.Context, expression string) ([]string, error) {
	return m.wait(ctx, expression, func() (text, shown string, err error) {
		text, err = m.Serial()
		return text, "the serial line ends with:\n" + tail(text), err
	})
}

// wait reads a text again and again until the expression matches, and gives its groups. A machine that ends meanwhile is waited for no longer: what was shown is in the error.
func (m *Machine) wait(ctx context.Context, expression string, read func() (text, shown string, err error)) ([]string, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		text, shown, err := read()
		if err != nil {
			return nil, err
		}
		if found := re.FindStringSubmatch(text); found != nil {
			return found, nil
		}
		select {
		case <-tick.C:
		case <-m.ended:
			return nil, fmt.Errorf("wait for %q: %w; %s", expression, ErrEnded, shown)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %q: %w; %s", expression, context.Cause(ctx), shown)
		}
	}
}

// tail is the last lines of a text.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

package appliance

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/tpm/attest"
)

// What the daemon reads itself comes first, what was told last comes next, and where no log is to go none is taken.
func TestWhichEventLog(t *testing.T) {
	var own []byte
	a := &Appliance{Options: Options{EventLog: func() []byte { return own }, WantsEventLog: true}}
	want := func(what, log string) {
		t.Helper()
		if got := string(a.eventLog()); got != log || a.LacksEventLog() != (a.WantsEventLog && log == "") {
			t.Errorf("%s: %q, lacks one %t", what, got, a.LacksEventLog())
		}
	}
	want("at first", "")
	told := []byte("told")
	if err := a.HearEventLog(told); err != nil {
		t.Fatal(err)
	}
	told[0] = 'x'
	want("told", "told")
	own = []byte("own")
	want("read", "own")
	own = nil
	if err := a.HearEventLog(make([]byte, attest.MaxEventLogBytes+1)); codeIn(err) != capability.ErrFileSize {
		t.Errorf("one byte more: %v", err)
	}
	want("too long", "told")
	if err := a.HearEventLog(nil); err != nil {
		t.Error(err)
	}
	want("none any more", "")
	a.WantsEventLog, a.EventLog = false, nil
	if err := a.HearEventLog([]byte("told")); codeIn(err) != capability.ErrForbidden {
		t.Errorf("not wanted: %v", err)
	}
	want("not wanted", "")
}

func codeIn(err error) capability.Code {
	if r, ok := errors.AsType[*capability.Refusal](err); ok {
		return r.Code
	}
	return 0
}

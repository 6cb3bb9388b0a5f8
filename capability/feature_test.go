package capability

import (
	"encoding/json"
	"testing"
	"time"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"2026.1": {Major: 2026, Minor: 1}, "2026": {Major: 2026}, "0": {}, "0.0": {}, "2022.01": {Major: 2022, Minor: 1}, "4294967295.4294967295": {Major: 1<<32 - 1, Minor: 1<<32 - 1},
	} {
		v, err := ParseVersion(text)
		if err != nil || v != want {
			t.Errorf("%q: %v, %v", text, v, err)
		}
		if again, err := ParseVersion(v.String()); err != nil || again != v {
			t.Errorf("%q: written %q, read %v, %v", text, v, again, err)
		}
	}
	for _, text := range []string{"", ".", "1.", ".1", "1.2.3", "-1", "+1", "1.-2", " 1", "1 ", "4294967296", "1.4294967296", "1e3", "v1", "1,2", "\u0661"} {
		if v, err := ParseVersion(text); err == nil {
			t.Errorf("%q is %v", text, v)
		}
	}
	var got Version
	if b, err := json.Marshal(Version{Major: 2026, Minor: 1}); err != nil || string(b) != `"2026.1"` || json.Unmarshal(b, &got) != nil || got.Minor != 1 {
		t.Errorf("%s, %v, %v", b, err, got)
	}
}

// Versions are ordered as numbers, not as text.
func TestVersionsInOrder(t *testing.T) {
	order := []Version{{}, {Minor: 1}, {Major: 1}, {Major: 1, Minor: 9}, {Major: 1, Minor: 10}, {Major: 2}, {Major: 10}, {Major: 1<<32 - 1}}
	for i, a := range order {
		for j, b := range order {
			if got, want := a.Compare(b), i-j; (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("%s to %s: %d", a, b, got)
			}
		}
	}
}

func TestParseFeature(t *testing.T) {
	for text, want := range map[string]Feature{
		"render": {Name: "render"}, "render:2026.1": {Name: "render", Version: Version{Major: 2026, Minor: 1}}, "a b:3": {Name: "a b", Version: Version{Major: 3}},
	} {
		if f, err := ParseFeature(text); err != nil || f != want {
			t.Errorf("%q: %v, %v", text, f, err)
		}
	}
	for _, text := range []string{"", ":", ":1", "render:", "render:x", "render:1:2", "a\nb", "\xff"} {
		if f, err := ParseFeature(text); err == nil {
			t.Errorf("%q is %v", text, f)
		}
	}
}

func FuzzParseFeature(f *testing.F) {
	for _, s := range []string{"", "render", "render:2026.1", "a:b", ":1", "x:4294967296"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseFeature(s); err == nil {
			if again, err := ParseFeature(got.String()); err != nil || again != got {
				t.Errorf("%q is %v, and written again %v, %v", s, got, again, err)
			}
		}
	})
}

func TestParseDate(t *testing.T) {
	for _, c := range []struct {
		text string
		end  bool
		want string
	}{
		{"2027-03-31", false, "2027-03-31T00:00:00Z"},
		{"2027-03-31", true, "2027-03-31T23:59:59Z"},
		{"2028-02-29", true, "2028-02-29T23:59:59Z"},
		{"2027-03-31T17:00:00+02:00", true, "2027-03-31T15:00:00Z"},
		{"1970-01-01", false, "none"},
	} {
		if got, err := ParseDate(c.text, c.end); err != nil || got.String() != c.want {
			t.Errorf("%s: %s, %v", c.text, got, err)
		}
	}
	for _, text := range []string{"", "2027-02-29", "31.03.2027", "2027-03-31T17:00", "tomorrow", "2027-3-1"} {
		if got, err := ParseDate(text, true); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
	if At(time.Unix(5, 999)).Add(60) != 65 || Seconds(90).Duration() != 90*time.Second || Seconds(90).String() != "1m30s" {
		t.Error("seconds do not add up")
	}
}

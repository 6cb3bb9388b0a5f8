package image

import "testing"

func TestRelease(t *testing.T) {
	for _, c := range []struct {
		text, version string
		security      uint32
		good          bool
	}{
		{"ID=debian\nIMAGE_ID=leasehold\nIMAGE_VERSION=2026.2\nLEASEHOLD_SECURITY=7\n", "2026.2", 7, true},
		{"IMAGE_VERSION=\"2026.2\"\nLEASEHOLD_SECURITY='7'\x00\x00", "2026.2", 7, true},
		{"ID=debian\nVERSION_ID=13\n", "", 0, true},
		{"", "", 0, true},
		{"IMAGE_VERSION=2026.2\nLEASEHOLD_SECURITY=\n", "", 0, true},
		{"LEASEHOLD_SECURITY=0\n", "", 0, false},
		{"LEASEHOLD_SECURITY=-1\n", "", 0, false},
		{"LEASEHOLD_SECURITY=4294967296\n", "", 0, false},
		{"XLEASEHOLD_SECURITY=3\n#LEASEHOLD_SECURITY=4\n", "", 0, true},
	} {
		version, security, err := Release([]byte(c.text))
		if version != c.version || security != c.security || (err == nil) != c.good {
			t.Errorf("%q: %q, %d, %v", c.text, version, security, err)
		}
	}
}

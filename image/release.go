package image

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// ReleaseFile is what the system that runs says of itself, in os-release(5). In an image it is on the verified root, and so measured.
const ReleaseFile = "/usr/lib/os-release"

// The names in os-release(5) by which an image says what it is. The file is in the kernel image and on the root, and so measured.
const (
	VersionSetting  = "IMAGE_VERSION"
	SecuritySetting = "LEASEHOLD_SECURITY"
)

// Release is the version and the security version that the text of os-release(5) says. A text of another system says neither: zero without an error.
func Release(text []byte) (version string, security uint32, err error) {
	said := setting(text, SecuritySetting)
	if said == "" {
		return "", 0, nil
	}
	n, err := strconv.ParseUint(said, 10, 32)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%s=%.32q is no security version", SecuritySetting, said)
	}
	return setting(text, VersionSetting), uint32(n), nil
}

// setting is the value of a name, without its quotes.
func setting(text []byte, name string) string {
	for line := range bytes.Lines(bytes.TrimRight(text, "\x00")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(string(line)), name+"="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

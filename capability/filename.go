package capability

import "fmt"

// FileName is the name of a numbered file, of eight characters and three for any file system: REQ-0001.LHQ, and from 10,000 on R0010000.LHQ.
// Names are for people: whoever reads a file looks at its content.
func FileName(prefix string, number uint64, suffix string) string {
	if number <= 9999 {
		return fmt.Sprintf("%s-%04d.%s", prefix, number, suffix)
	}
	return fmt.Sprintf("%.1s%07d.%s", prefix, number%10_000_000, suffix)
}

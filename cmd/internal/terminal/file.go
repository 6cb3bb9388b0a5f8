package terminal

import (
	"fmt"
	"io"
	"os"
)

// ReadFile reads a whole file of at most so many bytes, and of a longer one no more than that; the error that says so does not name the file.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return b, err
}

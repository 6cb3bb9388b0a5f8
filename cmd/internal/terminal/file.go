package terminal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
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

// ReadTrust reads the trust bundle of a producer. Its error has the code capability.ErrTrust, names the file, and is fs.ErrNotExist where there is none.
func ReadTrust(path string) (*wire.Trust, error) {
	b, err := ReadFile(path, capability.MaxSigned)
	if err != nil {
		if !errors.As(err, new(*fs.PathError)) {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return nil, Coded(capability.ErrTrust, err)
	}
	t, err := wire.New().DecodeTrust(b)
	if err != nil {
		return nil, Coded(capability.ErrTrust, fmt.Errorf("%s: %w", path, err))
	}
	return t, nil
}

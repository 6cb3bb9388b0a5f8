package probe

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"unsafe"

	"github.com/jaypipes/ghw"
	"golang.org/x/sys/unix"
)

const directoryOnly = unix.O_DIRECTORY

func live() (*tree, error) {
	root, err := os.OpenRoot("/")
	if err != nil {
		return nil, fmt.Errorf("read this machine: %w", err)
	}
	names := sync.OnceValue(func() *ghw.PCIInfo { return pciNames("/usr/share") })
	return &tree{root: root, beside: func(t *tree, name string) (string, bool) {
		switch path.Base(name) {
		case permanentFile:
			return permanentAddress(path.Base(path.Dir(name)))
		case makerFile:
			return makerOf(names(), t.word(path.Dir(name)+"/modalias"))
		}
		return "", false
	}}, nil
}

// permanentAddress asks the driver of a network interface for the address that the card was made with.
func permanentAddress(name string) (string, bool) {
	// struct ethtool_perm_addr and struct ifreq of linux/ethtool.h and linux/if.h. The address is at most 32 bytes long.
	answer := struct {
		command, size uint32
		data          [32]byte
	}{command: unix.ETHTOOL_GPERMADDR, size: 32}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&answer)}
	if name == "" || len(name) >= len(request.name) {
		return "", false
	}
	copy(request.name[:], name)
	// Any socket will do, and one of this family is there in every sandbox.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 || answer.size == 0 || int(answer.size) > len(answer.data) {
		return "", false
	}
	return strings.ReplaceAll(fmt.Sprintf("% x", answer.data[:answer.size]), " ", ":"), true
}

// pciNames is ghw's view of the list of PCI IDs below dir, or nil where there is none. ghw reads whole files and follows every link, so it is not let near sysfs: it gets texts that were read
// with bounds, and says what they mean. It is told which list it is to read, in the one way it has, by the environment: by itself it would look in the home of whoever runs this first, where it
// says what its owner likes, and without one ask the network.
func pciNames(dir string) *ghw.PCIInfo {
	const which = "PCIDB_PATH"
	was, set := os.LookupEnv(which)
	defer func() {
		if os.Unsetenv(which); set {
			os.Setenv(which, was)
		}
	}()
	for _, list := range []string{"hwdata/pci.ids", "misc/pci.ids", "hwdata/pci.ids.gz", "misc/pci.ids.gz"} {
		file := path.Join(dir, list)
		if at, err := os.Stat(file); err != nil || !at.Mode().IsRegular() || os.Setenv(which, file) != nil {
			continue
		}
		nowhere := ghw.WithChroot(os.DevNull) // no machine is below it
		if names, err := ghw.PCI(context.Background(), nowhere, ghw.WithDisableTopology(), ghw.WithLogger(slog.New(slog.DiscardHandler))); err == nil {
			return names
		}
	}
	return nil // names are for people, and a machine does without them
}

// makerOf says who made a PCI device, and what it is, by its modalias.
func makerOf(names *ghw.PCIInfo, modalias string) (string, bool) {
	if names == nil || !strings.HasPrefix(modalias, "pci:") {
		return "", false
	}
	const unknown = "unknown" // in ghw's words
	d := names.ParseDevice("", modalias)
	switch {
	case d == nil || d.Vendor == nil || d.Product == nil || d.Vendor.Name == unknown:
		return "", false
	case d.Product.Name == unknown:
		return shown(d.Vendor.Name), true
	}
	return shown(d.Vendor.Name + " " + d.Product.Name), true
}

//go:build vm

package vm

import (
	"slices"
	"strings"
)

// letsIn plugs in what a port takes, and compares what is used of it: a stick and what people type on, and nothing else, though the image has a driver for the serial line among it.
func (s *scenario) letsIn(sh func(string) string) {
	s.t.Helper()
	ctx := s.within(stepTime)
	do := func(command string, arguments map[string]any) {
		s.t.Helper()
		_, err := s.vm.Monitor().Do(ctx, command, arguments)
		s.must(err)
	}
	do("netdev_add", map[string]any{"type": "user", "id": "foreign-net", "restrict": true})
	do("chardev-add", map[string]any{"id": "foreign-line", "backend": map[string]any{"type": "null", "data": map[string]any{}}})
	foreign := []map[string]any{{"driver": "usb-net", "netdev": "foreign-net"}, {"driver": "usb-serial", "chardev": "foreign-line", "always-plugged": true}, {"driver": "usb-ccid"}, {"driver": "usb-tablet"}}
	for _, d := range foreign {
		d["id"], d["bus"] = d["driver"], "xhci.0"
		do("device_add", d)
	}
	before := s.settled()
	in, err := s.vm.Plug(ctx, s.courier("among.img"), "AMONG-1", false)
	s.must(err)
	// Of each part of a device: its class, whether it is let in, its driver.
	var parts []string
	s.until("all that was plugged in has been looked at", func() bool {
		parts = strings.Split(sh(`udevadm settle; cd /sys/bus/usb/devices; for i in *:*; do echo $(cat $i/bInterfaceClass $i/authorized) $([ -e $i/driver ] && basename $(readlink $i/driver)); done | sort -u`), "\n")
		return slices.Contains(parts, "08 1 usb-storage")
	})
	s.log("%q", parts)
	// Of the network card, which has two parts, of the serial line, of the reader for cards, and of what people type and point with.
	for _, want := range []string{"02 0", "0a 0", "ff 0", "0b 0", "03 1 usbhid"} {
		if !slices.Contains(parts, want) {
			s.t.Errorf("%q is not among the parts of what was plugged in: %q", want, parts)
		}
	}
	for _, part := range parts {
		if !slices.Contains([]string{"02 0", "0a 0", "ff 0", "0b 0", "03 1 usbhid", "08 1 usb-storage", "09 1 hub"}, part) {
			s.t.Errorf("a part of what was plugged in is %q: class, let in, driver", part)
		}
	}
	if said := s.ends(before); !strings.Contains(said, " WRITTEN. SAFE TO REMOVE") {
		s.t.Errorf("among all that, the screen says of the stick: %q", said)
	}
	s.must(in.Pull(ctx))
	for _, d := range foreign {
		do("device_del", map[string]any{"id": d["id"]})
	}
}

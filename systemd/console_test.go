package systemd

import (
	"strings"
	"testing"
)

// The text console has its terminal to itself: 1.4 of 10, most of it for the host's network cards, which it shows, and for root. No key ends it, and it is started again.
func TestUnitOfTheConsole(t *testing.T) {
	unit := template(t, "leasehold-console@", 15, `ExecStart=/usr/bin/leasehold console --stay|Restart=always|StandardInput=tty-force|StandardOutput=tty|StandardError=journal|TTYPath=/dev/%I|
Conflicts=getty@%i.service serial-getty@%i.service rescue.service|CapabilityBoundingSet=CAP_SYS_BOOT|NoNewPrivileges=yes|ProtectSystem=strict|RestrictAddressFamilies=AF_UNIX AF_NETLINK|IPAddressDeny=any|WantedBy=getty.target`, "tty1", "ttyS0")
	if strings.Contains(unit, "PrivateNetwork=") {
		t.Error("it would see no network card")
	}
}

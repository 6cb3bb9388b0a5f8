// Package vm runs the appliance's image in a virtual machine with a software TPM, for end-to-end tests: QEMU over QMP, swtpm, the serial line, snapshots. A
// Machine lives in a directory of its own and may be started in it again and again, as a machine is; what its disks, firmware and TPM hold stays there.
//
// Everything waits with a context: under software emulation a boot takes a minute where nothing else runs, and many on a busy machine. Nothing here is shipped.
package vm

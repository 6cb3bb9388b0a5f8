// Package packaging makes the Debian package of daemon and command line for hosts that a customer brings, and its tests install, upgrade, remove and purge it
// in roots of the Debian releases that it is for. The appliance's image installs the same package. Build: make deb; test: make deb-test.
package packaging

// Package image says what firmware, boot loader and kernel will measure of the appliance's image, so that a boot state can be signed before the image has
// ever run. The image itself is built by Makefile and build.sh beside it.
package image

package screen

import "strings"

// drawable are the signs beside ASCII that a VGA text console has.
const drawable = "─│┌┐└┘├┤┬┴┼═║╔╗╚╝▀▄█▌▐░▒▓•·○→↑↓▲▼◄►éü"

// Safe is text with nothing in it but what every console draws: control codes and all other signs become question marks.
func Safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= ' ' && r <= '~' || strings.ContainsRune(drawable, r) {
			return r
		}
		return '?'
	}, s)
}

#!/bin/sh
# Plants each bug of this directory, alone, and runs the tests of the package: every one must be found. A patch that does not apply, or does not compile, counts
# as a failure. Nothing in the source tree is changed: the planted file is laid over it. Usage: run.sh [NAME...]
set -u
here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$package" || exit 1
[ $# -gt 0 ] || set -- $(ls "$here" | sed -n 's/\.patch$//p')
found=0 lost=0
for name in "$@"; do
	patch=$here/$name.patch
	file=$(sed -n 's,^+++ b/,,p' "$patch")
	cp "$package/$file" "$work/$file"
	if ! (cd "$work" && patch -s -p1 <"$patch"); then
		echo "$name: does not apply"
		lost=$((lost + 1))
		continue
	fi
	printf '{"Replace":{"%s":"%s"}}\n' "$package/$file" "$work/$file" >"$work/overlay.json"
	if ! go vet -overlay "$work/overlay.json" . >"$work/out" 2>&1; then
		echo "$name: does not compile"
		cat "$work/out"
		lost=$((lost + 1))
	elif go test -short -failfast -overlay "$work/overlay.json" . >"$work/out" 2>&1; then
		echo "$name: not found: $(head -n 1 "$patch")"
		lost=$((lost + 1))
	else
		echo "$name: found by $(sed -n 's,^ *--- FAIL: \([^ ]*\).*,\1,p; s,^panic: .*,a panic,p' "$work/out" | head -n 1)"
		found=$((found + 1))
	fi
done
echo "$found found, $lost not"
[ "$lost" -eq 0 ]

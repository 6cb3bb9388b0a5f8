#!/bin/sh
# Builds the Debian package of daemon, command line, units, udev rules, man pages, completions and message catalogs, the same bytes from the same commit.
#
#   build.sh VERSION OUT     OUT is the .deb; the commit's time is SOURCE_DATE_EPOCH
set -eu
version=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
arch=$(cd "$top" && go env GOARCH)
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root doc=$work/root/usr/share/doc/leasehold

( cd "$top" && go build -trimpath -ldflags '-s -w' -o "$work/bin/" ./cmd/leaseholdd ./cmd/leasehold )
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$doc"
cp "$work/bin/leaseholdd" "$work/bin/leasehold" "$root/usr/bin/"

# Every file of systemd/units has its place by what it is, so a new unit needs no line here.
for f in "$top"/systemd/units/*; do
	case $f in
	*.service | *.socket | *.timer | *.target | *.path) to=lib/systemd/system/${f##*/} ;;
	*.rules) to=lib/udev/rules.d/${f##*/} ;;
	*.sysusers) to=lib/sysusers.d/$(basename "$f" .sysusers).conf ;;
	*.tmpfiles) to=lib/tmpfiles.d/$(basename "$f" .tmpfiles).conf ;;
	*.conf) to=share/dbus-1/system.d/${f##*/} ;;
	*) echo "no place for $f" >&2; exit 1 ;;
	esac
	install -D -m 644 "$f" "$root/usr/$to"
done

mkdir -p "$root/usr/lib/systemd/catalog" "$work/man"
"$work/bin/leaseholdd" catalog "$root/usr/lib/systemd/catalog" >/dev/null
for p in leaseholdd leasehold; do "$work/bin/$p" man "$work/man" >/dev/null; done
for f in "$work"/man/*.[178] "$work"/man/*/*.[178]; do
	language=$(basename "$(dirname "$f")")
	if [ "$language" = man ]; then language=; fi
	install -D -m 644 "$f" "$root/usr/share/man/$language/man${f##*.}/${f##*/}"
done
find "$root/usr/share/man" -type f -exec gzip -9n {} +
complete() { mkdir -p "$(dirname "$root/usr/share/$2")" && "$work/bin/leasehold" completion "$1" >"$root/usr/share/$2"; }
complete bash bash-completion/completions/leasehold
complete zsh zsh/vendor-completions/_leasehold
complete fish fish/vendor_completions.d/leasehold.fish
cp "$here/copyright" "$doc/copyright"

cp "$here/postinst" "$here/prerm" "$here/postrm" "$root/DEBIAN/"
chmod 755 "$root/DEBIAN/"p*
( cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum ) >"$root/DEBIAN/md5sums"
size=$(du -sk --apparent-size "$root/usr" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" "$here/control" >"$root/DEBIAN/control"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$(dirname "$out")"
dpkg-deb --root-owner-group -Zxz -z2 -b "$root" "$out" >/dev/null

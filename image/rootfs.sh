#!/bin/sh
# Prints the path of a tar with a Debian root of the packages of a list, and makes it where none is cached for this suite, mirror, list and script.
#
#   rootfs.sh SUITE LIST CACHE      MIRROR and SECURITY name other archives; SECURITY= (empty) takes no security suite
#
# Packages to unpack are in it as /unpacked/NAME.deb. Downloaded packages are kept in CACHE/archives.
set -eu
suite=$1 list=$2 cache=$3
mirror=${MIRROR:-http://deb.debian.org/debian} security=${SECURITY-http://security.debian.org/debian-security}
key=$( { echo "$suite $mirror $security"; cat "$list" "$0"; } | sha256sum | cut -c1-16)
out=$cache/$suite-$key.tar
if [ -e "$out" ]; then
	echo "$out"
	exit
fi
mkdir -p "$cache/archives"
install=$(sed -n 's/^install //p' "$list" | paste -sd,)
unpack=$(sed -n 's/^unpack //p' "$list" | paste -sd' ')
set -- "deb $mirror $suite main" "deb $mirror $suite-updates main"
if [ -n "$security" ]; then set -- "$@" "deb $security $suite-security main"; fi
# A metapackage of the kernel stands for the kernel that it depends on.
download='cd "$1" && mkdir unpacked && cd unpacked && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && for p in '$unpack'; do
	name=$p
	case $p in linux-image-*) p=$(apt-cache depends "$p" | sed -n "s/^ *Depends: \(linux-image-[0-9].*\)/\1/p" | head -n 1) ;; esac
	apt-get -q -o APT::Sandbox::User=root download "$p" && mv "$p"_*.deb "$name.deb"
done'
if [ -z "$unpack" ]; then download=true; fi
# No file of the tar is younger than this, whichever commit is built.
SOURCE_DATE_EPOCH=1735689600 mmdebstrap --quiet --format=tar --mode=root --variant=minbase --include="$install" --dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	--dpkgopt='path-exclude=/usr/share/lintian/*' --dpkgopt='path-exclude=/usr/share/bash-completion/*' --dpkgopt='path-exclude=/usr/share/zsh/*' --dpkgopt='path-exclude=/usr/share/fish/*' \
	--skip=download/empty --skip=essential/unlink \
	--setup-hook='mkdir -p "$1"/var/cache/apt/archives/' --setup-hook="sync-in '$cache/archives' /var/cache/apt/archives/" \
	--customize-hook="sync-out /var/cache/apt/archives '$cache/archives'" --customize-hook="$download" \
	"$suite" "$out.new" "$@" >&2 || { echo "no root of Debian $suite can be made from $mirror${security:+ and $security}: the line above says why" >&2; exit 1; }
mv "$out.new" "$out"
echo "$out"

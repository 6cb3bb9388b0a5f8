#!/bin/sh
# Builds the appliance's image from a cached root and our package: plain files only, no mount, no loop device. The same inputs give the same bytes.
#
#   build.sh TAR PACKAGE VERSION LEVEL OUT      LEVEL is that of zstd, 1 to 19
#
# TRUST is the producer's trust bundle; KEY and CERT (PEM) sign for Secure Boot. Where one is missing, a test one is made in OUT/test and used from then on.
set -eu
tar=$1 package=$2 version=$3 level=$4 out=$5
# Raised by hand where an older image must not run any more, as it lets in what this one keeps out.
SECURITY_VERSION=${SECURITY_VERSION:-1}
: "${SOURCE_DATE_EPOCH:?is the time of the commit, in seconds since 1970}"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/step.sh"
umask 022
work=$out/work root=$out/work/root
rm -rf "$work"
mkdir -p "$root" "$out/test"

listed() { sed -n "s/^$1 //p" "$here/$2"; }

# A customer's image trusts one producer. The test producer's secrets are on this machine only.
producer() {
	TRUST=$out/test/producer.lht
	if [ ! -e "$TRUST" ]; then
		echo "the producer of a test image is known to everybody" >"$out/test/passphrase"
		"$out/bin/freehold" init --dir "$out/test/freehold" --passphrase-file "$out/test/passphrase" --producer "Test producer" --minimum-tier software --lease-interval 1m --trust "$TRUST" >/dev/null
	fi
}
signer() {
	KEY=$out/test/secureboot.key CERT=$out/test/secureboot.pem
	if [ ! -e "$CERT" ]; then
		openssl req -quiet -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj '/CN=Leasehold test image, no secret/' -keyout "$KEY" -out "$CERT" 2>/dev/null
	fi
}
if [ -z "${TRUST:-}" ]; then producer; fi
if [ -z "${KEY:-}" ] || [ -z "${CERT:-}" ]; then signer; fi

stage() {
	tar --numeric-owner -C "$root" -xf "$tar"
	mv "$root/unpacked" "$work/unpacked"
	dpkg-deb -x "$work/unpacked/linux-image-amd64.deb" "$work/kernel"
	dpkg-deb -x "$work/unpacked/systemd-ukify.deb" "$work/ukify"
	cp "$package" "$root/leasehold.deb"
	chroot "$root" dpkg --install /leasehold.deb >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; exit 1; }
	rm "$root/leasehold.deb"
	cp -r "$here/overlay/." "$root/"
	install -D -m 644 "$TRUST" "$root/etc/leasehold/producer.lht"
	mkdir -p "$root/efi"
	for u in $(listed enable units.list); do systemctl --root="$root" -q enable "$u"; done
	for u in $(listed mask units.list); do ln -sf /dev/null "$root/etc/systemd/system/$u"; done
	systemctl --root="$root" -q set-default multi-user.target
	: >"$root/etc/machine-id"
	printf 'IMAGE_ID=leasehold\nIMAGE_VERSION=%s\nLEASEHOLD_SECURITY=%s\n' "$version" "$SECURITY_VERSION" >>"$root/usr/lib/os-release"
	touch -d "@$SOURCE_DATE_EPOCH" "$root/usr/lib/clock-epoch"
	modules
	prune
}

# Only listed modules and what they depend on. The initrd's are kept apart in a list.
modules() {
	kernel=$(ls "$work/kernel/usr/lib/modules")
	ln -s usr/lib "$work/kernel/lib"
	depmod -b "$work/kernel" "$kernel"
	closure() { for m in $(listed "$1" modules.list); do modprobe -d "$work/kernel" -S "$kernel" --show-depends "$m"; done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sed "s#^$work/kernel/lib/#usr/lib/#" | sort -u; }
	closure initrd >"$work/modules.initrd"
	closure root | sort -u - "$work/modules.initrd" >"$work/modules.root"
	place_modules "$work/modules.root" "$root"
}
place_modules() {
	( cd "$work/kernel" && cpio -pdm --quiet "$2" <"$1" )
	cp "$work/kernel/usr/lib/modules/$kernel"/modules.builtin* "$work/kernel/usr/lib/modules/$kernel/modules.order" "$2/usr/lib/modules/$kernel/"
	depmod -b "$2" "$kernel"
}

# What is left of the packages is what the bill of materials names.
prune() {
	kernel_version=$(dpkg-deb -f "$work/unpacked/linux-image-amd64.deb" Version)
	gone=" $(listed package prune.list | tr '\n' ' ') "
	{
		chroot "$root" dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' | while read -r p rest; do
			case $gone in *" $p "*) ;; *) echo "$p $rest" ;; esac
		done
		echo "linux-image-$kernel $kernel_version amd64"
	} | sort >"$work/packages"
	for p in $gone; do
		cat "$root/var/lib/dpkg/info/$p.list" "$root/var/lib/dpkg/info/$p:amd64.list" 2>/dev/null || true
	done | while read -r f; do if [ -L "$root$f" ] || [ -f "$root$f" ]; then rm -f "$root$f"; fi; done
	for f in $(listed file prune.list); do rm -rf "${root:?}/$f"; done
	rm -rf "$root"/var/* "$root"/run/* "$root"/tmp/* "$root"/root/.[a-z]* "$root"/boot/* "$root"/usr/lib/locale
	find "$root/dev" -mindepth 1 -delete
	ldconfig -r "$root"
	rm -rf "$root/var/cache"
	find "$root/etc" "$root/usr" -xtype l -lname '/usr/*' | while read -r l; do if [ ! -e "$root$(readlink "$l")" ] && [ ! -L "$root$(readlink "$l")" ]; then rm "$l"; fi; done
	find "$root" -xdev -type f -perm /6000 -exec chmod ug-s {} +
}

squash() { env -u SOURCE_DATE_EPOCH mksquashfs "$root" "$1" -comp zstd -Xcompression-level "$level" -noappend -xattrs -quiet -no-progress -mkfs-time "$SOURCE_DATE_EPOCH" -all-time "$SOURCE_DATE_EPOCH"; }

# The root hash in two halves is the two partitions' UUIDs: the kernel command line alone finds its slot.
verity() {
	salt=$(sha256sum "$work/root.img" | cut -c1-64)
	uuid=$(half "$salt" 1)
	veritysetup format --salt="$salt" --uuid="$uuid" --root-hash-file="$work/roothash" "$work/root.img" "$1" >/dev/null
}
half() { echo "$1" | cut -c"$2"-$(($2 + 31)) | sed 's/^\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)/\1-\2-\3-\4-/'; }

initrd() {
	i=$work/initrd
	mkdir -p "$i"
	for l in bin sbin lib lib64; do ln -s "usr/$l" "$i/$l"; done
	( cd "$root" && sed '/^#/d' "$here/initrd.list" | while read -r pattern; do
		for f in $pattern; do
			[ -e "$f" ] || [ -L "$f" ] || { echo "initrd.list: no $pattern in the root" >&2; exit 1; }
			find "$f"
		done
	done ) >"$work/initrd.files"
	# Libraries by what the files say that they need, and what stands behind links; units that are wanted have to be listed themselves.
	( cd "$root" && grep -v '\.wants/' "$work/initrd.files" | while read -r f; do if [ -f "$f" ]; then readlink -f "$f" | sed "s#^$(pwd -P)/##"; fi; done ) | sort -u >"$work/initrd.real"
	xargs -a "$work/initrd.real" chroot "$root" sh -c 'for f; do /lib64/ld-linux-x86-64.so.2 --list "$f"; done' sh 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) (0x.*/\1/p' | sort -u |
		while read -r l; do echo "${l#/}"; ( cd "$root" && readlink -f ".$l" | sed "s#^$(pwd -P)/##" ); done >"$work/initrd.libraries"
	echo usr/lib64/ld-linux-x86-64.so.2 >>"$work/initrd.libraries"
	cat "$work/initrd.files" "$work/initrd.real" "$work/initrd.libraries" | sed 's#^lib/#usr/lib/#; s#^lib64/#usr/lib64/#; s#^bin/#usr/bin/#; s#^sbin/#usr/sbin/#' | sort -u | ( cd "$root" && cpio -pdm --quiet "$i" )
	place_modules "$work/modules.initrd" "$i"
	cp -r "$here/initrd-overlay/." "$i/"
	find "$i/usr/lib/systemd/system" -xtype l ! -lname '/*' -delete
	mkdir -p "$i/dev" "$i/proc" "$i/sys" "$i/run" "$i/tmp" "$i/sysroot" "$i/var" "$i/root"
	ln -s usr/lib/systemd/systemd "$i/init"
	ln -s initrd.target "$i/usr/lib/systemd/system/default.target"
	cp "$root/usr/lib/os-release" "$i/etc/initrd-release"
	ln -s initrd-release "$i/etc/os-release"
	: >"$i/etc/machine-id"
	find "$i" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	( cd "$i" && find . -mindepth 1 | sort | cpio -o -H newc --reproducible --owner=0:0 --quiet ) | zstd -q -"$level" -T2 -o "$1"
}

# One command line is a customer's. The other is for tests: it lets the rig hand in a unit, and is another measured state.
uki() {
	hash=$(cat "$work/roothash")
	/usr/bin/python3 "$work/ukify/usr/bin/ukify" build --stub="$root/usr/lib/systemd/boot/efi/linuxx64.efi.stub" --linux="$work/kernel/boot/vmlinuz-$kernel" --initrd="$work/initrd.zst" \
		--cmdline="roothash=$hash $2" --os-release=@"$root/usr/lib/os-release" --uname="$kernel" --output="$work/unsigned.efi" >/dev/null 2>&1
	sign "$work/unsigned.efi" "$1"
}
# The time in the header and its checksum, which the signature does not cover anyway, are zero.
sign() {
	cp "$1" "$work/plain.efi"
	pe=$(od -An -tu4 -j60 -N4 "$1" | tr -d ' ')
	for at in 8 88; do dd if=/dev/zero of="$work/plain.efi" bs=1 seek=$((pe + at)) count=4 conv=notrunc status=none; done
	# A signature has the time in it at which it was made.
	TZ=UTC faketime -f "$(date -u -d "@$SOURCE_DATE_EPOCH" '+%F %T')" sbsign --key "$KEY" --cert "$CERT" --output "$2" "$work/plain.efi" 2>/dev/null
}

# What a machine without keys is given: the certificate as the only one that may start anything here, or name another that may. Its owner and time are taken from the certificate, and so the files are the
# same for every image of one key. The time is in February: sbvarsign counts months from 0 in some versions, and a machine may want one from 1 to 12.
keys() {
	openssl x509 -in "$CERT" -outform DER -out "$work/secureboot.der"
	sbsiglist --owner "$(half "$(sha256sum "$work/secureboot.der" | cut -c1-64)" 1)" --type x509 --output "$work/secureboot.list" "$work/secureboot.der"
	since=$(date -u -d "$(openssl x509 -in "$CERT" -noout -startdate | cut -d= -f2)" +%Y)-02-01
	# As the boot loader writes them; sbvarsign alone would sign that they are to be appended.
	attributes=NON_VOLATILE,BOOTSERVICE_ACCESS,RUNTIME_ACCESS,TIME_BASED_AUTHENTICATED_WRITE_ACCESS
	mkdir "$1"
	for v in PK KEK db; do
		TZ=UTC faketime -f "$since 00:00:00" sbvarsign --attr "$attributes" --key "$KEY" --cert "$CERT" --output "$1/$v.auth" "$v" "$work/secureboot.list"
	done
}

disk() {
	esp=$work/esp.img
	rm -f "$esp" "$1"
	truncate -s 256M "$esp"
	mkfs.vfat -F 32 -i "$(cut -c1-8 "$work/roothash")" -n LEASEHOLD --invariant "$esp" >/dev/null
	sign "$root/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$work/boot.efi"
	cp "$here/loader.conf" "$work/loader.conf"
	keys "$work/keys"
	touch -d "@$SOURCE_DATE_EPOCH" "$work/boot.efi" "$work/loader.conf" "$work"/keys/*.auth "$out/leasehold_$version.efi"
	MTOOLS_SKIP_CHECK=1 TZ=UTC
	export MTOOLS_SKIP_CHECK TZ
	mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/Linux ::/loader ::/loader/keys ::/loader/keys/auto
	mcopy -m -i "$esp" "$work/boot.efi" ::/EFI/BOOT/BOOTX64.EFI
	mcopy -m -i "$esp" "$work/loader.conf" ::/loader/loader.conf
	for v in PK KEK db; do mcopy -m -i "$esp" "$work/keys/$v.auth" "::/loader/keys/auto/$v.auth"; done
	mcopy -m -i "$esp" "$out/leasehold_$version.efi" "::/EFI/Linux/leasehold_$version+3.efi"
	hash=$(cat "$work/roothash")
	# 256 + 192 + 8 MiB and the tables; the first boot makes the rest of what it finds.
	truncate -s 459M "$1"
	sfdisk -q "$1" <<-EOF
		label: gpt
		label-id: $(half "$(printf 'disk %s' "$hash" | sha256sum)" 1)
		first-lba: 2048
		start=2048, size=256MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=$(half "$(printf 'esp %s' "$hash" | sha256sum)" 1), name="esp"
		size=192MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$(half "$hash" 1), name="leasehold_$version", attrs="GUID:60"
		size=8MiB, type=2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5, uuid=$(half "$hash" 33), name="leasehold_$version", attrs="GUID:60"
	EOF
	place "$esp" 1
	place "$work/root.img" 257
	place "$work/verity.img" 449
}
place() { dd if="$1" of="$disk" bs=1M seek="$2" conv=notrunc,sparse status=none; }

facts() {
	( cd "$here/.." && go run ./cmd/internal/facts -root "$root" -packages "$work/packages" -uki "$out/leasehold_$version.efi" -version "$version" -time "$SOURCE_DATE_EPOCH" -o "$out/leasehold_$version" )
}

disk=$out/leasehold_$version.disk
step root "$root" stage
step squashfs "$work/root.img" squash "$work/root.img"
step verity "$work/verity.img" verity "$work/verity.img"
step initrd "$work/initrd.zst" initrd "$work/initrd.zst"
line=$(cat "$here/cmdline")
step uki "$out/leasehold_$version.efi" uki "$out/leasehold_$version.efi" "$line"
step test-uki "$out/leasehold_$version.test.efi" uki "$out/leasehold_$version.test.efi" "${line% systemd.import_credentials=no}"
step disk "$disk" disk "$disk"
step facts "$out/leasehold_$version.cdx.json" facts
hash=$(cat "$work/roothash")
rm -f "$out/leasehold_$version"_*.root "$out/leasehold_$version"_*.verity
cp "$work/root.img" "$out/leasehold_${version}_$(half "$hash" 1).root"
cp "$work/verity.img" "$out/leasehold_${version}_$(half "$hash" 33).verity"
rm -rf "$work"

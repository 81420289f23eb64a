#!/bin/sh
# Builds and tests in a Debian 13 beside this system: make test-debian13. FFmpeg 7.1, libva 2.22, gcc 14 and
# libmicrohttpd 1.0 are there, clang 19 makes the GPU kernels, and there are av1_nvenc and av1_vaapi, which Debian 12 does not
# have. So the test programs run, and of the farm's tests that of the tiers.
#
# The system is made by debootstrap in build/debian13 once (about a minute), and kept; it is entered with chroot in a
# mount namespace of its own, so that nothing stays mounted. The tree is copied in, its build is kept from run to run.
# Packages come from SLUICE_DEBIAN_MIRROR, or from where apt of this system gets its own, or from debootstrap's default.
# Exit status: 0 passed, 1 failed, 77 this system cannot do it (no root, no debootstrap, no mirror): said, and counted as
# skipped.
set -eu
cd "$(dirname "$0")/.."
root=$PWD/build/debian13
PATH=$PATH:/usr/sbin:/sbin

skip() {
    echo "skipped: debian13: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 77
}

[ "$(id -u)" = 0 ] || skip "making and entering another system needs root"
unshare --mount true 2>/dev/null || skip "this container allows no mount namespaces"
command -v debootstrap >/dev/null || tools/deps.sh debian13 || skip "debootstrap cannot be installed"

mirror=${SLUICE_DEBIAN_MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -n 's/^\(deb\|URIs:\) *\(\[[^]]*\] *\)\?\(https\?:[^ ]*\/debian\/\?\)\( .*\)\?$/\3/p' | head -n 1)}

if [ ! -e "$root/.made" ]; then
    echo "making a Debian 13 in build/debian13${mirror:+ from $mirror}"
    rm -rf "$root"
    mkdir -p "$root"
    log=$root.log
    # shellcheck disable=SC2086
    debootstrap --variant=minbase trixie "$root" $mirror >"$log" 2>&1 ||
        { tail -n 5 "$log" >&2; skip "debootstrap failed, whose log is $log"; }
    cp /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    : >"$root/.made"
fi
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true

# What git knows and what it would take; files that are gone here go there too.
mkdir -p "$root/src/sluice"
{ git ls-files -co --exclude-standard -z 2>/dev/null || find . -path ./build -prune -o -type f -print0; } >"$root/src/list"
find "$root/src/sluice" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
tar -c --null --ignore-failed-read -T "$root/src/list" | tar -x -C "$root/src/sluice"
media=$PWD/${SLUICE_MEDIA:-../shared/media}

exec unshare --mount --propagation private sh -eu -s "$root" "$media" <<'INSIDE'
root=$1 media=$2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys" || true
if [ -d "$media" ]; then
    mkdir -p "$root/src/shared/media"
    mount --bind -o ro "$media" "$root/src/shared/media"
fi
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    chroot "$root" sh -eu -c '
    cd /src/sluice
    {
        command -v make || { apt-get update && apt-get install -y --no-install-recommends make; }
        command -v make && tools/deps.sh build gpu test
    } >/src/deps.log 2>&1 || {
        tail -n 5 /src/deps.log >&2
        echo "skipped: debian13: its packages cannot be installed"
        echo "0 passed, 0 failed, 1 skipped"
        exit 77
    }
    make --no-print-directory -j2 test-bins >/src/build.log 2>&1 || { grep -A5 error /src/build.log >&2; exit 1; }
    tests/run --unit --e2e --files tiers'
INSIDE

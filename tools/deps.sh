#!/bin/sh
# Installs with apt what is missing: tools/deps.sh {build|gpu|demo|test|browser|bench|care|fuzz|debian13}...
# Everything there already: says nothing and changes nothing. Not root: uses sudo where that asks for
# no password; otherwise prints the command and stops with 1. Names hold for Debian 12 and 13.
set -eu

build="gcc libc6-dev make pkg-config protobuf-c-compiler libprotobuf-c-dev libnng-dev libyaml-dev
libsqlite3-dev libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev libssl-dev libzimg-dev libseccomp-dev uthash-dev
libavcodec-dev libavfilter-dev libavformat-dev libavutil-dev libswresample-dev libswscale-dev libvpx-dev
libffmpeg-nvenc-dev libva-dev"
# Compiles the CUDA kernels where nvcc is not; without either the build leaves them out.
gpu="clang"
demo="ffmpeg fonts-dejavu-core"
# The encoders are those of the stand-in devices, clang makes the kernels that they run.
test="clang libcmocka-dev ffmpeg python3 python3-jsonschema iproute2 binutils libx264-dev libx265-dev libaom-dev"
bench="ffmpeg python3"
browser="chromium nodejs npm"
fuzz="clang libclang-rt-dev ffmpeg python3"
debian13="debootstrap"
care="clang-format cppcheck shellcheck git"

wanted=""
[ $# -gt 0 ] || set -- build
for set in "$@"; do
    case $set in
    build) wanted="$wanted $build" ;;
    gpu) wanted="$wanted $gpu" ;;
    demo) wanted="$wanted $demo" ;;
    test) wanted="$wanted $test" ;;
    bench) wanted="$wanted $bench" ;;
    browser) wanted="$wanted $browser" ;;
    care) wanted="$wanted $care" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    debian13) wanted="$wanted $debian13" ;;
    *)
        echo "tools/deps.sh: there is no set \"$set\"; there are build, gpu, demo, test, browser, bench, care, fuzz, debian13" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "tools/deps.sh: this is no Debian: install what stands for these packages yourself:$wanted" >&2
    exit 1
fi

# A package counts where its program is there by other means: some people have their own node or make.
program_of() {
    case $1 in
    gcc | make | ffmpeg | python3 | chromium | npm | clang | clang-format | cppcheck | shellcheck | git) echo "$1" ;;
    pkg-config) echo pkg-config ;;
    nodejs) echo node ;;
    esac
}

missing=""
for package in $wanted; do
    case " $missing " in *" $package "*) continue ;; esac
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] && continue
    # The python3 of the tests may be another one than Debian's.
    [ "$package" = python3-jsonschema ] && python3 -c 'import jsonschema' 2>/dev/null && continue
    program=$(program_of "$package")
    [ -n "$program" ] && command -v "$program" >/dev/null 2>&1 && continue
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "Packages are missing. As root, run:" >&2
    echo "  apt-get update && $install" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# Lists may be stale or absent (a fresh container has none): one update, and only when it is needed.
# shellcheck disable=SC2086
if ! $as_root $install; then
    $as_root apt-get update
    $as_root $install
fi

# shellcheck shell=sh disable=SC2034
# Packages and helpers shared by examples/quickstart.sh and tests/run.sh. Sourced, not run; POSIX sh.
# This is the one place that names Debian packages.

# To build the library and the program.
MOCO_BUILD_PACKAGES="gcc libc6-dev make cmake pkg-config libdnnl-dev libjpeg62-turbo-dev libjansson-dev librandom123-dev libxxhash-dev"
# And to run every test.
# libopenblas0-pthread: without it the double-precision references of tests/parity take three times as long.
MOCO_TEST_PACKAGES="$MOCO_BUILD_PACKAGES g++ clang clang-format clang-tidy libclang-rt-dev llvm valgrind strace
                    doxygen groff-base binutils check python3 python3-numpy python3-torch python3-torchvision
                    python3-pil libopenblas0-pthread libpocl2 opencl-c-headers"
# And to build for aarch64 and run that under emulation, which tests/long.sh does.
MOCO_CROSS_PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"

# Makes trees of other releases: tests/distros.sh installs it.
MOCO_TREE_PACKAGES=debootstrap

# Debian's own interpreter: the packages above belong to it, whatever comes first on PATH.
MOCO_PYTHON=/usr/bin/python3

moco_jobs() {
    nproc 2>/dev/null || echo 2
}

# Prints those of the packages given that are not installed.
moco_missing_packages() {
    for package in "$@"; do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || state=absent
        [ "$state" = installed ] || printf '%s ' "$package"
    done
}

# Installs those of the packages given that are missing; does not touch apt when there are none.
moco_install() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        echo "setup: not a Debian system; these must be there already: $*"
        return 0
    fi
    missing=$(moco_missing_packages "$@")
    if [ -z "$missing" ]; then
        echo "setup: all packages are installed"
        return 0
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "setup: neither root nor sudo; as root run: apt-get install $missing" >&2
            return 1
        fi
        as_root=sudo
    fi
    echo "setup: installing $missing"
    moco_apt update -q || return
    # shellcheck disable=SC2086 # a list of words
    moco_apt install -q -y --no-install-recommends $missing
}

# apt-get, which waits for up to ten minutes while another package manager is at work. Its own time limit covers the
# installation alone, not the lists of packages.
moco_apt() {
    said=$(mktemp)
    attempt=0
    while :; do
        code=0
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 "$@" 2>"$said" || code=$?
        cat "$said" >&2
        [ $code -ne 0 ] && [ $attempt -lt 120 ] && grep -qE '[Cc]ould not get lock|[Uu]nable to (lock|acquire)' "$said" ||
            break
        attempt=$((attempt + 1))
        echo "setup: another package manager is at work, waiting" >&2
        sleep "${MOCO_APT_PAUSE:-5}"
    done
    rm -f "$said"
    return $code
}

#!/bin/sh
# The library on the other releases of Debian that have it: their oneDNN (3.7, 3.12), their compilers, libraries and
# Python. Makes a tree of each release with debootstrap, installs what is needed, and there builds everything with
# warnings as errors, with gcc and with clang, and runs all tests. Prints a table at the end.
# usage: distros.sh [--quick] [--isa] [--tree] [RELEASE ...]   (default: trixie sid)
#   --quick  gcc and the tests that compute, nothing of Python: some three minutes, one more where the tree is new
#   --tree   make the trees and nothing else; with --quick for that alone
#   --isa    the tests that compute once more under ONEDNN_MAX_CPU_ISA=SSE41, AVX2 and AVX512_CORE
# MOCO_COMPILERS names other compilers than gcc and clang, or one of them: MOCO_COMPILERS=clang.
# Trees are kept in MOCO_TREES (default build-trees); a second run builds what changed. Needs root, for chroot, and the
# mirror of this machine's own apt. Exit code 77 where that is not to be had.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/setup.sh"
trees=${MOCO_TREES:-$root/build-trees}
quick=
isa=
only_tree=
releases=
for argument in "$@"; do
    case $argument in
    --quick) quick=quick ;;
    --isa) isa=isa ;;
    --tree) only_tree=yes ;;
    -*)
        echo "usage: sh tests/distros.sh [--quick] [--isa] [--tree] [RELEASE ...]" >&2
        exit 2
        ;;
    *) releases="$releases $argument" ;;
    esac
done
releases=${releases:-trixie sid}

unable() {
    echo "skipped: $*"
    exit 77
}
[ "$(id -u)" -eq 0 ] || unable "trees of other releases are entered by chroot, which needs root"
command -v dpkg-query >/dev/null 2>&1 || unable "no Debian system"
moco_install $MOCO_TREE_PACKAGES || unable "debootstrap cannot be installed"
unshare --mount true 2>/dev/null || unable "no mount namespace of its own is allowed here"

# Where apt itself gets this release's main part from.
mirror() {
    code=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # apt's own names
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(SUITE) $(CODENAME) $(RELEASE)' 'Created-By: Packages' |
        awk -v code="$code" '$2 == "main" && ($3 == code || $4 == code || $5 == code) { print $1; exit }'
}

# inside TREE COMMAND ...: as root of the tree, the sources at /libmoco, read-only. What is mounted is gone afterwards.
inside() {
    tree=$1
    shift
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount sh -c 'tree=$1; root=$2; shift 2
        mount --make-rprivate /
        mount -t proc proc "$tree/proc"
        mount --rbind /dev "$tree/dev"
        mkdir -p "$tree/libmoco"
        mount --bind "$root" "$tree/libmoco"
        mount -o remount,bind,ro "$tree/libmoco"
        if [ -n "${MOCO_TEST_DATA:-}" ]; then
            mkdir -p "$tree/data"
            mount --bind "$MOCO_TEST_DATA" "$tree/data"
            export MOCO_TEST_DATA=/data
        fi
        exec chroot "$tree" "$@"' sh "$tree" "$root" "$@"
}

make_tree() {
    release=$1
    tree=$trees/$release
    if [ ! -e "$tree/complete" ]; then
        rm -rf "$tree"
        mkdir -p "$tree"
        echo "making $tree from $(mirror)"
        debootstrap --variant=minbase --include=ca-certificates "$release" "$tree" "$(mirror)" >"$trees/$release.log" 2>&1 ||
            return
        printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d" # no service starts in a tree
        chmod +x "$tree/usr/sbin/policy-rc.d"
        touch "$tree/complete"
    fi
    cp /etc/resolv.conf "$tree/etc/resolv.conf"
    packages="$MOCO_BUILD_PACKAGES check"
    # What only analyses the sources has been at work here already.
    [ -n "$quick" ] || packages=$(echo "$MOCO_TEST_PACKAGES" | tr -s ' \n' '\n\n' |
        grep -vE '^(clang-format|clang-tidy|libclang-rt-dev|llvm|valgrind|doxygen)$')
    # A copy of a mirror may be older than its lists say they are good for. A run that was killed may have left packages
    # half installed.
    # shellcheck disable=SC2086 # a list of words
    inside "$tree" env DEBIAN_FRONTEND=noninteractive sh -c 'dpkg-query -W "$@" >/dev/null 2>&1 || {
        dpkg --configure -a && apt-get -q -o Acquire::Check-Valid-Until=false update &&
        apt-get -q -y --no-install-recommends -f install && apt-get -q -y --no-install-recommends install "$@"; }' \
        sh $packages >>"$trees/$release.log" 2>&1
}

mkdir -p "$trees"
failed=0
: >"$trees/table"
for release in $releases; do
    echo "== $release"
    if ! make_tree "$release"; then
        tail -n 20 "$trees/$release.log"
        echo "$release | no tree (log: $trees/$release.log)" >>"$trees/table"
        failed=1
        continue
    fi
    [ -z "$only_tree" ] || continue
    rm -f "$trees/$release/rows"
    inside "$trees/$release" sh /libmoco/tests/distros_inside.sh "$quick$isa" || failed=1
    [ ! -e "$trees/$release/rows" ] || sed "s/^/$release | /" "$trees/$release/rows" >>"$trees/table"
done
echo
echo "release | oneDNN | compiler | ISA | build | tests | Python | against PyTorch and Pillow"
cat "$trees/table"
exit $failed

#!/bin/sh
# clang-tidy finds nothing in the library, the examples and the program: the checks of .clang-tidy, and with --deep the
# path-sensitive ones of the static analyzer, which take minutes. Skipped (exit code 77) where clang-tidy is absent.
# usage: check_tidy.sh [--deep] [SOURCE_DIR]
set -eu
checks=
if [ "${1:-}" = --deep ]; then
    # Left out: checkers that must know what a function in another file returns, such as core.NullDereference. They
    # cannot know that mo_fail never returns MOCO_OK, and report each error path as one that goes on.
    checks="clang-analyzer-core.DivideZero,clang-analyzer-core.StackAddressEscape,clang-analyzer-deadcode.*"
    checks="-*,$checks,clang-analyzer-unix.*,clang-analyzer-security.FloatLoopCounter"
    shift
fi
cd "${1:-$(dirname "$0")/..}"
if ! command -v clang-tidy >/dev/null 2>&1; then
    echo "skipped: clang-tidy is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Of the files that each fit one oneDNN, the one of this machine's.
onednn=$(printf '#include <oneapi/dnnl/dnnl_version.h>\nDNNL_VERSION_MAJOR\n' | cc -E -P - | tail -n 1)
find lib examples -name '*.c' ! \( -name 'compat_[0-9].c' ! -name "compat_$onednn.c" \) | LC_ALL=C sort >"$work/files"
# The flags of CMakeLists.txt that change what the code means.
flags="-std=gnu11 -O2 -Iinclude -Ilib $(pkg-config --cflags jansson)"
# shellcheck disable=SC2016,SC2086 # expanded by the inner shell; lists of words
if ! xargs -P "$(nproc 2>/dev/null || echo 2)" -n 8 sh -c \
    'checks=$1 flags=$2; shift 2; exec clang-tidy -quiet ${checks:+"--checks=$checks"} "$@" -- $flags' tidy \
    "$checks" "$flags" <"$work/files" >"$work/out" 2>"$work/err"; then
    # Without the lines that count what was left out.
    grep -vE '^[0-9]+ warnings? (generated|and)' "$work/err" || true
    cat "$work/out"
    exit 1
fi
echo "$(wc -l <"$work/files") files, nothing found"

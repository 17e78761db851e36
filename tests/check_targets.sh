#!/bin/sh
# Targets that are not built here. A big-endian build is refused at compile time: files would have their numbers the
# wrong way round. And the sources compile against musl, a C library without some of glibc's names:
# syntax alone, since Debian has no oneDNN that is built for it.
# usage: check_targets.sh [SOURCE_DIR]   (the second part where there is musl-gcc, package musl-tools)
set -eu
cd "${1:-$(dirname "$0")/..}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if gcc -U__BYTE_ORDER__ -D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__ -fsyntax-only -Iinclude -Ilib lib/util/status.c 2>"$work/said"; then
    echo "a big-endian build is not refused"
    exit 1
fi
grep -q 'little-endian machine' "$work/said" || {
    cat "$work/said"
    exit 1
}

command -v musl-gcc >/dev/null 2>&1 || {
    echo "skipped: musl: no musl-gcc (package musl-tools)"
    echo "big-endian is refused"
    exit 0
}
# musl-gcc sees its own headers alone: those of the libraries come in by links.
triplet=$(gcc -print-multiarch)
for header in oneapi dnnl.h jansson.h jansson_config.h jpeglib.h jmorecfg.h jerror.h jconfig.h xxhash.h Random123 linux \
    asm-generic "$triplet/asm" "$triplet/jconfig.h"; do
    [ ! -e "/usr/include/$header" ] || ln -sf "/usr/include/$header" "$work/$(basename "$header")"
done
major=$(sed -n 's/^#define DNNL_VERSION_MAJOR \([0-9]*\)$/\1/p' /usr/include/oneapi/dnnl/dnnl_version.h)
other=$([ "$major" -ge 3 ] && echo 2 || echo 3)
find lib examples -name '*.c' ! -name "compat_$other.c" >"$work/sources"
failed=0
while read -r source; do
    musl-gcc -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -Iinclude -Ilib -isystem "$work" "$source" || failed=1
done <"$work/sources"
[ $failed -eq 0 ] || exit 1
echo "big-endian is refused, $(wc -l <"$work/sources") files compile against musl"

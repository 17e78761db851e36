#!/bin/sh
# Headers, version script, the checked-in list and the library's dynamic symbols must name the same functions; the
# library has its soname and needs only what docs/dependencies.md names.
# usage: check_symbols.sh SOURCE_DIR LIBRARY
set -eu
source=$1
library=$2
list=$source/tests/abi/symbols.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
failed=0

same() { # same TITLE FILE: FILE against the list
    if ! diff -u "$list" "$2" >"$work/diff"; then
        echo "$1 differs from tests/abi/symbols.txt:"
        sed 1,2d "$work/diff"
        failed=1
    fi
}

sort -u "$list" >"$work/list"
same "its own sorted form" "$work/list"

# A declaration is what lies between MOCO_API, expanded to its attribute, and the first parenthesis after it.
for header in "$source"/include/moco/*.h; do echo "#include \"$header\""; done |
    cc -E -P -I"$source/include" -x c - | tr '\n' ' ' | tr ';' '\n' |
    sed -n 's/.*visibility("default"))) *//; t name; d; :name; s/(.*//; s/.*[ *]//; p' | sort >"$work/headers"
same "include/moco" "$work/headers"

sed -n 's/^ *\(moco_[a-z0-9_]*\);.*/\1/p' "$source/lib/libmoco.map" | sort >"$work/map"
same "lib/libmoco.map" "$work/map"

nm -D --defined-only "$library" >"$work/nm"
sed -n 's/.* T \([^@]*\)@@LIBMOCO_[0-9.]*$/\1/p' "$work/nm" | sort >"$work/library"
same "$library" "$work/library"
if sed -n '/ T [^@]*@@LIBMOCO_/d; / A LIBMOCO_/d; p' "$work/nm" | grep .; then
    echo "$library exports the above, which are no functions of a LIBMOCO node"
    failed=1
fi

readelf -d "$library" >"$work/dynamic"
if ! grep -q 'SONAME.*\[libmoco\.so\.0\]' "$work/dynamic"; then
    echo "$library: soname is not libmoco.so.0"
    failed=1
fi
for needed in $(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic"); do
    case $needed in
    libdnnl.so.* | libjpeg.so.* | libjansson.so.* | libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | ld-linux*) ;;
    *)
        echo "$library needs $needed, which docs/dependencies.md does not name"
        failed=1
        ;;
    esac
done
[ $failed -eq 0 ] && echo "$(wc -l <"$list") symbols agree"
exit $failed

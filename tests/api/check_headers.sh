#!/bin/sh
# Every public header compiles alone, as C99 and as C++11, without a single warning, and is plain C declarations for
# parsers such as cffi's once MOCO_API is defined as nothing.
# usage: check_headers.sh SOURCE_DIR
set -eu
source=$1
failed=0
count=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

compiles() { # compiles LANGUAGE SUFFIX COMPILER HEADER
    if ! "$3" -std="$1" -Wall -Wextra -pedantic -Werror -I"$source/include" -c "$work/one.$2" -o "$work/one.o"; then
        echo "$4 does not compile as $1 with $3"
        failed=1
    fi
    count=$((count + 1))
}

for header in "$source"/include/moco/*.h; do
    name=moco/$(basename "$header")
    # Twice, for the include guard; and something of our own, since an empty unit is not ISO C.
    printf '#include <%s>\n#include <%s>\nint moco_unit(void);\nint moco_unit(void) { return 0; }\n' "$name" "$name" \
        | tee "$work/one.c" >"$work/one.cpp"
    for compiler in gcc clang; do
        if command -v $compiler >/dev/null; then compiles c99 c $compiler "$name"; fi
    done
    for compiler in g++ clang++; do
        if command -v $compiler >/dev/null; then compiles c++11 cpp $compiler "$name"; fi
    done
done
# What a parser of declarations would see: our own lines of the preprocessor's output.
for header in "$source"/include/moco/*.h; do echo "#include \"$header\""; done |
    cc -E -DMOCO_API= -I"$source/include" -x c - |
    awk '/^# /{own = index($3, "/moco/") > 0; next} own' >"$work/plain"
if grep -nE '__|\binline\b|\bextern\b|visibility' "$work/plain"; then
    echo "with MOCO_API defined as nothing, the headers still have the above"
    failed=1
fi
if [ "$(grep -c ';' "$work/plain")" -lt 100 ]; then
    echo "the declarations of the headers were not found"
    failed=1
fi
if grep -nE 'Since:$' "$source"/include/moco/*.h; then
    echo "the lines above part 'Since:' from its release"
    failed=1
fi
[ $failed -eq 0 ] && echo "$count compilations"
exit $failed

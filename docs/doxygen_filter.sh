#!/bin/sh
# What Doxygen reads of a public header: see docs/Doxyfile.
# usage: doxygen_filter.sh HEADER
exec sed -E \
    -e '1s,^/\*$,/** @file,' \
    -e '1s,^/\* ,/** @file\n * ,' \
    -e 's#^ *([a-z0-9_]+) ([a-z0-9_]+), ([a-z0-9_]+), ([a-z0-9_]+);( *)(/\*\*<.*\*/)#\1 \2; \6 \1 \3; \6 \1 \4; \6#' \
    -e 's#^ *([a-z0-9_]+) ([a-z0-9_]+), ([a-z0-9_]+);( *)(/\*\*<.*\*/)#\1 \2; \5 \1 \3; \5#' \
    "$1"

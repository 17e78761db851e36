#!/bin/sh
# The API pages come out of the public headers without a warning, and each function that the library exports is on one.
# Skipped (exit code 77) where doxygen is absent.
# usage: check_api_docs.sh [SOURCE_DIR]
set -eu
cd "${1:-$(dirname "$0")/..}"
if ! command -v doxygen >/dev/null 2>&1; then
    echo "skipped: doxygen is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# No HTML, which takes most of the time: the warnings are the same, and XML is easier to search.
{
    cat docs/Doxyfile
    echo "OUTPUT_DIRECTORY = $work"
    echo "GENERATE_HTML = NO"
    echo "GENERATE_XML = YES"
    echo "XML_PROGRAMLISTING = NO"
} >"$work/Doxyfile"
if ! doxygen "$work/Doxyfile" >"$work/out" 2>&1 || [ -s "$work/out" ]; then
    sed "s,$PWD/,," "$work/out"
    echo "doxygen: $(grep -cE "(warning|error): " "$work/out" || true) warnings"
    exit 1
fi
grep -v '^#' tests/abi/symbols.txt | grep -o 'moco_[a-z0-9_]*' | sort -u >"$work/symbols"
while read -r symbol; do
    if ! grep -q "<name>$symbol</name>" "$work"/xml/*_8h.xml; then
        echo "$symbol has no description in include/moco"
        failed=1
    fi
done <"$work/symbols"
[ -s "$work/symbols" ] || failed=1
[ $failed -eq 0 ] && echo "$(wc -l <"$work/symbols") functions, no warning"
exit $failed

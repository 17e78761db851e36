#!/bin/sh
# The unit, gradient and fault tests once more on checked memory (tests/checked_memory.c): first on pages that nobody may
# touch unless they are mapped or at work, then with maps that are copies. Left out: test_allocations, which counts the
# pages of the program. Ends with a line for each.
# usage: check_guard.sh BUILD_DIR [JOBS [KIND ...]]   (kinds: pages copies; default both)
set -eu
build=${1:?usage: check_guard.sh BUILD_DIR [JOBS [KIND ...]]}
jobs=${2:-2}
[ $# -le 2 ] || shift 2
[ "$1" != "$build" ] || set -- pages copies
failed=0
for kind in "$@"; do
    log=$build/guard-$kind.log
    if MOCO_GUARD=$kind ctest --test-dir "$build" -j "$jobs" -L '^(unit|grad|fault)$' -E '^test_allocations$' \
        --output-on-failure >"$log" 2>&1; then
        echo "guard $kind: $(sed -n 's/^100% tests passed, .* out of \([0-9]*\)$/\1 tests passed/p' "$log")"
    else
        echo "guard $kind: failed, see $log"
        sed -n '/The following tests FAILED/,$p' "$log"
        failed=1
    fi
done
exit $failed

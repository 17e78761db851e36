#!/bin/sh
# Everything that must hold: installs the packages that are missing, builds, runs all tests, and ends with one line
# "N passed, N failed, N skipped". Every ctest test and every section below counts. Exit code 0 = none failed.
# A failing part does not stop the others. MOCO_TEST_DATA may name a folder of real images (cifar10-test.tar, photos/).
# Needs nothing but Debian 12; a second run builds only what changed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/setup.sh"

# shellcheck disable=SC2086 # a list of words
moco_install $MOCO_TEST_PACKAGES

cd "$root"
jobs=$(moco_jobs)
logs=$root/build/tests-logs
mkdir -p "$logs"
passed=0
failed=0
skipped=0
failures=
started=$(date +%s)

fail() {
    failed=$((failed + 1))
    failures="$failures
  $*"
}

# section TITLE COMMAND ...: counts one; exit code 77 means skipped. A success shows its last line, a failure its end.
section() {
    title=$1
    shift
    log=$logs/$(echo "$title" | tr -c 'a-zA-Z0-9\n' '-').log
    from=$(date +%s)
    code=0
    "$@" >"$log" 2>&1 || code=$?
    took=$(($(date +%s) - from))
    last=$(tail -n 1 "$log" | cut -c1-80)
    case $code in
    0)
        printf 'ok    %-44s %4d s   %s\n' "$title" $took "$last"
        passed=$((passed + 1))
        left_out "$log"
        ;;
    77)
        printf 'skip  %-44s %4d s   %s\n' "$title" $took "$last"
        skipped=$((skipped + 1))
        ;;
    *)
        printf 'FAIL  %-44s %4d s\n' "$title" $took
        tail -n 60 "$log" | sed 's/^/      | /'
        fail "$title (log: $log)"
        return 1
        ;;
    esac
}

# What a test that passed did not look at, and why: lines such as "photographs skipped: no MOCO_TEST_DATA/photos".
left_out() {
    grep -hE '^(.*[: ])?skip(ped)?: ' "$1" | grep -v '^Command: ' | sort -u | sed 's/^/      /' || true
}

# tests TITLE BUILD_DIR [CTEST_ARGUMENT ...]: counts every test of the run.
tests() {
    title=$1
    build=$2
    shift 2
    log=$logs/$(basename "$build")-ctest.log
    junit=$logs/$(basename "$build")-ctest.xml
    rm -f "$junit"
    from=$(date +%s)
    echo "----  $title"
    ctest --test-dir "$build" -j "$jobs" --output-on-failure --output-junit "$junit" "$@" >"$log" 2>&1 || true
    grep -E '^ *[0-9]+/[0-9]+ Test' "$log" | sed 's/^ *[0-9]*\/[0-9]* Test *#[0-9]*: /      /' || true
    if ! grep -q '<testsuite' "$junit" 2>/dev/null; then
        tail -n 30 "$log" | sed 's/^/      | /'
        fail "$title: ctest did not run (log: $log)"
        return 0
    fi
    count=$(attribute tests)
    # "Not Run" is a test without its program, or behind one that failed: no reason to call it skipped.
    unable=$(grep '\*\*\*Not Run' "$log" | grep -cv 'Disabled' || true)
    bad=$(($(attribute failures) + unable))
    left=$(($(attribute skipped) + $(attribute disabled) - unable))
    if [ "$count" -eq 0 ]; then fail "$title: no test was found"; fi
    if [ "$bad" -gt 0 ]; then
        sed -n '/^The following tests FAILED/,$p' "$log" >"$logs/failed"
        grep -vE '^ *[0-9]+/[0-9]+ Test|^ *Start ' "$log" | tail -n 80 | sed 's/^/      | /'
        failures="$failures
  $title: $(sed -n 's/^[[:space:]]*[0-9]* - \([^ ]*\).*/\1/p' "$logs/failed" | tr '\n' ' ')(log: $log)"
    fi
    passed=$((passed + count - bad - left))
    failed=$((failed + bad))
    skipped=$((skipped + left))
    printf '      %d tests, %d failed, %d skipped, %d s\n' "$count" "$bad" "$left" $(($(date +%s) - from))
    left_out "$build/Testing/Temporary/LastTest.log"
}

attribute() {
    sed -n '/<testsuite /,/>/s/.*[[:space:]]'"$1"'="\([0-9]*\)".*/\1/p' "$junit" | head -n 1
}

build_release() {
    cmake --preset release -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=ON && cmake --build build -j "$jobs"
}

# Library, program and examples by one compiler, warnings being errors.
build_strictly() {
    cmake -S . -B "build-strict-$1" -DCMAKE_C_COMPILER="$1" -DCMAKE_BUILD_TYPE=Release -DMOCO_BUILD_TESTS=OFF \
        -DCMAKE_COMPILE_WARNING_AS_ERROR=ON && cmake --build "build-strict-$1" -j "$jobs"
}

# The tests of modules and of the interface under address, leak and undefined-behaviour checks.
build_checked() {
    cmake --preset asan -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=OFF && cmake --build build-asan -j "$jobs"
}

run_python() {
    env MOCO_LIBRARY="$root/build/libmoco.so" MOCO_SOURCE_DIR="$root" MOCO_BINARY_DIR="$root/build" \
        PYTHONDONTWRITEBYTECODE=1 timeout 900 "$MOCO_PYTHON" "$@"
}

echo "== build"
section "release build" build_release || true

echo "== sources"
section "public headers, each alone" sh tests/api/check_headers.sh "$root" || true
section "modules" sh tests/check_modules.sh "$root" "$root/build" || true
section "documents" sh tests/check_docs.sh "$root" || true
section "tests of each source file" sh tests/check_map.sh "$root" || true
section "layout" sh tests/check_format.sh "$root" || true
section "clang-tidy" sh tests/check_tidy.sh "$root" || true
section "API pages" sh tests/check_api_docs.sh "$root" || true
section "gcc without warnings" build_strictly gcc || true
section "clang without warnings" build_strictly clang || true

echo "== package"
section "symbols" sh tests/abi/check_symbols.sh "$root" "$root/build/libmoco.so" || true
section "installed hosts" sh tests/install/check_install.sh "$root" "$root/build" "$MOCO_PYTHON" || true

echo "== C tests"
tests "release" "$root/build"

echo "== C tests, checked memory"
if section "address and undefined-behaviour build" build_checked; then
    export CK_FORK=no ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    # Two long ones only count draws and compare whole runs; others go through the same code.
    tests "checked" "$root/build-asan" -R '^test_' -E '^test_(view_shares|bits)$'
    unset CK_FORK ASAN_OPTIONS UBSAN_OPTIONS
fi

echo "== Python"
for script in tests/python/test_*.py; do
    section "$(basename "$script")" run_python "$script" || true
done

# The comparisons mostly run on one thread: as many at once as there are processors, each claimed by one worker.
comparisons() {
    for script in tests/parity/test_family.py tests/parity/test_full_size.py tests/parity/test_trajectory.py \
        tests/parity/test_*.py; do # the longest first
        [ -e "$script" ] || continue
        # Those that need a program of the build are ctest tests already.
        if grep -q "parity/$(basename "$script")" tests/CMakeLists.txt; then continue; fi
        echo "$script"
    done | awk '!seen[$0]++'
}

compare() {
    for script in $(comparisons); do
        name=$(basename "$script")
        mkdir "$logs/claim-$name" 2>/dev/null || continue
        status=0
        run_python "$script" >"$logs/$name.out" 2>&1 || status=$?
        echo $status >"$logs/$name.status"
    done
}

compared() {
    cat "$logs/$1.out"
    return "$(cat "$logs/$1.status")"
}

echo "== against PyTorch and Pillow"
rm -rf "$logs"/claim-*
from=$(date +%s)
workers=
for worker in $(seq "$jobs"); do
    compare &
    workers="$workers $!"
done
wait $workers
for script in $(comparisons); do
    section "$(basename "$script")" compared "$(basename "$script")" || true
done
echo "      $(($(date +%s) - from)) s"

if [ $failed -ne 0 ]; then
    echo
    echo "failed:$failures"
fi
echo
echo "took $((($(date +%s) - started) / 60)) min $((($(date +%s) - started) % 60)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]

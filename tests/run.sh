#!/bin/sh
# Everything that must hold: installs the packages that are missing, builds, runs all tests, and ends with one line
# "N passed, N failed, N skipped". Every ctest test and every section below counts. Exit code 0 = none failed.
# A failing part does not stop the others. MOCO_TEST_DATA may name a folder of real images (cifar10-test.tar, photos/).
# Needs nothing but Debian 12; a second run builds only what changed. docs/testing.md says what each group asks.
# usage: run.sh [--quick]   (--quick: the part that takes less than three minutes)
set -eu
quick=
case ${1:-} in
'') ;;
--quick) quick=yes ;;
*)
    echo "usage: sh tests/run.sh [--quick]" >&2
    exit 2
    ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/setup.sh"

# shellcheck disable=SC2086 # a list of words
moco_install $MOCO_TEST_PACKAGES

cd "$root"
. "$root/tests/sections.sh"

# Library, program, examples and tests by gcc, with or without warnings as errors.
build_release() {
    cmake --preset release -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=ON -DCMAKE_COMPILE_WARNING_AS_ERROR="$1" &&
        cmake --build build -j "$jobs"
}

# The same sources by clang. Its warnings do not depend on optimisation, so no object is written.
check_clang() {
    cmake -S . -B build-strict-clang -DCMAKE_C_COMPILER=clang -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
        -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=ON &&
        "$MOCO_PYTHON" -B tests/check_warnings.py build-strict-clang "$jobs"
}

# The tests of modules and of the interface under address, leak and undefined-behaviour checks.
build_checked() {
    cmake --preset asan -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=OFF && cmake --build build-asan -j "$jobs"
}

# The tests that compute, with the oneDNN of Debian 13.
check_newer() {
    if [ ! -e "${MOCO_TREES:-$root/build-trees}/trixie/complete" ]; then
        echo "skipped: no tree of Debian 13; sh tests/distros.sh --quick --tree trixie makes one"
        return 77
    fi
    sh tests/distros.sh --quick trixie
}

group build
# A warning fails the first of the two; the second lets the tests go on.
section "release build without warnings" build_release ON || section "release build" build_release OFF || true

group sources
section "public headers, each alone" sh tests/api/check_headers.sh "$root" || true
section "modules" sh tests/check_modules.sh "$root" "$root/build" || true
section "documents" sh tests/check_docs.sh "$root" || true
section "waiting for packages" sh tests/check_setup.sh "$root" || true
section "public functions" sh tests/check_border.sh "$root" || true
section "statuses in the headers" /usr/bin/python3 tests/check_statuses.py "$root" || true
section "tests of each source file" sh tests/check_map.sh "$root" || true
section "other targets" sh tests/check_targets.sh "$root" || true
section "layout" sh tests/check_format.sh "$root" || true
section "clang without warnings" check_clang || true
if [ -z "$quick" ]; then
    section "clang-tidy" sh tests/check_tidy.sh "$root" || true
    section "API pages" sh tests/check_api_docs.sh "$root" || true
fi

group package
section "symbols" sh tests/abi/check_symbols.sh "$root" "$root/build/libmoco.so" || true
section "installed hosts" sh tests/install/check_install.sh "$root" "$root/build" "$MOCO_PYTHON" || true

section "commands and programs of the documents" "$MOCO_PYTHON" -B tests/check_claims.py "$root" "$root/build" || true

group "C tests"
if [ -n "$quick" ]; then
    tests "release" "$root/build" -E '^(test_(bits|faults|run_faults|probe_faults)|program|smoke_kill_resume|gpu_.*)$' # half of the time
else
    tests "release" "$root/build" -E '^gpu_'

    group "the GPU path, on a CPU that is presented as one"
    tests "presented" "$root/build" -L gpu -E '^gpu_layers_all$' # all shapes take five minutes: tests/long.sh has them

    group "C tests, buffers out of reach unless mapped"
    section "guarded buffers" sh tests/check_guard.sh "$root/build" "$jobs" pages || true

    group "C tests, checked memory"
    if section "address and undefined-behaviour build" build_checked; then
        export CK_FORK=no ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
        # Two long ones only count draws and compare whole runs; others go through the same code. tests/long.sh has them.
        tests "checked" "$root/build-asan" -R '^test_' -E '^test_(view_shares|bits)$'
        unset CK_FORK ASAN_OPTIONS UBSAN_OPTIONS
    fi
fi

if [ -z "$quick" ]; then
    group "another oneDNN"
    section "Debian 13" check_newer || true

    group "damaged and hostile input"
    section "fuzz targets" sh tests/fuzz.sh quick || true

    group "a system that fails, a process that is killed"
    section "failed requests, a sample" "$MOCO_PYTHON" -B tests/fault/sweep.py build/moco build/tests/draw_folder \
        build/libmoco.so build/sweep --sample 40 || true
    section "kills" "$MOCO_PYTHON" -B tests/fault/kills.py build/moco build/tests/draw_folder build/kills 10 || true
fi

group "Python"
for script in tests/python/test_*.py; do
    # Those that need no build of their own are ctest tests already.
    if grep -q "python/$(basename "$script")" tests/CMakeLists.txt; then continue; fi
    if [ -n "$quick" ] && [ "$script" = tests/python/test_manners.py ]; then continue; fi # signals and waiting: 17 s
    section "$(basename "$script")" run_python "$script" || true
done

group "against PyTorch and Pillow"
# Not those that ctest runs, because they need a program of the build.
scripts=
if [ -n "$quick" ]; then
    scripts="tests/parity/test_import_v3.py tests/parity/test_checks.py tests/parity/test_contrast.py
             tests/parity/test_reference.py tests/parity/test_knn.py"
else
    for script in tests/parity/test_full_size.py tests/parity/test_family.py tests/parity/test_trajectory.py \
        tests/parity/test_*.py; do # the longest first
        if grep -q "parity/$(basename "$script")" tests/CMakeLists.txt; then continue; fi
        case " $scripts " in *" $script "*) ;; *) scripts="$scripts $script" ;; esac
    done
fi
# shellcheck disable=SC2086 # a list of words
comparisons $scripts

finish

#!/bin/sh
# What tests/distros.sh runs within a tree: builds /libmoco under /build, with warnings as errors, and tests it. Appends
# a line for each build to /rows: "oneDNN | compiler | ISA | build | tests | Python | comparisons".
# MOCO_COMPILERS says by which compilers. Tests that cannot run in a tree say why, and are counted as skipped.
# usage: distros_inside.sh [quick][isa]
set -eu
mode=${1:-}
source=/libmoco
jobs=$(nproc)
export MOCO_SOURCE_DIR=$source PYTHONDONTWRITEBYTECODE=1 HOME=/root LC_ALL=C.UTF-8
unset CMAKE_C_COMPILER_LAUNCHER # of a program that may not be in a tree
failed=0
# Those whose numbers come out of oneDNN.
computing='check layers low vit plan linear supervised shards'
: "${MOCO_COMPILERS:=$(case $mode in quick*) echo gcc ;; *) echo gcc clang ;; esac)}"
case $mode in
quick*) ;;
*) computing="$computing nets gradients learner finetune precision bits resume embed_files" ;;
esac
computing="^test_($(echo "$computing" | tr ' ' '|'))\$"

version_of() {
    sed -n 's/^#define DNNL_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\)$/\2/p' /usr/include/oneapi/dnnl/dnnl_version.h |
        paste -sd.
}

# counted LOG: "0 failed of 59, 2 skipped" of a ctest log. ctest counts what was skipped among those that passed.
counted() {
    sed -n 's/^\([0-9]*\)% tests passed, \([0-9]*\) tests* failed out of \([0-9]*\)$/\2 failed of \3/p' "$1" |
        sed "s/\$/, $(grep -c '\*\*\*Skipped' "$1" || true) skipped/"
}

run_tests() { # COMPILER ISA CTEST_ARGUMENT ...
    compiler=$1
    isa=$2
    shift 2
    log=/build/$compiler-$isa.log
    code=0
    [ "$isa" = native ] || export ONEDNN_MAX_CPU_ISA="$isa"
    ctest --test-dir "/build/$compiler" -j "$jobs" --output-on-failure "$@" >"$log" 2>&1 || code=1
    unset ONEDNN_MAX_CPU_ISA
    if [ $code -ne 0 ]; then
        failed=1
        sed -n '/tests passed/,$p' "$log"
    fi
    # Why tests were skipped, and what those that passed left out.
    grep -hE '^(.*[: ])?skip(ped)?: ' "/build/$compiler/Testing/Temporary/LastTest.log" | grep -v '^Command: ' |
        sort -u | sed 's/^/      /' || true
    tests=$(counted "$log")
}

# Python scripts that need the library alone; ctest has those that need a program of the build.
run_scripts() { # COMPILER FOLDER
    good=0
    bad=0
    left=0
    for script in "$source/tests/$2"/test_*.py; do
        ! grep -q "$2/$(basename "$script")" "$source/tests/CMakeLists.txt" || continue
        log=/build/$1-$(basename "$script").log
        code=0
        MOCO_LIBRARY=/build/$1/libmoco.so MOCO_BINARY_DIR=/build/$1 timeout 1800 /usr/bin/python3 -B "$script" \
            >"$log" 2>&1 || code=$?
        case $code in
        0) good=$((good + 1)) ;;
        77)
            left=$((left + 1))
            tail -n 1 "$log"
            ;;
        *)
            bad=$((bad + 1))
            failed=1
            echo "FAIL $2/$(basename "$script")"
            tail -n 20 "$log"
            ;;
        esac
    done
    scripts="$good passed, $bad failed, $left skipped"
}

mkdir -p /build
for compiler in $MOCO_COMPILERS; do
    name=$("$compiler" --version | sed -n '1s/^\([a-zA-Z ]*\).* \([0-9][0-9.]*\).*$/\1\2/p')
    begin=$(date +%s)
    targets=all
    program=ON
    case $mode in quick*)
        program=OFF
        targets=$(echo "$computing" | sed 's/^.*(//; s/).*$//; s/|/ /g; s/[a-z][a-z]*/test_&/g')
        ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    if cmake -S "$source" -B "/build/$compiler" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$compiler" \
        -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=$program -DCMAKE_COMPILE_WARNING_AS_ERROR=ON \
        >"/build/$compiler-build.log" 2>&1 &&
        cmake --build "/build/$compiler" -j "$jobs" --target $targets >>"/build/$compiler-build.log" 2>&1; then
        build="no warning, $(($(date +%s) - begin)) s"
    else
        grep -E 'error|warning' "/build/$compiler-build.log" | head -n 20
        echo "$(version_of) | $name | | FAILED (log: /build/$compiler-build.log) | | |" >>/rows
        failed=1
        continue
    fi
    case $mode in
    quick*)
        run_tests "$compiler" native -R "$computing"
        echo "$(version_of) | $name | native | $build | $tests | |" >>/rows
        ;;
    *)
        run_tests "$compiler" native
        run_scripts "$compiler" python
        python=$scripts
        run_scripts "$compiler" parity
        echo "$(version_of) | $name | native | $build | $tests | $python | $scripts" >>/rows
        ;;
    esac
    case $mode in *isa)
        for isa in SSE41 AVX2 AVX512_CORE; do
            run_tests "$compiler" $isa -R "$computing"
            echo "$(version_of) | $name | $isa | | $tests | |" >>/rows
        done
        ;;
    esac
done
exit $failed

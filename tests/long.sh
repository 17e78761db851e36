#!/bin/sh
# What takes too long for tests/run.sh, or asks the same again in other ways. Run it before a release and after changes
# of threads, kernels or numbers; it takes about half an hour on two processors. Ends as run.sh does.
# docs/testing.md says what each group asks.
# usage: long.sh [GROUP ...]     GROUP is one of those below; without any, all of them
set -eu
groups="threads memory copies fuzz faults soak valgrind analysis gpu aarch64 processors releases"
chosen=" ${*:-$groups} "
for name in "$@"; do
    case " $groups " in
    *" $name "*) ;;
    *)
        echo "long.sh: no group '$name'; there are: $groups" >&2
        exit 2
        ;;
    esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/setup.sh"

# shellcheck disable=SC2086 # a list of words
moco_install $MOCO_TEST_PACKAGES

cd "$root"
. "$root/tests/sections.sh"

# build PRESET: the tests by one of the presets of CMakePresets.json.
build() {
    cmake --preset "$1" -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM="${2:-OFF}" && cmake --build "build-$1" -j "$jobs"
}

build_release() {
    cmake --preset release -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=ON && cmake --build build -j "$jobs"
}

hammer() {
    rm -rf build-tsan/hammered
    mkdir build-tsan/hammered
    build-tsan/tests/draw_folder build-tsan/hammered/images 12 3 24
    build-tsan/tests/hammer build-tsan/hammered/images "${MOCO_HAMMER_SECONDS:-60}"
}

gpu_steps() {
    tests=$root/build/tests
    if [ ! -e "$tests/libpresented.so" ]; then
        echo "skipped: no OpenCL headers, PoCL or oneDNN 2 with OpenCL"
        return 77
    fi
    POCL_CACHE_DIR=$tests/gpu/programs POCL_MAX_PTHREAD_COUNT=2 "$MOCO_PYTHON" -B tests/gpu/test_gpu.py build/moco \
        "$tests/draw_folder" "$tests/libpresented.so" "$tests/gpu/vendors" 20
}

# wanted GROUP TITLE: whether it was asked for; begins it.
wanted() {
    case $chosen in
    *" $1 "*) group "$2" ;;
    *) return 1 ;;
    esac
}

group build
section "release build" build_release || true

if wanted threads "races between threads" && section "thread-sanitizer build" build tsan; then
    # oneDNN, OpenBLAS and their OpenMP are not instrumented: what goes on inside them would be reported as races.
    export CK_FORK=no
    export TSAN_OPTIONS="ignore_noninstrumented_modules=1:halt_on_error=1:suppressions=$root/tests/tsan.supp"
    # Left out: long ones; those that start no thread; and those that count what the sanitizer has of its own, address
    # space (headroom) and a thread (processors).
    tests "threads" "$root/build-tsan" -R '^test_' \
        -E '^test_(fork|openmp|bits|layers|torch_file|torch_fuzz|faults|allocations|headroom|processors)$'
    section "threads that embed, train, save, load, search" hammer || true
    unset CK_FORK TSAN_OPTIONS
fi

if wanted memory "C tests, checked memory: those that run.sh leaves out" &&
    section "address and undefined-behaviour build" build asan; then
    export CK_FORK=no ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    tests "checked" "$root/build-asan" -R '^test_(view_shares|bits)$'
    unset CK_FORK ASAN_OPTIONS UBSAN_OPTIONS
fi

if wanted copies "C tests, buffers that are copies"; then
    section "buffers that are copies" sh tests/check_guard.sh "$root/build" "$jobs" copies || true
fi

if wanted fuzz "hostile input, by coverage"; then
    # Seconds for each of the targets, two at a time; what they find is kept in build-fuzz/corpus for the next time.
    section "fuzz targets for longer" sh tests/fuzz.sh long "${MOCO_FUZZ_SECONDS:-60}" || true
    section "lines that the fuzz targets reach" sh tests/fuzz.sh coverage || true
fi

if wanted faults "a system that fails, a process that is killed"; then
    # Up to so many requests of each row; MOCO_SWEEP=1000000 is every one, which takes a day.
    section "failed requests" "$MOCO_PYTHON" -B tests/fault/sweep.py build/moco build/tests/draw_folder \
        build/libmoco.so build/sweep --most "${MOCO_SWEEP:-15}" || true
    section "kills" "$MOCO_PYTHON" -B tests/fault/kills.py build/moco build/tests/draw_folder build/kills \
        "${MOCO_KILLS:-1000}" || true
    section "address space in steps" sh tests/fault/memory_steps.sh build/moco build/tests/draw_folder \
        build/memory_steps || true
fi

if wanted soak "hours in one process"; then
    section "soak" sh tests/soak.sh "${MOCO_SOAK_HOURS:-0.05}" || true
fi

if wanted valgrind "memory as valgrind sees it"; then
    section "readers and embedding under valgrind" sh tests/check_valgrind.sh build || true
fi

if wanted analysis "deep static analysis"; then
    section "clang-tidy with the path-sensitive checks" sh tests/check_tidy.sh --deep "$root" || true
    section "gcc's analyser" sh tests/check_analyzers.sh "$root" || true
fi

if wanted gpu "the GPU path, on a CPU that is presented as one"; then
    tests "presented" "$root/build" -L gpu
    section "twenty steps of every recipe" gpu_steps || true
fi

if wanted aarch64 "another processor"; then
    section "aarch64 under emulation" sh tests/cross.sh build/moco build/tests/draw_folder || true
fi

# The bounds of the comparisons must hold whatever the processor offers. OpenBLAS and oneDNN can be told to take less.
as_on() {
    core=Haswell
    [ "$1" = AVX2 ] || core=Nehalem
    export DNNL_MAX_CPU_ISA="$1" OPENBLAS_CORETYPE=$core
    [ "$1" = AVX2 ] || export ATEN_CPU_CAPABILITY=default
    suffix=", $1"
    comparisons tests/parity/test_trajectory.py tests/parity/test_encoder_parity.py tests/parity/test_multishard.py \
        tests/parity/test_finetune.py tests/parity/test_import_v3.py tests/parity/test_compare.py \
        tests/parity/test_embed.py tests/parity/test_probe.py tests/parity/test_contrast.py
    suffix=
    unset DNNL_MAX_CPU_ISA OPENBLAS_CORETYPE ATEN_CPU_CAPABILITY
}
for isa in AVX2 SSE41; do
    if wanted processors "against PyTorch, as on a processor with $isa"; then as_on $isa; fi
done

for isa in AVX512_CORE AVX2 SSE41; do
    wanted processors "C tests, as on a processor with $isa" || continue
    export DNNL_MAX_CPU_ISA=$isa
    tests "$isa" "$root/build" -E '^(program|smoke|example|parity)'
    unset DNNL_MAX_CPU_ISA
done

if wanted releases "other releases of Debian"; then
    section "Debian 13 and sid" sh tests/distros.sh || true
fi

finish

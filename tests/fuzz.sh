#!/bin/sh
# Coverage-guided fuzzing of everything that reads what others wrote: tests/fuzz/target_NAME.c by clang's libFuzzer with
# the address and undefined-behaviour sanitizers. Needs build/libmoco.so, which writes the seeds.
# usage: fuzz.sh quick [NAME ...]              a fixed number of inputs for each target, the same every time
#        fuzz.sh long SECONDS [NAME ...]       for that long each, going on with the inputs of the last time
#        fuzz.sh coverage [NAME ...]           how much of its readers each target reaches; fails below 80 % of the lines
# Inputs that a target fails on are left in build-fuzz/failed; `build-fuzz/tests/fuzz/fuzz_NAME FILE` runs one again.
# Exit code 77 = clang has no libFuzzer here.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/setup.sh"
cd "$root"
mode=${1:?quick, long or coverage}
shift
seconds=
if [ "$mode" = long ]; then
    seconds=${1:?seconds}
    shift
fi
work=$root/build-fuzz
seeds=$work/seeds
export MOCO_FUZZ_JPEG="$seeds/work/small.jpg"
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# The targets: how many inputs a quick run gives them, the longest input, and the files of lib/ that they are to reach.
targets='
jpeg        1200   6000 data/decode.c data/jpeg.c data/exif.c data/views.c data/resize.c data/augment.c data/blur.c
pixels       900   6000 data/pixels.c data/input.c eval/embed.c train/push.c
tar         1500  40000 data/tar.c data/tar_links.c data/tar_header.c data/listing.c data/dataset.c data/dataset_read.c
list        3000   4000 data/list.c data/listing.c
safetensors 20000  4000 persist/safetensors_read.c persist/tensor_file.c persist/tensor_numbers.c
torch       20000  8000 persist/zip.c persist/torch_file.c persist/pickle.c persist/pickle_stack.c persist/pickle_objects.c persist/pickle_globals.c persist/pickle_numpy.c
npy         5000   2000 persist/npy.c eval/index.c
checkpoint   100 300000 train/save.c persist/checkpoint.c
model        250 300000 eval/model_file.c eval/loaded.c eval/classifier_file.c persist/inventory.c persist/inventory_spec.c persist/layout.c
options     2000   4000 util/options.c util/options_text.c util/number.c util/suggest.c
run           60 300000 train/run.c train/run_log.c
'

field() {
    echo "$targets" | awk -v name="$1" -v field="$2" '$1 == name { print $field }'
}

have_fuzzer() {
    command -v clang >/dev/null 2>&1 || return 1
    mkdir -p "$work"
    echo 'int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size) { return data && size > 99; }' |
        clang -x c - -fsanitize=fuzzer -o "$work/probe" 2>/dev/null
}

build() {
    cmake --preset "$1" >/dev/null
    cmake --build --preset "$1" -j "$(moco_jobs)" >"$root/build-$1/build.log" 2>&1 || {
        tail -n 30 "$root/build-$1/build.log"
        exit 1
    }
}

make_seeds() {
    rm -rf "$seeds"
    ASAN_OPTIONS='' MOCO_LIBRARY="$root/build/libmoco.so" "$MOCO_PYTHON" -B tests/fuzz/make_seeds.py "$seeds"
}

# fuzz NAME: prints one line; what libFuzzer said is in build-fuzz/NAME.log.
fuzz() {
    name=$1
    log=$work/$name.log
    set -- "-max_len=$(field "$name" 3)" -timeout=30 -rss_limit_mb=4000 -malloc_limit_mb=2000 -print_final_stats=1 \
        "-artifact_prefix=$work/failed/$name-"
    [ ! -f "$seeds/$name.dict" ] || set -- "$@" "-dict=$seeds/$name.dict"
    if [ "$mode" = quick ]; then
        set -- "$@" "-runs=$(field "$name" 2)" -seed=1 "$seeds/$name"
    else
        mkdir -p "$work/corpus/$name"
        set -- "$@" "-max_total_time=$seconds" "$work/corpus/$name" "$seeds/$name"
    fi
    code=0
    begun=$(date +%s)
    "$work/tests/fuzz/fuzz_$name" "$@" >"$log" 2>&1 || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    reached=$(sed -n 's/.*[[:space:]]cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    printf '%-12s %8s inputs, %6s edges, %4d s: %s\n' "$name" "${runs:-?}" "${reached:-?}" $(($(date +%s) - begun)) \
        "$([ $code -eq 0 ] && echo ok || echo "FAILED, see $log")"
    echo $code >"$work/$name.code"
}

# Two lists of targets side by side, since most of them run on one thread.
fuzz_all() {
    mkdir -p "$work/failed"
    rm -f "$work"/*.code
    for worker in $(seq "$(moco_jobs)"); do
        (for name in $names; do
            mkdir "$work/claim-$name" 2>/dev/null || continue
            fuzz "$name"
        done) &
    done
    wait
    rmdir "$work"/claim-*
    for name in $names; do
        [ "$(cat "$work/$name.code")" -eq 0 ] || failed="$failed $name"
    done
}

# How much of its files a target reaches with its seeds and what longer runs have found.
coverage() {
    name=$1
    folder=$root/build-fuzz-coverage
    profile=$folder/$name.profraw
    mkdir -p "$work/corpus/$name"
    LLVM_PROFILE_FILE="$profile" "$folder/tests/fuzz/fuzz_$name" -runs=0 "$work/corpus/$name" "$seeds/$name" \
        >"$folder/$name.log" 2>&1 || {
        tail -n 5 "$folder/$name.log"
        failed="$failed $name"
        return
    }
    llvm-profdata merge -o "$folder/$name.profdata" "$profile"
    llvm-cov report "$folder/tests/fuzz/fuzz_$name" -instr-profile="$folder/$name.profdata" >"$folder/$name.report"
    # Columns 8 and 9 count lines: all, and those that were not reached.
    for file in $(echo "$targets" | awk -v name="$name" '$1 == name { for (i = 4; i <= NF; i++) print $i }'); do
        awk -v file="lib/$file" '{ at = length($1) - length(file) + 1 }
            at > 0 && substr($1, at) == file { print file, $8 - $9, $8 }' "$folder/$name.report"
    done >"$folder/$name.lines"
    share=$(awk '{ reached += $2; all += $3 } END { printf "%.1f", all ? 100 * reached / all : 0 }' "$folder/$name.lines")
    printf '%-12s %5s %% of the lines of' "$name" "$share"
    awk '{ printf " %s (%d of %d)", $1, $2, $3 } END { print "" }' "$folder/$name.lines"
    if [ "$(echo "$share" | cut -d. -f1)" -lt 80 ]; then failed="$failed $name"; fi
}

if ! have_fuzzer; then
    echo "skipped: clang has no libFuzzer here"
    exit 77
fi
names=${*:-$(echo "$targets" | awk 'NF { print $1 }')}
failed=
build fuzz
make_seeds
if [ "$mode" = coverage ]; then
    build fuzz-coverage
    for name in $names; do coverage "$name"; done
else
    fuzz_all
fi
if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
echo "$(echo "$names" | wc -w) targets, none failed"

#!/bin/sh
# The tests of readers, and of embedding, under valgrind: reads of memory that was never written, which no sanitizer of
# gcc sees, and leaks. Slow, so a few programs only.
# usage: check_valgrind.sh BUILD [TEST ...]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?build folder}
shift
tests=${*:-test_npy test_safetensors test_torch_file test_jpeg test_decode test_dataset test_model}
export CK_FORK=no CK_DEFAULT_TIMEOUT=0 CK_TIMEOUT_MULTIPLIER=100 MOCO_SOURCE_DIR="$root" MOCO_BINARY_DIR="$root/$build"
# Valgrind 3.19 knows no AVX-512; what oneDNN writes and runs itself (JIT) has no names to suppress by.
export DNNL_MAX_CPU_ISA=SSE41
# libjpeg-turbo's own vector code works on whole vectors past the end of a row, and valgrind cannot tell which parts of
# the result those are; its plain code draws the same pixels without a finding.
export JSIMD_FORCENONE=1
failed=
for name in $tests; do
    log=$build/$name.valgrind
    code=0
    valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --num-callers=20 \
        --suppressions="$root/tests/valgrind.supp" --log-file="$log" "$build/tests/$name" >"$log.out" 2>&1 || code=$?
    echo "$name: exit code $code, $(grep -c ' at 0x' "$log" || true) findings, $(grep -E '^[0-9]+%' "$log.out" | tail -n 1)"
    if [ $code -ne 0 ]; then
        tail -n 25 "$log"
        failed="$failed $name"
    fi
done
[ -z "$failed" ] || {
    echo "failed:$failed"
    exit 1
}
echo "$(echo "$tests" | wc -w) programs, none with a finding"

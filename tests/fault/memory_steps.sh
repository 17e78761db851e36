#!/bin/sh
# The program with little address space, in steps: right results, or exit code 1 with a reason; never a crash, a hang or
# a file that is not whole.
# usage: memory_steps.sh MOCO DRAW_FOLDER WORK [STEP_MIB] [TO_MIB]
set -eu
moco=$(realpath "$1")
draw=$(realpath "$2")
work=$3
step=${4:-40}
to=${5:-1000}
rm -rf "$work"
mkdir -p "$work"
cd "$work"
"$draw" images 24 3 40

train() {
    rm -rf run
    "$moco" train images -o run --recipe moco-cifar --arch resnet18 --width 0.25 --size 32 --batch 8 --bn-groups 2 \
        --queue 64 --epochs 1 --threads 2 --loader-threads 1
}

embed() {
    "$moco" embed whole/model.safetensors images -o rows.npy --threads 2 --loader-threads 1
}

train >/dev/null 2>&1
mv run whole
embed >/dev/null 2>&1
mv rows.npy whole.npy
rm -f rows.*
good=0
refused=0
bad=0
for what in train embed; do
    mib=$step
    while [ "$mib" -le "$to" ]; do
        code=0
        (
            ulimit -v $((mib * 1024))
            ulimit -c 0
            $what
        ) >out 2>errors || code=$?
        if [ $code -eq 0 ]; then
            good=$((good + 1))
            case $what in
            train) cmp -s run/checkpoint.safetensors whole/checkpoint.safetensors || code=other ;;
            embed) cmp -s rows.npy whole.npy || code=other ;;
            esac
        elif [ $code -eq 1 ] && grep -q '^moco: ' errors; then
            refused=$((refused + 1))
        elif [ $code -eq 127 ] && grep -q 'error while loading shared libraries' errors; then
            : # the libraries themselves do not fit
        else
            code=bad-$code
        fi
        case $code in
        other | bad-*)
            bad=$((bad + 1))
            echo "$what with $mib MiB: $code: $(tail -n 1 errors)"
            ;;
        esac
        rm -rf run rows.*
        mib=$((mib + step))
    done
done
echo "steps of $step MiB to $to MiB: $good right, $refused refused with a reason, $bad bad"
[ "$bad" -eq 0 ]

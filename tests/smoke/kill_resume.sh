#!/bin/sh
# moco train killed in mid-epoch, and interrupted, then resumed: the same files as the run that nobody disturbed.
# usage: kill_resume.sh MOCO DRAW_FOLDER WORK
set -eu
moco=$1
draw=$2
work=$3
rm -rf "$work"
mkdir -p "$work"
cd "$work"
"$draw" images 60 4 40 broken

how=
train() {
    run=$1
    shift
    $how "$moco" train images -o "$run" --json --recipe moco-cifar --arch resnet18 --width 0.25 --batch 8 \
        --bn-groups 2 --queue 64 --epochs 4 --set base_lr=1 --save-every 2 "$@"
}

fail() {
    echo "$*"
    exit 1
}

# Steps and losses of the log, without speeds.
losses() {
    sed 's/"images_per_second":[^,}]*//' "$1/log.jsonl"
}

expect_same() {
    for file in checkpoint.safetensors model.safetensors; do
        cmp "whole/$file" "$1/$file" || fail "$1: $file is not that of the whole run"
    done
    losses whole >whole.losses
    losses "$1" >"$1.losses"
    cmp whole.losses "$1.losses" || fail "$1: another log than that of the whole run"
    [ "$(ls "$1" | grep -c part)" -le 1 ] || fail "$1: more than the one leftover of a killed save"
}

# signalled RUN SIGNAL STEP: a run that gets the signal once STEP is reported, up to its end.
signalled() {
    rm -rf "$1" "$1".*
    mkfifo "$1.lines"
    (how=exec && train "$1") >"$1.lines" 2>"$1.errors" & # exec: the signal is for the program, not for a shell
    pid=$!
    while read -r line; do # to the end: a closed pipe would be another way to die
        case $line in
        *"\"step\":$3,"*) kill "-$2" $pid 2>"$1.late" || true ;;
        esac
    done <"$1.lines"
    code=0
    wait $pid || code=$?
    steps=$(wc -l <"$1/log.jsonl")
}

# stopped RUN SIGNAL STEP CODE: a run stopped in mid-run; 7 steps an epoch, 28 in all. On a busy machine this shell may
# be so late that the run has ended, which says nothing: then once more.
stopped() {
    for attempt in 1 2 3 4 5 6 7 8; do
        signalled "$1" "$2" "$3"
        [ "$steps" -eq 28 ] || break
        echo "$1: attempt $attempt, the signal came too late"
    done
    [ $code -eq "$4" ] || fail "$1: exit code $code instead of $4: $(cat "$1.errors")"
    [ "$steps" -ge "$3" ] && [ "$steps" -lt 28 ] || fail "$1: stopped after $steps steps, not in mid-run"
    cmp -s whole/checkpoint.safetensors "$1/checkpoint.safetensors" && fail "$1: was not stopped before its end"
    train "$1" --resume >"$1.resumed" || fail "$1: could not be resumed"
    expect_same "$1"
    echo "$1: stopped after $steps steps, resumed to the same bits"
}

train whole >whole.out
stopped killed KILL 10 137
stopped interrupted INT 12 130

# And a run that is whole has nothing left to do.
cp whole/checkpoint.safetensors before
train whole --resume >whole.again
cmp before whole/checkpoint.safetensors || fail "resuming a finished run changed it"

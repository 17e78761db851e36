#!/bin/sh
# moco train and signals: HUP saves like INT and TERM; two within milliseconds, as GNU timeout sends, are one; each says
# at once what happens; a reader that goes away is a reason to save, too; closed descriptors get no data of the run.
# usage: signals.sh MOCO DRAW_FOLDER WORK
set -eu
moco=$1
draw=$2
work=$3
rm -rf "$work"
mkdir -p "$work"
cd "$work"
"$draw" images 24 4 24

fail() {
    echo "$*"
    exit 1
}

train() {
    run=$1
    shift
    exec "$moco" train images -o "$run" --recipe moco-cifar --arch resnet18 --width 0.0625 --size 16 --batch 4 \
        --bn-groups 2 --queue 16 --set base_lr=1 --json "$@"
}

# Steps that a run's last line tells, and those in its checkpoint.
expect_saved() {
    told=$(grep -o '"event":"step","step":[0-9]*' "$1.out" | tail -n 1 | grep -o '[0-9]*$')
    saved=$("$moco" info "$1/checkpoint.safetensors" --json | grep -o '"steps": *[0-9]*' | grep -o '[0-9]*$')
    [ "$told" = "$saved" ] || fail "$1: $told steps were told, $saved are in the checkpoint"
    [ "$(ls "$1" | wc -l)" -eq 3 ] || fail "$1: $(ls "$1" | tr '\n' ' ')"
}

# wait_for FILE PATTERN: a hang guard of a minute.
wait_for() {
    for moment in $(seq 600); do
        grep -q "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    fail "no '$2' in $1"
}

# stopped RUN SIGNAL...: the signals one after the other, at once.
stopped() {
    run=$1
    shift
    (train "$run" --epochs 100000) >"$run.out" 2>"$run.err" &
    pid=$!
    wait_for "$run.out" '"step":5,'
    for signal; do
        kill "-$signal" $pid 2>/dev/null || true
    done
    code=0
    wait $pid || code=$?
    [ $code -eq 130 ] || fail "$run: exit code $code: $(cat "$run.err")"
    grep -q 'stopping: the step in work is dropped, saving' "$run.err" || fail "$run: said nothing: $(cat "$run.err")"
    grep -q -- '--resume' "$run.err" || fail "$run: does not say how to go on: $(cat "$run.err")"
    expect_saved "$run"
}

stopped hup HUP
stopped twice TERM TERM
stopped all INT HUP TERM INT

# Whoever starts it with HUP ignored wants it to outlive the terminal.
(trap '' HUP && train nohup --epochs 100000) >nohup.out 2>nohup.err &
pid=$!
wait_for nohup.out '"step":5,'
kill -HUP $pid
wait_for nohup.out '"step":60,'
kill -TERM $pid
wait $pid || true
expect_saved nohup

# A pipe whose reader has gone.
{ (train pipe --epochs 100000) 2>pipe.err && code=0 || code=$?; echo "$code" >pipe.code; } | head -n 3 >pipe.out
[ "$(cat pipe.code)" -eq 1 ] || fail "pipe: exit code $(cat pipe.code): $(cat pipe.err)"
grep -q 'nobody reads' pipe.err || fail "pipe: $(cat pipe.err)"
[ "$(ls pipe | wc -l)" -eq 3 ] || fail "pipe: $(ls pipe | tr '\n' ' ')"

# A limit on the size of files is an error of the write, and no signal.
code=0
(ulimit -f 100 && train limit --epochs 2) >limit.out 2>limit.err || code=$?
[ $code -eq 1 ] || fail "limit: exit code $code"
grep -q 'File too large' limit.err || fail "limit: $(cat limit.err)"
ls | grep rescue && fail "an empty rescue"

# Descriptors 0 to 2 closed: the log is that of a run with open ones, up to speeds.
speedless() {
    sed 's/"images_per_second":[^,}]*//' "$1/log.jsonl"
}
(train opened --epochs 2) >opened.out 2>opened.err
(train closed --epochs 2) <&- >&- 2>&- || fail "closed: exit code $?"
speedless opened >opened.log
speedless closed >closed.log
cmp opened.log closed.log || fail "closed: another log"
cmp opened/checkpoint.safetensors closed/checkpoint.safetensors || fail "closed: another checkpoint"

echo "signals, pipes and closed descriptors: all saved"

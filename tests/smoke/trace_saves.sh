#!/bin/sh
# What `moco train` asks of the system for each file that it saves, in order: write, sync of the file, rename, sync of
# the folder; so that a power cut at any moment leaves the old file or the new one, whole.
# usage: trace_saves.sh MOCO DRAW_FOLDER WORK
set -eu
moco=$1
draw=$2
work=$3
if ! strace -f -o /dev/null true 2>/dev/null; then
    echo "skipped: no strace, or it may not trace here"
    exit 77
fi
rm -rf "$work"
mkdir -p "$work"
cd "$work"
"$draw" images 12 2 24
# One file a thread, so that no line of another one stands inside a call.
strace -ff -qq -s 32 -e trace=openat,write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2,close,flock,unlinkat \
    -o thread "$moco" train images -o run --recipe moco-cifar --arch resnet18 --width 0.0625 --size 16 --batch 4 \
    --bn-groups 2 --queue 16 --set base_lr=1 --epochs 2 --threads 1 >out 2>err

trace=$(grep -l '^rename' thread.*)
awk '
function result() { return $NF + 0 }
/^flock\(.*LOCK_EX.*\) += 0/ { locked = 1 }
# A file of a save is opened under a passing name.
/^openat\(.*part.*O_CREAT/ {
    split($0, q, "\"")
    name[result()] = q[2]; written[result()] = synced[result()] = 0
    if (!locked) { print "a save before the lock"; bad = 1 }
}
/^(write|writev|pwrite64)\(/ { fd = $0; sub(/^[a-z0-9]+\(/, "", fd); fd += 0; written[fd] = 1; synced[fd] = 0 }
/^(fsync|fdatasync)\(/ {
    fd = $0; sub(/^[a-z]+\(/, "", fd); fd += 0
    synced[fd] = 1
    if (fd in name) ready[name[fd]] = written[fd]
    else if (pending != "") { saved[pending]++; pending = "" }
}
/^rename/ {
    count = split($0, q, "\"")
    if (q[2] !~ /part/) next
    if (!ready[q[2]]) { print "renamed before it was synced: " q[2]; bad = 1 }
    if (pending != "") { print "its folder was not synced: " pending; bad = 1 }
    pending = q[4]
    delete ready[q[2]]
}
/^close\(/ { fd = $0; sub(/^close\(/, "", fd); fd += 0; delete name[fd] }
END {
    if (pending != "") { print "its folder was not synced: " pending; bad = 1 }
    if (saved["checkpoint.safetensors"] != 2 || saved["model.safetensors"] != 2) {
        print "saves seen: " saved["checkpoint.safetensors"] " and " saved["model.safetensors"] ", wanted 2 of each"
        bad = 1
    }
    exit bad
}' "$trace" || { grep -nE 'part|fsync|flock|rename' "$trace" | head -60; exit 1; }
grep -E 'part|fsync|rename' "$trace" | tail -n 4
echo "each file: written, synced, renamed, and its folder synced"

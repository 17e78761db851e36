#!/bin/sh
# Hours of work by many threads of one process (tests/soak/hammer.c), with equal answers and flat memory.
# usage: soak.sh HOURS [BUILD]        (0.05 is three minutes)
# The first third warms up. From then on neither threads nor descriptors may become more, and resident memory of the
# last third may be at most 2 % and 4 MiB above that of the second.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
hours=${1:?hours}
build=${2:-$root/build}
work=$build/soak
rm -rf "$work"
mkdir -p "$work"
"$build/tests/draw_folder" "$work/images" 24 3 40
seconds=$(awk -v hours="$hours" 'BEGIN { printf "%.0f", hours * 3600 }')
every=$(awk -v seconds="$seconds" 'BEGIN { every = seconds / 60; print every < 1 ? 1 : every }')
"$build/tests/hammer" "$work/images" "$seconds" "$every" >"$work/log" || {
    tail -n 3 "$work/log"
    exit 1
}
awk '
{
    seconds[NR] = $1; memory[NR] = $3; threads[NR] = $5; files[NR] = $7
}
END {
    last = seconds[NR]
    for (i = 1; i <= NR; i++) {
        part = seconds[i] < last / 3 ? 1 : seconds[i] < last * 2 / 3 ? 2 : 3
        for (kind = 1; kind <= 3; kind++) {
            value = kind == 1 ? memory[i] : kind == 2 ? threads[i] : files[i]
            if (value > most[part, kind]) most[part, kind] = value
        }
    }
    printf "%.2f h: at most %d KiB, %d threads, %d descriptors in the second third; %d KiB, %d, %d in the last\n",
        last / 3600, most[2, 1], most[2, 2], most[2, 3], most[3, 1], most[3, 2], most[3, 3]
    bad = most[3, 1] > most[2, 1] * 1.02 + 4096 || most[3, 2] > most[2, 2] + 1 || most[3, 3] > most[2, 3] + 3
    if (bad) print "not flat"
    exit bad
}' "$work/log"
tail -n 1 "$work/log"

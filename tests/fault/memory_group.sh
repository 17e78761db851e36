#!/bin/sh
# The program in a control group with 400 MiB: what fits gives the same files as outside, and what does not is refused
# with exit code 1 and the limit's name. The kernel never has to end it.
# usage: memory_group.sh MOCO DRAW_FOLDER WORK
# Exit code 77, with the reason, where no group with a limit can be made.
set -eu
moco=$(realpath "$1")
draw=$(realpath "$2")
work=$3
limit=$((400 * 1024 * 1024))

skip() {
    echo "skipped: $1"
    exit 77
}

# ---- a group ----

group=
make_group() { # MOUNT FILE FILE_OF_SWAP BYTES_OF_SWAP
    group=$1/moco-test-$$
    mkdir "$group" 2>/dev/null || return 1
    trap 'rmdir "$group"' EXIT
    if ! { echo $limit >"$group/$2"; } 2>/dev/null; then
        rmdir "$group"
        trap - EXIT
        return 1
    fi
    { echo "$4" >"$group/$3"; } 2>/dev/null || true # not every kernel counts swap
    file=$group/$2
}

version1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/self/mounts)
version2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
[ -n "$version1$version2" ] || skip "no control groups are mounted"
{ [ -n "$version1" ] && make_group "$version1" memory.limit_in_bytes memory.memsw.limit_in_bytes $limit; } ||
    { [ -n "$version2" ] && make_group "$version2" memory.max memory.swap.max 0; } ||
    skip "this user may not make a control group with a limit of memory in $version1 $version2"

inside() {
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
}

# ---- cases ----

bad=0
fits() { # WHAT COMMAND...
    what=$1
    shift
    code=0
    inside "$@" >out 2>errors || code=$?
    [ $code -eq 0 ] && return
    echo "$what: exit code $code: $(tail -n 1 errors)"
    bad=$((bad + 1))
}

refused() { # WHAT COMMAND...
    what=$1
    shift
    code=0
    inside "$@" >out 2>errors || code=$?
    [ $code -eq 1 ] && grep -q "this process may still take .*$file" errors && return
    echo "$what: exit code $code, wanted 1 and a message that names $file: $(tail -n 1 errors)"
    bad=$((bad + 1))
}

same() {
    cmp "$1" "$2" || bad=$((bad + 1))
}

rm -rf "$work"
mkdir -p "$work"
cd "$work"
"$draw" images 24 3 40
small="--recipe moco-cifar --arch resnet18 --width 0.25 --size 32 --batch 8 --bn-groups 2 --queue 64 --epochs 1"
lanes="--threads 2 --loader-threads 1"

# shellcheck disable=SC2086 # lists of words
{
    "$moco" train images -o outside $small $lanes >/dev/null 2>&1
    fits "training" "$moco" train images -o inside $small $lanes
    same outside/checkpoint.safetensors inside/checkpoint.safetensors
    model=outside/model.safetensors
    refused "a trainer" "$moco" train images -o large --arch resnet50 --size 224 --batch 24 --bn-groups 1 --epochs 1 $lanes
    refused "a long queue" "$moco" train images -o large $small $lanes --queue 1048576
    [ ! -e large ] || { echo "a refused run has left its folder" && bad=$((bad + 1)); }

    "$moco" embed $model images -o outside.npy $lanes >/dev/null 2>&1
    fits "embedding" "$moco" embed $model images -o inside.npy $lanes
    same outside.npy inside.npy
    "$moco" convert $model large.safetensors --size 1024 >/dev/null
    fits "a description" "$moco" info large.safetensors
    refused "a model" "$moco" embed large.safetensors images -o large.npy $lanes
    fits "kNN" "$moco" knn $model images images $lanes
    refused "kNN with a large model" "$moco" knn large.safetensors images images $lanes
    refused "a probe of a large model" "$moco" probe large.safetensors images images $lanes
    refused "fine-tuning" "$moco" finetune large.safetensors images images -o large-ft.safetensors --epochs 1 --batch 24 $lanes

    # 512 MiB of rows as a sparse file: the reader's memory is what has no room.
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 128), }" >rows.npy
    truncate -s $((128 + 512 * 1024 * 1024)) rows.npy
    fits "a description of rows" "$moco" info rows.npy
    refused "an index" "$moco" near $model rows.npy images/class0/0000.jpg $lanes
}

echo "in a group with $((limit >> 20)) MiB ($file): $bad bad"
[ "$bad" -eq 0 ]

#!/bin/sh
# gcc's -fanalyzer over lib/; clang's analyser is part of `check_tidy.sh --deep`. Any finding fails, but for those that
# were looked at and stand below with the reason.
# usage: check_analyzers.sh [SOURCE_DIR]          Exit code 77 = not gcc 12, whose findings are known.
set -eu
root=${1:-$(cd "$(dirname "$0")/.." && pwd)}
if [ "$(gcc -dumpversion | cut -d. -f1)" != 12 ]; then
    echo "skipped: gcc is $(gcc -dumpversion), and the findings below are those of gcc 12"
    exit 77
fi
log=$(mktemp)
trap 'rm -f "$log" "$log".*' EXIT

# Read, and taken for mistakes of the analyser of gcc 12. Each line is FILE FUNCTION KIND; a finding elsewhere fails.
# - use-of-uninitialized-value: it sees one file at a time, and believes that a function of another file may return
#   MOCO_OK and leave its result as it was. In the functions below each such use follows a TRY of the call that sets the
#   value, or a test that it was set (decode, headroom, embed_outputs; `serve` takes a part that it has just seen waiting).
# - slot_args reads as many slots as `access` has letters, and each caller gives both as constants of one length.
# - softmax: a shift of a vector is taken for one of its first byte.
# - roots: a root is listed because a tensor with its marker's name is there, so that the marker is found again.
# - run_folder: `split` sets both of its results where it returns MOCO_OK.
# - options: no table has presets without a row for them.
known='
contrast/infonce.c forward use-of-uninitialized-value
data/decode.c mo_image_draw use-of-uninitialized-value
data/decode.c mo_image_read_header use-of-uninitialized-value
engine/kernels/softmax.c mo_softmax_forward_body shift-count-overflow
engine/ops/attention.c backward use-of-uninitialized-value
engine/ops/attention.c some_gradients use-of-uninitialized-value
engine/ops/attention.c some_images use-of-uninitialized-value
engine/ops/batchnorm_primitives.c shard_statistics use-of-uninitialized-value
engine/ops/batchnorm_primitives.c sync_backward use-of-uninitialized-value
engine/ops/crossentropy.c primitives_backward use-of-uninitialized-value
engine/ops/crossentropy.c primitives use-of-uninitialized-value
engine/ops/l2norm.c backward use-of-uninitialized-value
engine/ops/l2norm.c forward use-of-uninitialized-value
engine/ops/layernorm.c primitives use-of-uninitialized-value
engine/ops/linear.c d_source use-of-uninitialized-value
engine/ops/linear.c d_weights use-of-uninitialized-value
engine/plan/slots.c slot_args use-of-uninitialized-value
engine/run/work.c serve use-of-uninitialized-value
eval/embed_outputs.c mo_embed_outputs_clear use-of-uninitialized-value
eval/embedding_record.c mo_embedding_check use-of-uninitialized-value
eval/embedding_record.c mo_embedding_replace use-of-uninitialized-value
persist/roots.c choose use-of-uninitialized-value
persist/roots.c same_numbers null-dereference
train/run_folder.c mo_run_folder_guard null-argument
util/headroom.c ask_machine use-of-uninitialized-value
util/headroom.c meminfo use-of-uninitialized-value
util/json_parse.c take_value use-of-uninitialized-value
util/options.c no_preset null-dereference
'

# FILE FUNCTION KIND, a tab, and gcc's line, of each finding.
cat >"$log.awk" <<'END'
/In function / { name = $0; sub(/.*In function [^a-zA-Z_]*/, "", name); sub(/[^a-zA-Z0-9_].*/, "", name) }
/warning:.*-Wanalyzer-/ { kind = $0; sub(/.*-Wanalyzer-/, "", kind); sub(/].*/, "", kind); print file, name, kind "\t" $0 }
/^does not compile/ { print file, "-", "-" "\t" $0 }
END
# util/status.c has mo_fail itself, and is told nothing of it.
# shellcheck disable=SC2016 # expanded by the inner shell
find "$root/lib" -name '*.c' ! -name compat_3.c | sort |
    xargs -P "$(nproc 2>/dev/null || echo 2)" -I '{}' sh -c '
        root=$1 log=$2 file=$3
        out=$log.$(echo "$file" | tr / -)
        set -- -include "$root/tests/analyzer_model.h"
        case $file in */util/status.c) set -- ;; esac
        gcc -std=gnu11 -D_GNU_SOURCE= -O1 -fanalyzer -fanalyzer-call-summaries -Wno-analyzer-too-complex -I"$root/include" \
            -I"$root/lib" "$@" -c "$file" -o /dev/null 2>"$out" || echo "does not compile: $file" >>"$out"
        awk -v file="${file#"$root"/lib/}" -f "$log.awk" "$out" >"$out.found"' sh "$root" "$log" '{}'
cat "$log".*.found | sort -u >"$log.all"
bad=0
while IFS="$(printf '\t')" read -r where line; do
    if ! echo "$known" | grep -qxF "$where"; then
        echo "$line"
        bad=$((bad + 1))
    fi
done <"$log.all"
# A line that nothing fits any more would hide the next finding there.
for where in $(echo "$known" | grep . | tr ' ' '@'); do
    if ! cut -f 1 "$log.all" | grep -qxF "$(echo "$where" | tr '@' ' ')"; then
        echo "no finding fits any more: $(echo "$where" | tr '@' ' ')"
        bad=$((bad + 1))
    fi
done
echo "$(find "$root/lib" -name '*.c' | wc -l) files, $(wc -l <"$log.all") findings, $bad of them new or gone"
[ "$bad" -eq 0 ]

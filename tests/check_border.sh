#!/bin/sh
# Every public function of lib/api begins with MO_BORDER (lib/util/border.h). Left out: what only hands out a stored
# value, what frees nothing and computes nothing, and what a signal handler may call.
# usage: check_border.sh [SOURCE_DIR]
set -eu
cd "${1:-$(dirname "$0")/..}"
awk '
    FNR == 1 { name = "" }
    /^[a-z].*moco_[a-z_#]*\(/ && !/;/ {
        name = $0
        sub(/\(.*/, "", name)
        sub(/.*[ *]/, "", name)
        body = 0
    }
    /^\{/ && name != "" { body = 1; next }
    body {
        total++
        if ($1 != "MO_BORDER;" && name !~ exempt) {
            print FILENAME ":" FNR ": " name " does not begin with MO_BORDER;"
            failed = 1
        }
        body = 0
        name = ""
    }
    END {
        if (failed)
            exit 1
        print total " public functions"
    }' exempt='^moco_(cancel_.*|.*_(count|classes|dimension|name|label|length|pointer|rate|number|image_size|string)|recipe_.*|status_name)$' lib/api/*.c

#!/bin/sh
# The modules of lib/ depend only downwards, and each outside library has one door. Read from the sources, comments left
# out, and, where a build with tests is given, from what its objects define and use.
# usage: check_modules.sh [SOURCE_DIR [BUILD_DIR]]
set -eu
build=${2:+$(cd "$2" && pwd)}
cd "${1:-$(dirname "$0")/..}"
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

complain() {
    echo "$*"
    failed=1
}

rank() {
    case $1 in
    api) echo 6 ;;
    train | eval | persist) echo 5 ;;
    contrast | nets | data | optim) echo 4 ;;
    engine) echo 2 ;;
    util) echo 1 ;;
    *) echo 0 ;;
    esac
}

find lib -name '*.[ch]' | LC_ALL=C sort >"$work/files"
while read -r file; do
    module=$(echo "$file" | cut -d/ -f2)
    mine=$(rank "$module")
    [ "$mine" -gt 0 ] || complain "$file: '$module' is no module of docs/architecture.md"
    # Without comments and with directives as they stand.
    cc -fpreprocessed -dD -E -P -w "$file" >"$work/code"

    for include in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$work/code"); do
        case $include in
        */*) target=${include%%/*} ;;
        *) target=$module ;;
        esac
        theirs=$(rank "$target")
        if [ "$theirs" -eq 0 ]; then complain "$file includes \"$include\", which is in no module"; fi
        if [ "$theirs" -gt "$mine" ]; then complain "$file includes \"$include\": upwards"; fi
        # Decoder and views are plain bytes: they work, and are fuzzed, without an engine.
        if [ "$module" = data ] && [ "$target" != data ] && [ "$target" != util ]; then
            complain "$file includes \"$include\": data knows only util"
        fi
        if [ "$target" != "$module" ]; then echo "$module $target" >>"$work/edges"; fi
    done

    # The public functions are the border: modules below call each other, not it. Left out: those
    # at home in util and engine.
    if [ "$module" != api ] && grep -Eno '\bmoco_[a-z_]+\(' "$work/code" |
        grep -Ev 'moco_(last_message|status_name|version_string|set_log|build_info|device_info)\('; then
        complain "$file calls a public function (above): upwards"
    fi
    if [ "$module" != engine ] && grep -q '^ *# *include.*dnnl' "$work/code"; then
        complain "$file includes oneDNN: only lib/engine may"
    fi
    if [ "$file" != lib/data/jpeg.c ] && grep -Eq '^ *# *include *[<"](jpeglib|jerror|jmorecfg|turbojpeg)' "$work/code"; then
        complain "$file includes the JPEG library: only lib/data/jpeg.c may"
    fi
    if grep -Enw 'printf|vprintf|puts|putchar|perror|abort|exit|_exit|stdout|stderr|setlocale|setenv|putenv|srand|rand' "$work/code" |
        grep -v 'format *( *printf\|format(__printf__\|__attribute__((format'; then
        complain "$file: the library does not print, stop the process or change its settings (above)"
    fi
done <"$work/files"

# Modules of one floor may know each other one way, never both.
sort -u "$work/edges" >"$work/unique"
while read -r from to; do
    if [ "$(rank "$from")" = "$(rank "$to")" ] && grep -qx "$to $from" "$work/unique"; then
        complain "lib/$from and lib/$to include each other"
    fi
done <"$work/unique"

# What the linker sees: a declaration repeated by hand, or a function called through a public header, is no include.
if [ -n "$build" ]; then
    objects=$build/CMakeFiles/moco_inside.dir/lib
    if [ ! -d "$objects" ]; then complain "$objects is missing: wanted a build with MOCO_BUILD_TESTS=ON"; fi
    find "$objects" -name '*.c.o' | while read -r object; do
        file=${object#"$objects"/}
        [ -f "lib/${file%.o}" ] || continue # of a source that is gone
        nm "$object" | awk -v file="${file%.o}" -v module="${file%%/*}" '
            $(NF - 1) ~ /^[TDBRGVWi]$/ { print "defined", $NF, module, file }
            $(NF - 1) == "U" && $NF ~ /^moc?o?_/ { print "used", $NF, module, file }'
    done >"$work/symbols"
    while read -r module; do echo "rank $module $(rank "$module")"; done <<-END >"$work/ranks"
	$(cut -d' ' -f3 "$work/symbols" | sort -u)
	END
    awk '
        FILENAME ~ /ranks$/ { rank[$2] = $3; next }
        pass == 0 && $1 == "defined" { home[$2] = $3 }
        pass == 1 && $1 == "used" {
            if (!($2 in home)) print "lib/" $4 " uses " $2 ", which nothing in lib defines"
            else if (rank[home[$2]] > rank[$3]) print "lib/" $4 " uses " $2 " of lib/" home[$2] ": upwards"
            else if ($4 ~ /^engine\/plan\// && $2 ~ /^mo_kind_/)
                print "lib/" $4 " uses " $2 ": plans know operations by their traits alone"
        }
    ' "$work/ranks" "$work/symbols" pass=1 "$work/symbols" >"$work/upwards"
    while read -r line; do complain "$line"; done <"$work/upwards"
fi

[ $failed -eq 0 ] && echo "$(wc -l <"$work/files") files in order"
exit $failed

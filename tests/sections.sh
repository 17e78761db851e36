# shellcheck shell=sh
# What tests/run.sh and tests/long.sh have in common: sections that are counted and timed, ctest runs, comparisons in
# Python. Sourced with $root set; needs tests/setup.sh.
jobs=$(moco_jobs)
logs=$root/build/tests-logs
mkdir -p "$logs"
passed=0
failed=0
skipped=0
failures=
times=$logs/times
: >"$times"
group_title=
started=$(date +%s)

fail() {
    failed=$((failed + 1))
    failures="$failures
  $*"
}

# took SECONDS NAME: for the table of the slowest.
took() {
    printf '%s %s\n' "$1" "$2" >>"$times"
}

# group TITLE: what follows belongs together. Prints how long the group before it took.
group() {
    group_end
    group_title=$1
    group_from=$(date +%s)
    echo "== $group_title"
}

group_end() {
    [ -n "$group_title" ] || return 0
    printf '      %s: %d s\n' "$group_title" $(($(date +%s) - group_from))
    group_title=
}

# section TITLE COMMAND ...: counts one; exit code 77 means skipped. A success shows its last line, a failure its end.
section() {
    from=$(date +%s)
    run_section "$@" || return 1
}

run_section() {
    title=$1
    shift
    log=$logs/$(echo "$title" | tr -c 'a-zA-Z0-9\n' '-').log
    code=0
    "$@" >"$log" 2>&1 || code=$?
    seconds=$(($(date +%s) - from))
    if [ -n "${known_seconds:-}" ]; then seconds=$known_seconds; fi
    took "$seconds" "$title"
    last=$(tail -n 1 "$log" | cut -c1-80)
    case $code in
    0)
        printf 'ok    %-44s %4d s   %s\n' "$title" "$seconds" "$last"
        passed=$((passed + 1))
        left_out "$log"
        ;;
    77)
        printf 'skip  %-44s %4d s   %s\n' "$title" "$seconds" "$last"
        skipped=$((skipped + 1))
        ;;
    *)
        printf 'FAIL  %-44s %4d s\n' "$title" "$seconds"
        tail -n 60 "$log" | sed 's/^/      | /'
        fail "$title (log: $log)"
        return 1
        ;;
    esac
}

# What a test that passed did not look at, and why: lines such as "photographs skipped: no MOCO_TEST_DATA/photos".
left_out() {
    grep -hE '^(.*[: ])?skip(ped)?: ' "$1" | grep -v '^Command: ' | sort -u | sed 's/^/      /' || true
}

# tests TITLE BUILD_DIR [CTEST_ARGUMENT ...]: counts every test of the run.
tests() {
    title=$1
    build=$2
    shift 2
    log=$logs/$(basename "$build")-ctest.log
    junit=$logs/$(basename "$build")-ctest.xml
    rm -f "$junit"
    from=$(date +%s)
    echo "----  $title"
    ctest --test-dir "$build" -j "$jobs" --output-on-failure --output-junit "$junit" "$@" >"$log" 2>&1 || true
    grep -E '^ *[0-9]+/[0-9]+ Test' "$log" | sed 's/^ *[0-9]*\/[0-9]* Test *#[0-9]*: /      /' || true
    if ! grep -q '<testsuite' "$junit" 2>/dev/null; then
        tail -n 30 "$log" | sed 's/^/      | /'
        fail "$title: ctest did not run (log: $log)"
        return 0
    fi
    sed -n 's/.*<testcase name="\([^"]*\)".* time="\([0-9]*\)\.[0-9]*".*/\2 \1, '"$title"'/p' "$junit" >>"$times"
    count=$(attribute tests)
    # "Not Run" is a test without its program, or behind one that failed: no reason to call it skipped.
    unable=$(grep '\*\*\*Not Run' "$log" | grep -cv 'Disabled' || true)
    bad=$(($(attribute failures) + unable))
    left=$(($(attribute skipped) + $(attribute disabled) - unable))
    if [ "$count" -eq 0 ]; then fail "$title: no test was found"; fi
    if [ "$bad" -gt 0 ]; then
        sed -n '/^The following tests FAILED/,$p' "$log" >"$logs/failed"
        grep -vE '^ *[0-9]+/[0-9]+ Test|^ *Start ' "$log" | tail -n 80 | sed 's/^/      | /'
        failures="$failures
  $title: $(sed -n 's/^[[:space:]]*[0-9]* - \([^ ]*\).*/\1/p' "$logs/failed" | tr '\n' ' ')(log: $log)"
    fi
    passed=$((passed + count - bad - left))
    failed=$((failed + bad))
    skipped=$((skipped + left))
    printf '      %d tests, %d failed, %d skipped, %d s\n' "$count" "$bad" "$left" $(($(date +%s) - from))
    left_out "$build/Testing/Temporary/LastTest.log"
}

attribute() {
    sed -n '/<testsuite /,/>/s/.*[[:space:]]'"$1"'="\([0-9]*\)".*/\1/p' "$junit" | head -n 1
}

run_python() {
    env MOCO_LIBRARY="$root/build/libmoco.so" MOCO_SOURCE_DIR="$root" MOCO_BINARY_DIR="$root/build" \
        PYTHONDONTWRITEBYTECODE=1 timeout 900 "$MOCO_PYTHON" "$@"
}

# Works through the scripts; several workers share the list, and each script is claimed by one.
compare() {
    for script in "$@"; do
        name=$(basename "$script")
        mkdir "$logs/claim-$name" 2>/dev/null || continue
        begun=$(date +%s)
        status=0
        run_python "$script" >"$logs/$name.out" 2>&1 || status=$?
        echo $(($(date +%s) - begun)) >"$logs/$name.seconds"
        echo $status >"$logs/$name.status"
    done
}

compared() {
    cat "$logs/$1.out"
    return "$(cat "$logs/$1.status")"
}

# comparisons SCRIPT ...: they mostly run on one thread, so as many at once as there are processors; the longest first.
comparisons() {
    rm -rf "$logs"/claim-* "$logs"/*.status
    workers=
    for worker in $(seq "$jobs"); do
        compare "$@" &
        workers="$workers $!"
    done
    # shellcheck disable=SC2086 # a list of words
    wait $workers
    for script in "$@"; do
        name=$(basename "$script")
        known_seconds=$(cat "$logs/$name.seconds")
        section "$name${suffix:-}" compared "$name" || true
    done
    known_seconds=
}

# finish: the table of the slowest, what failed, and the line that counts.
finish() {
    group_end
    echo
    echo "slowest:"
    sort -rn "$times" | head -n 12 | awk '{ seconds = $1; $1 = ""; printf "%6d s %s\n", seconds, $0 }'
    if [ "$failed" -ne 0 ]; then
        echo
        echo "failed:$failures"
    fi
    echo
    echo "took $((($(date +%s) - started) / 60)) min $((($(date +%s) - started) % 60)) s"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

#!/bin/sh
# Do the tests notice a mistake? Changes one operator, constant, bound or call of lib/ at a time, builds the changed
# file, runs the tests that tests/map.txt names for it, and reports which changes no test noticed. It never touches the
# sources. Goes on where it stopped; what was seen is in build-mutants/seen.tsv. tests/mutate.py has the details.
# usage: mutate.sh [--module NAME ...] [--file PATH ...] [--count N] [--seed N] [--longest SECONDS] [--again]
#                  [--part N/OF] [--report] [--list]
#   --count N          mutants of each module (40)
#   --longest SECONDS  tests that take more of the processors on the unchanged library are not run (40)
#   --again            those that survived once more, after a test was written, and no others
#   --part N/OF        every OF-th mutant from the N-th (from 0): for several processes, each with MOCO_MUTANTS of its own
#   --report           the table of what was seen, and nothing else
#   --list             the mutants that would be tried, and nothing else
# MOCO_MUTANTS=FOLDER is the build folder (build-mutants).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/setup.sh"
build=${MOCO_MUTANTS:-$root/build-mutants}
case " $* " in
*' --report '* | *' --list '*) ;;
*)
    # Programs end with an error where memory was lost, as they do in the part of a full run on checked memory.
    cmake -S "$root" -B "$build" -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=ON -DCMAKE_BUILD_TYPE=None \
        -DCMAKE_C_FLAGS=-O2 -DCMAKE_EXE_LINKER_FLAGS=-fsanitize=leak -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >/dev/null
    nice cmake --build "$build" -j "$(moco_jobs)" >"$build/build.log" 2>&1 || {
        tail -n 30 "$build/build.log" >&2
        exit 1
    }
    ;;
esac
exec nice -n 15 "$MOCO_PYTHON" -B "$root/tests/mutate.py" "$root" "$build" "$@"

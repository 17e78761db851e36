#!/bin/sh
# From a fresh Debian 12 to a trained encoder: installs the packages that are missing, builds, runs `moco demo`.
# Arguments go to the demo, for example: sh examples/quickstart.sh -o my-demo
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/setup.sh"

# shellcheck disable=SC2086 # a list of words
moco_install $MOCO_BUILD_PACKAGES

(
    cd "$root"
    # Tests need one more package (Check); without it they are left out of this build.
    if pkg-config --exists check; then
        cmake --preset release
    else
        cmake --preset release -DMOCO_BUILD_TESTS=OFF
    fi
    cmake --build build --target moco moco_program -j "$(moco_jobs)"
)

exec "$root/build/moco" demo "$@"

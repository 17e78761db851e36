#!/bin/sh
# Builds library, program and tests for aarch64, runs tests under qemu, and compares two training steps and embeddings
# with those of this machine's own program. Slow, and says nothing about speed. Nothing is installed for aarch64: its
# packages are unpacked into the build folder, from the mirrors that this machine's apt uses.
# usage: cross.sh MOCO DRAW_FOLDER [BUILD]
#   MOCO, DRAW_FOLDER   the program and tests/draw_folder of this machine
#   BUILD               build-aarch64
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
moco=$(realpath "$1")
draw=$(realpath "$2")
build=${3:-$root/build-aarch64}
. "$root/tests/setup.sh"
mkdir -p "$build"
build=$(realpath "$build")

# shellcheck disable=SC2086 # a list of words
moco_install $MOCO_CROSS_PACKAGES || exit 77

# What libmoco needs, for aarch64: apt finds the packages with a state of its own, as if nothing were installed.
sysroot() {
    apt=$build/apt
    rm -rf "$apt" "$build/root.new"
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$build/root.new"
    : >"$apt/state/status"
    cat >"$apt/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
Debug::NoLocking "true";
END
    APT_CONFIG=$apt/apt.conf apt-get -q update &&
        APT_CONFIG=$apt/apt.conf apt-get -q -y --no-install-recommends --download-only install \
            libc6-dev libgomp1 libdnnl-dev libjpeg62-turbo-dev libjansson-dev librandom123-dev libxxhash-dev check ||
        return
    for package in "$apt"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$build/root.new"
    done
    rm -rf "$apt"
    mv "$build/root.new" "$build/root"
}

[ -d "$build/root" ] || sysroot || {
    echo "skipped: the packages for aarch64 are not to be had"
    exit 77
}

# -O2: gcc 12 for aarch64 ends by an internal error in one of the tests with -O3.
MOCO_SYSROOT=$build/root cmake -S "$root" -B "$build" -DCMAKE_TOOLCHAIN_FILE="$root/tests/cross.cmake" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE="-O2 -DNDEBUG" -DCMAKE_COMPILE_WARNING_AS_ERROR=ON \
    -DMOCO_BUILD_TESTS=ON -DMOCO_BUILD_PROGRAM=ON
MOCO_SYSROOT=$build/root cmake --build "$build" -j "$(moco_jobs)"

# Left out: failures in turn and damaged files, which take an hour under emulation and ask nothing of a processor; what
# asks the system itself (memory limits, fork, signals), since qemu answers there; what runs the program by its path.
CK_TIMEOUT_MULTIPLIER=20 ctest --test-dir "$build" -j "$(moco_jobs)" --output-on-failure -R '^test_' \
    -E '^test_(.*faults|allocations|.*_fuzz|bits|view_shares|headroom|memory_limit|limits|fork|exit|host_state|processors|transient|badinput)$'

cd "$build"
rm -rf compared
mkdir compared
"$draw" compared/images 8 3 40

# steps NAME PROGRAM ...: two steps and the embeddings of native's model.
steps() {
    name=$1
    shift
    "$@" train compared/images -o "compared/$name" --arch resnet18 --width 0.25 --size 32 --batch 8 --bn-groups 2 \
        --queue 16 --steps 2 --seed 3 --threads 1 >/dev/null 2>&1
    "$@" embed compared/native/model.safetensors compared/images -o "compared/$name.npy" --threads 1 >/dev/null 2>&1
}

steps native "$moco"
steps aarch64 qemu-aarch64-static -L "$build/root" "$build/moco"
# Rounding differs by the order of sums: about 1e-6 in the first step. The second starts from other bits, with batch
# norm over four images, so it may be 1e-3 apart; a wrong kernel is further off in the first.
"$MOCO_PYTHON" - compared <<'END'
import json, sys
import numpy as np
folder = sys.argv[1]
native, other = ([json.loads(line) for line in open(f"{folder}/{name}/log.jsonl") if '"gradient_norm"' in line]
                 for name in ("native", "aarch64"))
assert len(native) == len(other) == 2, "two steps each"
bad = []
for a, b, bound in zip(native, other, (1e-4, 1e-2)):
    for key in ("loss", "gradient_norm"):
        part = abs(a[key] - b[key]) / abs(a[key])
        print(f"step {a['step']} {key}: {a[key]:.7g} here, {b[key]:.7g} on aarch64, relative difference {part:.1e}")
        if not part <= bound:
            bad.append(key)
a, b = (np.load(f"{folder}/{name}.npy").astype(np.float64) for name in ("native", "aarch64"))
part = np.linalg.norm(a - b) / np.linalg.norm(a)
print(f"embeddings {a.shape}: relative difference {part:.1e}")
if not part <= 1e-4:
    bad.append("embeddings")
sys.exit(f"too far apart: {', '.join(bad)}" if bad else 0)
END

#!/bin/sh
# Installs a build into a folder of its own, moves that folder, and uses it as strangers would: a C host through
# pkg-config, a C++ host through find_package, the installed program, Python.
# usage: check_install.sh SOURCE_DIR BUILD_DIR PYTHON
set -eu
source=$1
build=$2
python=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" >"$work/log" || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/prefix" # nothing may remember where it was installed
prefix=$work/prefix
for file in include/moco/moco.h bin/moco share/man/man1/moco.1 share/man/man1/moco-train.1; do
    [ -e "$prefix/$file" ] || { echo "not installed: $file"; exit 1; }
done
lib=$(dirname "$(find "$prefix" -name libmoco.so)")
for file in libmoco.so.0 pkgconfig/moco.pc cmake/Moco/MocoConfig.cmake cmake/Moco/MocoConfigVersion.cmake; do
    [ -e "$lib/$file" ] || { echo "not installed: $file in $lib"; exit 1; }
done
if grep -rl "$source" "$prefix/include" "$lib/pkgconfig" "$lib/cmake"; then
    echo "the files above name the source folder"
    exit 1
fi
[ "$(find "$prefix/include/moco" -type f | wc -l)" -eq "$(find "$source/include/moco" -name '*.h' | wc -l)" ] ||
    { echo "headers are missing or too many"; exit 1; }

echo "-- C host, pkg-config"
export PKG_CONFIG_PATH="$lib/pkgconfig"
version=$(pkg-config --modversion moco)
# shellcheck disable=SC2046 # lists of words
cc -std=c99 -Wall -Wextra -pedantic -Werror $(pkg-config --cflags moco) "$source/tests/install/c_host/main.c" \
    -o "$work/c_host" $(pkg-config --libs moco)
LD_LIBRARY_PATH=$lib "$work/c_host" >"$work/said"
cat "$work/said"
grep -q "libmoco $version," "$work/said" || { echo "moco.pc says $version"; exit 1; }

echo "-- C++ host, find_package"
cmake -S "$source/tests/install/cpp_host" -B "$work/cpp" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" >"$work/log" || { cat "$work/log"; exit 1; }
cmake --build "$work/cpp" >"$work/log" || { cat "$work/log"; exit 1; }
"$work/cpp/cpp_host"

echo "-- the program"
env -u LD_LIBRARY_PATH "$prefix/bin/moco" info --system >"$work/said"
head -n 3 "$work/said"

echo "-- Python"
MOCO_LIBRARY=$lib/libmoco.so.0 PYTHONPATH=$source/examples/python "$python" -B -c 'import moco; print(moco.version())'

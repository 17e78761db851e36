#!/bin/sh
# Installs a build into a folder of its own, moves that folder, and uses it as strangers would: a C host through
# pkg-config, a C++ host through find_package, the installed program, Python. Then a host that builds the library as a
# part of itself, and hosts of the static library.
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
for file in include/moco/moco.h bin/moco share/man/man1/moco.1 share/man/man1/moco-train.1 \
    share/libmoco/python/moco.py share/bash-completion/completions/moco share/doc/libmoco/README.md \
    share/doc/libmoco/LICENSE share/doc/libmoco/docs/options.md share/doc/libmoco/examples/train_folder.c; do
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

for words in "train --bn-g:--bn-groups" "fine:finetune"; do
    # shellcheck disable=SC2016 # for the inner shell
    said=$(PATH=$prefix/bin:$PATH bash -c '. "$1/share/bash-completion/completions/moco"; COMP_WORDS=(moco $2)
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _moco; echo "${COMPREPLY[*]}"' - "$prefix" "${words%%:*}")
    [ "$said" = "${words#*:}" ] || { echo "completion of '${words%%:*}' gives '$said'"; exit 1; }
done

echo "-- the installed documents: every link leads somewhere"
(cd "$prefix/share/doc/libmoco" && grep -oE '\]\([^):# ]+' README.md docs/*.md | sed 's/\](//' | sort -u) >"$work/links"
while IFS=: read -r page link; do
    case $page:$link in
    *:http*) continue ;;
    README.md:examples/python/moco.py | *:lib/* | *:include/* | *:tests/* | *:../tests/* | *:CONTRIBUTING.md | *:../lib/*) continue ;; # of the source tree
    esac
    [ -e "$prefix/share/doc/libmoco/$(dirname "$page")/$link" ] || { echo "$page leads to $link, which is not installed"; exit 1; }
done <"$work/links"

echo "-- Python"
# The installed module finds the installed library; a copy beside nothing is told where by MOCO_LIBRARY.
env -u MOCO_LIBRARY -u LD_LIBRARY_PATH PYTHONPATH="$prefix/share/libmoco/python" "$python" -B -c \
    'import moco; print(moco.version(), moco._library_path())' >"$work/said"
cat "$work/said"
grep -q " $lib/libmoco.so.0$" "$work/said" || { echo "wanted the library in $lib"; exit 1; }
MOCO_LIBRARY=$lib/libmoco.so.0 PYTHONPATH=$source/examples/python "$python" -B -c 'import moco; print(moco.version())'

echo "-- a host that builds the library, shared: targets and settings"
cmake -S "$source/tests/install/sub_host" -B "$work/shared" -DMOCO_SOURCE="$source" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }

echo "-- and static, not optimised; what it installs"
cmake -S "$source/tests/install/sub_host" -B "$work/static" -DMOCO_SOURCE="$source" -DBUILD_SHARED_LIBS=OFF \
    -DMOCO_INSTALL=ON >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cmake --build "$work/static" -j "$(nproc)" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/static/sub_host"
if ldd "$work/static/sub_host" | grep libmoco; then
    echo "the host of the static library wants the shared one"
    exit 1
fi
cmake --install "$work/static" --prefix "$work/static_prefix" >"$work/log" || { cat "$work/log"; exit 1; }
static=$(dirname "$(find "$work/static_prefix" -name libmoco.a)")
export PKG_CONFIG_PATH="$static/pkgconfig"
# shellcheck disable=SC2046 # lists of words
cc $(pkg-config --cflags moco) "$source/tests/install/c_host/main.c" -o "$work/c_static" $(pkg-config --static --libs moco)
"$work/c_static"
cmake -S "$source/tests/install/cpp_host" -B "$work/cpp_static" -DCMAKE_PREFIX_PATH="$work/static_prefix" >"$work/log" ||
    { cat "$work/log"; exit 1; }
cmake --build "$work/cpp_static" >"$work/log" || { cat "$work/log"; exit 1; }
"$work/cpp_static/cpp_host"

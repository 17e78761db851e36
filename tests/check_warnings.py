"""Every source of a configured build, tests and examples too, checked by its compiler with warnings as errors; no object
is written, so it takes a fraction of a build.

usage: check_warnings.py BUILD_DIR JOBS   (BUILD_DIR was configured with CMAKE_EXPORT_COMPILE_COMMANDS=ON)
"""
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys


def check(entry):
    words = shlex.split(entry["command"])
    if os.path.basename(words[0]) == "ccache":
        words = words[1:]
    at = words.index("-o")
    del words[at:at + 2]
    words = [word for word in words if not word.startswith(("-O", "-g"))]
    done = subprocess.run([*words, "-Werror", "-fsyntax-only"], cwd=entry["directory"], capture_output=True, text=True)
    return entry["file"], done.returncode, done.stderr


def main(build, jobs):
    with open(os.path.join(build, "compile_commands.json")) as file:
        entries = json.load(file)
    failed = []
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        for file, code, said in pool.map(check, entries):
            if code != 0 or said.strip():
                failed.append(file)
                print(said)
    for file in failed:
        print(f"not without warnings: {file}")
    print(f"{len(entries)} compilations without warnings" if not failed else f"{len(failed)} of {len(entries)} failed")
    return 1 if failed or not entries else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

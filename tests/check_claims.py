#!/usr/bin/env python3
"""What README.md and docs/*.md say can be done, done: every block of sh, c and python runs as it is printed, in a
folder of drawn images; every command, option, function, constant, file and folder that the documents name exists.

    /usr/bin/python3 tests/check_claims.py [SOURCE_DIR] [BUILD_DIR]

A block that would take long is run with smaller sizes (SMALLER); one that cannot run here says why (NOT_RUN). Both name
a block by a line of it, and a name that no block has is a failure. Exit status 0 = all of it is true, 77 = the packages
that it needs are missing.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, "build"))
PYTHON = os.path.join(ROOT, "examples", "python")
PAGES = sorted(glob.glob(os.path.join(ROOT, "*.md")) + glob.glob(os.path.join(ROOT, "docs", "*.md")))
TINY = "--set image_size=32 --set width=0.25 --set queue_length=256"

# A line of the block: what is replaced by what.
SMALLER = {
    "build/moco train photos -o run --recipe moco-v2": [("--epochs 100", "--epochs 1 " + TINY)],
    "moco_trainer_t *trainer = NULL;": [
        ("if (status == MOCO_OK) status = moco_dataset_open",
         "options.image_size = 32, options.width = 0.25, options.batch_size = 64, options.queue_length = 256;\n"
         "    options.epochs = 1;\n    if (status == MOCO_OK) status = moco_dataset_open")],
    'trainer = moco.Trainer("moco-v2", arch="resnet18", batch_size=64, bn_groups=2)': [
        ("bn_groups=2)", "bn_groups=2, image_size=32, width=0.25, queue_length=256, epochs=1)")],
    "moco train cifar10-train.tar -o run --recipe moco-cifar": [("--epochs 8", "--epochs 1 --set width=0.0625")],
    "moco bench --recipe moco-v2 --batch 32": [("--batch 32", "--arch resnet18 --width 0.25 --size 32 --batch 32")],
}
NOT_RUN = {
    "sh examples/quickstart.sh": "installs packages, builds and trains for minutes",
    "cmake --preset release -DMOCO_BUILD_TESTS=ON && cmake --build build -j2": "builds, and starts a debugger",
    "python3 tests/bench/ablation.py moco cifar10-train.tar": "trains for hours",
    "sudo apt install intel-opencl-icd": "needs a GPU",
    "build/tests/draw_folder images 64 4 48": "needs a GPU",
    "from safetensors.torch import load_file": "needs a package that Debian 12 does not have",
    "moco_status_t mo_thing_open(const char *path, mo_thing_t **out)": "a pattern for sources of the library",
}
# Words of the documents that look like names of this project and are not, or not here.
OTHER_NAMES = {"moco_v2_800ep_pretrain", "moco_object_verb", "mo_object_verb", "mo_thing_open", "mo_thing_free",
               "mo_file_view_open"}

faults = []


def fault(page, what):
    faults.append("%s: %s" % (os.path.relpath(page, ROOT), what))


# ---- blocks ----

def blocks(page):
    """(language, text) of the fenced blocks, and of indented ones that are commands."""
    text = open(page, encoding="utf-8").read()
    for indent, language, body in re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.S | re.M):
        body = "\n".join(line[len(indent):] for line in body.split("\n"))
        first = body.lstrip().split(" ")[0]
        if language == "" and first in ("moco", "build/moco", "cmake", "ctest", "python3", "sh"):
            language = "sh"
        if language in ("sh", "c", "python"):
            yield language, body
    plain = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.S | re.M)
    for body in re.findall(r"\n((?:    (?:cmake|ctest|moco|build/moco|sh|cc) .*\n)(?:    .*\n)*)", plain):
        yield "sh", re.sub(r"^    ", "", body, flags=re.M)


def shrink(body, used):
    for name, changes in SMALLER.items():
        if name in body:
            used.add(name)
            for old, new in changes:
                if old not in body:
                    return None
                body = body.replace(old, new)
    return body


def run_sh(body, page, environment):
    return subprocess.run(["sh", "-e", "-c", body], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
                          universal_newlines=True, errors="replace", timeout=600)


def run_c(body, page, environment):
    if "main(" not in body:  # a part of a program
        body = "#include <moco/moco.h>\nint main(void)\n{\n%s    return 0;\n}\n" % body
    with open("program.c", "w") as file:
        file.write(body)
    return run_sh("""cc -std=c11 -Wall -Wextra -pedantic -Werror program.c -I'%s/include' -L'%s' -Wl,-rpath,'%s' -lmoco
                     ./a.out""" % (ROOT, BUILD, BUILD), page, environment)


def run_python(body, page, environment):
    with open("program.py", "w") as file:
        file.write(body)
    return run_sh("'%s' -B program.py" % sys.executable, page, environment)


def run_blocks(scratch):
    used, count = set(), 0
    environment = dict(os.environ, MOCO_LIBRARY=os.path.join(BUILD, "libmoco.so"), PYTHONPATH=PYTHON,
                       PATH=BUILD + ":" + os.environ["PATH"])
    for page in PAGES:
        for language, body in blocks(page):
            left_out = [name for name in NOT_RUN if name in body]
            used.update(left_out)
            if left_out:
                if language == "sh":
                    for script in re.findall(r"^sh (\S+\.sh)", body, re.M):
                        if subprocess.run(["sh", "-n", os.path.join(ROOT, script)]).returncode != 0:
                            fault(page, "'%s' does not parse" % script)
                continue
            smaller = shrink(body, used)
            if smaller is None:
                fault(page, "a block has changed, SMALLER has not:\n" + body)
                continue
            os.chdir(make_folder(os.path.join(scratch, "block%d" % count), scratch))
            start, count = time.monotonic(), count + 1
            done = {"sh": run_sh, "c": run_c, "python": run_python}[language](smaller, page, environment)
            print("%5.1f s  %s: %s" % (time.monotonic() - start, os.path.relpath(page, ROOT),
                                       body.strip().split("\n")[0][:70]), flush=True)
            if done.returncode != 0:
                fault(page, "this block ends with status %d:\n%s\n%s" % (done.returncode, smaller, done.stdout[-2000:]))
    for name in set(SMALLER) | set(NOT_RUN):
        if name not in used:
            faults.append("no block has the line '%s'" % name)
    return count


# ---- what the blocks find in their folder ----

def prepare(scratch):
    """photos/ with classes, query.jpg, archives of 32 x 32 images, checkpoints of MoCo's own program."""
    os.chdir(scratch)
    draw = os.path.join(BUILD, "tests", "draw_folder")
    for name, count, classes, side in (("photos", 70, 5, 48), ("train", 300, 10, 32), ("test", 40, 10, 32)):
        subprocess.run([draw, name, str(count), str(classes), str(side)], check=True)
    shutil.copy(glob.glob("photos/*/*.jpg")[0], "query.jpg")
    for name in ("train", "test"):
        subprocess.run(["tar", "cf", "cifar10-%s.tar" % name, "-C", name, "."], check=True)
    published()


def published():
    import torch
    torch.manual_seed(0)
    state, inputs = {}, 16

    def convolution(name, outputs, inputs, size):
        state[name + ".weight"] = torch.randn(outputs, inputs, size, size) * (2 / (inputs * size * size)) ** 0.5

    def norm(name, channels):
        state.update({name + ".weight": torch.ones(channels), name + ".bias": torch.zeros(channels),
                      name + ".running_mean": torch.zeros(channels), name + ".running_var": torch.ones(channels),
                      name + ".num_batches_tracked": torch.tensor(100)})
    convolution("conv1", 16, 3, 7)
    norm("bn1", 16)
    for stage, channels in enumerate((16, 16, 16, 32), 1):
        for block in range(2):
            part = "layer%d.%d." % (stage, block)
            convolution(part + "conv1", channels, inputs, 3)
            norm(part + "bn1", channels)
            convolution(part + "conv2", channels, channels, 3)
            norm(part + "bn2", channels)
            if block == 0 and stage > 1:
                convolution(part + "downsample.0", channels, inputs, 1)
                norm(part + "downsample.1", channels)
            inputs = channels
    for number, (outputs, inputs) in ((0, (32, 32)), (2, (128, 32))):
        state["fc.%d.weight" % number] = torch.randn(outputs, inputs) * 0.1
        state["fc.%d.bias" % number] = torch.zeros(outputs)
    model = {}
    for role in ("encoder_q", "encoder_k"):
        model.update({"module.%s.%s" % (role, name): tensor.clone() for name, tensor in state.items()})
    model["module.queue"] = torch.nn.functional.normalize(torch.randn(128, 256), dim=0)
    model["module.queue_ptr"] = torch.zeros(1, dtype=torch.long)
    whole = {"epoch": 200, "arch": "resnet18", "state_dict": model}
    torch.save(whole, "moco_v2_800ep_pretrain.pth.tar")
    trained = [torch.nn.Parameter(model["module.encoder_q." + name]) for name in state
               if "running" not in name and "tracked" not in name]
    optimizer = torch.optim.SGD(trained, 0.03, 0.9, weight_decay=1e-4)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.save(dict(whole, optimizer=optimizer.state_dict()), "checkpoint_0199.pth.tar")


def make_folder(folder, scratch):
    os.mkdir(folder)
    for name in os.listdir(scratch):
        if not name.startswith("block"):
            os.symlink(os.path.join(scratch, name), os.path.join(folder, name))
    os.symlink(BUILD, os.path.join(folder, "build"))
    # The blocks of one page build on each other: what the one before has made is there.
    before = re.sub(r"\d+$", lambda number: str(int(number.group()) - 1), folder)
    for name in ("run", "photos.npy", "photos.txt"):
        if os.path.exists(os.path.join(before, name)) and name != "run":
            shutil.copy(os.path.join(before, name), folder)
    return folder


# ---- names ----

def spans(page):
    """What stands between backquotes, and the lines of commands in blocks."""
    text = open(page, encoding="utf-8").read()
    plain = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.S | re.M)
    found = [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", plain)]
    for language, body in blocks(page):
        found += [line.strip() for line in body.split("\n")] if language == "sh" else []
    return found


def help_of(command):
    done = subprocess.run([os.path.join(BUILD, "moco"), command, "--help"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    return done.stdout if done.returncode == 0 else None


def check_commands():
    """`moco COMMAND … --option`: both exist. `--option` alone: some command has it."""
    known, count = {}, 0
    listed = re.findall(r"^  (\w+) ", subprocess.run([os.path.join(BUILD, "moco"), "--help"], stdout=subprocess.PIPE,
                                                     universal_newlines=True).stdout, re.M)
    everything = "".join(help_of(command) for command in listed)
    for page in PAGES:
        for span in spans(page):
            for part in re.split(r"[|;&#,]", span):
                words = part.split()
                while words and re.match(r"^\w+=\S*$|^(build/|\./)$", words[0]):
                    words = words[1:]
                if words and words[0] in ("moco", "build/moco") and len(words) > 1 and re.match(r"^[a-z]+$", words[1]):
                    count += 1
                    command = words[1]
                    if command == "help":
                        continue
                    if command not in known:
                        known[command] = help_of(command)
                    if known[command] is None:
                        fault(page, "`%s`: there is no command '%s'" % (span, command))
                        continue
                    for option in re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]*)", part):
                        if option not in ("--help",) and not re.search(re.escape(option) + r"\b", known[command]):
                            fault(page, "`%s`: moco %s has no %s" % (span, command, option))
    for command in listed:  # README's table is the list of commands
        if "`moco %s" % command not in open(os.path.join(ROOT, "README.md")).read():
            fault("README.md", "does not name the command '%s'" % command)
        if not re.search(r"\b%s\b" % command, open(os.path.join(ROOT, "CHANGELOG.md")).read()):
            fault("CHANGELOG.md", "does not name the command '%s'" % command)
    return count, everything


def check_names():
    """Functions, types and constants of the interface; functions of the inside; files and folders."""
    headers = "".join(open(path).read() for path in glob.glob(os.path.join(ROOT, "include", "moco", "*.h")))
    sources = "".join(open(path, errors="replace").read() for pattern in
                      ("lib/**/*.[ch]", "tests/**/*.[ch]", "tests/**/*.py", "tests/**/*.sh", "tests/*.sh", "tests/**/CMakeLists.txt",
                       "CMakeLists.txt", "pkgconfig/*", "examples/**/*.[ch]", "examples/**/*.py", "tests/**/*.cmake")
                      for path in glob.glob(os.path.join(ROOT, pattern), recursive=True))
    count = 0
    for page in PAGES + sorted(glob.glob(os.path.join(ROOT, "include", "moco", "*.h"))):
        text = open(page, encoding="utf-8").read()
        for name in set(re.findall(r"(?<![\w./-])moco_[a-z0-9_]+[a-z0-9](?![\w*]|\.(?:pth|safetensors|pkl))", text)):
            count += 1
            if name not in OTHER_NAMES and not re.search(r"\b%s\b" % name, headers + sources):
                fault(page, "names %s, which does not exist" % name)
        for name in set(re.findall(r"(?<![\w])(?:MOCO|MO)_[A-Z0-9_]*[A-Z0-9](?![\w…*])", text)):
            count += 1
            if not re.search(r"\b%s\b" % name, headers + sources):
                fault(page, "names %s, which does not exist" % name)
        for name in set(re.findall(r"(?<![\w.])mo_[a-z0-9_]+[a-z0-9](?![\w*])", text)):
            count += 1
            if name not in OTHER_NAMES and not re.search(r"\b%s\b" % name, sources):
                fault(page, "names %s, which does not exist" % name)
        for span in spans(page):
            for path in re.findall(r"(?<![\w./~-])((?:lib|tests|docs|examples|include|pkgconfig)/[\w./*-]*[\w/*])", span):
                count += 1
                if not exists(path):
                    fault(page, "names %s, which does not exist" % path)
    return count


def exists(path):
    """In the tree; capitals, as in `tests/parity/test_NAME.py`, stand for any of their kind."""
    pattern = re.sub(r"(?<![A-Za-z])[A-Z]+(?=[_.])", "*", path) if not path.endswith((".md", ".txt")) else path
    return bool(glob.glob(os.path.join(ROOT, pattern)) or glob.glob(os.path.join(BUILD, pattern)))


def main():
    missing = [name for name in ("moco", "libmoco.so", "tests/draw_folder") if not os.path.exists(os.path.join(BUILD, name))]
    if missing:
        print("%s lacks %s: build it first, with its tests" % (BUILD, ", ".join(missing)))
        return 1
    try:
        import numpy  # noqa: F401: what moco.py needs
        import torch  # noqa: F401: writes the checkpoints of other programs
    except ImportError as error:
        print("skipped: %s" % error)
        return 77
    commands, _ = check_commands()
    names = check_names()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            prepare(scratch)
            ran = run_blocks(scratch)
        finally:
            os.chdir(ROOT)
    for line in faults:
        print("FALSE  " + line)
    print("%d blocks ran, %d were left out (%s); %d commands and %d names were looked up" %
          (ran, len(NOT_RUN), "; ".join(sorted(NOT_RUN.values())), commands, names))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

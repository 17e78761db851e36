"""Mutants of lib/: draws them, builds each, runs the tests that could notice, and reports the survivors.

Called by tests/mutate.sh, which makes the build folder. A mutant is one line of one source file with one token
changed. It is compiled beside the original's object and linked in its place, into a folder of its own, so that neither
the sources nor the build change. Tests are those of tests/map.txt until one fails: programs first, the quickest first,
then comparisons in the map's order. A change that compiles to the same code is no mutant and is not counted; those that
tests/mutants.txt names as equivalent, with a reason, are not drawn.

Times of tests are seconds of processors, which other work on the machine hardly changes. Where a test does not end, the
unchanged library is timed again before that counts: a busy machine is not a noticed mistake.

A line of seen.tsv is: result, test that noticed, seconds, file, line as it was, line as it became.
"""

import argparse
import atexit
import collections
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SLOW_START = 20.0  # seconds that every test has, whatever it takes on the unchanged library
SLOWER = 6  # how many times slower than on the unchanged library, at about the same time, before it counts as hanging
UNKNOWN = 5.0  # seconds that a test is taken to need before it has run
PATIENCE = 5  # how many times Check's own limits are stretched, so that a busy machine is no kill
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # bytes of data that a test may take

TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      |(?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?)[uUlLfF]*)
      |(?P<word>[A-Za-z_]\w*)
      |(?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)""",
    re.X,
)
SWAPS = {
    "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="],
    "&&": ["||"], "||": ["&&"], "+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["*"], "+=": ["-="],
    "-=": ["+="], "*=": ["/="], "/=": ["*="], "<<": [">>"], ">>": ["<<"], "&": ["|"], "|": ["&"], "^": ["&"],
    "|=": ["&="], "&=": ["|="], "!": [""], "++": ["--"], "--": ["++"],
}  # fmt: skip
UNARY_BEFORE = set("( [ { , ; = == != < > <= >= && || ! & | ^ + - * / % ? : << >> += -= *= /= return case".split())
TYPES = re.compile(r"^(const|void|char|int|float|double|long|unsigned|size_t|FILE|\w+_t|struct|\*)$")


def tokens_of(line):
    at = 0
    while at < len(line):
        match = TOKEN.match(line, at)
        yield match.lastgroup, match.group(), at
        at = match.end()


def without_comments(text):
    """The text with comments and preprocessor lines blanked; columns and lines stay."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group())
    text = re.sub(r'("(?:\\.|[^"\\\n])*")|/\*.*?\*/|//[^\n]*', lambda m: m.group(1) or blank(m), text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def other_numbers(word):
    if re.match(r"^0[xX]", word):
        value = int(re.match(r"0[xX][0-9a-fA-F]+", word).group(), 16)
        return [re.sub(r"^0[xX][0-9a-fA-F]+", "0x%x" % (value ^ 1), word)]
    if re.match(r"^\d+[uUlL]*$", word):
        digits, suffix = re.match(r"^(\d+)(.*)$", word).groups()
        value = int(digits)
        return [str(value + 1) + suffix] + ([str(value - 1) + suffix] if value > 0 else [])
    number, suffix = re.match(r"^(.*?)([fFlL]?)$", word).groups()
    value = float(number)
    return [repr(value * 1.5 if value else 1.0) + suffix]


def changes_of_line(line):
    """(start, end, new) of every change of one line of code."""
    tokens = [token for token in tokens_of(line) if token[0] != "space"]
    for i, (kind, word, at) in enumerate(tokens):
        before = tokens[i - 1][1] if i > 0 else ""
        if kind == "number":
            for new in other_numbers(word):
                yield at, at + len(word), new
        elif kind == "sign" and word in SWAPS:
            if word in "*&+-" and (before == "" or before in UNARY_BEFORE or TYPES.match(before)):
                continue  # an address, a pointer's type, a sign
            if word in ("*", "&") and i + 1 < len(tokens) and tokens[i + 1][1] in (")", ",", "*"):
                continue
            for new in SWAPS[word]:
                yield at, at + len(word), new
    stripped = line.strip()
    indent = len(line) - len(line.lstrip())
    if indent == 0 or not stripped.endswith(";"):
        return
    if re.match(r"^(TRY\(.*\)|\w+(->\w+|\.\w+)*\(.*\));$", stripped) and not stripped.startswith(("return", "va_")):
        yield indent, indent + len(stripped), ";"  # the call is left out
    elif re.match(r"^return mo_fail\(.*\);$", stripped):
        yield indent, indent + len(stripped), "return MOCO_OK;"
    elif re.match(r"^[\w\->.\[\]*]+ [-+*/|&]?= .*;$", stripped) and "(" not in stripped.split("=")[0]:
        yield indent, indent + len(stripped), ";"  # the assignment is left out
    elif stripped in ("break;", "continue;"):
        yield indent, indent + len(stripped), ";"


class Mutant:
    def __init__(self, path, number, line, start, end, new):
        self.path, self.number, self.line = path, number, line
        self.new = (line[:start] + new + line[end:]).rstrip()
        self.key = (path, self.line.strip(), self.new.strip())
        self.module = path.split("/")[1]


def mutants_of_file(root, path):
    with open(os.path.join(root, path)) as file:
        text = file.read()
    seen = set()
    for number, (line, code) in enumerate(zip(text.split("\n"), without_comments(text).split("\n")), 1):
        if code.strip().startswith(("static_assert", "_Static_assert")):
            continue
        for start, end, new in changes_of_line(code):
            mutant = Mutant(path, number, line, start, end, new)
            if mutant.key not in seen:
                seen.add(mutant.key)
                yield mutant


def equivalent(root):
    """Keys of tests/mutants.txt. An entry is: file, line as it is, line as it becomes, reason, each on its own line."""
    known = {}
    path = os.path.join(root, "tests", "mutants.txt")
    with open(path) as file:
        blocks = [block for block in re.split(r"\n\s*\n", file.read()) if not block.startswith("#")]
    for block in blocks:
        lines = [line.strip() for line in block.strip().split("\n")]
        if len(lines) < 4:
            sys.exit(path + ": an entry has %d lines, wanted 4: %s" % (len(lines), lines[0]))
        known[tuple(lines[:3])] = " ".join(lines[3:])
    return known


def drawn(root, options, known):
    """The mutants to try: for each module its own shuffled order, so that a larger count goes on with the same."""
    by_module = collections.defaultdict(list)
    for folder, _, names in sorted(os.walk(os.path.join(root, "lib"))):
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(".c") and name != "compat_3.c" and (not options.file or path in options.file):
                module = path.split("/")[1]
                if not options.module or module in options.module:
                    by_module[module].append(path)
    for key in known:
        if not os.path.exists(os.path.join(root, key[0])):
            sys.exit("tests/mutants.txt names %s, which is not there" % key[0])
    for module, paths in sorted(by_module.items()):
        every = [mutant for path in paths for mutant in mutants_of_file(root, path)]
        random.Random("%d %s" % (options.seed, module)).shuffle(every)
        yield module, every


def read_map(root):
    rules = []
    with open(os.path.join(root, "tests", "map.txt")) as file:
        for line in file:
            if ": " in line and not line.startswith("#"):
                pattern, tests = line.strip().split(": ", 1)
                regex = re.compile("/" + re.escape(pattern).replace(r"\*", "[^/]*") + "$")
                rules.append((regex, tests.split()))
    return rules


def end_session(session):
    """Ends all processes of a session, whatever groups they have made: a Check program gives each case one."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(os.path.join("/proc", name, "stat")) as file:
                if int(file.read().rpartition(")")[2].split()[3]) == session:
                    os.kill(int(name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended


class Bench:
    """The build folder, and a second folder where a mutant's library and tests are linked."""

    def __init__(self, root, build, longest):
        self.root, self.build, self.longest = root, build, longest
        self.work = tempfile.mkdtemp(prefix="mutant-", dir=build)  # of this process: several may share the build
        atexit.register(shutil.rmtree, self.work, ignore_errors=True)
        with open(os.path.join(build, "compile_commands.json")) as file:
            entries = json.load(file)
        self.commands = {}
        for entry in entries:
            target = re.search(r"CMakeFiles/(\w+)\.dir/", entry["command"]).group(1)
            self.commands[target, os.path.relpath(entry["file"], root)] = shlex.split(entry["command"])
        shown = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, check=True).stdout
        self.tests = {test["name"]: test for test in json.loads(shown)["tests"] if "command" in test}
        self.rules = read_map(root)
        self.times_path = os.path.join(build, "seconds.tsv")
        self.times = {}  # name: (seconds of processors, seconds by the clock)
        self.plain = {}  # the object of each unchanged file

    def compile(self, mutant, target, source, out):
        command = list(self.commands[target, mutant.path])
        command[command.index("-o") + 1] = out
        command[command.index("-c") + 1] = source
        command[1:1] = ["-w", "-iquote", os.path.dirname(os.path.join(self.root, mutant.path))]
        return subprocess.run(command, cwd=self.build, capture_output=True, timeout=300).returncode == 0

    def original(self, mutant, target):
        return os.path.join(self.build, "CMakeFiles", target + ".dir", mutant.path + ".o")

    def link(self, folder, target, changed):
        """Links a target again, into the work folder, with the changed object in place of the original."""
        with open(os.path.join(folder, "CMakeFiles", target + ".dir", "link.txt")) as file:
            command = shlex.split(file.read())
        at = command.index("-o") + 1
        out = os.path.join(self.work, os.path.basename(command[at]))
        command[at] = out
        if target == "moco":
            relative = os.path.relpath(self.original(changed[0], "moco"), self.build)
            command[command.index(relative)] = changed[1]
        else:
            command.insert(at + 1, changed[1])  # in front of the archive, whose own member is then not wanted
        if subprocess.run(command, cwd=folder, capture_output=True).returncode != 0:
            return None
        return out

    def mapped(self, path):
        names = []
        for regex, tests in self.rules:
            if regex.search("/" + path):
                names += [test for test in tests if test not in names]
        return names

    def command_of(self, name):
        """(command, environment, programs to link again) of a test file, or None where it cannot run alone."""
        stem = os.path.splitext(name)[0]
        plain = stem[len("test_"):]
        for known in (stem,) if name.endswith(".c") else ("parity_" + plain, "python_" + plain, plain):
            if known in self.tests:
                test = self.tests[known]
                properties = {item["name"]: item["value"] for item in test.get("properties", [])}
                environment = dict(line.split("=", 1) for line in properties.get("ENVIRONMENT", []))
                inside = [part for part in test["command"] if part.startswith(self.build + "/tests/")]
                targets = [os.path.basename(part) for part in inside]
                return test["command"], environment, targets
        for folder in ("parity", "python"):
            script = os.path.join(self.root, "tests", folder, name)
            if os.path.exists(script):
                environment = {"MOCO_SOURCE_DIR": self.root, "MOCO_BINARY_DIR": self.build}
                return [sys.executable, "-B", script], environment, []
        return None

    def run(self, name, library, programs, limit):
        """True when the test passes, False when it fails, None when it does not end."""
        command, environment, _ = self.command_of(name)
        folder = os.path.join(self.work, "files")  # two processes may run one test
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        command = [programs.get(os.path.basename(part), part) for part in command]
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", CK_TIMEOUT_MULTIPLIER=str(PATIENCE),
                           LSAN_OPTIONS="handle_segv=0:handle_abort=0:handle_sigbus=0", **environment)  # tests want those
        environment["MOCO_LIBRARY"] = library or os.path.join(self.build, "libmoco.so")
        if library:
            environment["LD_LIBRARY_PATH"] = os.path.dirname(library)
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)))
        try:
            code = process.wait(limit)
            return code in (0, 77)
        except subprocess.TimeoutExpired:
            return None
        finally:
            end_session(process.pid)  # and what it left behind
            process.wait()

    def timed(self, name, limit, library=None, programs={}):
        """(whether it passes as run() says, seconds of processors, seconds by the clock)."""
        used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        begun, before = time.time(), used()
        passed = self.run(name, library, programs, limit)
        return passed, used() - before, time.time() - begun

    def remember(self, name, passed, seconds, clock):
        """The times of a test that has passed, whatever the library was; others are not run again."""
        self.times[name] = (seconds, clock) if passed else (float("inf"), float("inf"))
        if not passed:
            print("left out: %s does not pass here" % name, flush=True)
            return
        with open(self.times_path, "a") as file:
            file.write("%s\t%.2f\t%.2f\n" % (name, seconds, clock))
        if seconds > self.longest:
            print("left out: %s takes %.0f s" % (name, seconds), flush=True)

    def seconds(self, name):
        """Seconds of processors that a test takes, or a guess before it has run; infinity where it is not to run."""
        if name not in self.times and os.path.exists(self.times_path):  # other processes write there too
            with open(self.times_path) as file:
                self.times.update((key, (float(a), float(b))) for key, a, b in (line.split("\t") for line in file))
        if name not in self.times:
            return UNKNOWN if self.command_of(name) is not None else float("inf")
        return self.times[name][0] if self.times[name][0] <= self.longest else float("inf")

    def passes(self, name, library, programs):
        """As run(), but what does not pass with the unchanged library either passes: it tells nothing. A test that does
        not end in time is given as long as the unchanged library makes likely now."""
        known = name in self.times
        limit = SLOW_START + SLOWER * self.times[name][1] if known else 20 * (SLOW_START + self.longest)
        while True:
            passed, *times = self.timed(name, limit, library, programs)
            if passed and not known:
                self.remember(name, True, *times)
            if passed or (passed is not None and known):
                return passed
            now, *times = self.timed(name, limit)
            if now is False or not known:
                self.remember(name, now, *times)
                known = True
            if now is False or self.times[name][0] > self.longest:
                return True
            if passed is False:
                return False
            if now and SLOW_START + SLOWER * times[1] <= 1.5 * limit:
                return None
            limit = SLOW_START + SLOWER * times[1] if now else 2 * limit

    def targets(self, name):
        """What to link again for a test: programs with the library inside, and whether the shared one is used."""
        targets = self.command_of(name)[2]
        static = [target for target in targets if self.has_inside(target)]
        return static, not static or name.endswith(".py")

    def has_inside(self, target):
        path = os.path.join(self.build, "tests", "CMakeFiles", target + ".dir", "link.txt")
        if not os.path.exists(path):
            return False
        with open(path) as file:
            return "libmoco_inside.a" in file.read()

    def judge(self, mutant):
        """(result, test that noticed)."""
        source = os.path.join(self.work, "mutant.c")
        with open(os.path.join(self.root, mutant.path)) as file:
            lines = file.read().split("\n")
        if lines[mutant.number - 1] != mutant.line:
            return None, ""  # the file was edited meanwhile
        lines[mutant.number - 1] = mutant.new
        with open(source, "w") as file:
            file.write("\n".join(lines))
        objects = {target: os.path.join(self.work, target + ".o") for target in ("moco", "moco_inside")}
        if not self.compile(mutant, "moco_inside", source, objects["moco_inside"]):
            return "not built", ""
        if self.same_code(mutant, objects["moco_inside"]):
            return "same code", ""
        library = None
        compiled = [name for name in self.mapped(mutant.path) if not name.endswith(".py")]
        compared = [name for name in self.mapped(mutant.path) if name.endswith(".py")]  # slow
        for name in sorted(compiled, key=self.seconds) + compared:
            if self.seconds(name) == float("inf"):
                continue
            static, shared = self.targets(name)
            programs = {}
            for target in static:
                programs[target] = self.link(os.path.join(self.build, "tests"), target,
                                             (mutant, objects["moco_inside"]))
                if programs[target] is None:
                    return "not built", ""
            if shared and library is None:
                if not self.compile(mutant, "moco", source, objects["moco"]):
                    return "not built", ""
                library = self.link(self.build, "moco", (mutant, objects["moco"]))
                if library is None:
                    return "not built", ""
                short = os.path.join(self.work, "libmoco.so.0")
                if not os.path.lexists(short):
                    os.symlink(os.path.basename(library), short)
            passed = self.passes(name, library, programs)
            if passed is None:
                return "timed out", name
            if not passed:
                return "killed", name
        return "survived", ""

    def same_code(self, mutant, out):
        """Whether the compiler makes the same of both. Objects hold no line numbers and no names of files."""
        if mutant.path not in self.plain:
            plain = os.path.join(self.work, "plain.o")
            folder = os.path.join(self.work, "plain")
            os.makedirs(folder, exist_ok=True)
            source = os.path.join(folder, "mutant.c")  # the same name, since it may stand in the object
            shutil.copy(os.path.join(self.root, mutant.path), source)
            if not self.compile(mutant, "moco_inside", source, plain):
                sys.exit("the unchanged %s does not compile" % mutant.path)
            with open(plain, "rb") as file:
                self.plain[mutant.path] = file.read()
        with open(out, "rb") as file:
            return file.read() == self.plain[mutant.path]


def read_seen(path):
    seen = {}
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                result, test, seconds, *key = line.rstrip("\n").split("\t")
                seen[tuple(key)] = (result, test, seconds)
    return seen


def report(seen, known, present):
    """The table by module of what was seen and still exists, and the survivors."""
    counts = collections.defaultdict(collections.Counter)
    for key, (result, _, _) in seen.items():
        if key in present:
            counts[key[0].split("/")[1]]["equivalent" if key in known else result] += 1
    print("\n| module | mutants | killed | timed out | survived | noticed | equivalent | same code | not built |")
    print("|---|---|---|---|---|---|---|---|---|")
    for module, count in sorted(counts.items()):
        noticed = count["killed"] + count["timed out"]
        total = noticed + count["survived"]
        share = "%.0f %%" % (100.0 * noticed / total) if total else "-"
        print("| %s | %d | %d | %d | %d | %s | %d | %d | %d |" % (
            module, total, count["killed"], count["timed out"], count["survived"], share, count["equivalent"],
            count["same code"], count["not built"]))  # fmt: skip
    survivors = [key for key, value in seen.items() if value[0] == "survived" and key in present and key not in known]
    if survivors:
        print("\nsurvivors:")
    for path, line, new in sorted(survivors):
        print("%s\n  - %s\n  + %s" % (path, line, new))
    return len(survivors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("build")
    parser.add_argument("--module", action="append", default=[])
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=40)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    part, parts = (int(number) for number in options.part.split("/"))
    known = equivalent(options.root)
    path = os.path.join(options.build, "seen.tsv")
    seen = read_seen(path)
    drawing = list(drawn(options.root, options, known))
    present = {mutant.key for _, every in drawing for mutant in every}
    for key in known:
        if key not in present and not options.module and not options.file:
            print("tests/mutants.txt: this line is not there any more: %s: %s" % key[:2])
    if options.report:
        return report(seen, known, present)
    bench = None if options.list else Bench(options.root, options.build, options.longest)
    for module, every in drawing:
        counted = 0  # what compiles to the same code, or not at all, is drawn again
        for number, mutant in enumerate(every):
            if counted >= options.count:
                break
            if mutant.key in known or number % parts != part:
                continue
            if options.list:
                print("%s:%d\n  - %s\n  + %s" % (mutant.path, mutant.number, mutant.key[1], mutant.key[2]))
                counted += 1
                continue
            done = seen.get(mutant.key)
            if options.again and (done is None or done[0] != "survived"):
                continue
            if options.again or done is None:
                begun = time.time()
                result, test = bench.judge(mutant)
                if result is None:
                    continue
                done = (result, test, "%.1f" % (time.time() - begun))
                seen[mutant.key] = done
                with open(path, "a") as file:
                    file.write("\t".join(done + mutant.key) + "\n")
                print("%-9s %5s s  %s:%d: %s" % (done[0], done[2], mutant.path, mutant.number, mutant.key[2]), flush=True)
            if done[0] in ("killed", "timed out", "survived"):
                counted += 1
    if not options.list:
        report(seen, known, present)


if __name__ == "__main__":
    main()

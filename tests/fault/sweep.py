"""Makes one request to the system fail at a time, in whole runs of the program and in a Python session.

usage: sweep.py MOCO DRAW_FOLDER LIBMOCO WORK [--sample N] [--seed S] [--most N] [--scenario NAME ...] [--kind NAME ...]
                [--keep] [--show]

A run must end in time with the right files, or with exit code 1 and a line that says why; it leaves no temporary file
and no file with other contents. A run of training or embedding that failed must go on to the same files. A request that
was only interrupted (EINTR) or cut short must not be noticed at all. oneDNN does not survive every failed allocation of
its own: such ends are counted apart. Without --sample every request of every kind is
made to fail, up to --most of each row, evenly spread; with it, so many of all of them, drawn from the seed.
tests/fault/inject.c, which is compiled here, makes requests fail. The exit code is 1 when a run ended badly.
"""

import argparse
import collections
import concurrent.futures
import glob
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 60  # seconds of a run; an undisturbed one takes less than one
TRAIN = ("train images -o run --recipe moco-cifar --arch resnet18 --width 0.0625 --size 16 --batch 4 --bn-groups 2 "
         "--queue 16 --epochs 2 --set dimension=16 --set base_lr=1 --save-every 4 --threads 2 --loader-threads 1")  # fmt: skip
PLACE = " --threads 2 --loader-threads 1"

SESSION = """
import sys
sys.path.insert(0, %r)
import moco
try:
    device = moco.Device(lanes=2)
    images = moco.Dataset("images")
    trainer = moco.Trainer("moco-cifar", device=device, arch="resnet18", width=0.0625, image_size=16, batch_size=4,
                           bn_groups=2, queue_length=16, dimension=16)
    trainer.steps(images, 3)
    trainer.save("session.safetensors")
    model = trainer.snapshot()
    model.save("session-model.safetensors")
    model.embed_to_npy(images, "session.npy")
    index = moco.Index.load("session.npy", device=device)
    index.search(images.pixels(0, 16, 16).reshape(1, -1)[:, : index.dimension].astype("float32"), 3)
    moco.Trainer.load("session.safetensors", device=device).close()
except moco.MocoError as error:
    sys.exit("moco: %%s" %% error)
except MemoryError as error:
    sys.exit("moco: no memory")
""" % os.path.join(os.path.dirname(os.path.dirname(HERE)), "examples", "python")

# name: command (None = the Python session), files that it writes, the command that goes on after a failure
SCENARIOS = {
    "train": (TRAIN, ["run/checkpoint.safetensors", "run/model.safetensors", "run/log.jsonl"], TRAIN),
    "resume": ("train images -o half --resume --threads 2 --loader-threads 1",
               ["half/checkpoint.safetensors", "half/model.safetensors", "half/log.jsonl"],
               "train images -o half --resume --threads 2 --loader-threads 1"),
    "embed": ("embed model.safetensors images -o rows.npy" + PLACE,
              ["rows.npy", "rows.names.txt", "rows.skipped.txt"],
              "embed model.safetensors images -o rows.npy" + PLACE),
    "knn": ("knn model.safetensors images others --k 5" + PLACE, [], None),
    "probe": ("probe model.safetensors images others --epochs 2 --batch 4 --out probe.safetensors" + PLACE,
              ["probe.safetensors"], None),
    "convert": ("convert other.pth made.safetensors --to encoder", ["made.safetensors"], None),
    "training": ("convert half/checkpoint.safetensors made.safetensors --to torchvision", ["made.safetensors"], None),
    "search": ("near model.safetensors images images/class0/0000.jpg -k 3" + PLACE, [], None),
    "python": (None, ["session.safetensors", "session-model.safetensors", "session.npy"], None),
}  # fmt: skip

# kind, libraries whose memory counts, whether later ones fail too, errors
ROWS = [
    ("alloc", "libmoco", ("", "+"), ("ENOMEM",)),
    ("alloc", "libjansson", ("", "+"), ("ENOMEM",)),
    ("alloc", "libjpeg", ("", "+"), ("ENOMEM",)),
    ("alloc", "libdnnl,libstdc++", ("", "+"), ("ENOMEM",)),
    ("mmap", "libmoco,libdnnl", ("", "+"), ("ENOMEM",)),
    ("thread", "", ("", "+"), ("EAGAIN",)),
    ("open", "", ("", "+"), ("EMFILE", "EIO", "ENOSPC")),
    ("open", "", ("",), ("EINTR",)),
    ("close", "", ("", "+"), ("EIO", "EDQUOT")),
    ("close", "", ("",), ("EINTR",)),
    ("read", "", ("", "+"), ("EIO", "ESTALE")),
    ("read", "", ("",), ("EINTR", "short")),
    ("read", "", ("+",), ("short",)),
    ("write", "", ("", "+"), ("ENOSPC", "EIO")),
    ("write", "", ("",), ("EINTR", "short")),
    ("write", "", ("+",), ("short",)),
    ("fsync", "", ("", "+"), ("EIO", "ENOSPC")),
    ("fsync", "", ("",), ("EINTR",)),
    ("truncate", "", ("", "+"), ("EIO",)),
    ("rename", "", ("", "+"), ("EIO", "EACCES", "ENOSPC")),
    ("mkdir", "", ("", "+"), ("ENOSPC", "EACCES")),
    ("readdir", "", ("", "+"), ("EIO", "ESTALE")),
    ("lock", "", ("", "+"), ("ENOLCK", "EIO")),
    ("lock", "", ("",), ("EINTR",)),
    ("stat", "", ("", "+"), ("EIO", "ESTALE")),
]
UNNOTICED = ("EINTR", "short")
ONEDNN = "ended inside oneDNN"
CONTINUED = ("embed", "python")  # these keep the files that they have begun, to go on with them


def parts_in(folder):
    """Temporary files below a folder."""
    return [file for _, _, files in os.walk(folder) for file in files if ".moco-part" in file]


class Sweep:
    def __init__(self, options):
        self.options = options
        self.base = os.path.join(options.work, "base")
        self.injector = os.path.join(options.work, "inject.so")
        self.session = os.path.join(options.work, "session.py")
        os.makedirs(options.work, exist_ok=True)
        subprocess.run(["cc", "-O1", "-g", "-shared", "-fPIC", "-o", self.injector, os.path.join(HERE, "inject.c"), "-ldl",
                        "-pthread"], check=True)  # fmt: skip
        self.prepare()
        self.right = {}
        self.said = {}
        self.counted = {}

    def prepare(self):
        """What a scenario finds: images, a model, a run that was stopped half-way, a file of another program."""
        shutil.rmtree(self.base, ignore_errors=True)
        os.makedirs(self.base)
        for folder, count in (("images", "24"), ("others", "12")):
            subprocess.run([self.options.draw, folder, count, "3", "24"], cwd=self.base, check=True)
        self.plain(TRAIN + " --steps 7")
        os.rename(os.path.join(self.base, "run"), os.path.join(self.base, "half"))
        self.plain(TRAIN)
        shutil.move(os.path.join(self.base, "run", "model.safetensors"), os.path.join(self.base, "model.safetensors"))
        shutil.rmtree(os.path.join(self.base, "run"))
        with open(self.session, "w") as file:  # not in the folder: that Python cannot read it is no matter of ours
            file.write(SESSION)
        try:
            self.foreign()
        except ImportError:
            print("convert skipped: no PyTorch")
            del SCENARIOS["convert"]

    def foreign(self):
        import torch

        rows = torch.Generator().manual_seed(1)
        names = {}

        def conv(name, out, into, side):
            names[name + ".weight"] = torch.randn(out, into, side, side, generator=rows) * 0.05

        def norm(name, width):
            for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
                names[name + "." + part] = torch.full((width,), value)
            names[name + ".num_batches_tracked"] = torch.tensor(3)

        conv("conv1", 16, 3, 7)
        norm("bn1", 16)
        into = 16
        for layer, width in enumerate((16, 32, 64, 128), 1):
            for block in range(2):
                at = "layer%d.%d." % (layer, block)
                conv(at + "conv1", width, into, 3)
                norm(at + "bn1", width)
                conv(at + "conv2", width, width, 3)
                norm(at + "bn2", width)
                if into != width:
                    conv(at + "downsample.0", width, into, 1)
                    norm(at + "downsample.1", width)
                into = width
        value = {"epoch": 2, "arch": "resnet18", "state_dict": {"module.encoder_q." + k: v for k, v in names.items()}}
        torch.save(value, os.path.join(self.base, "other.pth"))

    def plain(self, command, folder=None):
        done = subprocess.run([self.options.moco] + command.split(), cwd=folder or self.base, capture_output=True)
        if done.returncode != 0:
            sys.exit("sweep: %s: %s" % (command, done.stderr.decode(errors="replace")))

    def run(self, name, wish=None, callers=""):
        """(exit code or "hang", stdout, stderr, report, folder); the caller removes the folder."""
        work = os.path.realpath(tempfile.mkdtemp(prefix="sweep-", dir=self.options.work))
        folder = os.path.join(work, "folder")
        shutil.copytree(self.base, folder)
        report = os.path.join(work, "report")
        # What a run cannot save beside its folder goes to TMPDIR.
        environment = dict(os.environ, TMPDIR=work, LD_PRELOAD=self.injector, MOCO_INJECT_FOLDER=folder, MOCO_INJECT_REPORT=report,
                           MOCO_LIBRARY=self.options.library, PYTHONDONTWRITEBYTECODE="1")  # fmt: skip
        if wish:
            environment["MOCO_INJECT"] = wish
        if callers:
            environment["MOCO_INJECT_CALLERS"] = callers
        command = SCENARIOS[name][0]
        command = [sys.executable, self.session] if command is None else [self.options.moco] + command.split()
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=LIMIT)
            code, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            code, out, err = "hang", late.stdout or b"", late.stderr or b""
        text = ""
        if os.path.exists(report):
            with open(report) as file:
                text = file.read()
        return code, out.decode(errors="replace"), err.decode(errors="replace"), text, work

    def digests(self, name, folder):
        found = {}
        for path in SCENARIOS[name][1]:
            try:
                with open(os.path.join(folder, path), "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                continue
            if path.endswith(".jsonl"):  # speeds are not the same twice
                data = re.sub(rb'"images_per_second":[^,}]*', b"", data)
            found[path] = hashlib.sha256(data).hexdigest()
        return found

    def undisturbed(self, name, callers):
        """Numbers of requests by kind; keeps what the scenario writes and says."""
        code, out, err, report, work = self.run(name, None, callers)
        if code != 0:
            sys.exit("sweep: %s does not work undisturbed: %s" % (name, err))
        self.right[name] = self.digests(name, os.path.join(work, "folder"))
        self.said[name] = re.sub(r"[\d.]+ (s|images/s|ms)\b", "", out) if name in ("knn", "search") else ""
        shutil.rmtree(work)
        return {kind: int(number) for kind, number in re.findall(r"^(\w+) (\d+)$", report, re.M)}

    def requests(self, name, kind, callers):
        """How many requests of a kind an undisturbed run makes."""
        if (name, callers) not in self.counted:
            self.counted[name, callers] = self.undisturbed(name, callers)
        return self.counted[name, callers].get(kind, 0)

    def rows(self):
        """(scenario, kind of request, whose memory, how it fails)"""
        for name in SCENARIOS:
            for kind, callers, spans, hows in ROWS:
                if self.options.scenario and name not in self.options.scenario:
                    continue
                if not self.options.kind or kind in self.options.kind:
                    yield from ((name, kind, callers, how + span) for span in spans for how in hows)

    def every(self):
        """Every request of every row, or as many of each as --most says."""
        for row in self.rows():
            total, most = self.requests(*row[:3]), self.options.most
            for number in range(total) if total <= most else sorted({i * total // most for i in range(most)}):
                yield row, number

    def sample(self):
        """Rows have the same chance, whatever their number of requests."""
        draw = random.Random(self.options.seed)
        rows = list(self.rows())
        draw.shuffle(rows)
        for i in range(self.options.sample):
            row = rows[i % len(rows)]
            total = self.requests(*row[:3])
            if total > 0:
                yield row, draw.randrange(total)

    def judge(self, row, number):
        """None where the request was not reached, "right", "refused", or what is bad."""
        name, kind, callers, how = row
        wish = "%s:%d%s:%s" % (kind, number, "+" if how.endswith("+") else "", how.rstrip("+"))
        code, out, err, report, work = self.run(name, wish, callers)
        try:
            if "hit" not in report:
                return None, ""
            return self.verdict(row, code, out, err, os.path.join(work, "folder"))
        finally:
            if not self.options.keep:
                shutil.rmtree(work, ignore_errors=True)

    def verdict(self, row, code, out, err, folder):
        name, _, callers, how = row
        ours = "dnnl" not in callers
        last = err.strip().split("\n")[-1][:200]
        if name == "python" and code == 1 and re.search("PyCapsule_Import|import numpy|numpy.core", err):
            return "refused", last  # NumPy's own start, before this library's
        if code == "hang":
            return "hangs", last
        if code not in (0, 1):
            return ONEDNN if code < 0 and not ours else "crash, exit code %d" % code, last
        parts = parts_in(folder)
        if parts and not (code == 1 and name in CONTINUED):
            return "leaves " + re.sub(r"-\d+", "", parts[0]), last
        found = self.digests(name, folder)
        if code == 0:
            if found != self.right[name]:
                return "other files, exit code 0", last
            said = re.sub(r"[\d.]+ (s|images/s|ms)\b", "", out)
            return ("right", "") if said == self.said[name] or not self.said[name] else ("says something else", out[:200])
        if "moco: " not in err or last.endswith("moco: "):
            return "exit code 1 without a reason", last
        if how.rstrip("+") in UNNOTICED:
            return "an interruption is noticed", last
        return self.after(name, found, folder, last)

    def put_back(self, run, folder):
        """As a user would: what was rescued comes in place of the run, and the log of a run that never saved goes."""
        rescued = glob.glob(os.path.join(folder, run + ".rescue-*")) + glob.glob(folder + "/../" + run + ".rescue-*")
        run = os.path.join(folder, run)
        rescued = [found for found in rescued if os.path.exists(os.path.join(found, "checkpoint.safetensors"))]
        if rescued:
            shutil.rmtree(run, ignore_errors=True)
            shutil.move(rescued[0], run)
        elif os.path.isdir(run) and not os.path.exists(os.path.join(run, "checkpoint.safetensors")):
            shutil.rmtree(run)

    def after(self, name, found, folder, last):
        """What a run that refused has left, and whether it goes on."""
        if name == "embed" and 0 < len(found) < len(self.right[name]):
            return "leaves some of its files", last
        again = SCENARIOS[name][2]
        if again is None:
            if any(found[path] != self.right[name][path] for path in found):
                return "leaves a file with other contents", last
            return "refused", last
        if name in ("train", "resume"):
            self.put_back(again.split()[3], folder)
        if name == "train" and os.path.exists(os.path.join(folder, "run", "checkpoint.safetensors")):
            again += " --resume"
        done = subprocess.run([self.options.moco] + again.split(), cwd=folder, capture_output=True)
        if done.returncode != 0:
            return "does not go on", last + " / " + done.stderr.decode(errors="replace")[-200:]
        if self.digests(name, folder) != self.right[name]:
            return "goes on to other files", last
        if parts_in(folder):
            return "goes on and leaves " + parts_in(folder)[0], last
        return "refused", last


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("moco")
    parser.add_argument("draw")
    parser.add_argument("library")
    parser.add_argument("work")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--scenario", action="append", default=[])
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    for name in ("moco", "draw", "library", "work"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    sweep = Sweep(options)
    todo = list(sweep.sample() if options.sample else sweep.every())
    tried = collections.defaultdict(collections.Counter)
    bad = collections.OrderedDict()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for (row, number), (verdict, detail) in zip(todo, pool.map(lambda item: sweep.judge(*item), todo)):
            tried[row][verdict or "not reached"] += 1
            if verdict not in (None, "right", "refused", ONEDNN):
                bad.setdefault((row, verdict), []).append((number, detail))
            if options.show:
                print(*row, number, verdict, detail, flush=True)
    print("| scenario | request | memory of | failure | requests | tried | right | refused | ended in oneDNN | bad |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    total = collections.Counter()
    for row, count in tried.items():
        reached = sum(count.values()) - count["not reached"]
        wrong = reached - count["right"] - count["refused"] - count[ONEDNN]
        total.update(tried=reached, right=count["right"], refused=count["refused"], onednn=count[ONEDNN], bad=wrong)
        print("| %s | %s | %s | %s | %d | %d | %d | %d | %d | %d |" % (
            *row, sweep.requests(*row[:3]), reached, count["right"], count["refused"], count[ONEDNN], wrong))  # fmt: skip
    for (row, verdict), examples in bad.items():
        number, detail = examples[0]
        print("BAD %s %s %s %s: %s, %d times, first at request %d: %s" % (*row, verdict, len(examples), number, detail))
    print("%d requests failed: %d right results, %d refused with a reason, %d ended inside oneDNN, %d bad" % (
        total["tried"], total["right"], total["refused"], total["onednn"], total["bad"]))  # fmt: skip
    sys.exit(1 if total["bad"] else 0)


if __name__ == "__main__":
    main()

"""The moco program as a user meets it: exit codes, messages, files and JSON lines of every command.

usage: test_program.py MOCO DRAW_FOLDER [unittest arguments]
Needs nothing but Python's standard library. Networks and images are as small as they can be.
"""
import io
import json
import os
import platform
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

MOCO = DRAW = None
TINY = ["--recipe", "moco-cifar", "--arch", "resnet18", "--width", "0.125", "--size", "16", "--batch", "8",
        "--bn-groups", "2", "--queue", "32", "--epochs", "2", "--threads", "1"]


def moco(*arguments, timeout=250, **options):
    return subprocess.run([MOCO, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout, **options)


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def events(result, name):
    return [line for line in lines(result.stdout) if line["event"] == name]


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Case(unittest.TestCase):
    """One folder of images for all: 4 classes of 8 good images, one broken; and a run of two epochs on it."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.home = cls.temporary.name
        cls.data = cls.path("images")
        subprocess.run([DRAW, cls.data, "32", "4", "24", "broken"], check=True)
        cls.folder = cls.path("run")
        cls.trained = moco("train", cls.data, "-o", cls.folder, *TINY, "--eval", cls.data, "--json")
        cls.model = os.path.join(cls.folder, "model.safetensors")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def path(cls, *parts):
        return os.path.join(cls.home, *parts)

    def run_moco(self, *arguments, code=0, says=(), **options):
        result = moco(*arguments, **options)
        self.assertEqual(result.returncode, code, f"{arguments}\n{result.stdout}\n{result.stderr}")
        for text in says:
            self.assertIn(text, result.stderr)
        return result


class Usage(Case):
    def test_help(self):
        self.assertIn("train", self.run_moco("--help").stdout)
        self.assertIn("moco 0.", self.run_moco("--version").stdout)
        for command in "train embed knn probe finetune near views convert info demo bench".split():
            self.assertIn("usage: moco " + command, self.run_moco(command, "--help").stdout)
            self.assertIn("usage: moco " + command, self.run_moco("help", command).stdout)
            page = self.run_moco("help", "--man", command).stdout
            self.assertTrue(page.startswith(f".TH MOCO\\-{command.upper()} 1 "), page[:60])
        self.assertIn("moco\\-train", self.run_moco("help", "--man").stdout)
        self.run_moco("help", "--man", "trian", code=2, says=["'trian'", "'train'"])

    def test_commands(self):
        self.run_moco(code=2, says=["usage:"])
        self.run_moco("trian", code=2, says=["'trian'", "'train'"])
        self.run_moco("hlep", code=2, says=["did you mean 'help'?"])
        self.run_moco("quite-another", code=2, says=["'quite-another'"])

    def test_options(self):
        run = self.path("never")
        train = ["train", self.data, "-o", run]
        for arguments, says in [
                (["--epoch", "3"], ["--epoch", "did you mean --epochs?"]),
                (["--zzzzzz"], ["unknown option --zzzzzz"]),
                (["-x"], ["unknown option -x"]),
                (["--epochs"], ["missing value for --epochs"]),
                (["--epochs", "--batch", "8"], ["missing value for --epochs"]),
                (["--steps", "many"], ["--steps", "'many'", "whole number"]),
                (["--steps", "-3"], ["--steps", "'-3'"]),
                (["--resume=yes"], ["--resume takes no value"]),
                (["--memory-cap", "lots"], ["--memory-cap", "'lots'"]),
                (["--device", "abacus"], ["--device", "'abacus'", "cpu|gpu"]),
                (["--set", "queue_length"], ["--set", "name=value"]),
                (["--set", "no_such_field=1"], ["no_such_field"]),
                (["--set", "bath_size=8"], ["no option 'bath_size'", "did you mean 'batch_size'?"]),
                (["--epochs", "0"], ["--epochs", "epochs", "0"]),
                (["--arch", "resnet19"], ["--arch", "resnet19"]),
                (["--recipe", "moco-v9"], ["--recipe", "moco-v9"]),
                (["--recipe", "simlcr"], ["--recipe", "did you mean 'simclr'?"]),
                (["--max-broken", "101%"], ["--max-broken", "101%"]),
                (["--eval-every", "2"], ["--eval-every needs --eval"]),
                (["--batch", "9"], ["batch_size is 9"]),
                (["extra"], ["one argument too many: extra"])]:
            with self.subTest(arguments):
                self.run_moco(*train, *arguments, code=2, says=says)
        self.assertFalse(os.path.exists(run))

    def test_missing_arguments(self):
        self.run_moco("train", self.data, code=2, says=["-o RUN is missing"])
        self.run_moco("train", "-o", self.path("never"), code=2, says=["DATA is missing"])
        self.run_moco("embed", self.model, code=2, says=["MODEL DATA"])
        self.run_moco("embed", self.model, self.data, code=2, says=["-o X.npy is missing"])
        self.run_moco("knn", self.model, self.data, code=2, says=["MODEL TRAIN TEST"])
        self.run_moco("probe", self.model, self.data, code=2, says=["MODEL TRAIN TEST"])
        self.run_moco("near", self.model, code=2, says=["QUERY.jpg"])
        self.run_moco("info", code=2, says=["--system"])
        self.run_moco("info", self.data, "--system", code=2)

    def test_print(self):
        values = json.loads(self.run_moco("train", "--print", "--json", *TINY, "--seed", "7", "--memory-cap", "1.5G",
                                          "--set", "temperature=0.25", "--max-broken", "10%", "--loader-threads",
                                          "3").stdout)
        for name, value in {"arch": "resnet18", "width": 0.125, "image_size": 16, "batch_size": 8,
                            "bn_groups": 2, "queue_length": 32, "epochs": 2, "temperature": 0.25,
                            "max_broken_percent": 10, "memory_cap": 3 << 29, "recipe": "moco-cifar",
                            "loader_threads": 3}.items():
            self.assertEqual(values[name], value, name)
        self.assertEqual(int(values["seed"]), 7)
        values = json.loads(self.run_moco("train", "--print", "--json").stdout)
        self.assertEqual((values["recipe"], values["arch"], values["queue_length"]), ("moco-v2", "resnet50", 65536))
        self.assertRegex(self.run_moco("train", "--print", "--max-broken", "3").stdout, r"(?m)^max_broken +3$")


class Train(Case):
    def test_events(self):
        self.assertEqual(self.trained.returncode, 0, self.trained.stderr)
        everything = lines(self.trained.stdout)
        plan, done = everything[0], everything[-1]
        self.assertEqual(plan["event"], "plan")
        self.assertEqual((plan["images"], plan["classes"], plan["steps_per_epoch"]), (33, 4, 4))
        self.assertGreater(plan["memory"]["bytes"]["total"], 0)
        self.assertAlmostEqual(plan["effective_lr"], 0.03 * 8 / 256)
        self.assertEqual((done["event"], done["step"], done["steps"], done["epochs"], done["broken"]),
                         ("done", 8, 8, 2, 1))
        steps = events(self.trained, "step")
        self.assertEqual(steps[-1]["step"], 8)
        self.assertAlmostEqual(steps[-1]["chance_loss"], 3.4965, 3)
        for step in steps:
            self.assertTrue(0 <= step["contrast_top1"] <= 100 and 0 <= step["queue_fill"] <= 1)
        measured = events(self.trained, "knn")
        self.assertEqual([line["epochs"] for line in measured], [0, 1, 2])
        for line in measured:
            self.assertTrue(0 <= line["top1"] <= 100)
        self.assertIn("epoch done 2/2", self.trained.stderr)
        self.assertIn("queue_length is 32", self.run_moco("train", self.data, "-o", self.path("q"), *TINY, "--limit",
                                                        "32", "--steps", "1").stderr)
        for name in "checkpoint.safetensors", "model.safetensors", "log.jsonl":
            self.assertTrue(os.path.exists(os.path.join(self.folder, name)), name)

    def test_method_without_negatives(self):
        byol = ["--recipe", "byol", "--set", "arch=resnet18", "--set", "stem=cifar", "--set", "head_width=16", "--width",
                "0.125", "--size", "16", "--batch", "8", "--epochs", "1"]
        result = self.run_moco("train", self.data, "-o", self.path("byol"), *byol, "--json")
        step = events(result, "step")[-1]
        self.assertEqual([step[name] for name in ("chance_loss", "contrast_top1", "contrast_top5")], [None] * 3)
        self.assertTrue(0 < step["loss"] < 8)
        with open(self.path("byol", "log.jsonl")) as log:
            self.assertEqual([json.loads(line)["contrast_top1"] for line in log], [None] * 4)
        again = self.run_moco("train", self.data, "-o", self.path("byol-text"), *byol)
        self.assertIn("contrast not measured", again.stderr)
        self.assertNotIn("chance", again.stderr)
        self.run_moco("train", self.data, "-o", self.path("none"), *byol, "--set", "predictor=0", code=2,
                      says=["predictor is 0, wanted 1"])

    def test_existing_run(self):
        before = read(self.model)
        self.run_moco("train", self.data, "-o", self.folder, *TINY, code=1, says=["holds a run already", "--resume"])
        self.assertEqual(before, read(self.model))
        self.run_moco("train", self.data, "-o", self.path("nowhere"), "--resume", code=1, says=["nothing to resume"])
        # Killed before its first step: nothing is lost by starting again. Killed before its first save: the log is.
        os.makedirs(self.path("killed"))
        log = self.path("killed", "log.jsonl")
        open(log, "w").close()
        self.run_moco("train", self.data, "-o", self.path("killed"), *TINY)
        os.makedirs(self.path("unsaved"))
        shutil.copy(log, self.path("unsaved", "log.jsonl"))
        self.run_moco("train", self.data, "-o", self.path("unsaved"), *TINY, code=1, says=["never saved", "remove it"])
        self.run_moco("train", self.data, "-o", self.path("no", "parent"), *TINY, code=1, says=["cannot be made"])

    def test_finished_run(self):
        result = self.run_moco("train", self.data, "-o", self.folder, "--resume", "--json")
        self.assertEqual(lines(result.stdout)[-1]["steps"], 0)
        result = self.run_moco("train", self.data, "-o", self.folder, "--resume")
        self.assertIn("finished before: step 8", result.stdout)

    def test_too_few_images(self):
        """Refused before a plan is shown or memory is taken, with what would fit; no folder is left."""
        run = self.path("too-few")
        for arguments, fits in (["--batch", "64"], "--batch 32 would fit"), (["--batch", "256", "--bn-groups", "64"],
                                                                            "--batch 32 --bn-groups 16 would fit"):
            result = self.run_moco("train", self.data, "-o", run, "--recipe", "moco-v2", *arguments, code=1,
                                   says=["has 33 images", fits])
            self.assertEqual(result.stdout, "")
            self.assertFalse(os.path.exists(run))
        self.run_moco("train", self.data, "-o", run, *TINY, "--lr", "0.5", "--set", "shuffle=true", "--set",
                      "memory_cap=1.5G", "--steps", "1", "--batch", "32")

    def test_names_that_are_no_text(self):
        """What a name in an archive does to a terminal: nothing."""
        archive, hostile = self.path("hostile.tar"), "a\x1b]0;owned\x07\x1b[31m\u202ered\x9b.jpg"
        with open(os.path.join(self.data, "class0", os.listdir(os.path.join(self.data, "class0"))[0]), "rb") as file:
            picture = file.read()
        with tarfile.open(archive, "w") as tar:
            for name, data in (hostile, picture), ("b\x1bad.jpg", picture[:200]), ("good.jpg", picture):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        query = self.path("query.jpg")
        with open(query, "wb") as file:
            file.write(picture)
        for arguments in (["near", self.model, archive, query], ["views", archive, "-o", self.path("sheet.jpg")],
                          ["info", archive], ["embed", self.model, archive, "-o", self.path("hostile.npy")]):
            result = self.run_moco(*arguments)
            for text in result.stdout, result.stderr:
                self.assertFalse(set(text) & set("\x1b\x07\x9b\u202e"), (arguments, text))
        result = self.run_moco("near", self.model, archive, query)
        self.assertIn("a\\x1b]0;owned\\x07", result.stdout)
        folder = os.fsencode(self.path("bytes"))  # names that differ stay different in JSON
        os.mkdir(folder)
        for name in b"\xff.jpg", b"\xfe.jpg", b"\xfe\\.jpg":
            shutil.copy(query, os.path.join(folder, name))
        result = self.run_moco("near", self.model, os.fsdecode(folder), query, "--json")
        self.assertEqual(sorted(json.loads(line)["name"] for line in result.stdout.splitlines()),
                         ["\\xfe.jpg", "\\xfe\\x5c.jpg", "\\xff.jpg"])

    def test_queries(self):
        """The query of near is bounded, not waited for, and called by its name."""
        fifo, text = self.path("fifo"), self.path("x.png")
        os.mkfifo(fifo)
        with open(text, "w") as file:
            file.write("no image")
        for query, says in ("/dev/zero", "regular file"), (fifo, "empty"), (text, "x.png"):
            result = self.run_moco("near", self.model, self.data, query, code=1, says=[query, says])
            self.assertNotIn("data[", result.stderr)

    def test_endless_paths(self):
        """Every path of every command: a device without an end and a FIFO that nobody writes are refused at once."""
        fifo, out = self.path("nobody"), self.path("out")
        os.mkfifo(fifo)
        for path in "/dev/zero", fifo:
            for arguments in (["train", path, "-o", out, *TINY], ["train", self.data, "--eval", path, "-o", out, *TINY],
                              ["train", self.data, "-o", path, *TINY],
                              ["embed", path, self.data, "-o", out], ["embed", self.model, path, "-o", out],
                              ["embed", self.model, self.data, "-o", path], ["knn", path, self.data, self.data],
                              ["knn", self.model, path, self.data], ["knn", self.model, self.data, path],
                              ["probe", path, self.data, self.data], ["probe", self.model, self.data, path],
                              ["finetune", path, self.data, self.data, "-o", out], ["near", path, self.data, path],
                              ["near", self.model, path, path], ["views", path, "-o", out], ["info", path],
                              ["convert", path, out], ["convert", self.model, path]):
                result = moco(*arguments, timeout=60)
                self.assertIn(result.returncode, (1, 2), (arguments, result.stderr))
                self.assertIn(path, result.stderr, arguments)

    def test_resume_of_a_vit(self):
        """v3 on a ViT is a recipe of its own, and its own command line goes on with it."""
        run = self.path("vit")
        tiny = ["--recipe", "moco-v3", "--arch", "vit_small", "--width", "0.125", "--size", "16", "--batch", "8",
                "--threads", "1", "--set", "patch_size=8", "--set", "vit_depth=1", "--set", "head_width=16",
                "--set", "dimension=8", "--set", "warmup_epochs=0"]
        self.run_moco("train", self.data, "-o", run, *tiny, "--epochs", "2", "--steps", "2")
        result = self.run_moco("train", self.data, "-o", run, *tiny, "--epochs", "2", "--resume", "--json")
        self.assertEqual(events(result, "plan")[0]["options"]["recipe"], "moco-v3-vit")
        self.assertEqual(events(result, "done")[0]["step"], 8)
        self.assertNotIn("queue", result.stderr)

    def test_writable_before_work(self):
        folder = self.path("a folder")
        os.makedirs(folder)
        self.run_moco("probe", self.model, self.data, self.data, "-o", folder, code=1, says=["is no file"])

    def test_stop_and_resume(self):
        half, whole = self.path("half"), self.path("whole")
        self.run_moco("train", self.data, "-o", whole, *TINY)
        result = self.run_moco("train", self.data, "-o", half, *TINY, "--steps", "3", "--json")
        self.assertEqual(lines(result.stdout)[-1]["step"], 3)
        self.run_moco("train", self.data, "-o", half, "--resume", "--epochs", "5", code=1, says=["epochs", "2", "5"])
        self.run_moco("train", self.data, "-o", half, "--resume", "--recipe", "moco-v2", code=1,
                      says=["moco-cifar", "moco-v2"])
        self.run_moco("train", self.data, "-o", half, "--resume", "--limit", "16", code=1, says=["33", "16"])
        self.run_moco("train", self.data, "-o", half, "--resume", "--loader-threads", "2", "--memory-cap", "4G",
                      "--save-every", "1")
        for name in "model.safetensors", "checkpoint.safetensors":
            same = read(os.path.join(whole, name)) == read(os.path.join(half, name))
            # The cap and the loader threads are stored in the checkpoint, and only there.
            self.assertEqual(same, name == "model.safetensors", name)

    def test_refusals(self):
        run = self.path("refused")
        self.run_moco("train", self.path("absent"), "-o", run, *TINY, code=1, says=["absent"])
        self.run_moco("train", self.data, "-o", run, "--device", "gpu", "--device-number", "1023", code=1,
                      says=["moco: ", "GPU"])
        self.run_moco("train", self.data, "-o", run, "--recipe", "moco-v3", "--memory-cap", "1M", "--batch", "32", code=1,
                      says=["1048576", "more batch-norm groups"])
        self.run_moco("train", self.data, "-o", run, *TINY, "--memory-cap", "1K", code=1, says=["1024"])
        self.run_moco("train", self.data, "-o", run, *TINY, "--limit", "4", code=1, says=["4 images"])
        self.run_moco("train", self.data, "-o", self.path("strict"), *TINY, "--max-broken", "0", code=1,
                      says=["broken"])

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full_output(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([MOCO, "info", "--system"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("standard output", result.stderr)

    def interrupt(self, number, run):
        """A run long enough never to end by itself, stopped after its first line of progress."""
        process = subprocess.Popen([MOCO, "train", self.data, "-o", run, *TINY, "--epochs", "100000", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first = ""
        while '"step"' not in first:
            first = process.stdout.readline()
            self.assertNotEqual(first, "", process.stderr.read() if first == "" else "")
        process.send_signal(number)
        rest, messages = process.communicate(timeout=250)
        self.assertEqual(process.returncode, 130, messages)
        self.assertIn("--resume", messages)
        return lines(rest)[-1]

    def test_interrupt(self):
        for number in signal.SIGINT, signal.SIGTERM:
            run = self.path("signal%d" % number)
            last = self.interrupt(number, run)
            self.assertEqual(last["event"], "interrupted")
            result = self.run_moco("train", self.data, "-o", run, "--resume", "--steps", last["step"] + 1, "--json")
            self.assertEqual(lines(result.stdout)[-1]["steps"], 1)


class Use(Case):
    def embed(self, name, *more):
        path = self.path(name)
        result = self.run_moco("embed", self.model, self.data, "-o", path, "--json", *more)
        return path, json.loads(result.stdout)

    def test_embed(self):
        path, summary = self.embed("x.npy")
        self.assertEqual((summary["rows"], summary["skipped"], summary["dimension"]), (32, 1, 64))
        names = read(self.path("x.names.txt")).decode().splitlines()
        self.assertEqual(len(names), 32)
        self.assertEqual(names, sorted(names))
        self.assertTrue(read(self.path("x.skipped.txt")).decode().startswith("class0/broken.jpg\t"))
        data = read(path)
        header = 10 + struct.unpack("<H", data[8:10])[0]
        self.assertIn("(32, 64)", data[:header].decode("latin1"))
        self.assertEqual(len(data) - header, 32 * 64 * 4)
        _, summary = self.embed("p.npy", "--tap", "projection", "--limit", "10")
        self.assertEqual((summary["rows"] + summary["skipped"], summary["dimension"]), (10, 128))
        self.assertIn("32 rows of 64 numbers", self.run_moco("embed", self.model, self.data, "-o",
                                                             self.path("y.npy")).stdout)

    @unittest.skipUnless(platform.machine() == "x86_64", "the names of x86's instruction sets")
    def test_precision(self):
        """A precision that the processor does not have is refused by its name."""
        older = dict(os.environ, ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2")
        for precision in "bf16", "f16":
            self.run_moco("embed", self.model, self.data, "-o", self.path("low.npy"), "--precision", precision, code=1,
                          says=[precision, "AVX2", "float32"], env=older)
        self.run_moco("embed", self.model, self.data, "-o", self.path("low.npy"), "--precision", "f8", code=2,
                      says=["f8", "float32|bf16|f16"])
        same = self.run_moco("embed", self.model, self.data, "-o", self.path("low.npy"), "--precision", "float32",
                             env=older)
        self.assertIn("32 rows", same.stdout)

    def test_outputs_over_other_files(self):
        """Photos, lists, models and files of other kinds are never replaced, whatever name leads to them."""
        inputs = self.path("outputs")
        os.mkdir(inputs)
        photo = next(os.path.join(folder, name) for folder, _, names in os.walk(self.data) for name in names)
        copies = {name: os.path.join(inputs, name) for name in ("photo.jpg", "linked.npy", "linked.safetensors")}
        shutil.copy(photo, copies["photo.jpg"])
        os.symlink("photo.jpg", copies["linked.npy"])
        os.link(copies["photo.jpg"], copies["linked.safetensors"])
        model = os.path.join(inputs, "model.safetensors")
        shutil.copy(self.model, model)
        os.link(model, os.path.join(inputs, "same.safetensors"))
        for code, *arguments in ((2, "embed", model, self.data, "-o", "x.csv"), (2, "embed", model, self.data, "-o", "-"),
                                 (2, "embed", model, self.data, "-o", os.path.join(inputs, "rows.NPY")),
                                 (2, "embed", model, self.data, "-o", model),
                                 (1, "embed", model, self.data, "-o", copies["linked.npy"]),
                                 (1, "views", self.data, "-o", copies["photo.jpg"]),
                                 (2, "convert", model, copies["photo.jpg"]),
                                 (1, "convert", model, copies["linked.safetensors"]), (1, "convert", model, model),
                                 (1, "convert", model, os.path.join(inputs, "same.safetensors")),
                                 (1, "probe", model, self.data, self.data, "-o", copies["linked.safetensors"]),
                                 (1, "finetune", model, self.data, self.data, "-o", model)):
            self.run_moco(*arguments, code=code)
            self.assertEqual(read(copies["photo.jpg"]), read(photo), arguments)
            self.assertEqual(read(model), read(self.model), arguments)
        self.assertEqual(len(os.listdir(inputs)), 5)
        sheet = os.path.join(inputs, "sheet.jpg")
        for _ in range(2):  # an earlier sheet is replaced
            self.run_moco("views", self.data, "-o", sheet, "--count", "1")

    def test_sheets_and_tables_are_whole_or_older(self):
        """What cannot be written to its end leaves the older file, and nothing beside it; names may be long."""
        folder = self.path("whole")
        os.mkdir(folder)
        sheet, long = os.path.join(folder, "s" * 240 + ".jpg"), os.path.join(folder, "link.jpg")
        self.run_moco("views", self.data, "-o", sheet, "--count", "1")
        os.symlink(os.path.basename(sheet), long)
        os.chmod(sheet, 0o640)
        older = read(sheet)

        def no_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        self.run_moco("views", self.data, "-o", long, "--count", "3", code=1, preexec_fn=no_room, restore_signals=False,
                      says=["link.jpg' cannot be written: File too large"])
        self.assertEqual(read(sheet), older)
        self.assertEqual(len(os.listdir(folder)), 2)
        self.run_moco("views", self.data, "-o", long, "--count", "3")
        self.assertNotEqual(read(sheet), older)
        self.assertTrue(os.path.islink(long))
        self.assertEqual(os.stat(sheet).st_mode & 0o777, 0o640)
        os.unlink(sheet)  # a link that leads to nothing yet, and one to that link
        os.symlink(long, os.path.join(folder, "again.jpg"))
        self.run_moco("views", self.data, "-o", os.path.join(folder, "again.jpg"), "--count", "1")
        self.assertEqual(read(sheet), older)
        self.assertEqual(sum(os.path.islink(os.path.join(folder, name)) for name in os.listdir(folder)), 2)
        os.unlink(sheet)
        os.symlink("link.jpg", sheet)  # a ring
        self.run_moco("views", self.data, "-o", long, "--count", "1", code=1, says=["Too many levels of symbolic links"])

    def test_embed_after_a_kill(self):
        """Part files are gone on with, to the same bytes, and disappear."""
        listing, folder = self.path("many.list"), self.path("killed")
        os.mkdir(folder)
        names = [os.path.join(folder, name) for folder, _, names in os.walk(self.data) for name in sorted(names)]
        with open(listing, "w") as file:
            file.write("".join(f"{names[i % len(names)]}\n" for i in range(16000)))
        whole, cut = os.path.join(folder, "whole.npy"), os.path.join(folder, "cut.npy")
        process = subprocess.Popen([MOCO, "embed", self.model, listing, "-o", cut], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        journal = os.path.join(folder, "cut.embed.json.moco-part")
        for _ in range(2000):
            if os.path.exists(journal) or process.poll() is not None:
                break
            time.sleep(0.02)
        process.kill()
        process.wait()
        if process.returncode == -signal.SIGKILL and not os.path.exists(cut):  # else it was at its end already
            self.assertGreater(json.loads(read(journal))["rows"], 0)
        self.run_moco("embed", self.model, listing, "-o", cut)
        self.run_moco("embed", self.model, listing, "-o", whole)
        for ending in "npy", "names.txt", "skipped.txt":
            self.assertEqual(read(cut[:-3] + ending), read(whole[:-3] + ending), ending)
        self.assertEqual(len(os.listdir(folder)), 8)

    def test_embed_on_a_full_disk(self):
        """The message is of the file, not of the call that the file ended, and nothing is left behind."""
        folder = self.path("full")
        os.mkdir(folder)

        def no_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        for name in "x.npy", "x":
            self.run_moco("embed", self.model, self.data, "-o", os.path.join(folder, name), code=1, preexec_fn=no_room,
                          restore_signals=False, says=[f"full/{name}", "File too large"])
            self.assertEqual(os.listdir(folder), [])

    def test_key_encoder(self):
        model = self.model
        self.run_moco("embed", model, self.data, "-o", self.path("k.npy"), "--encoder", "key", code=2)
        self.run_moco("convert", model, self.path("k.safetensors"), "--encoder", "key", code=1, says=["has no key encoder"])
        run = self.path("simclr")
        self.run_moco("train", self.data, "-o", run, "--recipe", "simclr", "--arch", "resnet18", "--width", "0.125", "--size",
                      "16", "--batch", "8", "--threads", "1", "--steps", "1", "--set", "warmup_epochs=0")
        self.run_moco("convert", os.path.join(run, "checkpoint.safetensors"), self.path("k.safetensors"), "--encoder", "key",
                      code=1, says=["has no key encoder"])
        self.assertFalse(os.path.exists(self.path("k.safetensors")))

    def test_knn(self):
        result = json.loads(self.run_moco("knn", self.model, self.data, self.data, "-k", "1", "--json").stdout)
        self.assertEqual((result["top1"], result["k"], result["bank"], result["queries"], result["chance"]),
                         (100, 1, 32, 32, 25))
        self.assertRegex(self.run_moco("knn", self.model, self.data, self.data, "--k=5").stdout, "chance 25.00 %")
        self.run_moco("knn", self.model, self.data, self.data, "--temperature", "0", code=2, says=["--temperature"])
        self.run_moco("knn", self.model, self.data, self.data, "--tap", "backbone")
        bare = self.path("bare.safetensors")
        self.run_moco("convert", self.model, bare, "--head", "drop")
        self.run_moco("knn", bare, self.data, self.data, "--tap", "projection", code=1, says=["no projection head"])
        few = self.run_moco("knn", self.model, self.data, self.data, "--limit", "8", "-k", "3", "--json").stdout
        self.assertEqual((json.loads(few)["bank"], json.loads(few)["queries"]), (7, 32))  # one of the eight is broken

    def test_probe(self):
        probe = ["probe", self.model, self.data, self.data]
        few = ["--epochs", "30", "--batch", "8"]
        out, table = self.path("probe.safetensors"), self.path("probe.tsv")
        result = self.run_moco(*probe, *few, "--json", "-o", out, "--confusion", table, "--eval-every", "10")
        epochs, done = events(result, "epoch"), lines(result.stdout)[-1]
        self.assertEqual([line["epoch"] for line in epochs], list(range(1, 31)))
        self.assertEqual([line["epoch"] for line in epochs if "top1" in line], [10, 20, 30])
        self.assertEqual((done["event"], done["classes"], done["features"], done["train_images"], done["test_images"],
                          done["chance"], done["file"]), ("done", 4, 64, 32, 32, 25, out))
        self.assertEqual(done["top1"], max(rate["top1"] for rate in done["rates"]))
        self.assertEqual(len(done["rates"]), 9)
        self.assertGreater(done["top1"], 50)
        self.assertEqual(done["top5"], 100)
        info = json.loads(self.run_moco("info", out, "--json").stdout)
        self.assertEqual((info["classes"], info["class_names"]), (4, ["class0", "class1", "class2", "class3"]))
        rows = [line.split("\t") for line in read(table).decode().splitlines()]
        self.assertEqual(rows[0], ["", "class0", "class1", "class2", "class3"])
        counts = [[int(cell) for cell in row[1:]] for row in rows[1:]]
        self.assertEqual([sum(row) for row in counts], [8, 8, 8, 8])
        self.assertAlmostEqual(100 * sum(counts[i][i] for i in range(4)) / 32, done["top1"], 3)
        self.assertEqual(json.loads(self.run_moco("info", "--json", out).stdout)["head"], "none")

        again = self.run_moco(*probe, *few, "--json", "--threads", "2", "--loader-threads", "3")
        self.assertEqual(lines(again.stdout)[-1]["rates"], done["rates"])
        for protocol, rate in ("v1", 30), ("v3", 0.1):
            result = self.run_moco(*probe, "--protocol", protocol, "--epochs", "2", "--batch", "8", "--json")
            self.assertEqual(lines(result.stdout)[-1]["base_lr"], rate)
        result = self.run_moco(*probe, *few, "--lr", "0.5,5", "--limit", "16", "--normalize", "--seed", "3")
        self.assertRegex(result.stdout, r"(?m)^lr 0.5 .*\nlr 5 .*\ntop-1 .* after \d+ steps: 32 test images, 1[56] training images")

    def test_probe_refusals(self):
        probe = ["probe", self.model, self.data, self.data]
        for bad in "0", "-1", "nan", "1,", ",1", "1;2", "1e7", ",".join(["1"] * 17):
            with self.subTest(bad):
                self.run_moco(*probe, "--lr", bad, code=2, says=["--lr"])
        self.run_moco(*probe, "--protocol", "v2", code=2, says=["--protocol", "v1|v3|cached"])
        self.run_moco(*probe, code=1, says=["33 images with a class", "256"])
        self.run_moco(*probe, "--batch", "8", "-o", self.path("no", "folder.safetensors"), code=1, says=["folder"])
        flat = self.path("flat")
        os.mkdir(flat)
        with open(os.path.join(flat, "a.jpg"), "wb") as file:
            file.write(b"never read")
        self.run_moco("probe", self.model, flat, self.data, code=1, says=["training set has 0 classes"])
        self.run_moco("probe", self.model, self.data, flat, "--batch", "8", code=1, says=["test set has 0 classes"])

    def test_finetune(self):
        out, table = self.path("tuned.safetensors"), self.path("tuned.tsv")
        tune = ["finetune", self.model, self.data, self.data, "-o", out, "--batch", "8"]
        few = ["--optimizer", "sgd", "--lr", "1", "--epochs", "6", "--warmup", "1", "--mixup", "0.2", "--drop-path", "0.1"]
        result = self.run_moco(*tune, *few, "--json", "--confusion", table, "--eval-every", "3")
        epochs, done = events(result, "epoch"), lines(result.stdout)[-1]
        self.assertEqual([line["epoch"] for line in epochs], list(range(1, 7)))
        self.assertEqual([line["epoch"] for line in epochs if "top1" in line], [3, 6])
        self.assertEqual((done["event"], done["classes"], done["features"], done["steps"], done["train_images"],
                          done["test_images"], done["chance"], done["base_lr"], done["effective_lr"], done["file"]),
                         ("done", 4, 64, 24, 32, 32, 25, 1, 1 / 32, out))
        rows = [line.split("\t") for line in read(table).decode().splitlines()]
        self.assertEqual(rows[0], ["", "class0", "class1", "class2", "class3"])
        right = sum(int(row[i]) for i, row in enumerate(rows) if i > 0)
        self.assertAlmostEqual(100 * right / 32, done["top1"], 3)
        self.assertEqual(json.loads(self.run_moco("info", "--json", out).stdout)["head"], "none")
        first = read(out)
        again = self.run_moco(*tune, *few, "--json", "--threads", "1", "--loader-threads", "3")
        self.assertEqual(lines(again.stdout)[-1]["test_loss"], done["test_loss"])
        self.assertEqual(read(out), first)
        result = self.run_moco(*tune, "--epochs", "1", "--limit", "16", "--bn-groups", "2", "--seed", "3")
        self.assertRegex(result.stdout, r"top-1 .* after [12] steps: 32 test images, (8|16) training images")

    def test_finetune_refusals(self):
        tune, out = ["finetune", self.model, self.data, self.data], self.path("none.safetensors")
        self.run_moco(*tune, code=2, says=["-o"])
        self.run_moco(*tune[:3], "-o", out, code=2, says=["MODEL TRAIN TEST"])
        self.run_moco(*tune, "-o", out, "--optimizer", "lars", code=2, says=["--optimizer", "adamw|sgd"])
        self.run_moco(*tune, "-o", out, "--mixup", "much", code=2, says=["--mixup"])
        self.run_moco(*tune, "-o", out, "--drop-path", "1", code=1, says=["drop_path is 1"])
        self.run_moco(*tune, "-o", out, code=1, says=["33 images with a class", "128"])
        self.run_moco(*tune, "-o", self.path("no", "folder.safetensors"), code=1, says=["folder"])
        self.assertFalse(os.path.exists(out))

    def test_near(self):
        path, _ = self.embed("near.npy")
        name = read(self.path("near.names.txt")).decode().splitlines()[5]
        query = os.path.join(self.data, name)
        by_npy = lines(self.run_moco("near", self.model, path, query, "--json").stdout)
        by_folder = lines(self.run_moco("near", self.model, self.data, query, "--json").stdout)
        self.assertEqual(len(by_npy), 5)
        self.assertEqual([hit["rank"] for hit in by_npy], [1, 2, 3, 4, 5])
        self.assertEqual(by_npy[0]["name"], name)
        self.assertGreater(by_npy[0]["similarity"], 0.999)
        self.assertEqual([hit["name"] for hit in by_npy], [hit["name"] for hit in by_folder])
        self.assertEqual(len(self.run_moco("near", self.model, self.data, query, "-k", "99").stdout.splitlines()), 32)
        self.run_moco("near", self.model, path, query, "--tap", "projection", code=1, says=["64", "128", "--tap"])
        self.run_moco("near", self.model, path, os.path.join(self.data, "class0", "broken.jpg"), code=1,
                      says=["broken.jpg"])
        self.run_moco("near", self.model, path, self.path("absent.jpg"), code=1, says=["absent.jpg"])
        os.rename(self.path("near.names.txt"), self.path("gone.txt"))
        self.run_moco("near", self.model, path, query, code=1, says=["near.names.txt"])
        os.rename(self.path("gone.txt"), self.path("near.txt"))  # as versions before wrote them
        self.assertIn(name, self.run_moco("near", self.model, path, query).stdout)

    def views(self, name, *more, **expected):
        path = self.path(name)
        result = self.run_moco("views", self.data, "-o", path, "--json", *more, **expected)
        return path, lines(result.stdout)

    def test_views(self):
        arguments = ["--recipe", "moco-v3", "--size", "24", "--count", "4", "--pairs", "2", "--seed", "7", "--epoch",
                     "3"]
        path, said = self.views("views.jpg", *arguments)
        done = said[-1]
        self.assertEqual({name: done[name] for name in "event recipe seed epoch pairs images skipped size zoom".split()},
                         {"event": "done", "recipe": "moco-v3", "seed": "7", "epoch": 3, "pairs": 2, "images": 4,
                          "skipped": 1, "size": 24, "zoom": 4})
        self.assertEqual([line["event"] for line in said], ["image", "skipped"] + ["image"] * 3 + ["done"])
        self.assertEqual((said[1]["index"], said[1]["name"]), (8, "class0/broken.jpg"))  # number 9 stands in
        shown = [line for line in said if line["event"] == "image"]
        self.assertEqual([line["index"] for line in shown], [0, 9, 16, 24])
        for row, line in enumerate(shown):
            self.assertEqual(len(line["at"]), 5)
            self.assertTrue(all(0 < x <= done["width"] - 96 and 0 < y <= done["height"] - 96 for x, y in line["at"]))
            self.assertEqual(len({y for _, y in line["at"]}), 1)
        self.assertEqual(self.jpeg_size(path), (done["width"], done["height"]))

        self.assertEqual(read(self.views("again.jpg", *arguments)[0]), read(path))
        for other in ["--seed", "8"], ["--epoch", "4"], ["--set", "crop_min_area=0.5"], ["--recipe", "simclr"]:
            self.assertNotEqual(read(self.views("other.jpg", *arguments, *other)[0]), read(path), other)

        vit = ["--size", "32", "--count", "1", "--set", "arch=vit_small"]  # v3 crops smaller for ViTs than for ResNets
        _, said = self.views("vit.jpg", "--recipe", "moco-v3", *vit)
        self.assertEqual(said[-1]["recipe"], "moco-v3-vit")

        _, said = self.views("all.jpg", "--recipe", "moco-cifar", "--count", "1000")
        self.assertEqual((said[-1]["images"], said[-1]["skipped"], said[-1]["zoom"]), (32, 1, 3))
        result = self.run_moco("views", self.data, "-o", self.path("text.jpg"), "--recipe", "moco-cifar", "--count", "4",
                               says=["skipped 'class0/broken.jpg'"])
        self.assertIn("4 images with 1 pair of views each: moco-cifar at 32 pixels, seed 0", result.stdout)

    def jpeg_size(self, path):
        data, at = read(path), 2
        while not 0xC0 <= data[at + 1] <= 0xC2:
            at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
        height, width = struct.unpack(">2H", data[at + 5:at + 9])
        return width, height

    def test_views_refused(self):
        path = self.path("refused.jpg")
        views = ["views", self.data, "-o", path]
        for arguments, says in [
                (["--recipe", "moco-v9"], ["--recipe", "moco-v9", "simclr"]),
                (["--set", "crop_min_area=2"], ["--set", "crop_min_area"]),
                (["--recipe", "moco-cifar", "--set", "blur_probability=0.5"], ["blur_probability is 0.5"]),
                (["--set", "solarize_probability=1"], ["solarize_probability is 1", "v3"]),
                (["--count", "0"], ["--count", "'0'"]),
                (["--epoch", "4294967295", "--pairs", "2"], ["--epoch", "--pairs"]),
                (["--size", "1024", "--pairs", "40"], ["65500"])]:
            with self.subTest(arguments):
                self.run_moco(*views, *arguments, code=2, says=says)
        self.run_moco("views", self.data, code=2, says=["-o SHEET.jpg is missing"])
        self.run_moco("views", self.path("absent"), "-o", path, code=1, says=["absent"])
        self.run_moco("views", self.data, "-o", self.path("no", "such.jpg"), code=1, says=["such.jpg"])
        broken = self.path("list.txt")
        with open(broken, "w") as file:
            file.write("images/class0/broken.jpg\n")
        self.run_moco("views", broken, "-o", path, code=1, says=["none of 1 images"])
        self.assertFalse(os.path.exists(path))

    def test_data_sets_as_people_have_them(self):
        mixed = self.path("mixed")
        shutil.copytree(os.path.join(self.data, "class0"), os.path.join(mixed, "photos", "cat"))
        os.mkdir(os.path.join(mixed, "photos", "dog"))
        for i in range(20):
            with open(os.path.join(mixed, "photos", "dog", f"{i}.png"), "wb") as picture:
                picture.write(b"\x89PNG\r\n\x1a\n")
        told = self.run_moco("info", mixed, says=["warning", "20 pictures are left out (.png 20), more than are read"])
        self.assertRegex(told.stdout, r"(?m)^ +\.png +20$")
        self.assertNotIn("broken", told.stdout)  # nobody has looked
        self.run_moco("knn", self.model, mixed, self.data, code=1, says=["the bank has 1 classes ('cat')"])
        self.run_moco("knn", self.model, self.data, mixed, code=1, says=["1 classes that are none of the 4", "'cat'"])
        self.run_moco("embed", self.model, mixed, "-o", self.path("m.npy"), says=["image 'photos/cat/broken.jpg' is left out"])
        name = os.path.join(mixed, "photos", "dog", "a\x1b]0;owned\x07.jpg")
        with open(name, "wb") as picture:
            picture.write(b"version https://git-lfs.github.com/spec/v1\n")
        result = self.run_moco("embed", self.model, mixed, "-o", self.path("m.npy"), says=["a\\x1b]0;owned\\x07.jpg", "git-lfs"])
        self.assertNotIn("\x1b", result.stderr)

    def test_info(self):
        def info(*arguments):
            return json.loads(self.run_moco("info", "--json", *arguments).stdout)

        for path in self.model, os.path.join(self.folder, "checkpoint.safetensors"), self.folder:
            described = info(path)
            self.assertEqual((described["arch"], described["width"], described["size"]), ("resnet18", 0.125, 16))
        self.assertEqual(info(self.data)["count"], 33)
        self.assertEqual(info(self.embed("i.npy")[0])["rows"], 32)
        self.assertEqual(info("--system", "--threads", "1")["device"]["lanes"], 1)
        self.assertEqual(set(info("--system")["memory"]), {"left_bytes", "limited_by"})
        self.assertRegex(self.run_moco("info", self.model).stdout, r"(?m)^arch +resnet18$")
        tight = self.run_moco("info", "--json", self.model, env=dict(os.environ, MOCO_MEMORY_LIMIT="1K"))
        self.assertGreater(json.loads(tight.stdout)["parameters"], 1000)  # nothing is loaded only to be described
        broken = self.path("broken.safetensors")
        with open(broken, "wb") as file:
            file.write(b"\xff" * 64)
        self.run_moco("info", broken, code=1, says=["moco: "])
        self.run_moco("info", self.path("absent"), code=1, says=["absent"])
        os.mkdir(self.path("begun"))
        with open(self.path("begun", "log.jsonl"), "w"):
            pass
        self.run_moco("info", self.path("begun"), code=1, says=["without a checkpoint"])

    def test_convert(self):
        checkpoint, out = os.path.join(self.folder, "checkpoint.safetensors"), self.path("out.safetensors")
        report = json.loads(self.run_moco("convert", checkpoint, out, "--json", "--encoder", "key").stdout)
        self.assertEqual((report["layout"], report["encoder"], report["model"]["arch"]),
                         ("libmoco", "encoder_k.", "resnet18"))
        self.run_moco("convert", checkpoint, out, "--to", "detectron2", "--head", "keep")
        described = json.loads(self.run_moco("info", out, "--json").stdout)
        self.assertEqual((described["names"], described["arch"], described["width"], described["size"],
                          described["projection_dimension"]), ("detectron2", "resnet18", 0.125, 32, 128))
        self.assertRegex(self.run_moco("convert", out, self.path("in.safetensors"), "--size", "16", "--resize", "20",
                                       "--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.25").stdout, r"(?m)^taken +\d+$")
        described = json.loads(self.run_moco("info", self.path("in.safetensors"), "--json").stdout)
        self.assertEqual((described["eval_resize"], described["eval_crop"]), (20, 16))
        self.assertAlmostEqual(described["std"][2], 0.25)
        embedded = self.run_moco("embed", out, self.data, "-o", self.path("foreign.npy"), "--tap", "projection", "--json")
        self.assertEqual(json.loads(embedded.stdout)["dimension"], 128)
        for command in ["embed", out, self.data, "-o", self.path("p.npy")], ["info", out], ["convert", out, self.path("p")]:
            result = self.run_moco(*command, "--prefix", "student", "--vit-heads", "2", code=0 if command[0] == "info" else 1)
            self.assertIn("'student'", result.stdout + result.stderr)
        for command in ["knn", out, self.data, self.data], ["probe", out, self.data, self.data], \
                ["finetune", out, self.data, self.data, "-o", self.path("p")], ["near", out, self.data, self.data]:
            self.run_moco(*command, "--prefix", "student", "--vit-heads", "2", code=1, says=["'student'"])
        for arguments, says in ((["a"], []), (["a", "b", "--to", "x"], ["--to"]), (["a", "b", "--mean", "1,2,3"], ["--std"]),
                                (["a", "b", "--mean", "1,2", "--std", "1,1,1"], ["'1,2'"]),
                                (["a", "b", "--set", "seed=1"], ["--recipe"]),
                                (["a", "b", "--recipe", "x"], ["'x'"]),
                                (["a", "b", "--recipe", "moco-v2", "--set", "seed=x"], ["seed"])):
            self.run_moco("convert", *arguments, code=2, says=says)
        self.run_moco("convert", self.path("absent"), out, code=1, says=["absent"])
        self.run_moco("convert", checkpoint, out, "--to", "training", code=1, says=["this library"])
        self.run_moco("convert", checkpoint, out, "--recipe", "moco-v2", code=1, says=["training"])

    def test_new_run_from_a_model(self):
        again, out = self.path("again"), self.path("again", "checkpoint.safetensors")
        os.mkdir(again)
        for recipe, missing in (["--recipe", "byol"], 3), ([], 2):
            report = json.loads(self.run_moco("convert", self.model, out, "--to", "training", *recipe, "--json").stdout)
            self.assertEqual(len(report["missing"]), missing)
        self.run_moco("embed", self.model, self.data, "-o", self.path("before.npy"))
        self.run_moco("embed", out, self.data, "-o", self.path("after.npy"))
        self.assertEqual(read(self.path("before.npy")), read(self.path("after.npy")))
        report = json.loads(self.run_moco("convert", self.model, out, "--to", "training", "--recipe", "moco-v2", "--json",
                                          "--set", "batch_size=4", "--set", "bn_groups=2", "--set", "queue_length=8",
                                          "--set", "image_size=16", "--set", "epochs=1").stdout)
        self.assertIn("weights of a model", report["notes"][0])
        done = events(self.run_moco("train", self.data, "-o", again, "--resume", "--json"), "done")[0]
        self.assertEqual(done["step"], done["steps"])
        self.run_moco("convert", out, self.path("x"), "--to", "training", code=1, says=["already"])

    def test_bench(self):
        tiny = TINY[:-4] + ["--threads", "1"]  # it knows no epochs
        result = self.run_moco("bench", *tiny, "--steps", "3", "--json")
        plan, ready, *steps, done = lines(result.stdout)
        self.assertEqual([plan["event"], ready["event"], *(s["event"] for s in steps), done["event"]],
                         ["plan", "ready"] + ["step"] * 4 + ["done"])
        self.assertGreater(ready["checks"]["primitives"], 10)
        self.assertLess(0, ready["checks"]["seconds"])
        self.assertLess(ready["checks"]["seconds"], ready["seconds"])
        self.assertAlmostEqual(ready["share_of_checks"], 100 * ready["checks"]["seconds"] / ready["seconds"], delta=1)
        self.assertEqual([s["step"] for s in steps], [0, 1, 2, 3])
        self.assertEqual((done["lanes"], done["steps"], plan["options"]["batch_size"]), (1, 3, 8))
        self.assertEqual(done["train_images_per_second"], sorted(s["images_per_second"] for s in steps[1:])[1])
        for step in steps:  # the share is the rate times the work over the peak
            self.assertAlmostEqual(step["share_of_peak"], 100 * step["images_per_second"] * plan["memory"]["multiply_adds"] /
                                   step["peak_multiply_adds"], delta=0.02 + 1e-3 * step["share_of_peak"])
        self.assertGreater(done["embed_images_per_second"], 0)
        self.assertLess(0, done["embed_share_of_peak"])
        self.assertRegex(self.run_moco("bench", *tiny, "--seconds", "0").stdout, r"(?m)^training .* median of 1 step$")
        two = lines(self.run_moco("bench", *tiny, "--steps", "2", "--json", "--recipe", "simclr", "--arch", "vit_small",
                                  "--set", "patch_size=8", "--set", "vit_depth=1", "--set", "head_layers=2").stdout)
        self.assertEqual((two[-1]["steps"], two[0]["options"]["recipe"]), (2, "simclr"))
        for arguments, says in ((["a"], ["one argument too many"]), (["--seconds", "-1"], ["--seconds"]),
                                (["--steps", "0"], ["--steps"]), (["--batch", "9"], ["batch_size is 9"])):
            self.run_moco("bench", *tiny, *arguments, code=2, says=says)
        self.run_moco("bench", *tiny, "--memory-cap", "1K", code=1, says=["the memory cap is 1 KiB (1024 bytes)"])

    def test_demo(self):
        folder = self.path("demo")
        result = self.run_moco("demo", "-o", folder, "--seconds", "1", "--json", "--threads", "1")
        self.assertEqual([line["event"] for line in lines(result.stdout)],
                         ["images", "knn", "trained", "knn", "done"])
        self.assertEqual(lines(result.stdout)[-1]["chance"], 12.5)
        self.assertEqual(read(os.path.join(folder, "neighbours.jpg"))[:3], b"\xff\xd8\xff")
        self.run_moco("info", os.path.join(folder, "model.safetensors"))


if __name__ == "__main__":
    MOCO, DRAW = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])

"""What a Python program may count on: Ctrl-C and other signals, exceptions of its functions, copies, pickles, threads,
fork, the end of the interpreter, closed handles, and arguments that are refused rather than guessed at. Programs that
are interrupted or end run as processes of their own. A plain script: exit code 0 when every assert held.

    MOCO_LIBRARY=build/libmoco.so /usr/bin/python3 tests/python/test_manners.py
"""
import copy
import gc
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback

import numpy as np
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python"))
sys.dont_write_bytecode = True
import moco  # noqa: E402

logging.getLogger("moco").addHandler(logging.NullHandler())  # warnings of the library are for other tests
TINY = dict(arch="resnet18", width=0.25, image_size=16, batch_size=8, bn_groups=2, queue_length=32, dimension=16,
            loader_threads=1)
# What every program of this file begins with: a data set, and an interrupt after some time that tells when it came.
HEAD = """
import io, os, pickle, signal, sys, threading, time
sys.path.insert(0, %r)
sys.dont_write_bytecode = True
import numpy as np
from PIL import Image
import logging, moco
logging.getLogger("moco").addHandler(logging.NullHandler())  # warnings of the library are for other tests
TINY = %r

def jpeg(number, side=24):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()

def dataset(count=64, **options):
    files = [jpeg(i) for i in range(8)]
    return moco.Dataset.from_images([files[i %% 8] for i in range(count)], labels=[i %% 2 for i in range(count)], **options)

def trainer(**options):
    return moco.Trainer("moco-cifar", **dict(TINY, epochs=1000000, **options))

def interrupt(seconds, which=signal.SIGINT, times=1):
    def send():
        for _ in range(times):
            time.sleep(seconds)
            sent.append(time.monotonic())
            os.kill(os.getpid(), which)
    sent = []
    thread = threading.Thread(target=send)
    thread.start()
    return sent

def late(sent):
    print("late" if time.monotonic() - sent[0] > 10 else "prompt", flush=True)
""" % (os.path.dirname(os.path.abspath(moco.__file__)), TINY)


def program(text, timeout=120, **options):
    """(exit code, lines that it wrote, what it wrote to stderr)."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-W", "ignore:This process", "-c", HEAD + textwrap.dedent(text)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=timeout, cwd=folder, **options)
        return done.returncode, done.stdout.split("\n")[:-1], done.stderr


def says(text, *lines, **options):
    code, out, err = program(text, **options)
    assert code == 0 and out == list(lines) and err == "", "exit %s\n%s\n%s" % (code, "\n".join(out), err)


def refused(kind, call, *parts):
    try:
        call()
    except kind as error:
        for part in parts:
            assert part in str(error), "%r does not name %r" % (str(error), part)
        return
    raise AssertionError("taken, expected %s" % kind.__name__)


def draw(number, side=24):
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)


def jpeg(number):
    out = io.BytesIO()
    Image.fromarray(draw(number)).save(out, "JPEG")
    return out.getvalue()


def tiny_model(**options):
    with moco.Trainer("moco-cifar", **dict(TINY, **options)) as trainer:
        return trainer.snapshot()


# ---- Ctrl-C ----

# Calls that would take minutes or for ever.
LONG = {
    "run": "t.run(d)",
    "run with progress": "t.run(d, progress=lambda report: None)",
    "run with a progress bar": "t.run(d, progress=lambda report: True)",
    "run into a folder": "os.mkdir('run'); t.run(d, folder='run', overwrite=1)",
    "run with a cancel": "t.run(d, cancel=moco.Cancel())",
    "steps": "t.steps(d, 10**9)",
    "a pushed step": "big.step()",
    "embed_dataset": "m.embed_dataset(many)",
    "embed_to_npy": "m.embed_to_npy(many, 'x.npy')",
    "embed_to_npy with progress": "m.embed_to_npy(many, 'x.npy', progress=lambda done, total: 1)",
    "embed_encoded": "m.embed_encoded([jpeg(1)] * 50000)",
    "embed_pixels": "m.embed_pixels([np.zeros((16, 16, 3), np.uint8)] * 50000)",
    "embed_tensor": "m.embed_tensor(np.zeros((50000, 3, 16, 16), np.float32))",
    "knn": "moco.knn(m, many, many)",
    "knn with progress": "moco.knn(m, many, many, progress=lambda done, total: 1)",
    "search": "i.search(v[:20000], 5)",
    "classify": "i.classify(v[:20000], 5, 3)",
    "probe": "moco.Probe(m, d, d, epochs=1000000, batch_size=8)",
    "finetune": "moco.Finetune(m, d, d, epochs=1000000, batch_size=8)",
    "a slow function of images": "m.embed_dataset(slow)",
}


def test_interrupt():
    """KeyboardInterrupt in good time, whatever the call, and nothing on stderr."""
    says("""
        t, d, many, v = trainer(), dataset(), dataset(50000), np.random.default_rng(0).random((100000, 64), np.float32)
        slow = moco.Dataset.from_images(lambda i: time.sleep(0.02) or jpeg(i), count=100000)
        m, i = t.snapshot(), moco.Index(64)
        i.add(v, np.arange(len(v)) % 3)
        big = moco.Trainer("moco-v2", arch="resnet18", image_size=128, batch_size=64, queue_length=64, loader_threads=1)
        big.push_pixels([np.zeros((32, 32, 3), np.uint8)] * 64)
        for name, call in LONG.items():
            sent = interrupt(0.15)
            try:
                exec(compile(call, name, 'exec'))
                print(name, "returned")
            except KeyboardInterrupt:
                if time.monotonic() - sent[0] > 10:
                    print(name, "late")
        print(os.path.exists("x.npy"), m.embed_dataset(d)[0].shape, big.step_number, big.state()["pushed"])
    """.replace("LONG.items()", repr(LONG) + ".items()"), "False (64, 128) 0 64")


def test_interrupts_that_come_together():
    """Several Ctrl-C, at any distance: one KeyboardInterrupt, what the run had learnt is saved, and all goes on."""
    says("""
        t, d = trainer(), dataset()
        os.mkdir("run")
        sent = []
        def at_step_2(report):
            if report.step == 2:
                sent.append(time.monotonic())
                interrupt(0)
        try:
            t.run(d, folder="run", progress=at_step_2)
        except KeyboardInterrupt:
            late(sent)
        t = moco.Trainer.load("run/checkpoint.safetensors")
        print(t.step_number > 0, t.steps(d, 2).step > 2)
        def burst():
            for _ in range(30):
                time.sleep(0.0005)
                os.kill(os.getpid(), signal.SIGINT)
        caught = 0
        threading.Timer(0.2, burst).start()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            try:
                t.run(d, folder="run", progress=lambda report: None)
            except KeyboardInterrupt:
                caught += 1
                break
            except moco.MocoError as error:
                print(error)
        while True:
            try:
                time.sleep(0.3)
                break
            except KeyboardInterrupt:
                pass
        print(caught, moco.Trainer.load("run/checkpoint.safetensors").step_number == t.step_number)
    """, "prompt", "True True", "1 True")


def test_handlers_of_ones_own():
    """One that returns disturbs nothing; one that raises stops the call, and its exception is the one that is seen."""
    says("""
        seen = []
        signal.signal(signal.SIGINT, lambda *_: seen.append(time.monotonic()))
        t, d = trainer(), dataset()
        sent = interrupt(0.1, times=3)
        t.run(d, progress=lambda report: moco.STOP if len(seen) == 3 else None)
        print(len(seen), all(b - a < 5 for a, b in zip(sent, seen)))

        class TooLong(Exception):
            pass
        def alarm(*_):
            raise TooLong("alarm")
        signal.signal(signal.SIGALRM, alarm)
        for call in (lambda: t.run(d), lambda: moco.knn(t.snapshot(), dataset(50000), d)):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            try:
                call()
            except TooLong as error:
                print(error)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupt(0.1)
        later = threading.Timer(0.4, lambda: stop.append(1))
        stop = []
        later.start()
        print(t.run(d, progress=lambda report: moco.STOP if stop else None))
    """, "3 True", "alarm", "alarm", "False")


def test_handlers_that_make_calls():
    """A handler comes in while the library is at work: it may use other objects, and is refused those at work."""
    says("""
        t, d, m, c, seen = trainer(), dataset(), trainer().snapshot(), moco.Cancel(), []
        def handler(*_):
            seen.append(len(m.embed_dataset(d)[0]))
            try:
                t.save("x.safetensors")
            except RuntimeError as error:
                seen.append(str(error))
            c.request()
        signal.signal(signal.SIGUSR1, handler)
        t.steps(d, 1)
        interrupt(0.2, signal.SIGUSR1)
        print(t.run(d, cancel=c))
        print(*seen)
        t.save("x.safetensors")
        print(moco.Trainer.load("x.safetensors").step_number == t.step_number > 0)
    """, "False", "64 a call is at work on this object, which serves one thread at a time", "True")


def test_interrupt_leaves_the_objects_whole():
    """A call that was interrupted can be made again, with the result of an undisturbed one; no file is left half."""
    says("""
        m, d = trainer().snapshot(), dataset(600)
        whole, which = m.embed_dataset(d)
        many = dataset(50000)
        interrupt(0.2)
        try:
            m.embed_to_npy(many, "x.npy")
        except KeyboardInterrupt:
            print("interrupt")
        print(os.listdir("."), many.broken)
        rows, indices = m.embed_dataset(d)
        print(np.array_equal(rows, whole), len(rows) == 600, d.broken)
    """, "interrupt", "[] {}", "True True {}")


def test_interrupt_in_nested_calls():
    """The function of a call makes calls of its own; Ctrl-C ends both."""
    says("""
        t, d, m = trainer(), dataset(), trainer().snapshot()
        many = dataset(50000)
        sent = interrupt(0.3)
        try:
            t.run(d, progress=lambda report: m.embed_dataset(many))
        except KeyboardInterrupt:
            late(sent)
        print(t.run(d, progress=lambda report: moco.STOP))
    """, "prompt", "False")


def test_interrupts_at_random():
    """Wherever in this module or the library one comes in: it is raised, and every object goes on serving."""
    says("""
        import random
        t, d, many, files = trainer(), dataset(), dataset(50000), [jpeg(i) for i in range(8)]
        m, chance, count = t.snapshot(), random.Random(1), 0
        def alarm(*_):
            raise KeyboardInterrupt
        def again(call):
            while True:
                call()
        calls = [lambda: t.run(d, progress=lambda report: report.step), lambda: t.run(d), lambda: m.embed_dataset(many),
                 lambda: t.steps(d, 10**9), lambda: again(lambda: m.embed_encoded(files)),
                 lambda: again(lambda: t.snapshot().close()), lambda: again(trainer), lambda: again(lambda: t.state()),
                 lambda: again(lambda: t.push_pixels([np.zeros((8, 8, 3), np.uint8)]) or t.discard())]
        signal.signal(signal.SIGALRM, alarm)
        for turn in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + 0.05 * chance.random())
                calls[turn % len(calls)]()
            except KeyboardInterrupt:
                count += 1
        t.discard()
        print(count, t.steps(d, 1).step == t.step_number, len(m.embed_dataset(d)[0]), many.broken)
    """, "60 True 64 {}")


def test_interrupt_while_something_opens():
    """A call that only makes an object need not end: what it makes is freed when it does."""
    says("""
        t = trainer()
        t.save("t.safetensors")
        sent = interrupt(0.01)
        try:
            while True:
                moco.Trainer.load("t.safetensors")
        except KeyboardInterrupt:
            late(sent)
        print(moco.Trainer.load("t.safetensors").step_number)
    """, "prompt", "0")


# ---- functions of the user ----

def test_exceptions_of_functions():
    """Each is raised as it is, the very object, and its call has stopped."""
    class Own(BaseException):
        pass

    data = moco.Dataset.from_images([jpeg(i) for i in range(32)], labels=[i % 2 for i in range(32)])
    model, error = tiny_model(), Own("mine")

    def fails(*_):
        raise error

    broken = moco.Dataset.from_images(fails, count=32)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.npy")
        calls = {
            "run": lambda: moco.Trainer("moco-cifar", **TINY).run(data, progress=fails),
            "embed_to_npy": lambda: model.embed_to_npy(data, path, progress=fails),
            "knn": lambda: moco.knn(model, data, data, progress=fails),
            "probe": lambda: moco.Probe(model, data, data, batch_size=8, progress=fails),
            "finetune": lambda: moco.Finetune(model, data, data, batch_size=8, progress=fails),
            "pixels": lambda: broken.pixels(0, 16, 16),
            "views": lambda: moco.dataset_views(broken, 0, moco.trainer_options("moco-cifar")),
            "embed_dataset": lambda: model.embed_dataset(broken),
            "steps": lambda: moco.Trainer("moco-cifar", **TINY).steps(broken, 3),
        }
        for where in ("here", "on a thread"):
            for name, call in calls.items():
                seen = []

                def work():
                    try:
                        call()
                        seen.append(None)
                    except BaseException as caught:
                        seen.append(caught)
                if where == "here":
                    work()
                else:
                    thread = threading.Thread(target=work)
                    thread.start()
                    thread.join()
                assert seen[0] is error, (name, where, seen)
        assert os.listdir(folder) == [] and broken.broken == {}, "an exception says nothing about an image"
    refused(SystemExit, lambda: moco.knn(model, data, data, progress=lambda *_: sys.exit(3)))
    refused(ZeroDivisionError, lambda: moco.Dataset.from_images(lambda i: 1 / 0, count=3).pixels(0, 24, 24))
    refused(moco.MocoError, lambda: moco.Dataset.from_images([None]).pixels(0, 24, 24), "callback")


def test_only_stop_stops():
    data = moco.Dataset.from_images([jpeg(i) for i in range(32)])
    with moco.Trainer("moco-cifar", **dict(TINY, epochs=2)) as trainer:
        steps = []
        assert trainer.run(data, progress=lambda report: steps.append(report.step) or True) is True and len(steps) == 8
    with moco.Trainer("moco-cifar", **dict(TINY, epochs=2)) as trainer:
        assert trainer.run(data, progress=lambda report: moco.STOP if report.step == 3 else "go on") is False
        assert trainer.step_number == 3
    assert repr(moco.STOP) == "moco.STOP" and copy.copy(moco.STOP) is moco.STOP
    assert pickle.loads(pickle.dumps(moco.STOP)) is moco.STOP
    refused(TypeError, lambda: moco.knn(tiny_model(), data, data, progress=3), "progress is a int")


def test_functions_run_where_the_call_was_made():
    data, here, seen = moco.Dataset.from_images([jpeg(i) for i in range(16)]), threading.get_ident(), set()

    def note(*_):
        seen.add(threading.get_ident())
    moco.Trainer("moco-cifar", **TINY).run(data, max_steps=2, progress=note)
    moco.Dataset.from_images(lambda i: note() or jpeg(i), count=3).pixels(1, 16, 16)
    assert seen == {here}


# ---- copies and pickles ----

def test_copies():
    model = tiny_model()
    want = model.embed_pixels([draw(1)])
    for made in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(made, moco.Model) and np.array_equal(made.embed_pixels([draw(1)]), want)
        del made
        gc.collect()
    other = copy.copy(model)
    model.close()
    assert np.array_equal(other.embed_pixels([draw(1)]), want)
    refused(ValueError, lambda: copy.copy(model), "Model is closed")
    data = moco.Dataset.from_images([jpeg(i) for i in range(32)], labels=[i % 2 for i in range(32)])
    handles = [moco.Device(1), moco.Cancel(), data, moco.Queue(8, 4), moco.Index(4), moco.Trainer("moco-cifar", **TINY),
               moco.Probe(other, data, data, epochs=1, batch_size=8)]
    for handle in handles:
        for how in (copy.copy, copy.deepcopy, pickle.dumps):
            refused(TypeError, lambda: how(handle), "cannot be copied or pickled", type(handle).__name__)
            refused(TypeError, lambda: how([handle]) if how is not copy.copy else how(handle), type(handle).__name__)
    error = pickle.loads(pickle.dumps(moco.MocoError(3, "MOCO_ERR_IO", "gone")))
    assert (error.status, error.name, error.message, str(error)) == (3, "MOCO_ERR_IO", "gone", "MOCO_ERR_IO: gone")


def test_processes():
    """A model goes to another process as its bytes; other handles are refused before anything hangs."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "main.py")
        with open(path, "w") as file:
            file.write(HEAD + textwrap.dedent("""
                import multiprocessing
                PICTURE = np.full((16, 16, 3), 77, np.uint8)
                def row(model):
                    return model.embed_pixels([PICTURE])
                def fails(path):
                    return moco.Model(path)
                if __name__ == "__main__":
                    t = trainer()
                    m = t.snapshot()
                    want = m.embed_pixels([PICTURE])
                    for method in ("spawn", "fork"):
                        with multiprocessing.get_context(method).Pool(1) as pool:
                            print(np.array_equal(pool.apply(row, (m,)), want))
                            for bad in (lambda: pool.apply(row, (t,)), lambda: pool.apply(fails, ("nowhere",))):
                                try:
                                    bad()
                                except (TypeError, moco.MocoError) as error:
                                    print(type(error).__name__)
                """))
        done = subprocess.run([sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, cwd=folder,
                              universal_newlines=True)
        assert done.stdout.split("\n")[:-1] == ["True", "TypeError", "MocoError"] * 2, (done.stdout, done.stderr)


def test_fork():
    """A child makes calls of its own, of the parent's objects too, and a fork within a call ends that call alone."""
    says("""
        t, d = trainer(), dataset()
        m = t.snapshot()
        picture = [np.full((16, 16, 3), 77, np.uint8)]
        want = m.embed_pixels(picture)
        child = os.fork()
        if child == 0:
            os._exit(7 if np.array_equal(m.embed_pixels(picture), want) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        def split(report):
            global child
            if report.step == 3:
                child = os.fork()
            return moco.STOP if report.step == 6 else None
        try:
            print(t.run(d, progress=split))
        except moco.MocoError as error:
            os._exit(8 if child == 0 and error.name == "MOCO_ERR_FORKED" else 9)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), t.step_number)
    """, "7", "False", "8 6")


# ---- threads, closing, the end ----

def test_closing():
    device = moco.Device(1)
    data = moco.Dataset.from_images([jpeg(i) for i in range(32)], labels=[i % 2 for i in range(32)])
    trainer, queue, index, model = moco.Trainer("moco-cifar", **TINY), moco.Queue(8, 4), moco.Index(4), tiny_model()
    probe, cancel = moco.Probe(model, data, data, epochs=1, batch_size=8), moco.Cancel()
    uses = {device: lambda: device.info(), data: lambda: data.names, trainer: lambda: trainer.state(),
            queue: lambda: queue.keys(), index: lambda: len(index), model: lambda: model.embed_pixels([draw(1)]),
            probe: lambda: probe.result, cancel: lambda: cancel.request()}
    for handle, use in uses.items():
        use()
        assert not handle.closed
        with handle:
            pass
        handle.close()
        assert handle.closed
        refused(ValueError, use, type(handle).__name__ + " is closed")
        refused(ValueError, handle.__enter__, "is closed")
    refused(ValueError, lambda: moco.knn(model, data, data), "Model is closed")
    refused(ValueError, lambda: tiny_model().embed_dataset(data), "Dataset is closed")
    refused(ValueError, lambda: moco.Queue(8, 4, device=device), "Device is closed")


def test_closing_while_a_call_is_at_work():
    """From a function of the call and from another thread: the call ends as it would have."""
    data = moco.Dataset.from_images([jpeg(i % 8) for i in range(600)])
    model = tiny_model()
    want = model.embed_dataset(data)[0]
    closing, results = copy.copy(model), []
    threads = [threading.Thread(target=lambda: results.append(closing.embed_dataset(data)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.02)
    closing.close()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(rows, want) for rows in results), "a call lost its model"
    refused(ValueError, lambda: closing.dimension(), "Model is closed")
    trainer = moco.Trainer("moco-cifar", **dict(TINY, epochs=1))
    assert trainer.run(data, max_steps=4, progress=lambda report: trainer.close()) is True
    refused(ValueError, lambda: trainer.state(), "Trainer is closed")


def test_one_thread_at_a_time():
    """A trainer at work in one thread refuses another one, rather than break."""
    data = moco.Dataset.from_images([jpeg(i % 8) for i in range(64)])
    trainer, cancel, begun = moco.Trainer("moco-cifar", **dict(TINY, epochs=1000)), moco.Cancel(), threading.Event()
    thread = threading.Thread(target=lambda: trainer.run(data, cancel=cancel, progress=lambda report: begun.set()))
    thread.start()
    begun.wait()
    refused(RuntimeError, lambda: trainer.steps(data, 1), "one thread at a time")
    refused(RuntimeError, lambda: trainer.snapshot(), "one thread at a time")
    refused(RuntimeError, lambda: trainer.discard(), "one thread at a time")
    assert trainer.step_number >= 0 and trainer.closed is False
    cancel.request()
    thread.join()
    assert trainer.steps(data, 1).step > 1
    seen = []
    trainer.run(data, progress=lambda report: seen.append(trainer.state()["step"]) or moco.STOP)
    assert seen == [trainer.step_number]


def test_functions_may_not_change_what_their_call_changes():
    """A run's function may read its trainer, and use others; the run's own steps are not for it."""
    data = moco.Dataset.from_images([jpeg(i % 8) for i in range(64)])
    trainer, other = (moco.Trainer("moco-cifar", **dict(TINY, epochs=1)) for _ in range(2))
    for change in (lambda: trainer.steps(data, 1), lambda: trainer.run(data), trainer.discard, trainer.step,
                   lambda: trainer.push_pixels([draw(1)])):
        refused(RuntimeError, lambda: trainer.run(data, progress=lambda report: change()), "own call")
    step = trainer.step_number
    shapes = []
    trainer.run(data, progress=lambda report: shapes.append(trainer.snapshot().dimension("backbone"))
                or other.steps(data, 1))
    assert len(shapes) == 8 - step == other.step_number


def test_cancel_of_several_calls():
    """One object for calls of several threads; a request before the call counts too, and no other call hears of it."""
    data, model, cancel, ends = moco.Dataset.from_images([jpeg(i % 8) for i in range(8000)]), tiny_model(), moco.Cancel(), []

    def work():
        try:
            model.embed_dataset(data, cancel=cancel)
            ends.append("whole")
        except moco.MocoError as error:
            ends.append(error.name)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    cancel.request()
    for thread in threads:
        thread.join()
    work()
    assert ends == ["MOCO_ERR_CANCELLED"] * 4, ends
    few = moco.Dataset.from_images([jpeg(1)])
    assert len(model.embed_dataset(few)[0]) == 1
    cancel.reset()
    assert len(model.embed_dataset(few, cancel=cancel)[0]) == 1


def test_end_with_threads():
    """Threads at work when the program ends, waited for or not: exit code 0, silence, and what a run learnt is saved."""
    says("""
        t, d = trainer(), dataset()
        os.mkdir("run")
        begun = threading.Event()
        thread = threading.Thread(target=lambda: t.run(d, folder="run", progress=lambda report: begun.set()), daemon=True)
        thread.start()
        m = trainer().snapshot()
        def for_ever():
            while True:
                m.embed_dataset(d)
        for _ in range(3):
            threading.Thread(target=for_ever, daemon=True).start()
        def make():
            while True:
                trainer().snapshot()
        threading.Thread(target=make, daemon=True).start()
        begun.wait()
        time.sleep(0.1)
        print("end", flush=True)
    """, "end")
    code, out, err = program("""
        t, d = trainer(), dataset()
        os.mkdir("run")
        begun = threading.Event()
        threading.Thread(target=lambda: t.run(d, folder="run", progress=lambda report: begun.set()), daemon=True).start()
        begun.wait()
        def look():
            print(sorted(os.listdir("run")))
        import atexit
        moco.atexit.unregister(moco._leave)
        atexit.register(look)
        atexit.register(moco._leave)
    """)
    assert (code, err) == (0, "") and "checkpoint.safetensors" in out[0], (code, out, err)
    says("""
        t, d = trainer(), dataset()
        threading.Thread(target=lambda: print(t.run(d, max_steps=30), flush=True)).start()
        print("end", flush=True)
    """, "end", "True")


def test_end_with_handles():
    """Handles in globals, in cycles, and in objects whose destructors make calls while the interpreter ends."""
    code, out, err = program("""
        t, d, device = trainer(), dataset(), moco.Device(1)
        m, queue, cancel = t.snapshot(), moco.Queue(8, 4, device=device), moco.Cancel()
        ring = [m]
        ring.append(ring)
        class Late:
            def __init__(self):
                self.model, self.picture = t.snapshot(), np.zeros((1, 3, 16, 16), np.float32)
            def __del__(self):
                self.model.embed_tensor(self.picture)
                print("late", flush=True)
        late_one = Late()
        import atexit
        atexit.register(lambda: print(len(m.embed_dataset(d)[0]), flush=True))
        sys.modules["keep"] = late_one
    """)
    assert code == 0 and out == ["64", "late"] and err == "", (code, out, err)


# ---- arguments ----

def test_wrong_handles():
    """A path, an array or another handle in the place of a handle is refused by name; nothing is dereferenced."""
    model, data = tiny_model(), moco.Dataset.from_images([jpeg(i) for i in range(16)])
    trainer = moco.Trainer("moco-cifar", **TINY)
    for wrong in ("photos", b"photos", 5, None, model, np.zeros(3)):
        refused(TypeError, lambda: trainer.run(wrong), "dataset is a")
        refused(TypeError, lambda: trainer.steps(wrong, 1), "dataset is a")
        refused(TypeError, lambda: model.embed_dataset(wrong), "expected a moco.Dataset")
        refused(TypeError, lambda: model.embed_to_npy(wrong, "x.npy"), "expected a moco.Dataset")
        refused(TypeError, lambda: moco.knn(model, data, wrong), "test is a")
        refused(TypeError, lambda: moco.dataset_views(wrong, 0, trainer.options), "dataset is a")
        refused(TypeError, lambda: moco.Probe(model, data, wrong), "test is a")
    for wrong in ("model.safetensors", data, 7, None):
        refused(TypeError, lambda: moco.knn(wrong, data, data), "model is a")
        refused(TypeError, lambda: moco.Finetune(wrong, data, data), "model is a")
    for wrong in ("cpu", 0, 2, data):
        refused(TypeError, lambda: moco.Trainer("moco-v2", wrong), "device is a")
        refused(TypeError, lambda: moco.Index(4, wrong), "device is a")
    refused(TypeError, lambda: trainer.run(data, cancel=True), "cancel is a")
    refused(TypeError, lambda: moco.plan({"arch": "resnet18"}), "options is a dict")
    refused(TypeError, lambda: moco.convert("a", "b", training=dict()), "training is a dict")


def test_pixels_that_are_refused():
    model, trainer = tiny_model(), moco.Trainer("moco-cifar", **TINY)
    one = draw(1)
    for call in (model.embed_pixels, trainer.push_pixels):
        refused(ValueError, lambda: call(one), "may be one image", "[24, 24, 3]")
        refused(ValueError, lambda: call(one[..., 0]), "may be one image")
        refused(ValueError, lambda: call(one[None, ..., :1]) if call is None else call(one[..., :1]), "may be one image")
        refused(TypeError, lambda: call(Image.fromarray(one)), "expected a list")
        refused(TypeError, lambda: call(b"x"), "expected a list")
        refused(ValueError, lambda: call([one.astype(np.float32)]), "images[0] is float32")
        refused(ValueError, lambda: call([one, one.astype(np.int64)]), "images[1] is int64")
        refused(ValueError, lambda: call([one.transpose(2, 0, 1)]), "the channels come last")
        refused(ValueError, lambda: call([one[:0]]), "no pixels")
        refused(ValueError, lambda: call([one[:, :0]]), "no pixels")
        refused(ValueError, lambda: call([one[..., :2]]), "expected uint8 [H,W]")
        refused(ValueError, lambda: call([one], order="grb"), "order is 'grb'")
        refused(ValueError, lambda: call([np.dstack([one, one[..., 0]])], order="bgr"), "4 channels")
        for mode in ("P", "1", "CMYK", "I", "F", "LA", "YCbCr"):
            refused(ValueError, lambda: call([Image.fromarray(one).convert(mode)]), "mode %r" % mode)
    refused(moco.MocoError, lambda: model.embed_pixels([]), "count is 0")


def test_pixels_that_are_taken():
    """Whatever way an array lies in memory, and pictures of Pillow."""
    model, one = tiny_model(), draw(3)
    want = model.embed_pixels([one])
    wide = np.zeros((48, 72, 3), np.uint8)
    wide[::2, ::3] = one
    readonly = one.copy()
    readonly.flags.writeable = False
    ways = [one[::-1][::-1], np.asfortranarray(one), wide[::2, ::3], one[:, ::-1][:, ::-1], readonly, Image.fromarray(one),
            Image.fromarray(one).convert("RGBA"), one[..., ::-1][..., ::-1], one.view(">u1"), one[:, :, :].tolist()]
    for number, way in enumerate(ways[:-1]):
        assert np.array_equal(model.embed_pixels([way]), want), number
    assert np.array_equal(model.embed_pixels(iter([one])), want) and np.array_equal(model.embed_pixels((one,)), want)
    turned = model.embed_pixels([one[::-1, ::-1]])
    assert np.array_equal(turned, model.embed_pixels([np.ascontiguousarray(one[::-1, ::-1])]))
    same = np.broadcast_to(one[:1], one.shape)
    assert np.array_equal(model.embed_pixels([same]), model.embed_pixels([same.copy()]))
    gray = one[..., :1]
    assert np.array_equal(model.embed_pixels([gray]), model.embed_pixels([gray[..., 0]]))
    assert np.array_equal(model.embed_pixels([Image.fromarray(gray[..., 0])]), model.embed_pixels([gray[..., 0]]))
    three = model.embed_pixels(np.stack([one] * 3))  # by another plan than one image, which rounds otherwise
    assert np.array_equal(three[2], three[0]) and np.allclose(three[2], want[0], rtol=1e-4, atol=1e-5)
    rows = model.embed_pixels(draw(i) for i in range(50))  # nothing but the call holds them
    assert np.array_equal(rows, np.concatenate([model.embed_pixels([draw(i) for i in range(50)])]))


def test_numbers_that_are_refused():
    index, queue, model = moco.Index(4), moco.Queue(8, 4), tiny_model()
    for wrong in (["a", "b"], [["1", "2", "3", "4"]], np.zeros((2, 4), complex), np.zeros((2, 4), "M8[s]")):
        refused(TypeError, lambda: index.add(wrong), "expected numbers")
    refused(ValueError, lambda: index.add(np.zeros((2, 3))), "[2, 3], expected ['any', 4]")
    refused(ValueError, lambda: index.add(np.zeros(4)), "expected ['any', 4]")
    refused(ValueError, lambda: index.add(np.ma.masked_array(np.ones((1, 4)), [[0, 1, 0, 0]])), "masked")
    for wrong, part in (([0.5, 1], "label 0 is 0.5"), ([1, 1 << 32], "label 1 is 4294967296"), ([0, float("nan")], "nan"),
                        ([1], "[1], expected [2]"), (["a", "b"], "expected numbers"), ([[1, 2]], "expected [2]")):
        refused((TypeError, ValueError)[part == "expected numbers" and 0 or 1] if part != "expected numbers" else TypeError,
                lambda: index.add(np.eye(4)[:2], labels=wrong), part)
        refused(TypeError if part == "expected numbers" else ValueError,
                lambda: moco.Dataset.from_images([b"a", b"b"], labels=wrong), part)
    refused(moco.MocoError, lambda: index.add([[1, 2, float("nan"), 3]]), "not")
    assert len(index) == 0
    index.add(np.eye(4), labels=np.array([0, 1, 2, 0], np.uint8))
    assert index.search(np.eye(4), 2.0)[0].shape == (4, 2) and index.search(np.eye(4), np.int64(1))[0].tolist() == [[0], [1], [2], [3]]
    for k, kind in ((1.5, TypeError), ("2", TypeError), (0, moco.MocoError), (-1, moco.MocoError), (5, moco.MocoError),
                    (1 << 40, moco.MocoError), (1 << 70, moco.MocoError)):
        refused(kind, lambda: index.search(np.eye(4), k))
    for classes, kind in ((0, ValueError), (-1, ValueError), (2, moco.MocoError), (1 << 40, moco.MocoError)):
        refused(kind, lambda: index.classify(np.eye(4), 1, classes))
    refused(ValueError, lambda: moco.Index((1 << 32) + 4), "argument 1")
    refused(TypeError, lambda: moco.Index(4.5), "dimension is 4.5")
    refused(ValueError, lambda: queue.restore(np.eye(4)[[0, 1] * 4], 1 << 64), "argument 3")
    data = moco.Dataset.from_images([jpeg(0)])
    for size in (0, -1, 1 << 20, 1 << 40):
        refused((moco.MocoError, ValueError), lambda: data.pixels(0, 16, size))
    refused(moco.MocoError, lambda: data.pixels(-1, 16, 16))
    refused(ValueError, lambda: data.pixels(1 << 64, 16, 16))
    for wrong in ("neck", 2, -1, True, None, 0.5):
        refused(ValueError, lambda: model.dimension(wrong), "tap is")


def test_numbers_that_are_taken():
    index = moco.Index(4)
    rows = np.arange(8).reshape(2, 4) + 1.0
    for number, way in enumerate((rows, rows.astype(">f8"), rows.astype(np.float16), np.asfortranarray(rows), rows[::-1][::-1],
                                  rows.astype(np.int8), rows.tolist(), np.ma.masked_array(rows))):
        index.add(way)
        assert index.search(rows, 1)[1].min() > 0.999999, number
    model = tiny_model()
    assert model.dimension(0) == model.dimension("backbone") and model.dimension(np.int32(1)) == 16
    options = moco.trainer_options("moco-v2", arch=3, queue_length=1e3, batch_size=np.float64(64), schedule=np.int64(1), seed=7.0)
    named = moco.trainer_options("moco-v2", arch="resnet101", queue_length=1000, batch_size=64, schedule="step", seed=7)
    assert options.as_dict() == named.as_dict() and moco.options_json(options)["arch"] == "resnet101"
    again = moco.trainer_options(1, **{name: value for name, value in options.as_dict().items() if name != "recipe"})
    assert again.as_dict() == options.as_dict()
    for wrong in (dict(arch=99), dict(arch=-1), dict(arch=True), dict(arch=3.0), dict(queue_length=1000.5),
                  dict(queue_length="many"), dict(seed=-1)):
        refused(moco.MocoError, lambda: moco.trainer_options("moco-v2", **wrong), next(iter(wrong)))
    for wrong in (9, -1, "moco-v9", None, True):
        refused(ValueError, lambda: moco.trainer_options(wrong), "recipe is")
    assert moco.probe_options(1).protocol == 1 and moco.finetune_options(3).optimizer == 3


def test_files_that_are_refused():
    model = tiny_model()
    for call in (model.embed_encoded, lambda files: moco.Dataset.from_images(files)):
        refused(TypeError, lambda: call(jpeg(0)), "expected a")
        refused(TypeError, lambda: call("photo.jpg"), "expected a")
        refused(TypeError, lambda: call(["photo.jpg"]), "is a str", "open(path, 'rb')")
        refused(TypeError, lambda: call([draw(1)]), "is a ndarray", "embed_pixels")
        refused(TypeError, lambda: call([Image.fromarray(draw(1))]), "embed_pixels")
        refused(TypeError, lambda: call([3]), "is a int")
    refused(TypeError, lambda: moco.Dataset.from_images(lambda i: Image.fromarray(draw(i)), count=1).pixels(0, 16, 16),
            "image 0 is a", "embed_pixels")
    refused(TypeError, lambda: moco.Dataset.from_images(lambda i: jpeg(i)), "count says")
    refused(ValueError, lambda: moco.Dataset.from_images([jpeg(0)], count=2), "there are 1")
    refused(TypeError, lambda: moco.Model.from_bytes("model"), "data is a str")
    refused(ValueError, lambda: moco.Dataset("photos\0more"), "null character")
    refused(TypeError, lambda: moco.Dataset(3))
    refused(ValueError, lambda: moco.Model.from_bytes(model.to_bytes(), mean=0.5), "mean is")
    file = jpeg(2)
    ways = [file, bytearray(file), memoryview(file), np.frombuffer(file, np.uint8)]
    rows = model.embed_encoded(ways)
    assert all(np.array_equal(row, rows[0]) for row in rows)
    data = moco.Dataset.from_images(ways)
    assert all(np.array_equal(data.pixels(i, 24, 24), data.pixels(0, 24, 24)) for i in range(4))


# ---- finding the library ----

def test_library_that_is_not_found():
    """The message names the variable, and every place that was looked at."""
    with tempfile.TemporaryDirectory() as folder:
        with open(moco.__file__) as source, open(os.path.join(folder, "moco.py"), "w") as target:
            target.write(source.read())
        for more in (None, os.path.join(folder, "none.so"), os.path.join(folder, "moco.py")):
            environment = {name: value for name, value in os.environ.items() if name != "MOCO_LIBRARY"}
            environment["PATH"] = "/nowhere"
            if more:
                environment["MOCO_LIBRARY"] = more
            done = subprocess.run([sys.executable, "-B", "-c", "import moco"], cwd=folder, env=environment,
                                  stderr=subprocess.PIPE, universal_newlines=True)
            last = done.stderr.strip().split("\n")[-1]
            assert done.returncode == 1 and last.startswith("ImportError: "), done.stderr
            assert "MOCO_LIBRARY" in last and (more or "libmoco.so.0") in last, last
            assert more or os.path.join("build", "libmoco.so") in last, last


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    wanted = sys.argv[1:]
    failed = 0
    for name, test in tests:
        if wanted and name not in wanted:
            continue
        try:
            start = time.monotonic()
            test()
            print("ok   %s (%.1f s)" % (name, time.monotonic() - start), flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print("FAIL " + name, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sys.exit(main())

"""The Python client against the real library: layouts, numbers against NumPy in double precision, JPEG against pixels
that Pillow decoded, a run with saves and callbacks, errors. A plain script: exit code 0 when every assert held.

    MOCO_LIBRARY=build/libmoco.so /usr/bin/python3 tests/python/test_moco.py
"""
import ctypes
import gc
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import traceback

import numpy as np
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python"))
sys.dont_write_bytecode = True
import moco  # noqa: E402

TINY = dict(arch="resnet18", width=0.25, image_size=16, batch_size=8, bn_groups=2, queue_length=32, dimension=16,
            loader_threads=1)


def draw(number, side=24):
    """Stripes in a colour of their own, [side, side, 3] uint8."""
    y, x = np.mgrid[:side, :side]
    wave = np.sin((0.3 + 0.05 * (number % 5)) * (x * np.cos(number) + y * np.sin(number)))
    colour = np.array([90, 60 + 5 * (number % 7), 100 - 7 * (number % 9)])
    return (128 + wave[..., None] * colour).astype(np.uint8)


def jpeg(pixels, **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def unit(rng, rows, columns):
    x = rng.standard_normal((rows, columns))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def raises(name, call, *parts):
    try:
        call()
    except moco.MocoError as error:
        assert error.name == name, "%s, expected %s" % (error, name)
        for part in parts:
            assert part in error.message, "%r does not name %r" % (error.message, part)
        return
    raise AssertionError("no error, expected " + name)


def write_folder(folder, count, classes=2, broken=0):
    for i in range(count):
        path = os.path.join(folder, "class%d" % (i % classes))
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "%04d.jpg" % i), "wb") as file:
            file.write(jpeg(draw(i)))
    for i in range(broken):
        with open(os.path.join(folder, "class0", "x%d.jpg" % i), "wb") as file:
            file.write(b"\xff\xd8 and then nothing")
    return folder


# ---- layouts ----

def test_struct_size_is_the_librarys():
    """The last field but the reserved one, set by name in a struct of far too many bytes, lands where this module's struct ends."""
    module = ctypes.create_string_buffer(4096)
    moco._call("trainer_options_init", module, len(module), 1, -1)
    before = module.raw
    moco._call("trainer_options_set", module, b"precision", b"bf16")
    changed = [i // 4 * 4 for i in range(len(before)) if module.raw[i] != before[i]]
    assert changed == [ctypes.sizeof(moco.TrainerOptions) - 8] == [moco.TrainerOptions.precision.offset], changed


def test_every_option_by_name_and_in_json():
    """Set each field by name: this module's struct and the library's JSON both show it, and nothing else changes."""
    base = moco.trainer_options("moco-v2")
    known = moco.options_json(base)
    names = [name for name, _ in moco.TrainerOptions._fields_ if name != "struct_size"]
    assert set(known) - {"struct_size"} == set(names), set(known) ^ set(names)
    enumerations = dict(arch="resnet34", stem="cifar", head="linear", membership="strided", schedule="step", views="v1",
                        bn_running="first", recipe=None, loss="batch", loss_scale="two", optimizer="lars",
                        lr_scaling="sqrt", schedule_unit="step", momentum_schedule="cosine", execution="two-pass",
                        vit_norm="batch", resize_filter="bicubic", blur_form="gaussian", precision="bf16", reserved=None)
    for name in names:
        before = getattr(base, name)
        if name in enumerations:
            value = enumerations[name]
            if value is None:
                continue
        elif name in ("shuffle", "zero_init_residual", "first_epoch", "symmetric", "predictor", "freeze_patch"):
            value = 1 - before
        elif name.endswith(("_probability", "_probability_2")) or name in ("adam_beta1", "adam_beta2", "adam_epsilon",
                                                                           "lars_trust","jitter_hue", "key_momentum", "sgd_momentum", "crop_min_area",
                                                       "crop_max_area", "lr_factor"):
            value = 0.4375 if before != 0.4375 else 0.5
        elif isinstance(before, float):
            value = before + 0.0625
        else:
            value = before + 3
        try:
            changed = moco.trainer_options("moco-v2", **{name: value})
        except moco.MocoError as error:
            raise AssertionError("%s = %r: %s" % (name, value, error))
        shown = moco.options_json(changed)
        for other in names:
            if other == name:
                continue
            assert getattr(changed, other) == getattr(base, other), (name, other)
            assert shown[other] == known[other], (name, other)
        assert getattr(changed, name) != before, name
        if name == "seed":  # as text: 64 bits are more than a JSON number keeps everywhere
            assert shown[name] == str(value)
            continue
        assert shown[name] == value or name in enumerations and shown[name] != known[name], (name, shown[name], value)


# ---- queue and index against NumPy in double precision ----

def contrast_in_double(queue, q, k, temperature):
    q, k, queue = q.astype(np.float64), k.astype(np.float64), queue.astype(np.float64)
    logits = np.concatenate([(q * k).sum(1, keepdims=True), q @ queue.T], 1) / temperature
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    p = shifted / shifted.sum(1, keepdims=True)
    loss = -np.log(p[:, 0]).mean()
    p[:, 0] -= 1
    gradient = (p[:, :1] * k + p[:, 1:] @ queue) / temperature / len(q)
    better = (logits[:, 1:] > logits[:, :1]).sum(1)
    return loss, gradient, 100 * (better < 1).mean(), 100 * (better < 5).mean()


def test_queue_contrast():
    rng = np.random.default_rng(1)
    cases = [(1, 1, 1, 1.0), (5, 40, 7, 0.2), (64, 512, 32, 0.07), (33, 1000, 128, 0.1)]
    for count, length, dimension, temperature in cases:
        queue = moco.Queue(length, dimension, seed=3)
        held, pointer = queue.keys()
        assert pointer == 0 and np.abs(np.linalg.norm(held, axis=1) - 1).max() < 1e-5
        q = unit(rng, count, dimension)
        k = unit(rng, count, dimension)
        if dimension > 1:  # near their queries, so that accuracies are neither 0 nor 100
            k = q + 0.6 * k
            k /= np.linalg.norm(k, axis=1, keepdims=True)
        loss, gradient, top1, top5 = contrast_in_double(held, q, k, temperature)
        got = queue.contrast(q, k, temperature)
        assert abs(got.loss - loss) < 1e-5 * max(1, loss), (got.loss, loss)
        assert np.linalg.norm(got.d_queries - gradient) <= 1e-4 * np.linalg.norm(gradient) + 1e-7
        assert abs(got.top1 - top1) < 1e-9 and abs(got.top5 - top5) < 1e-9, (got, top1, top5)
        assert queue.contrast(q, k, temperature, gradient=False).d_queries is None
        assert np.array_equal(queue.keys()[0], held)


def test_queue_wraps():
    rng = np.random.default_rng(2)
    queue, length, dimension = moco.Queue(10, 6, seed=5), 10, 6
    model, pointer = queue.keys()
    for count in (3, 4, 5, 10, 1, 23, 9):
        keys = unit(rng, count, dimension)
        queue.enqueue(keys)
        for row in keys:  # the definition: one at a time
            model[pointer] = row
            pointer = (pointer + 1) % length
        held, where = queue.keys()
        if count <= length:
            assert where == pointer == queue.pointer, (count, where, pointer)
            assert np.array_equal(held, model)
        else:  # beyond K only the last K rows stay, in whatever rotation
            order = np.roll(held, -where, 0)
            assert np.array_equal(order, keys[-length:])
            model, pointer = held.copy(), where
    other = moco.Queue(10, 6, seed=6)
    other.restore(model, pointer)
    assert np.array_equal(other.keys()[0], model) and other.pointer == pointer
    raises("MOCO_ERR_ARGUMENT", lambda: queue.enqueue(2 * unit(rng, 2, 6)))
    assert np.array_equal(queue.keys()[0], model)


def test_queue_seeds():
    one, same, other = (moco.Queue(64, 16, seed=s).keys()[0] for s in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert abs(one.mean()) < 0.02


def test_index_search():
    rng = np.random.default_rng(3)
    for bank, queries, dimension, k in [(1, 1, 1, 1), (50, 7, 5, 50), (3000, 65, 64, 17)]:
        vectors = (5 * rng.standard_normal((bank, dimension))).astype(np.float32)
        q = rng.standard_normal((queries, dimension)).astype(np.float32)
        index = moco.Index(dimension)
        index.add(vectors[:bank // 2 + 1])
        if bank > 1:
            index.add(vectors[bank // 2 + 1:])
        assert len(index) == bank and index.dimension == dimension
        ids, cosines = index.search(q, k)
        v64, q64 = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors.astype(float), q.astype(float)))
        exact = q64 @ v64.T
        want = -np.sort(-exact, axis=1)[:, :k]
        assert np.abs(cosines - want).max() < 2e-6, np.abs(cosines - want).max()
        assert np.abs(np.take_along_axis(exact, ids, 1) - want).max() < 2e-6
        assert all(len(set(row)) == k for row in ids)


def test_index_ties_and_files():
    index = moco.Index(2)
    index.add([[1, 0], [0, 1], [2, 0], [3, 0], [0, 5]])
    ids, cosines = index.search([[1, 0]], 5)
    assert ids.tolist() == [[0, 2, 3, 1, 4]] and cosines[0, :3].tolist() == [1, 1, 1]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "v.npy")
        index.save(path)
        assert np.array_equal(np.load(path), [[1, 0], [0, 1], [1, 0], [1, 0], [0, 1]])
        assert np.load(path).dtype == np.float32
        again = moco.Index.load(path)
        assert len(again) == 5 and again.search([[1, 0]], 5)[0].tolist() == ids.tolist()
        np.save(path, np.zeros((3, 2)))
        raises("MOCO_ERR_FORMAT", lambda: moco.Index.load(path))


def test_index_classify():
    rng = np.random.default_rng(4)
    cases = [(400, 8, 7, 20, 0.1), (30, 3, 2, 200, 0.5), (100, 16, 10, 1, 0.07)]
    for bank, dimension, classes, k, temperature in cases:
        vectors, labels = unit(rng, bank, dimension), rng.integers(0, classes, bank)
        q = unit(rng, 40, dimension)
        index = moco.Index(dimension)
        index.add(vectors, labels)
        top = index.classify(q, k, classes, temperature)
        assert top.shape == (40, min(5, classes))
        exact = q.astype(np.float64) @ vectors.astype(np.float64).T
        for row, got in zip(exact, top):
            scores = np.zeros(classes)
            for i in np.argsort(-row, kind="stable")[:k]:
                scores[labels[i]] += np.exp(row[i] / temperature)
            want = np.argsort(-scores, kind="stable")[:min(5, classes)]
            assert got.tolist() == want.tolist(), (got, want, scores)


# ---- data sets ----

def test_dataset_folder():
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, 12, 3, broken=1)
        with moco.Dataset(folder) as data:
            assert len(data) == 13 and data.classes == ["class0", "class1", "class2"]
            assert data.names == sorted(data.names) and data.names[0] == os.path.join("class0", "0000.jpg")
            assert data.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 4
            assert np.array_equal(data.pixels(0, 24, 24), np.asarray(Image.open(os.path.join(folder, data.names[0]))))
            raises("MOCO_ERR_IMAGE", lambda: data.pixels(4, 24, 24))
            info = data.info()
            assert info["count"] == 13 and info["broken"] == 1 and info["classes"] == 3, info
        assert len(moco.Dataset(folder, limit=5)) == 5
        with moco.Dataset(folder, limit=5) as few, moco.Dataset(folder) as data:
            assert few.names == [data.names[i * 13 // 5] for i in range(5)]
    raises("MOCO_ERR_IO", lambda: moco.Dataset("/nowhere/at/all"), "/nowhere/at/all")


def test_dataset_from_images():
    files = [jpeg(draw(i)) for i in range(6)]
    data = moco.Dataset.from_images(files, labels=[2, 0, 2, 1, -1, 0])
    assert len(data) == 6 and data.names == list("012345") and data.labels.tolist() == [2, 0, 2, 1, -1, 0]
    for i, file in enumerate(files):
        assert np.array_equal(data.pixels(i, 24, 24), np.asarray(Image.open(io.BytesIO(file))))

    def fetch(index):
        return None if index == 1 else files[index]

    data = moco.Dataset.from_images(fetch, count=6)
    raises("MOCO_ERR_IMAGE", lambda: data.pixels(1, 24, 24))
    assert np.array_equal(data.pixels(2, 24, 24), np.asarray(Image.open(io.BytesIO(files[2]))))


def test_views_and_shuffle():
    data = moco.Dataset.from_images([jpeg(draw(i, 40)) for i in range(3)])
    options = moco.trainer_options("moco-v2", image_size=32, seed=4)
    views = moco.dataset_views(data, 1, options, epoch=2)
    assert views.shape == (2, 32, 32, 3) and not np.array_equal(views[0], views[1])
    assert np.array_equal(views, moco.dataset_views(data, 1, options, epoch=2))
    assert not np.array_equal(views, moco.dataset_views(data, 1, options, epoch=3))
    assert not np.array_equal(views, moco.dataset_views(data, 2, options, epoch=2))
    permutation = moco.shuffle_permutation(7, 3, 100)
    assert sorted(permutation) == list(range(100)) and permutation.tolist() != list(range(100))
    assert np.array_equal(permutation, moco.shuffle_permutation(7, 3, 100))
    assert not np.array_equal(permutation, moco.shuffle_permutation(7, 4, 100))
    assert not np.array_equal(permutation, moco.shuffle_permutation(8, 3, 100))


# ---- models ----

def tiny_model(**options):
    with moco.Trainer("moco-cifar", **dict(TINY, **options)) as trainer:
        return trainer.snapshot()


def test_model_inputs_agree():
    """JPEG = its pixels decoded by Pillow, in every channel order and stride = the tensor that the recipe defines."""
    model = tiny_model(image_size=32, dimension=16)
    assert model.image_size == 32 and model.dimension("projection") == 16 and model.dimension() == 128
    info = model.info()
    files = [jpeg(draw(i, 32)) for i in range(5)]
    pixels = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    rows = {tap: model.embed_encoded(files, tap) for tap in ("backbone", "projection")}
    assert rows["backbone"].shape == (5, 128) and np.isfinite(rows["backbone"]).all()
    assert np.abs(np.linalg.norm(rows["projection"], axis=1) - 1).max() < 1e-5
    assert np.abs(rows["backbone"][0] - rows["backbone"][1]).max() > 1e-4

    wide = [np.zeros((32, 50, 3), np.uint8) for _ in pixels]
    for one, row in zip(wide, pixels):
        one[:, 9:41] = row
    forms = {
        "rgb": (pixels, "rgb"),
        "bgr": ([p[..., ::-1] for p in pixels], "bgr"),
        "stride": ([w[:, 9:41] for w in wide], "rgb"),
        "rgba": ([np.dstack([p, np.full(p.shape[:2], 9, np.uint8)]) for p in pixels], "rgb"),
        "stack": (np.stack(pixels), "rgb"),
    }
    for form, (images, order) in forms.items():
        assert np.array_equal(model.embed_pixels(images, "backbone", order), rows["backbone"]), form
    gray = [p[..., 0] for p in pixels]
    assert np.array_equal(model.embed_pixels(gray), model.embed_pixels([np.dstack([g] * 3) for g in gray]))

    mean, std = np.array(info["mean"], np.float32), np.array(info["std"], np.float32)
    tensor = ((np.stack(pixels).astype(np.float32) / np.float32(255)) - mean) / std  # CIFAR transform: nothing at size
    for layout, array in (("nhwc", tensor), ("nchw", tensor.transpose(0, 3, 1, 2))):
        got = model.embed_tensor(array, "projection", layout)
        assert np.abs(got - rows["projection"]).max() < 1e-5, (layout, np.abs(got - rows["projection"]).max())


def test_model_resizes_by_the_evaluation_transform():
    model = tiny_model(image_size=16)
    info = model.info()
    picture = draw(3, 50)[:, :37]
    data = moco.Dataset.from_images([jpeg(picture)])
    cut = data.pixels(0, info["eval_resize"], info["eval_crop"])
    decoded = np.asarray(Image.open(io.BytesIO(jpeg(picture))))
    assert np.array_equal(model.embed_pixels([decoded]), model.embed_pixels([cut]))


def test_model_broken_items():
    model = tiny_model()
    good, bad = jpeg(draw(1)), b"no image"
    raises("MOCO_ERR_IMAGE", lambda: model.embed_encoded([good, bad]))
    rows, failed = model.embed_encoded([good, bad, good], strict=False)
    assert list(failed) == [1] and "no image" in failed[1] and not rows[1].any() and rows[0].any(), failed
    assert np.array_equal(rows[0], rows[2])
    for call in (lambda: model.embed_tensor(np.zeros((1, 3, 8, 8), np.float32)),
                 lambda: model.embed_pixels([np.zeros((4, 4, 3), np.float32)]),
                 lambda: model.embed_encoded([good], tap="neck")):
        try:
            call()
        except (ValueError, KeyError):
            continue
        raise AssertionError("wrong input was taken")


def test_model_save_load_and_dataset():
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model()
        path = os.path.join(folder, "m.safetensors")
        model.save(path)
        again = moco.Model(path)
        write_folder(os.path.join(folder, "images"), 37, broken=2)
        data = moco.Dataset(os.path.join(folder, "images"))
        rows, indices = model.embed_dataset(data, "projection", loader_threads=2)
        good = [i for i, name in enumerate(data.names) if "x" not in os.path.basename(name)]
        assert indices.tolist() == good and rows.shape == (37, 16)
        out = os.path.join(folder, "rows.npy")
        seen = []
        assert again.embed_to_npy(data, out, "projection", progress=lambda d, t: seen.append((d, t))) == (37, 2)
        assert np.array_equal(np.load(out), rows), "a saved and loaded model gives other bits"
        assert seen and seen[-1][0] == seen[-1][1] == 39, seen
        with open(os.path.join(folder, "rows.names.txt")) as names:
            assert names.read().splitlines() == [data.names[i] for i in good]
        with open(os.path.join(folder, "rows.skipped.txt")) as skipped:
            assert [line.split("\t")[0] for line in skipped] == [data.names[i] for i in range(39) if i not in good]
        few = np.concatenate([model.embed_encoded([open(os.path.join(folder, "images", data.names[i]), "rb").read()],
                                               "projection") for i in good[:3]])
        assert np.abs(few - rows[:3]).max() < 1e-5

        class Stop(Exception):
            pass

        def stop(done, total):
            raise Stop()

        try:
            model.embed_to_npy(data, os.path.join(folder, "never.npy"), progress=stop)
            raise AssertionError("the exception of a callback was lost")
        except Stop:
            pass
        assert not os.path.exists(os.path.join(folder, "never.npy"))
        raises("MOCO_ERR_IO", lambda: moco.Model(os.path.join(folder, "none.safetensors")))
        raises("MOCO_ERR_FORMAT", lambda: moco.Model(out))


def test_model_in_memory_and_options_of_loading():
    model = tiny_model()
    data = model.to_bytes()
    again = moco.Model.from_bytes(data)
    assert again.to_bytes() == data
    assert np.array_equal(again.embed_pixels([draw(1)]), model.embed_pixels([draw(1)]))
    assert moco.Model.from_bytes(data, drop_head=True).dimension("projection") == 0
    assert moco.Model.from_bytes(data, image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3).info()["mean"] == [0.5] * 3
    raises("MOCO_ERR_MISMATCH", lambda: moco.Model.from_bytes(data, encoder="key"))
    raises("MOCO_ERR_FORMAT", lambda: moco.Model.from_bytes(data[:-100]))
    try:
        low = moco.Model.from_bytes(data, precision="bf16")
    except moco.MocoError as e:  # this processor has none
        assert e.name == "MOCO_ERR_UNSUPPORTED" and "bf16" in str(e), e
        return
    twin = pickle.loads(pickle.dumps(low))
    assert twin.info()["precision"] == "bf16" and twin.to_bytes() == data
    rows = [m.embed_pixels([draw(1)]) for m in (low, twin, model)]
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])


def test_broken_images_have_reasons():
    data = moco.Dataset.from_images([jpeg(draw(0)), b"no image", None, jpeg(draw(3))])
    assert data.broken == {}
    rows, indices = tiny_model().embed_dataset(data)
    assert indices.tolist() == [0, 3] and sorted(data.broken) == [1, 2]
    assert "no" in data.broken[1] and "callback" in data.broken[2], data.broken


def test_cancel():
    with tempfile.TemporaryDirectory() as folder:
        data = moco.Dataset(write_folder(os.path.join(folder, "images"), 16))
        trainer, cancel = moco.Trainer("moco-v2", epochs=100000, **TINY), moco.Cancel()
        later = threading.Timer(0.3, cancel.request)
        later.start()
        assert trainer.run(data, cancel=cancel) is False
        later.join()
        assert cancel.requested and trainer.step_number > 0
        raises("MOCO_ERR_CANCELLED", lambda: trainer.steps(data, 1, cancel=cancel))
        model = trainer.snapshot(encoder="key")
        raises("MOCO_ERR_CANCELLED", lambda: model.embed_dataset(data, cancel=cancel))
        raises("MOCO_ERR_CANCELLED", lambda: model.embed_pixels([draw(1)], cancel=cancel))
        raises("MOCO_ERR_CANCELLED", lambda: moco.knn(model, data, data, cancel=cancel))
        out = os.path.join(folder, "x.npy")
        raises("MOCO_ERR_CANCELLED", lambda: model.embed_to_npy(data, out, cancel=cancel))
        assert not os.path.exists(out)
        cancel.reset()
        before = trainer.step_number
        trainer.steps(data, 1, cancel=cancel)
        assert trainer.step_number == before + 1
        assert model.embed_to_npy(data, out, cancel=cancel) == (16, 0)


def test_the_same_request_gives_the_same_options():
    """Program, C calls and this module: every recipe with every architecture."""
    assert [moco._lib.moco_recipe_number(name.encode()) for name in moco.recipes()] == list(range(len(moco.recipes())))
    names = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vit_small", "vit_base", "vit_large",
             "vit_huge", "vit_conv_small", "vit_conv_base"]
    program = os.environ.get("MOCO_PROGRAM") or os.path.join(os.path.dirname(moco._library_path()), "moco")
    for recipe in moco.recipes():
        own = moco.options_json(moco.trainer_options(recipe))
        assert own["recipe"] == recipe
        for number, arch in enumerate(names):
            python = moco.options_json(moco.trainer_options(recipe, arch=arch))
            options = moco.TrainerOptions()
            moco._call("trainer_options_init", ctypes.byref(options), ctypes.sizeof(options), moco._recipe(recipe),
                       number)
            c = moco.options_json(options)
            assert python == c, (recipe, arch)
            assert python["arch"] == arch
            assert python["recipe"] == ("moco-v3-vit" if recipe == "moco-v3" and arch.startswith("vit") else recipe)
            if os.path.exists(program):
                shown = subprocess.run([program, "train", "--print", "--json", "--recipe", recipe, "--arch", arch],
                                       stdout=subprocess.PIPE, check=True).stdout
                assert json.loads(shown.decode()) == c, (recipe, arch)


def test_checkpoint_options():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "c.safetensors")
        trainer = moco.Trainer("moco-v2", seed=11, **TINY)
        trainer.save(path)
        assert moco.checkpoint_options(path).as_dict() == trainer.options.as_dict()
        raises("MOCO_ERR_IO", lambda: moco.checkpoint_options(os.path.join(folder, "none")))
        again = moco.Trainer("moco-v2", seed=12, **TINY)
        data = moco.Dataset(write_folder(os.path.join(folder, "images"), 16))
        run = os.path.join(folder, "run")
        os.mkdir(run)
        trainer.run(data, folder=run, max_steps=1)
        raises("MOCO_ERR_EXISTS", lambda: again.run(data, folder=run, max_steps=1))
        again.run(data, folder=run, max_steps=1, overwrite=1)


def test_convert():
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = os.path.join(folder, "ours.safetensors"), os.path.join(folder, "theirs.safetensors")
        with moco.Trainer("moco-cifar", **TINY) as trainer:
            trainer.save(ours)
        report = moco.convert(ours, theirs, to="torchvision", encoder="key", head="keep")
        assert report["encoder"] == "encoder_k." and report["missing"] == [], report
        assert moco.model_file_info(theirs) == moco.Model(theirs).info()
        info = moco.file_info(theirs)
        assert (info["container"], info["layout"], info["kind"]) == ("safetensors", "plain", None), info
        for use in (lambda: moco.Model(theirs, prefix="student"), lambda: moco.convert(theirs, ours, prefix="student")):
            raises("MOCO_ERR_MISMATCH", use, "'student'")
        moco.convert(theirs, ours, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), image_size=16)
        assert moco.Model(ours).info()["std"] == [0.25] * 3
        raises("MOCO_ERR_ARGUMENT", lambda: moco.convert(theirs, ours, to="training",
                                                         training=moco.trainer_options("moco-v1", batch_size=7)), "7")
        raises("MOCO_ERR_ARGUMENT", lambda: moco.convert(theirs, ours, to="jax"), "to is 'jax', wanted encoder")


def test_model_from_several_threads():
    model = tiny_model()
    images = [draw(i) for i in range(40)]
    want = model.embed_pixels(images)
    got, threads = [None] * 6, []

    def work(slot):
        got[slot] = [model.embed_pixels(images) for _ in range(3)]

    for slot in range(6):
        threads.append(threading.Thread(target=work, args=(slot,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(rows, want) for three in got for rows in three)


# ---- trainers ----

def test_trainer_pushes():
    trainer = moco.Trainer("moco-cifar", **TINY)
    raises("MOCO_ERR_NO_DATA", trainer.step)
    trainer.push_pixels([draw(i) for i in range(5)])
    trainer.push_encoded([jpeg(draw(5))])
    raises("MOCO_ERR_IMAGE", lambda: trainer.push_encoded([b"no image"]))
    raises("MOCO_ERR_NO_DATA", trainer.step)
    assert trainer.state()["pushed"] == 6
    assert trainer.discard() == 6 and trainer.discard() == 0
    before = trainer.snapshot().embed_pixels([draw(1)])
    trainer.push_pixels([draw(i) for i in range(8)])
    raises("MOCO_ERR_FULL", lambda: trainer.push_pixels([draw(9)]))
    report = trainer.step()
    assert report.step == 1 and abs(report.chance_loss - np.log(33)) < 1e-12 and 0 < report.loss < 30
    assert not np.array_equal(before, trainer.snapshot().embed_pixels([draw(1)]))
    rng = np.random.default_rng(5)
    views = rng.standard_normal((2, 8, 3, 16, 16)).astype(np.float32)
    trainer.push_views(views[0], views[1])
    one = trainer.step()
    assert one.step == 2 and one.gradient_norm > 0
    raises("MOCO_ERR_ARGUMENT", lambda: moco.Trainer("moco-v2", batch_size=-3), "batch_size")
    raises("MOCO_ERR_ARGUMENT", lambda: moco.Trainer("moco-v2", arch="resnet19"), "resnet19")
    raises("MOCO_ERR_MEMORY_CAP", lambda: moco.Trainer("moco-v3", batch_size=64, memory_cap=1 << 20))


def test_trainer_without_negatives():
    values = {name: value for name, value in TINY.items() if name not in ("queue_length", "bn_groups")}
    with moco.Trainer("byol", head_width=16, **{**values, "arch": "resnet18", "stem": "cifar"}) as trainer:
        trainer.push_pixels([draw(i) for i in range(8)])
        report = trainer.step()
    assert (report.chance_loss, report.contrast_top1, report.contrast_top5) == (None, None, None)
    assert 0 < report.loss < 8


def test_trainer_layouts_are_the_same_views():
    rng = np.random.default_rng(6)
    views = rng.standard_normal((2, 8, 3, 16, 16)).astype(np.float32)
    losses = []
    for layout in ("nchw", "nhwc"):
        trainer = moco.Trainer("moco-cifar", seed=3, **TINY)
        for i in range(2):
            batch = views[i] if layout == "nchw" else views[i].transpose(0, 2, 3, 1)
            trainer.push_views(batch, batch[::-1], layout)
            losses.append(trainer.step().loss)
    assert losses[:2] == losses[2:], losses


def test_trainer_saves_and_goes_on():
    rng = np.random.default_rng(7)
    batches = rng.standard_normal((4, 2, 8, 3, 16, 16)).astype(np.float32)

    def go(trainer, which):
        for i in which:
            trainer.push_views(*batches[i])
            report = trainer.step()
        return report.loss

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "c.safetensors")
        straight = moco.Trainer("moco-cifar", seed=9, **TINY)
        loss = go(straight, range(4))
        broken = moco.Trainer("moco-cifar", seed=9, **TINY)
        go(broken, range(2))
        broken.save(path)
        broken.close()
        loaded = moco.Trainer.load(path)
        assert loaded.options.seed == 9 and loaded.state()["step"] == 2
        assert go(loaded, range(2, 4)) == loss
        picture = [draw(2)]
        assert np.array_equal(loaded.snapshot().embed_pixels(picture), straight.snapshot().embed_pixels(picture))
        other = moco.trainer_options("moco-cifar", **dict(TINY, seed=10))
        raises("MOCO_ERR_MISMATCH", lambda: moco.Trainer.load(path, overrides=other), "seed")


def test_trainer_run():
    with tempfile.TemporaryDirectory() as folder:
        data = moco.Dataset(write_folder(os.path.join(folder, "train"), 40))
        test = moco.Dataset(write_folder(os.path.join(folder, "test"), 10))
        run = os.path.join(folder, "run")
        os.mkdir(run)
        reports = []
        trainer = moco.Trainer("moco-cifar", epochs=2, **TINY)
        assert trainer.run(data, test, run, reports.append) is True
        steps = [r for r in reports if r.knn_top1 < 0]
        assert [r.step for r in steps] == list(range(1, 11)) and steps[-1].steps_total == 10
        assert [r.epoch for r in steps] == [0] * 5 + [1] * 5
        measured = [r for r in reports if r.knn_top1 >= 0]  # before step 1 and after each epoch, in reports of their own
        assert [r.step for r in measured] == [0, 5, 10]
        for name in ("checkpoint.safetensors", "model.safetensors", "log.jsonl"):
            assert os.path.getsize(os.path.join(run, name)) > 0, name
        picture = [draw(3)]
        saved = moco.Model(os.path.join(run, "model.safetensors")).embed_pixels(picture)
        assert np.array_equal(saved, trainer.snapshot().embed_pixels(picture))
        result = moco.knn(trainer.snapshot(), data, test, k=5)
        assert result.bank == 40 and result.queries == 10 and result.chance == 50 and 0 <= result.top1 <= result.top5

        # Stopped by its callback in mid-epoch, loaded, finished: the bits of the run without a stop.
        other = os.path.join(folder, "other")
        os.mkdir(other)
        stopped = moco.Trainer("moco-cifar", epochs=2, **TINY)
        assert stopped.run(data, None, other, lambda r: moco.STOP if r.step == 7 else True) is False
        resumed = moco.Trainer.load(os.path.join(other, "checkpoint.safetensors"))
        assert resumed.state()["step"] == 7
        assert resumed.run(data, None, other) is True
        assert np.array_equal(resumed.snapshot().embed_pixels(picture), saved)

        def fails(report):
            raise KeyboardInterrupt

        try:
            moco.Trainer("moco-cifar", **TINY).run(data, progress=fails)
            raise AssertionError("the exception of a callback was lost")
        except KeyboardInterrupt:
            pass
        steps = moco.Trainer("moco-cifar", epochs=2, **TINY)
        assert steps.steps(data, 10).step == 10
        assert np.array_equal(steps.snapshot().embed_pixels(picture), saved)


# ---- probe ----

def test_probe_options():
    """Every field by the values that the protocols give it."""
    common = dict(seed=0, lr_factor=0.1, sgd_momentum=0.9, weight_decay=0, init_std=0.01, crop_min_area=0.08,
                  crop_max_area=1, flip_probability=0.5, rates=0, milestone_1=-1, milestone_2=-1, normalize=0, eval_every=0,
                  loader_threads=0)
    own = {"v1": dict(protocol=0, epochs=100, batch_size=256, schedule=1, lr_scaling=0, cached=0),
           "v3": dict(protocol=1, epochs=90, batch_size=1024, schedule=2, lr_scaling=1, cached=0),
           "cached": dict(protocol=2, epochs=100, batch_size=256, schedule=2, lr_scaling=0, cached=1)}
    for protocol, values in own.items():
        options = moco.probe_options(protocol)
        got = {name: value for name, value in options.as_dict().items()
               if name not in ("base_lr", "cancel", "progress", "user")}
        assert got == dict(common, **values), (protocol, got)
        assert options.struct_size == ctypes.sizeof(options) and list(options.base_lr) == [0.0] * 16
    options = moco.probe_options("v1", base_lr=[1, 2.5], eval_every=7, loader_threads=3)
    assert options.rates == 2 and list(options.base_lr)[:3] == [1, 2.5, 0]
    try:
        moco.probe_options("v2")
        raise AssertionError("accepted")
    except ValueError:
        pass
    for bad in ([], [1] * 17):
        raises("MOCO_ERR_ARGUMENT", lambda: moco.probe_options(base_lr=bad), "wanted 1 to 16 numbers")
    raises("MOCO_ERR_ARGUMENT", lambda: moco.probe_options(epoch=3), "no option 'epoch'; did you mean 'epochs'?")
    shown = moco.options_json(options)
    assert shown["base_lr"] == [1, 2.5] and shown["protocol"] == "v1" and shown["schedule"] == "step"


def check_loaded(made, path, test):
    """A classifier from a file is the one that was saved, backbone and all."""
    loaded = moco.Classifier(path)
    assert all(np.array_equal(a, b) for a, b in zip(made.weights(), loaded.weights()))
    assert loaded.classes == made.classes and loaded.result.as_dict() == dict(made.result.as_dict(), rates=1, best=0)
    assert np.array_equal(loaded.model.embed_dataset(test)[0], made.model.embed_dataset(test)[0])
    info = loaded.info()
    assert info["class_names"] == made.classes and info["classes"] == len(made.classes)
    assert info["test_loss"] == made.result.test_loss
    raises("MOCO_ERR_NO_DATA", loaded.confusion, "confusion")


def test_probe():
    with tempfile.TemporaryDirectory() as folder:
        train = moco.Dataset(write_folder(os.path.join(folder, "train"), 40, broken=1))
        test = moco.Dataset(write_folder(os.path.join(folder, "test"), 13))
        model, reports = tiny_model(), []
        probe = moco.Probe(model, train, test, epochs=6, batch_size=8, base_lr=[0.1, 10.0], progress=reports.append,
                           eval_every=3)
        result, rates = probe.result, probe.rates
        assert (result.train_images, result.test_images, result.classes, result.rates) == (40, 13, 2, 2)
        assert result.features == model.dimension() and result.chance == 50 and result.top5 == 100
        assert [r.base_lr for r in rates] == [0.1, 10.0] and rates[result.best].top1 == result.top1 == max(r.top1 for r in rates)
        assert probe.classes == ["class0", "class1"]
        table = probe.confusion()
        assert table.sum() == 13 and abs(100 * np.trace(table) / 13 - result.top1) < 1e-9
        weights, bias = probe.weights()
        rows, indices = model.embed_dataset(test)
        answers = (rows.astype(np.float64) @ weights.T.astype(np.float64) + bias).argmax(1)
        assert np.array_equal(np.bincount(test.labels[indices] * 2 + answers, minlength=4).reshape(2, 2), table)
        assert [r.phase for r in reports] == sorted(r.phase for r in reports)
        assert [r.epoch for r in reports if r.top1 >= 0] == [2, 5] and sum(r.epoch_end for r in reports) == 6
        path = os.path.join(folder, "probe.safetensors")
        probe.save(path)
        assert np.array_equal(moco.Model(path).embed_dataset(test)[0], rows)
        model.close()
        check_loaded(probe, path, test)
        model = tiny_model()

        def stop(report):
            return moco.STOP if report.epoch == 1 else True

        raises("MOCO_ERR_CANCELLED", lambda: moco.Probe(model, train, test, epochs=6, batch_size=8, progress=stop))

        def fails(report):
            raise KeyboardInterrupt

        try:
            moco.Probe(model, train, test, epochs=6, batch_size=8, progress=fails)
            raise AssertionError("the exception of a callback was lost")
        except KeyboardInterrupt:
            pass
        raises("MOCO_ERR_NO_DATA", lambda: moco.Probe(model, train, test, "v1"), "41 images", "256")
        raises("MOCO_ERR_ARGUMENT", lambda: moco.Probe(model, train, test, base_lr=0), "base_lr[0]")


# ---- fine-tuning ----

def test_finetune():
    with tempfile.TemporaryDirectory() as folder:
        train = moco.Dataset(write_folder(os.path.join(folder, "train"), 40, broken=1))
        test = moco.Dataset(write_folder(os.path.join(folder, "test"), 13))
        model, reports = tiny_model(), []
        before = model.embed_dataset(test)[0]
        tuned = moco.Finetune(model, train, test, "sgd", epochs=3, batch_size=8, base_lr=0.3, progress=reports.append,
                              bn_groups=2, mixup=0.4, drop_path=0.2, label_smoothing=0.1, eval_every=2)
        result = tuned.result
        assert (result.steps, result.train_images, result.test_images, result.classes) == (15, 40, 13, 2)
        assert result.features == model.dimension() and result.chance == 50 and result.top5 == 100
        assert tuned.classes == ["class0", "class1"]
        assert np.array_equal(model.embed_dataset(test)[0], before)
        path = os.path.join(folder, "tuned.safetensors")
        tuned.save(path)
        check_loaded(tuned, path, test)
        rows, indices = moco.Model(path).embed_dataset(test)
        weights, bias = tuned.weights()
        answers = (rows.astype(np.float64) @ weights.T.astype(np.float64) + bias).argmax(1)
        table = tuned.confusion()
        assert np.array_equal(np.bincount(test.labels[indices] * 2 + answers, minlength=4).reshape(2, 2), table)
        assert abs(100 * np.trace(table) / 13 - result.top1) < 1e-9
        steps = [r for r in reports if r.phase == 2 and not r.epoch_end]
        assert [r.step for r in steps] == list(range(1, 16)) and steps[-1].done == 120
        assert [r.epoch for r in reports if r.top1 >= 0] == [1, 2] and sum(r.epoch_end for r in reports) == 3
        raises("MOCO_ERR_CANCELLED", lambda: moco.Finetune(model, train, test, "sgd", batch_size=8,
                                                           progress=lambda r: moco.STOP if r.step == 2 else 1), "step 2")
        raises("MOCO_ERR_NO_DATA", lambda: moco.Finetune(model, train, test), "41 images", "128")
        raises("MOCO_ERR_ARGUMENT", lambda: moco.Finetune(model, train, test, base_lr=-1), "base_lr is -1")
        try:
            moco.finetune_options("lars")
            raise AssertionError("accepted")
        except ValueError:
            pass
        raises("MOCO_ERR_ARGUMENT", lambda: moco.finetune_options(learning_rate=1), "no option 'learning_rate'")


def test_trainer_plan():
    options = moco.trainer_options("moco-cifar", **TINY)
    sizes = moco.plan(options)["bytes"]
    assert sizes["total"] == sum(size for name, size in sizes.items() if name != "total") > 100000, sizes
    options.memory_cap = 1000
    raises("MOCO_ERR_MEMORY_CAP", lambda: moco.plan(options))


# ---- the module itself ----

def test_warnings():
    """What the library warns of goes to the logger, from any thread."""
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append((record.levelname, record.getMessage()))
    logging.getLogger("moco").addHandler(handler)

    def steps():
        with tempfile.TemporaryDirectory() as folder, moco.Trainer("moco-cifar", **TINY) as trainer:
            write_folder(folder, 16)
            trainer.steps(moco.Dataset(folder), 1)
    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()
    logging.getLogger("moco").removeHandler(handler)
    assert [h for h in heard if h[0] == "WARNING" and "queue_length is 32" in h[1]], heard


def test_handles():
    device = moco.Device(lanes=1)
    assert device.info()["lanes"] == 1
    queue = moco.Queue(8, 4, device=device)
    device.close()
    device.close()
    queue.contrast(unit(np.random.default_rng(0), 2, 4), unit(np.random.default_rng(1), 2, 4))
    queue.close()
    try:
        queue.keys()
        raise AssertionError("a closed handle was used")
    except ValueError:
        pass
    for _ in range(50):
        moco.Index(4).add(np.eye(4))
    gc.collect()
    assert moco.version().count(".") == 2 and moco.build_info()
    left, source = moco.memory_left()
    assert left is None or (left > 0 and source)
    raises("MOCO_ERR_UNSUPPORTED", lambda: moco.Device(kind="gpu", number=1023))
    raises("MOCO_ERR_ARGUMENT", lambda: moco.Device(lanes=-1), "lanes")


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    wanted = sys.argv[1:]
    failed = 0
    for name, test in tests:
        if wanted and name not in wanted:
            continue
        try:
            test()
            print("ok   " + name, flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print("FAIL " + name, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

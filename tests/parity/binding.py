"""A minimal ctypes binding for the comparison scripts: only the calls they need, names as in include/moco/*.h.

The library is MOCO_LIBRARY, or libmoco.so in the build folder. Options are set by name into an opaque buffer, so the
layout of moco_trainer_options_t is not repeated here. Every failing call raises MocoError with the library's message.
"""
import ctypes
import json
import os

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RECIPES = {"moco-v1": 0, "moco-v2": 1, "moco-cifar": 2, "moco-v3": 3, "simclr": 4, "moco-v3-vit": 5, "byol": 6, "simclr-code": 7}
ARCH_RECIPE = -1
TAPS = {"backbone": 0, "projection": 1}
LAYOUTS = {"nchw": 0, "nhwc": 1}
FILES = {"encoder": 0, "training": 1, "torchvision": 2, "timm": 3, "detectron2": 4}
REPORT_BYTES = 65536
OPTIONS_BYTES = 1024  # more than any version's struct: _init fills what it knows and zeroes the rest

F32 = ctypes.POINTER(ctypes.c_float)
F64 = ctypes.POINTER(ctypes.c_double)
I32 = ctypes.POINTER(ctypes.c_int32)
I64 = ctypes.POINTER(ctypes.c_int64)


class MocoError(Exception):
    def __init__(self, status, name, message):
        super().__init__(f"{name}: {message}")
        self.status, self.name = status, name


class StepReport(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64)]
    _fields_ += [(name, ctypes.c_int64) for name in
                 ("step", "epoch", "step_in_epoch", "steps_per_epoch", "steps_total")]
    _fields_ += [(name, ctypes.c_double) for name in
                 ("loss", "chance_loss", "lr", "key_momentum", "gradient_norm", "contrast_top1", "contrast_top5",
                  "queue_fill", "images_per_second", "data_seconds", "step_seconds", "eta_seconds", "knn_top1",
                  "epoch_loss")]


class EmbedOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64)]
    _fields_ += [(name, ctypes.c_void_p) for name in ("cancel", "failed", "progress", "user", "statuses")]
    _fields_ += [(name, ctypes.c_int32) for name in ("tap", "layout", "loader_threads", "reserved")]


class QueueOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64), ("seed", ctypes.c_uint64), ("length", ctypes.c_int64),
                ("dimension", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class ContrastOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64), ("temperature", ctypes.c_double), ("d_queries", ctypes.c_void_p)]


class ContrastResult(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64)]
    _fields_ += [(name, ctypes.c_double) for name in ("loss", "chance_loss", "top1", "top5")]


class SearchOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64), ("cancel", ctypes.c_void_p), ("k", ctypes.c_int64)]


class ClassifyOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64), ("cancel", ctypes.c_void_p), ("temperature", ctypes.c_double),
                ("k", ctypes.c_int64), ("classes", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class ConvertOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64), ("cancel", ctypes.c_void_p), ("training", ctypes.c_void_p)]
    _fields_ += [(name, ctypes.c_double) for name in ("mean_r", "mean_g", "mean_b", "std_r", "std_g", "std_b")]
    _fields_ += [(name, ctypes.c_int32) for name in
                 ("to", "encoder", "head", "image_size", "eval_resize", "key_update", "vit_heads", "reserved")]
    _fields_ += [("prefix", ctypes.c_char_p)]


class ModelOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint64)]
    _fields_ += [(name, ctypes.c_double) for name in ("mean_r", "mean_g", "mean_b", "std_r", "std_g", "std_b")]
    _fields_ += [(name, ctypes.c_int32) for name in
                 ("encoder", "drop_head", "image_size", "eval_resize", "vit_heads", "reserved")]
    _fields_ += [("memory_cap", ctypes.c_int64), ("prefix", ctypes.c_char_p)]


def library_path():
    return os.environ.get("MOCO_LIBRARY") or os.path.join(ROOT, "build", "libmoco.so")


def _load():
    library = ctypes.CDLL(library_path())
    library.moco_status_name.restype = ctypes.c_char_p
    library.moco_last_message.restype = ctypes.c_char_p
    library.moco_queue_pointer.restype = ctypes.c_int64
    library.moco_queue_length.restype = ctypes.c_int64
    for name in ("moco_trainer_free", "moco_model_free", "moco_queue_free", "moco_index_free"):
        getattr(library, name).restype = None
    return library


lib = _load()


def check(status):
    if status != 0:
        name = lib.moco_status_name(ctypes.c_int32(status)).decode()
        raise MocoError(status, name, lib.moco_last_message().decode())


def call(name, *arguments):
    """Call a function that returns a status; plain Python integers go out as 64-bit, so wrap 32-bit ones in i32()."""
    converted = [ctypes.c_int64(a) if isinstance(a, int) else a for a in arguments]
    check(getattr(lib, name)(*converted))


i32 = ctypes.c_int32
f64 = ctypes.c_double


def floats(array):
    """A contiguous float32 copy and its pointer; keep the array alive for the time of the call."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    return array, array.ctypes.data_as(F32)


def text_of(name, *arguments):
    needed = ctypes.c_uint64()
    call(name, *arguments, None, ctypes.c_uint64(0), ctypes.byref(needed))
    text = ctypes.create_string_buffer(needed.value)
    call(name, *arguments, text, ctypes.c_uint64(needed.value), None)
    return text.value.decode()


def filled(kind, init, **values):
    options = kind()
    call(init, ctypes.byref(options), ctypes.c_uint64(ctypes.sizeof(options)))
    for name, value in values.items():
        setattr(options, name, value)
    return options


class Handle:
    """An opaque handle and the function that frees it."""
    free = None

    def __init__(self, pointer):
        self.pointer = pointer

    def close(self):
        if self.pointer:
            getattr(lib, self.free)(self.pointer)
            self.pointer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def make_options(recipe, **values):
    options = ctypes.create_string_buffer(OPTIONS_BYTES)
    call("moco_trainer_options_init", options, ctypes.c_uint64(OPTIONS_BYTES), i32(RECIPES[recipe]),
         i32(ARCH_RECIPE))
    for name, value in values.items():
        text = repr(value) if isinstance(value, float) else str(value)
        call("moco_trainer_options_set", options, name.encode(), text.encode())
    return options


def options_json(options):
    return json.loads(text_of("moco_trainer_options_json", options))


def shuffle(seed, step, count):
    permutation = np.zeros(count, dtype=np.int32)
    call("moco_shuffle_permutation", ctypes.c_uint64(seed), step, i32(count), permutation.ctypes.data_as(I32))
    return permutation.astype(np.int64)


def convert(source, target, to="encoder", training=None, **values):
    """The report as a dictionary. `training`: options from make_options, for to="training"."""
    options = ConvertOptions()
    call("moco_convert_options_init", ctypes.byref(options), ctypes.c_uint64(ctypes.sizeof(options)))
    options.to = FILES[to]
    if training is not None:
        options.training = ctypes.addressof(training)
    for name, value in values.items():
        setattr(options, name, value)
    report = ctypes.create_string_buffer(REPORT_BYTES)
    call("moco_convert", str(source).encode(), str(target).encode(), ctypes.byref(options), report,
         ctypes.c_uint64(REPORT_BYTES), None)
    return json.loads(report.value.decode())


def file_info(path):
    return json.loads(text_of("moco_file_info", str(path).encode()))


class Trainer(Handle):
    free = "moco_trainer_free"

    def __init__(self, recipe="moco-v2", **values):
        pointer = ctypes.c_void_p()
        call("moco_trainer_create", make_options(recipe, **values), None, ctypes.byref(pointer))
        super().__init__(pointer)

    @classmethod
    def load(cls, path):
        trainer = cls.__new__(cls)
        Handle.__init__(trainer, ctypes.c_void_p())
        call("moco_trainer_load", path.encode(), None, None, ctypes.byref(trainer.pointer))
        return trainer

    def push(self, queries, keys, layout="nchw"):
        """Float views [count,3,S,S]; turned into the layout asked for here."""
        if layout == "nhwc":
            queries, keys = (np.transpose(v, (0, 2, 3, 1)) for v in (queries, keys))
        (queries, first), (keys, second) = floats(queries), floats(keys)
        call("moco_trainer_push_views", self.pointer, len(queries), first, second, i32(LAYOUTS[layout]))

    def step(self):
        report = StepReport(struct_size=ctypes.sizeof(StepReport))
        call("moco_trainer_step", self.pointer, None, ctypes.byref(report))
        return report

    def save(self, path):
        call("moco_trainer_save", self.pointer, path.encode())

    def state(self):
        return json.loads(text_of("moco_trainer_state", self.pointer))

    def snapshot(self):
        model = Model(ctypes.c_void_p())
        call("moco_trainer_snapshot", self.pointer, None, None, ctypes.byref(model.pointer))
        return model


class Model(Handle):
    free = "moco_model_free"

    @classmethod
    def load(cls, path, **options):
        model = cls(ctypes.c_void_p())
        options = filled(ModelOptions, "moco_model_options_init", **options)
        call("moco_model_load", path.encode(), ctypes.byref(options), None, ctypes.byref(model.pointer))
        return model

    def save(self, path):
        call("moco_model_save", self.pointer, path.encode())

    def info(self):
        return json.loads(text_of("moco_model_info", self.pointer))

    def embed(self, tap, images, layout="nchw"):
        width = lib.moco_model_dimension(self.pointer, i32(TAPS[tap]))
        count = len(images)
        if layout == "nhwc":
            images = np.transpose(images, (0, 2, 3, 1))
        images, pointer = floats(images)
        out = np.zeros((count, width), dtype=np.float32)
        options = filled(EmbedOptions, "moco_embed_options_init", tap=TAPS[tap], layout=LAYOUTS[layout])
        call("moco_model_embed_tensor", self.pointer, count, pointer, ctypes.byref(options), out.ctypes.data_as(F32))
        return out


WARNING = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p)


class Warnings:
    """The library's warnings of this thread while it is entered, as a list of lines."""

    def __enter__(self):
        self.lines = []
        self.sink = WARNING(lambda user, level, line: self.lines.append(line.decode()))
        lib.moco_set_log(self.sink, None, i32(1))
        return self.lines

    def __exit__(self, *problem):
        lib.moco_set_log(None, None, i32(0))


class Queue(Handle):
    free = "moco_queue_free"

    def __init__(self, length, dimension, seed=0):
        super().__init__(ctypes.c_void_p())
        self.length, self.dimension = length, dimension
        options = filled(QueueOptions, "moco_queue_options_init", length=length, dimension=dimension, seed=seed)
        call("moco_queue_create", ctypes.byref(options), None, ctypes.byref(self.pointer))

    def enqueue(self, keys):
        keys, pointer = floats(keys)
        call("moco_queue_enqueue", self.pointer, len(keys), pointer)

    def keys(self):
        keys = np.zeros((self.length, self.dimension), dtype=np.float32)
        pointer = ctypes.c_int64()
        call("moco_queue_keys", self.pointer, keys.ctypes.data_as(F32), ctypes.byref(pointer))
        return keys, pointer.value

    def restore(self, keys, position):
        keys, pointer = floats(keys)
        call("moco_queue_restore", self.pointer, pointer, position)

    def contrast(self, queries, keys, temperature):
        """(loss, gradient by the queries, top-1 percent, top-5 percent)."""
        (queries, first), (keys, second) = floats(queries), floats(keys)
        gradient = np.zeros_like(queries)
        options = filled(ContrastOptions, "moco_contrast_options_init", temperature=temperature,
                         d_queries=gradient.ctypes.data)
        result = ContrastResult(struct_size=ctypes.sizeof(ContrastResult))
        call("moco_queue_contrast", self.pointer, len(queries), first, second, ctypes.byref(options),
             ctypes.byref(result))
        return result.loss, gradient, result.top1, result.top5


class Index(Handle):
    free = "moco_index_free"

    def __init__(self, dimension):
        super().__init__(ctypes.c_void_p())
        call("moco_index_create", i32(dimension), None, None, ctypes.byref(self.pointer))

    def add(self, vectors, labels):
        vectors, pointer = floats(vectors)
        labels = np.ascontiguousarray(labels, dtype=np.int32)
        call("moco_index_add", self.pointer, len(vectors), pointer, labels.ctypes.data_as(I32))

    def search(self, queries, k):
        queries, pointer = floats(queries)
        ids = np.zeros((len(queries), k), dtype=np.int64)
        cosines = np.zeros((len(queries), k), dtype=np.float32)
        options = filled(SearchOptions, "moco_search_options_init", k=k)
        call("moco_index_search", self.pointer, len(queries), pointer, ctypes.byref(options),
             ids.ctypes.data_as(I64), cosines.ctypes.data_as(F32))
        return ids, cosines

    def classify(self, queries, k, temperature, classes):
        queries, pointer = floats(queries)
        top = np.zeros((len(queries), min(5, classes)), dtype=np.int32)
        options = filled(ClassifyOptions, "moco_classify_options_init", k=k, temperature=temperature, classes=classes)
        call("moco_index_classify", self.pointer, len(queries), pointer, ctypes.byref(options),
             top.ctypes.data_as(I32))
        return top

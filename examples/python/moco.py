"""libmoco for Python: ctypes underneath, NumPy arrays in and out, nothing to compile.

    import moco
    data = moco.Dataset("photos")
    trainer = moco.Trainer("moco-v2", arch="resnet18", batch_size=64, bn_groups=2)
    trainer.run(data, folder="run", progress=lambda report: print(report.step, report.loss))
    rows, indices = trainer.snapshot().embed_dataset(data)

A call that fails raises MocoError with the library's status and message; the library's warnings (a queue longer than the
data set, a loss that stays at chance, ...) go to the logger "moco". The library is the file named by the
environment variable MOCO_LIBRARY, else the one in a build folder of this source tree, else the installed one. Calls
release Python's global lock; which object may be used by several threads at once is said in docs/threads.md.
"""
import collections
import ctypes
import ctypes.util
import json
import logging
import os
import threading

import numpy as np

_i32, _i64, _u64, _f64 = ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64, ctypes.c_double
_ptr, _text = ctypes.c_void_p, ctypes.c_char_p


class MocoError(RuntimeError):
    """A failed call: `status` (number), `name` (such as "MOCO_ERR_IO") and `message`."""

    def __init__(self, status, name, message):
        super().__init__("%s: %s" % (name, message))
        self.status, self.name, self.message = status, name, message


# ---- structs, field by field as in include/moco/*.h ----

class _Struct(ctypes.Structure):
    def as_dict(self):
        return {name: getattr(self, name) for name, _ in self._fields_ if name != "struct_size"}


def _fields(*runs):
    """(type, "names of it in a row"), ... as ctypes wants them."""
    return [(name, kind) for kind, names in runs for name in names.split()]


class DeviceOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("kind", _i32), ("lanes", _i32), ("training_percent", _i64)]


class DatasetOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("limit", _i64), ("max_pixels", _i64), ("max_bytes", _i64)]


class Image(_Struct):
    _fields_ = ([("struct_size", _u64), ("planes", _ptr * 4), ("strides", _i64 * 4)]
                + [(name, _i32) for name in "width height format channels plane_count bit_depth".split()])


_PROGRESS = ctypes.CFUNCTYPE(_i32, _ptr, _i64, _i64)
_FAILED = ctypes.CFUNCTYPE(None, _ptr, _i64, _i32, _text)


class ModelOptions(_Struct):
    _fields_ = ([("struct_size", _u64)] + [(name, _f64) for name in "mean_r mean_g mean_b std_r std_g std_b".split()]
                + [(name, _i32) for name in "encoder drop_head image_size eval_resize vit_heads reserved".split()]
                + [("memory_cap", _i64)])


class EmbedOptions(_Struct):
    _fields_ = ([("struct_size", _u64), ("cancel", _ptr), ("failed", _FAILED), ("progress", _PROGRESS), ("user", _ptr),
                 ("statuses", _ptr)] + [(name, _i32) for name in "tap layout loader_threads reserved".split()])


class EmbedResult(_Struct):
    _fields_ = [("struct_size", _u64), ("rows", _i64), ("skipped", _i64)]


class QueueOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("seed", _u64), ("length", _i64), ("dimension", _i32), ("reserved", _i32)]


class ContrastOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("temperature", _f64), ("d_queries", _ptr)]


class ContrastResult(_Struct):
    _fields_ = [("struct_size", _u64)] + [(name, _f64) for name in "loss chance_loss top1 top5".split()]


class IndexOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("capacity", _i64)]


class SearchOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("cancel", _ptr), ("k", _i64)]


class ClassifyOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("cancel", _ptr), ("temperature", _f64), ("k", _i64), ("classes", _i32),
                ("reserved", _i32)]


class KnnOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("cancel", _ptr), ("progress", _PROGRESS), ("user", _ptr), ("temperature", _f64),
                ("k", _i64), ("loader_threads", _i32), ("reserved", _i32)]


class SnapshotOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("encoder", _i32), ("drop_head", _i32)]


class TrainerOptions(_Struct):
    _fields_ = _fields(
        (_u64, "struct_size"),
        (_i32, "recipe arch stem image_size"),
        (_f64, "width"),
        (_i32, "zero_init_residual patch_size vit_depth vit_heads vit_norm freeze_patch loss loss_scale symmetric predictor"),
        (_f64, "temperature key_momentum"),
        (_i32, "momentum_schedule execution"),
        (_i64, "queue_length"),
        (_i32, """head head_width head_layers dimension batch_size bn_groups membership shuffle bn_running shard optimizer
            lr_scaling"""),
        (_f64, "base_lr weight_decay sgd_momentum lars_trust adam_beta1 adam_beta2 adam_epsilon"),
        (_i32, "epochs steps_per_epoch warmup_epochs schedule schedule_unit first_epoch milestone_1 milestone_2"),
        (_f64, "lr_factor"),
        (_i32, "views resize_filter crop_tries blur_form"),
        (_f64, """crop_min_area crop_max_area jitter_brightness jitter_contrast jitter_saturation jitter_hue
            jitter_probability gray_probability blur_probability blur_probability_2 blur_sigma_min blur_sigma_max
            solarize_probability solarize_probability_2 flip_probability mean_r mean_g mean_b std_r std_g std_b"""),
        (_u64, "seed"),
        (_i64, "memory_cap max_broken"),
        (_i32, "max_broken_percent loader_threads"))


class ConvertOptions(_Struct):
    _fields_ = ([("struct_size", _u64), ("cancel", _ptr), ("training", _ptr)]
                + [(name, _f64) for name in "mean_r mean_g mean_b std_r std_g std_b".split()]
                + [(name, _i32) for name in """to encoder head image_size eval_resize key_update
                   vit_heads reserved""".split()])


class StepReport(_Struct):
    """What one step did; `loss` in nats beside `chance_loss` (that of equal logits), accuracies in percent, times in
    seconds. Of a method without negatives `chance_loss`, `contrast_top1` and `contrast_top5` are None."""
    _fields_ = ([("struct_size", _u64)]
                + [(name, _i64) for name in "step epoch step_in_epoch steps_per_epoch steps_total".split()]
                + [(name, _f64) for name in """loss chance_loss lr key_momentum gradient_norm contrast_top1
                   contrast_top5 queue_fill images_per_second data_seconds step_seconds eta_seconds knn_top1
                   epoch_loss""".split()])

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        return None if name in ("chance_loss", "contrast_top1", "contrast_top5") and not value >= 0 else value


_STEP = ctypes.CFUNCTYPE(_i32, _ptr, ctypes.POINTER(StepReport))


class RunOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("cancel", _ptr), ("progress", _STEP), ("user", _ptr), ("max_steps", _i64),
                ("save_every", _i64), ("eval_every", _i32), ("log_every", _i32), ("overwrite", _i32), ("reserved", _i32)]


class KnnResult(_Struct):
    _fields_ = [("struct_size", _u64), ("top1", _f64), ("top5", _f64), ("k", _i64), ("bank", _i64), ("queries", _i64),
                ("chance", _f64)]


class ClassifierReport(_Struct):
    """Where training is: `phase` 0 features of the test set, 1 of the training set, 2 training; top1 and top5 in
    percent, -1 where not measured just now."""
    _fields_ = ([("struct_size", _u64)] + [(name, _i64) for name in "done total step".split()]
                + [(name, _f64) for name in "loss lr top1 top5".split()]
                + [(name, _i32) for name in "phase epoch epochs epoch_end".split()])


_LEARNING = ctypes.CFUNCTYPE(_i32, _ptr, ctypes.POINTER(ClassifierReport))


class ProbeOptions(_Struct):
    _fields_ = ([("struct_size", _u64), ("cancel", _ptr), ("progress", _LEARNING), ("user", _ptr), ("seed", _u64)]
                + [(name, _i32) for name in "protocol cached normalize rates".split()]
                + [("base_lr", _f64 * 16)]
                + [(name, _i32) for name in "lr_scaling schedule milestone_1 milestone_2".split()]
                + [("lr_factor", _f64), ("epochs", _i32), ("batch_size", _i32)]
                + [(name, _f64) for name in """sgd_momentum weight_decay init_std crop_min_area crop_max_area
                   flip_probability""".split()]
                + [("eval_every", _i32), ("loader_threads", _i32)])


class FinetuneOptions(_Struct):
    _fields_ = ([("struct_size", _u64), ("cancel", _ptr), ("progress", _LEARNING), ("user", _ptr), ("seed", _u64),
                 ("optimizer", _i32), ("lr_scaling", _i32), ("base_lr", _f64)]
                + [(name, _i32) for name in "schedule warmup_epochs epochs batch_size bn_groups shard".split()]
                + [(name, _f64) for name in "sgd_momentum adam_beta1 adam_beta2 adam_epsilon weight_decay".split()]
                + [("decay_vectors", _i32), ("resize_filter", _i32)]
                + [(name, _f64) for name in """crop_min_area crop_max_area flip_probability label_smoothing mixup
                   drop_path init_std""".split()]
                + [("eval_every", _i32), ("loader_threads", _i32)])


class ClassifierResult(_Struct):
    """What was found; a number that a file does not tell is -1."""
    _fields_ = ([("struct_size", _u64), ("backbone_hash", _u64)]
                + [(name, _i64) for name in "steps train_images test_images".split()]
                + [(name, _f64) for name in """top1 top5 chance base_lr effective_lr train_loss
                   test_loss""".split()]
                + [(name, _i32) for name in "classes features rates best normalize finetuned".split()])


class ClassifierRate(_Struct):
    _fields_ = [("struct_size", _u64)] + [(name, _f64) for name in
                                          "base_lr effective_lr top1 top5 train_loss test_loss".split()]


_READ = ctypes.CFUNCTYPE(_i32, _ptr, _i64, ctypes.POINTER(_ptr), ctypes.POINTER(_u64))
_ROWS = ctypes.CFUNCTYPE(_i32, _ptr, _i64, ctypes.POINTER(_i64), ctypes.POINTER(ctypes.c_float))
_LOG = ctypes.CFUNCTYPE(None, _ptr, _i32, _text)

_CANCELLED = 14
_ARCH_RECIPE = -1
_TAPS = {"backbone": 0, "projection": 1}
_LAYOUTS = {"nchw": 0, "nhwc": 1}
_FINETUNE_OPTIMIZERS = {"sgd": 0, "adamw": 3}
_PROTOCOLS = {"v1": 0, "v3": 1, "cached": 2}
_FORMATS = {("rgb", 3): 0, ("bgr", 3): 1, ("rgb", 4): 2}

# ---- the library ----

# Functions that return a status, with their arguments; ctypes then checks counts and widths for us.
_STATUS_CALLS = {
    "build_info": [_ptr, _u64, _ptr],
    "device_create": [_ptr, _ptr], "device_info": [_ptr, _ptr, _u64, _ptr],
    "dataset_open": [_text, _ptr, _ptr],
    "cancel_create": [_ptr],
    "dataset_create": [_i64, _READ, _ptr, _ptr, _ptr, _ptr],
    "dataset_pixels": [_ptr, _i64, _i32, _i32, _ptr], "dataset_info": [_ptr, _ptr, _u64, _ptr],
    "dataset_views": [_ptr, _ptr, _i64, _i64, _ptr],
    "model_load": [_text, _ptr, _ptr, _ptr],
    "model_load_memory": [_ptr, _u64, _ptr, _ptr, _ptr], "model_save": [_ptr, _text],
    "model_save_memory": [_ptr, _ptr, _u64, _ptr], "model_info": [_ptr, _ptr, _u64, _ptr],
    "model_embed_encoded": [_ptr, _i64, _ptr, _ptr, _ptr, _ptr],
    "model_embed_pixels": [_ptr, _i64, _ptr, _ptr, _ptr], "model_embed_tensor": [_ptr, _i64, _ptr, _ptr, _ptr],
    "model_embed_dataset": [_ptr, _ptr, _ptr, _ROWS, _ptr], "model_embed_to_npy": [_ptr, _ptr, _text, _ptr, _ptr],
    "queue_create": [_ptr, _ptr, _ptr], "queue_enqueue": [_ptr, _i64, _ptr],
    "queue_keys": [_ptr, _ptr, _ptr], "queue_restore": [_ptr, _ptr, _i64],
    "queue_contrast": [_ptr, _i64, _ptr, _ptr, _ptr, _ptr],
    "index_create": [_i32, _ptr, _ptr, _ptr], "index_add": [_ptr, _i64, _ptr, _ptr],
    "index_search": [_ptr, _i64, _ptr, _ptr, _ptr, _ptr],
    "index_classify": [_ptr, _i64, _ptr, _ptr, _ptr],
    "index_load_npy": [_text, _ptr, _ptr, _ptr], "index_save_npy": [_ptr, _text],
    "knn_measure": [_ptr, _ptr, _ptr, _ptr, _ptr],
    "probe_train": [_ptr, _ptr, _ptr, _ptr, _ptr],
    "finetune_train": [_ptr, _ptr, _ptr, _ptr, _ptr],
    "classifier_result": [_ptr, _ptr], "classifier_rate": [_ptr, _i32, _ptr], "classifier_confusion": [_ptr, _ptr],
    "classifier_weights": [_ptr, _ptr, _ptr], "classifier_model": [_ptr, _ptr],
    "classifier_info": [_ptr, _ptr, _u64, _ptr], "classifier_save": [_ptr, _text],
    "classifier_load": [_text, _ptr, _ptr, _ptr],
    "trainer_options_load": [_text, _ptr, _u64],
    "trainer_plan": [_ptr, _ptr, _ptr, _u64, _ptr],
    "trainer_create": [_ptr, _ptr, _ptr], "trainer_push_views": [_ptr, _i64, _ptr, _ptr, _i32],
    "trainer_push_pixels": [_ptr, _i64, _ptr], "trainer_push_encoded": [_ptr, _i64, _ptr, _ptr],
    "trainer_step": [_ptr, _ptr, _ptr],
    "trainer_run": [_ptr, _ptr, _ptr, _text, _ptr], "trainer_steps": [_ptr, _ptr, _i64, _ptr, _ptr],
    "trainer_snapshot": [_ptr, _ptr, _ptr, _ptr], "trainer_save": [_ptr, _text], "trainer_load": [_text, _ptr, _ptr, _ptr],
    "trainer_options_get": [_ptr, _ptr, _u64], "trainer_state": [_ptr, _ptr, _u64, _ptr],
    "shuffle_permutation": [_u64, _i64, _i32, _ptr],
    "convert": [_text, _text, _ptr, _ptr, _u64, _ptr],
    "file_info": [_text, _ptr, _u64, _ptr],
}
# Every options struct is filled, set by name and shown in the same way.
_OPTIONS = {"device": DeviceOptions, "dataset": DatasetOptions, "model": ModelOptions, "embed": EmbedOptions,
            "convert": ConvertOptions, "index": IndexOptions, "search": SearchOptions, "classify": ClassifyOptions,
            "knn": KnnOptions, "queue": QueueOptions, "contrast": ContrastOptions, "run": RunOptions,
            "snapshot": SnapshotOptions, "probe": ProbeOptions, "finetune": FinetuneOptions,
            "trainer": TrainerOptions}
_PRESETS = {"probe": [_i32], "finetune": [_i32], "trainer": [_i32, _i32]}
for _kind in _OPTIONS:
    _STATUS_CALLS[_kind + "_options_init"] = [_ptr, _u64] + _PRESETS.get(_kind, [])
    _STATUS_CALLS[_kind + "_options_set"] = [_ptr, _text, _text]
    _STATUS_CALLS[_kind + "_options_json"] = [_ptr, _ptr, _u64, _ptr]
# The others: result, arguments.
_OTHER_CALLS = {
    "version_number": (_i32, []), "version_string": (_text, []), "memory_left": (_u64, [_ptr, _u64]), "status_name": (_text, [_i32]),
    "last_message": (_text, []), "set_log": (None, [_LOG, _ptr, _i32]), 
    "recipe_number": (_i32, [_text]), "recipe_count": (_i32, []), "recipe_name": (_text, [_i32]),
    "cancel_request": (None, [_ptr]), "cancel_requested": (_i32, [_ptr]), "cancel_reset": (None, [_ptr]),
    "cancel_free": (None, [_ptr]), "trainer_step_number": (_i64, [_ptr]), "trainer_discard": (_i64, [_ptr]),
    "dataset_count": (_i64, [_ptr]), "dataset_classes": (_i32, [_ptr]), "dataset_name": (_text, [_ptr, _i64]),
    "dataset_label": (_i32, [_ptr, _i64]), "dataset_class_name": (_text, [_ptr, _i32]),
    "dataset_broken_count": (_i64, [_ptr]), "dataset_broken_reason": (_text, [_ptr, _i64]),
    "classifier_class_name": (_text, [_ptr, _i32]), "classifier_free": (None, [_ptr]),
    "model_dimension": (_i32, [_ptr, _i32]), "model_image_size": (_i32, [_ptr]), "queue_length": (_i64, [_ptr]),
    "queue_dimension": (_i32, [_ptr]), "queue_pointer": (_i64, [_ptr]), "index_count": (_i64, [_ptr]),
    "index_dimension": (_i32, [_ptr]),
    "device_free": (None, [_ptr]), "dataset_free": (None, [_ptr]), "model_free": (None, [_ptr]),
    "queue_free": (None, [_ptr]), "index_free": (None, [_ptr]), "trainer_free": (None, [_ptr]),
}


def _library_path():
    if "MOCO_LIBRARY" in os.environ:
        return os.path.abspath(os.environ["MOCO_LIBRARY"])
    here = os.path.dirname(os.path.abspath(__file__))
    built = os.path.join(here, "..", "..", "build", "libmoco.so")
    return built if os.path.exists(built) else ctypes.util.find_library("moco") or "libmoco.so.0"


def _open_library():
    library = ctypes.CDLL(_library_path())
    for name, arguments in _STATUS_CALLS.items():
        function = getattr(library, "moco_" + name)
        function.restype, function.argtypes = _i32, arguments
    for name, (result, arguments) in _OTHER_CALLS.items():
        function = getattr(library, "moco_" + name)
        function.restype, function.argtypes = result, arguments
    return library


_lib = _open_library()


_log = logging.getLogger("moco")
_thread = threading.local()
_LEVELS = {0: logging.ERROR, 1: logging.WARNING, 2: logging.INFO, 3: logging.DEBUG}
_write_log = _LOG(lambda _user, level, line: _log.log(_LEVELS.get(level, logging.DEBUG), "%s", os.fsdecode(line)))


def _listen():
    """The library keeps its log sink per thread: the first call of each sets it."""
    if not getattr(_thread, "listens", False):
        _lib.moco_set_log(_write_log, None, 1)
        _thread.listens = True


def _raise(status):
    raise MocoError(status, _lib.moco_status_name(status).decode(), _lib.moco_last_message().decode(errors="replace"))


def _call(name, *arguments):
    _listen()
    status = getattr(_lib, "moco_" + name)(*arguments)
    if status != 0:
        _raise(status)


def _json(name, *arguments):
    needed = _u64()
    _call(name, *arguments, None, 0, ctypes.byref(needed))
    while True:  # the text of a living object may have grown in between
        text = ctypes.create_string_buffer(needed.value + 256)
        status = getattr(_lib, "moco_" + name)(*arguments, text, len(text), ctypes.byref(needed))
        if status == 0:
            return json.loads(text.value.decode())
        if needed.value <= len(text):
            _raise(status)


def _options(kind, values, *preset):
    """The options struct `kind` with its defaults, those of a preset where it has some, and then `values` by name."""
    options = _OPTIONS[kind]()
    _call(kind + "_options_init", ctypes.byref(options), ctypes.sizeof(options), *preset)
    return _set_options(kind, options, values)


def _set_options(kind, options, values):
    """Callbacks and handles are stored; everything else is text that the library reads and checks. None: as it is."""
    types = dict(options._fields_)
    for name, value in values.items():
        if value is None:
            continue
        if types.get(name) is _ptr or issubclass(types.get(name, _i32), ctypes._CFuncPtr):
            setattr(options, name, getattr(value, "_as_parameter_", value))
        else:
            _call(kind + "_options_set", ctypes.byref(options), name.encode(), _option_text(value).encode())
    return options


def _option_text(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return ",".join(map(_option_text, value))
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _choice(table, value, what):
    if value not in table:
        raise ValueError("%s is %r, expected one of %s" % (what, value, ", ".join(map(repr, table))))
    return table[value]


def _floats(array, shape, what):
    """float32 in C order; None in `shape` allows any size."""
    array = np.ascontiguousarray(array, np.float32)
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape)):
        wanted = ["any" if size is None else size for size in shape]
        raise ValueError("%s is %s, expected %s" % (what, list(array.shape), wanted))
    return array


def _address(array):
    return array.ctypes.data if array is not None else None


def _path(path):
    return None if path is None else os.fsencode(path)


class _Caught:
    """Callbacks run inside a C call, which an exception must not cross: it stops the call and is raised afterwards."""

    def __init__(self):
        self.error = None
        _listen()

    def guard(self, function):
        def guarded(*arguments):
            try:
                return 1 if function(*arguments) else 0
            except BaseException as error:  # KeyboardInterrupt too
                self.error = error
                return 1
        return guarded

    def finish(self, status):
        """True when the call ended by itself, False when a callback asked to stop."""
        if self.error is not None:
            raise self.error
        if status not in (0, _CANCELLED):
            _raise(status)
        return status == 0


def _progress(caught, progress):
    """A C callback for progress(done, total); None stays None."""
    if progress is None:
        return None
    return _PROGRESS(caught.guard(lambda _user, done, total: progress(done, total)))


class _Handle:
    """Owns one C object. Close it, use it as a context, or leave it to the garbage collector."""
    _free = None

    def __init__(self, handle):
        self._handle = handle

    @property
    def _as_parameter_(self):
        if not self._handle:
            raise ValueError("%s is closed" % type(self).__name__)
        return self._handle

    def close(self):
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            getattr(_lib, self._free)(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if _lib is not None:
            self.close()


def _create(name, *arguments):
    out = _ptr()
    _call(name, *arguments, ctypes.byref(out))
    return out.value


def _images(images, order):
    """An array of moco_image_t and what must stay alive as long as it."""
    structs, kept = (Image * len(images))(), []
    for struct, pixels in zip(structs, images):
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise ValueError("an image is %s %s, expected uint8 [H,W], [H,W,3] or [H,W,4]"
                             % (pixels.dtype, pixels.shape))
        depth = 1 if pixels.ndim == 2 else pixels.shape[2]
        struct.struct_size = ctypes.sizeof(Image)
        struct.format = 3 if depth == 1 else _choice(_FORMATS, (order, depth), "(order, channels)")
        tight = (1,) if pixels.ndim == 2 else (depth, 1)
        if pixels.strides[1:] != tight or pixels.strides[0] < pixels.shape[1] * depth:
            pixels = np.ascontiguousarray(pixels)
        struct.planes[0], struct.strides[0] = pixels.ctypes.data, pixels.strides[0]
        struct.height, struct.width = pixels.shape[:2]
        kept.append(pixels)
    return structs, kept


def _encoded(files):
    """Arrays of the addresses and sizes of files in memory; the first keeps the bytes alive."""
    files = [bytes(file) for file in files]
    return (ctypes.c_char_p * len(files))(*files), (_u64 * len(files))(*map(len, files))


def _model_options(values):
    return _options("model", _channels(values))


def _channels(values):
    """`values` with mean and std, which are triples, as the three options that each of them is."""
    values = dict(values)
    for name in ("mean", "std"):
        triple = values.pop(name, None)
        values.update((name + "_" + channel, value) for channel, value in zip("rgb", () if triple is None else triple))
    return values


# ---- objects ----

class Device(_Handle):
    """Worker threads that models, trainers, queues and indexes may share; lanes=0 takes what the process may use.
    training_percent is the lane time that training keeps while embeddings wait too."""
    _free = "moco_device_free"

    def __init__(self, lanes=0, kind="cpu", training_percent=50):
        options = _options("device", dict(lanes=lanes, kind=kind, training_percent=training_percent))
        super().__init__(_create("device_create", ctypes.byref(options)))

    def info(self):
        return _json("device_info", self)


class Cancel(_Handle):
    """Stops the calls that got it as `cancel`, from any thread: request() makes them raise MocoError (a trainer's run
    returns False, as after its progress). reset() takes the request back."""
    _free = "moco_cancel_free"

    def __init__(self):
        super().__init__(_create("cancel_create"))

    def request(self):
        _lib.moco_cancel_request(self)

    @property
    def requested(self):
        return bool(_lib.moco_cancel_requested(self))

    def reset(self):
        _lib.moco_cancel_reset(self)


class Dataset(_Handle):
    """JPEGs of a folder, a .tar or a list file; Dataset.from_images for those that are elsewhere."""
    _free = "moco_dataset_free"

    def __init__(self, path, **options):
        """options: limit, max_pixels, max_bytes."""
        filled = _options("dataset", options)
        super().__init__(_create("dataset_open", _path(path), ctypes.byref(filled)))

    @classmethod
    def from_images(cls, images, labels=None, count=None, **options):
        """`images`: a list of JPEG files as bytes, or a function of the index that returns one (then with `count`); an
        exception or None marks the image as broken."""
        fetch = images if callable(images) else images.__getitem__
        count = len(images) if count is None else count
        alive = threading.local()

        def read(_user, index, data, size):
            try:
                jpeg = bytes(fetch(index))
            except Exception:
                return 1
            alive.jpeg = jpeg  # until the library has copied it, which is before its next call on this thread
            data[0] = ctypes.cast(ctypes.c_char_p(jpeg), _ptr)
            size[0] = len(jpeg)
            return 0

        filled = _options("dataset", options)
        if labels is not None:
            labels = np.ascontiguousarray(labels, np.int32)
            if labels.shape != (count,):
                raise ValueError("labels are %s, expected [%d]" % (list(labels.shape), count))
        self = cls.__new__(cls)
        self._read = _READ(read)
        _Handle.__init__(self, _create("dataset_create", count, self._read, None, _address(labels),
                                       ctypes.byref(filled)))
        return self

    def __len__(self):
        return _lib.moco_dataset_count(self)

    @property
    def names(self):
        return [os.fsdecode(_lib.moco_dataset_name(self, i)) for i in range(len(self))]

    @property
    def labels(self):
        return np.array([_lib.moco_dataset_label(self, i) for i in range(len(self))], np.int32)

    @property
    def classes(self):
        return [os.fsdecode(_lib.moco_dataset_class_name(self, i)) for i in range(_lib.moco_dataset_classes(self))]

    @property
    def broken(self):
        """{index: reason} of the images that were found to be broken so far."""
        reasons = ((i, _lib.moco_dataset_broken_reason(self, i)) for i in range(len(self)))
        return {i: reason.decode(errors="replace") for i, reason in reasons if reason is not None}

    def pixels(self, index, resize, size):
        """[size, size, 3] uint8 after the evaluation transform."""
        out = np.empty((size, size, 3), np.uint8)
        _call("dataset_pixels", self, index, resize, size, _address(out))
        return out

    def info(self):
        return _json("dataset_info", self)


class Model(_Handle):
    """A finished encoder. Any number of threads may call it at once. Rows: [count, dimension] float32."""
    _free = "moco_model_free"

    def __init__(self, path, device=None, **options):
        """options: encoder ("query" or "key", of a training checkpoint), drop_head, image_size, eval_resize, vit_heads,
        memory_cap, mean, std."""
        filled = _model_options(options)
        super().__init__(_create("model_load", _path(path), ctypes.byref(filled), device))

    @classmethod
    def from_bytes(cls, data, device=None, **options):
        """The same from the bytes of a file."""
        data, filled = bytes(data), _model_options(options)
        return cls._of(_create("model_load_memory", data, len(data), ctypes.byref(filled), device))

    @classmethod
    def _of(cls, handle):
        self = cls.__new__(cls)
        _Handle.__init__(self, handle)
        return self

    def save(self, path):
        _call("model_save", self, _path(path))

    def to_bytes(self):
        """The file that save() writes, as bytes."""
        needed = _u64()
        _call("model_save_memory", self, None, 0, ctypes.byref(needed))
        data = ctypes.create_string_buffer(needed.value)
        _call("model_save_memory", self, data, len(data), None)
        return data.raw

    def info(self):
        return _json("model_info", self)

    @property
    def image_size(self):
        return _lib.moco_model_image_size(self)

    def dimension(self, tap="backbone"):
        return _lib.moco_model_dimension(self, _choice(_TAPS, tap, "tap"))

    def _rows(self, count, tap):
        return np.zeros((count, self.dimension(tap)), np.float32)

    def _embed(self, name, count, images, tap, strict, **options):
        """rows; without `strict` (rows, {number: reason} of the images that could not be used)."""
        rows, failed = self._rows(count, tap), {}
        if not strict:
            def fail(_user, number, _status, reason):
                failed[number] = reason.decode(errors="replace")
            options["failed"] = _FAILED(fail)
        filled = _options("embed", dict(options, tap=tap))
        _call("model_embed_" + name, self, count, *images, ctypes.byref(filled), _address(rows))
        return rows if strict else (rows, failed)

    def embed_encoded(self, files, tap="backbone", strict=True, cancel=None):
        """`files`: image files (JPEG) as bytes. strict: a broken image raises. Otherwise returns (rows, failed): the row
        of a broken image is zero, and failed[number] says why."""
        data, sizes = _encoded(files)
        return self._embed("encoded", len(sizes), (data, sizes), tap, strict, cancel=cancel)

    def embed_pixels(self, images, tap="backbone", order="rgb", strict=True, cancel=None):
        """`images`: uint8 arrays [H,W,3], [H,W,4] or [H,W], each of its own size; order "rgb" or "bgr". strict as in
        embed_encoded."""
        structs, kept = _images(images, order)
        return self._embed("pixels", len(kept), (structs,), tap, strict, cancel=cancel)

    def embed_tensor(self, images, tap="backbone", layout="nchw", cancel=None):
        """`images`: float32 [count,3,S,S] or [count,S,S,3], of the model's size and already normalised."""
        size, code = self.image_size, _choice(_LAYOUTS, layout, "layout")
        images = _floats(images, (None, 3, size, size) if code == 0 else (None, size, size, 3), "images")
        return self._embed("tensor", len(images), (_address(images),), tap, True, layout=layout, cancel=cancel)

    def embed_dataset(self, dataset, tap="backbone", loader_threads=0, cancel=None):
        """(rows, indices) of the good images in listing order; dataset.broken has the others."""
        dimension, rows, indices, caught = self.dimension(tap), [], [], _Caught()

        def take(_user, count, numbers, values):
            rows.append(np.ctypeslib.as_array(values, (count, dimension)).copy())
            indices.append(np.ctypeslib.as_array(numbers, (count,)).copy())

        filled = _options("embed", dict(tap=tap, loader_threads=loader_threads, cancel=cancel))
        callback = _ROWS(caught.guard(take))
        status = _lib.moco_model_embed_dataset(self, dataset, ctypes.byref(filled), callback, None)
        if not caught.finish(status):
            _raise(status)
        return np.concatenate(rows), np.concatenate(indices)

    def embed_to_npy(self, dataset, path, tap="backbone", loader_threads=0, progress=None, cancel=None):
        """Writes `path`, its .txt and .skipped.txt; returns (rows written, images skipped). progress(done, total)."""
        result, caught = EmbedResult(struct_size=ctypes.sizeof(EmbedResult)), _Caught()
        filled = _options("embed", dict(tap=tap, loader_threads=loader_threads, progress=_progress(caught, progress),
                                        cancel=cancel))
        status = _lib.moco_model_embed_to_npy(self, dataset, _path(path), ctypes.byref(filled), ctypes.byref(result))
        if not caught.finish(status):
            _raise(status)
        return result.rows, result.skipped


Contrast = collections.namedtuple("Contrast", "loss d_queries top1 top5 chance_loss")


class Queue(_Handle):
    """The dictionary of keys and the InfoNCE loss against it, for networks of your own."""
    _free = "moco_queue_free"

    def __init__(self, length, dimension, seed=0, device=None):
        filled = _options("queue", dict(length=length, dimension=dimension, seed=seed))
        super().__init__(_create("queue_create", ctypes.byref(filled), device))
        self.length, self.dimension = length, dimension

    @property
    def pointer(self):
        return _lib.moco_queue_pointer(self)

    def enqueue(self, keys):
        keys = _floats(keys, (None, self.dimension), "keys")
        _call("queue_enqueue", self, len(keys), _address(keys))

    def contrast(self, queries, keys, temperature=0.2, gradient=True):
        """Loss in nats, its gradient by the queries (None without), top-1 and top-5 in percent."""
        queries = _floats(queries, (None, self.dimension), "queries")
        keys = _floats(keys, queries.shape, "keys")
        d_queries = np.empty_like(queries) if gradient else None
        filled = _options("contrast", dict(temperature=temperature, d_queries=_address(d_queries)))
        result = ContrastResult(struct_size=ctypes.sizeof(ContrastResult))
        _call("queue_contrast", self, len(queries), _address(queries), _address(keys), ctypes.byref(filled),
              ctypes.byref(result))
        return Contrast(result.loss, d_queries, result.top1, result.top5, result.chance_loss)

    def keys(self):
        """([K, D] keys, row that the next key overwrites)."""
        keys, pointer = np.empty((self.length, self.dimension), np.float32), _i64()
        _call("queue_keys", self, _address(keys), ctypes.byref(pointer))
        return keys, pointer.value

    def restore(self, keys, pointer):
        keys = _floats(keys, (self.length, self.dimension), "keys")
        _call("queue_restore", self, _address(keys), pointer)


class Index(_Handle):
    """Vectors for search by cosine and for the weighted k-nearest-neighbour classifier."""
    _free = "moco_index_free"

    def __init__(self, dimension, device=None, capacity=0):
        """capacity: vectors to take memory for at once."""
        filled = _options("index", dict(capacity=capacity))
        super().__init__(_create("index_create", dimension, ctypes.byref(filled), device))

    @classmethod
    def load(cls, path, device=None):
        self = cls.__new__(cls)
        _Handle.__init__(self, _create("index_load_npy", _path(path), None, device))
        return self

    def save(self, path):
        _call("index_save_npy", self, _path(path))

    def __len__(self):
        return _lib.moco_index_count(self)

    @property
    def dimension(self):
        return _lib.moco_index_dimension(self)

    def add(self, vectors, labels=None):
        vectors = _floats(vectors, (None, self.dimension), "vectors")
        if labels is not None:
            labels = np.ascontiguousarray(labels, np.int32)
            if labels.shape != (len(vectors),):
                raise ValueError("labels are %s, expected [%d]" % (list(labels.shape), len(vectors)))
        _call("index_add", self, len(vectors), _address(vectors), _address(labels))

    def search(self, queries, k, cancel=None):
        """(numbers, cosines), each [count, k], best first."""
        queries = _floats(queries, (None, self.dimension), "queries")
        ids, cosines = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        filled = _options("search", dict(k=k, cancel=cancel))
        _call("index_search", self, len(queries), _address(queries), ctypes.byref(filled), _address(ids),
              _address(cosines))
        return ids, cosines

    def classify(self, queries, k, classes, temperature=0.1, cancel=None):
        """[count, min(5, classes)] class numbers, best first."""
        queries = _floats(queries, (None, self.dimension), "queries")
        top = np.empty((len(queries), max(0, min(5, classes))), np.int32)
        filled = _options("classify", dict(k=k, classes=classes, temperature=temperature, cancel=cancel))
        _call("index_classify", self, len(queries), _address(queries), ctypes.byref(filled), _address(top))
        return top


class Classifier(_Handle):
    """A linear classifier with the backbone that it was trained on. Made by Probe and Finetune, or from a file."""
    _free = "moco_classifier_free"

    def __init__(self, path, device=None):
        """Of a file that save() has written."""
        super().__init__(_create("classifier_load", _path(path), None, device))

    def _train(self, name, model, train, test, options, progress):
        caught = _Caught()

        def after_batch(_user, report):
            copy = ClassifierReport()
            ctypes.memmove(ctypes.byref(copy), report, min(report.contents.struct_size, ctypes.sizeof(copy)))
            return progress(copy)

        options.progress, out = _LEARNING(caught.guard(after_batch)) if progress else _LEARNING(), _ptr()
        status = getattr(_lib, "moco_" + name)(model, train, test, ctypes.byref(options), ctypes.byref(out))
        _Handle.__init__(self, out.value)
        if not caught.finish(status):
            _raise(status)

    @property
    def result(self):
        result = ClassifierResult(struct_size=ctypes.sizeof(ClassifierResult))
        _call("classifier_result", self, ctypes.byref(result))
        return result

    @property
    def rates(self):
        """A ClassifierRate for each learning rate that was tried."""
        rates = [ClassifierRate(struct_size=ctypes.sizeof(ClassifierRate)) for _ in range(self.result.rates)]
        for number, rate in enumerate(rates):
            _call("classifier_rate", self, number, ctypes.byref(rate))
        return rates

    @property
    def classes(self):
        """The names of the classes."""
        return [os.fsdecode(_lib.moco_classifier_class_name(self, i)) for i in range(self.result.classes)]

    @property
    def model(self):
        """The backbone, as a Model."""
        return Model._of(_create("classifier_model", self))

    def confusion(self):
        """[C, C] test images of class (row) that were taken for class (column); not of a classifier from a file."""
        table = np.empty((self.result.classes, self.result.classes), np.int64)
        _call("classifier_confusion", self, _address(table))
        return table

    def weights(self):
        """([C, F] weights, [C] bias)."""
        result = self.result
        weights, bias = np.empty((result.classes, result.features), np.float32), np.empty(result.classes, np.float32)
        _call("classifier_weights", self, _address(weights), _address(bias))
        return weights, bias

    def info(self):
        return _json("classifier_info", self)

    def save(self, path):
        """Backbone and classifier as safetensors with torchvision's names."""
        _call("classifier_save", self, _path(path))


def probe_options(protocol="cached", **values):
    """A protocol's ProbeOptions with some fields changed; `base_lr` is one learning rate or several."""
    return _options("probe", values, _choice(_PROTOCOLS, protocol, "protocol"))


class Probe(Classifier):
    """A linear classifier trained on a model's frozen features."""

    def __init__(self, model, train, test, protocol="cached", progress=None, **options):
        """options: base_lr (one or several), epochs, batch_size, seed, normalize, eval_every and the other fields of
        ProbeOptions. progress(ClassifierReport) after every batch; something true stops (and raises MocoError)."""
        self._train("probe_train", model, train, test, probe_options(protocol, **options), progress)


def finetune_options(optimizer="adamw", **values):
    """An optimizer's FinetuneOptions with some fields changed."""
    return _options("finetune", values, _choice(_FINETUNE_OPTIMIZERS, optimizer, "optimizer"))


class Finetune(Classifier):
    """A copy of a model's backbone, trained with a classifier on labelled images."""

    def __init__(self, model, train, test, optimizer="adamw", progress=None, **options):
        """options: base_lr, epochs, batch_size, mixup, drop_path, seed, eval_every and the other fields of
        FinetuneOptions. progress(ClassifierReport) after every step; something true stops (and raises MocoError)."""
        self._train("finetune_train", model, train, test, finetune_options(optimizer, **options), progress)


def trainer_options(recipe="moco-v2", **values):
    """A recipe's TrainerOptions for `arch`, with some fields changed; enumerations by name, as in arch="resnet18"."""
    arch = _options("trainer", values, _recipe(recipe), _ARCH_RECIPE).arch
    return _options("trainer", values, _recipe(recipe), arch)  # of the architecture that was asked for


def checkpoint_options(path):
    """The TrainerOptions that a training checkpoint was made with."""
    options = TrainerOptions()
    _call("trainer_options_load", _path(path), ctypes.byref(options), ctypes.sizeof(options))
    return options


def recipes():
    """The names of the recipes, by number."""
    return [_lib.moco_recipe_name(i).decode() for i in range(_lib.moco_recipe_count())]


def options_json(options):
    """All fields of any options struct but callbacks and handles, enumerations by name."""
    kind = next(kind for kind, struct in _OPTIONS.items() if isinstance(options, struct))
    return _json(kind + "_options_json", ctypes.byref(options))


def plan(options, device=None):
    """The memory a trainer with these TrainerOptions would take, in bytes, without taking it."""
    return _json("trainer_plan", ctypes.byref(options), device)


def _recipe(name):
    number = _lib.moco_recipe_number(name.encode())
    if number < 0:
        raise ValueError("no recipe '%s'" % name)
    return number


def _report():
    return StepReport(struct_size=ctypes.sizeof(StepReport))


class Trainer(_Handle):
    """A learning encoder. Trainer(recipe, device, name=value ...) for a new one, Trainer.load for a checkpoint."""
    _free = "moco_trainer_free"

    def __init__(self, recipe="moco-v2", device=None, **options):
        filled = trainer_options(recipe, **options)
        super().__init__(_create("trainer_create", ctypes.byref(filled), device))

    @classmethod
    def load(cls, path, device=None, overrides=None):
        """overrides: TrainerOptions equal to the saved ones but for memory_cap, loader_threads,
        max_broken and max_broken_percent."""
        self = cls.__new__(cls)
        _Handle.__init__(self, _create("trainer_load", _path(path), ctypes.byref(overrides) if overrides else None,
                                       device))
        return self

    def save(self, path):
        _call("trainer_save", self, _path(path))

    @property
    def options(self):
        options = TrainerOptions()
        _call("trainer_options_get", self, ctypes.byref(options), ctypes.sizeof(options))
        return options

    @property
    def step_number(self):
        """Steps done so far."""
        return _lib.moco_trainer_step_number(self)

    def state(self):
        return _json("trainer_state", self)

    def push_views(self, queries, keys, layout="nchw"):
        """Both float views of some images, normalised: [count,3,S,S] or [count,S,S,3]."""
        size, code = self.options.image_size, _choice(_LAYOUTS, layout, "layout")
        queries = _floats(queries, (None, 3, size, size) if code == 0 else (None, size, size, 3), "queries")
        keys = _floats(keys, queries.shape, "keys")
        _call("trainer_push_views", self, len(queries), _address(queries), _address(keys), code)

    def push_pixels(self, images, order="rgb"):
        """uint8 images as in Model.embed_pixels; the views are drawn by the library."""
        structs, kept = _images(images, order)
        _call("trainer_push_pixels", self, len(kept), structs)

    def push_encoded(self, files):
        """Image files (JPEG) as bytes; all or none are taken."""
        data, sizes = _encoded(files)
        _call("trainer_push_encoded", self, len(sizes), data, sizes)

    def discard(self):
        """Drops the pushed images and returns how many they were."""
        return _lib.moco_trainer_discard(self)

    def step(self):
        """One step on the pushed batch; returns a StepReport."""
        report = _report()
        _call("trainer_step", self, None, ctypes.byref(report))
        return report

    def steps(self, dataset, count, cancel=None):
        """`count` steps on a data set; returns the StepReport of the last."""
        report, filled = _report(), _options("run", dict(cancel=cancel))
        _call("trainer_steps", self, dataset, count, ctypes.byref(filled), ctypes.byref(report))
        return report

    def run(self, dataset, test=None, folder=None, progress=None, **options):
        """Trains to the end, or until progress(report) returns something true (then False is returned, and what was
        learnt is saved in `folder`). options: max_steps, save_every, eval_every, log_every, overwrite, cancel."""
        caught = _Caught()

        def after_step(_user, report):
            copy = StepReport()
            known = min(report.contents.struct_size, ctypes.sizeof(StepReport))
            ctypes.memmove(ctypes.byref(copy), report, known)
            return progress(copy)

        options["progress"] = _STEP(caught.guard(after_step)) if progress else None
        filled = _options("run", options)
        return caught.finish(_lib.moco_trainer_run(self, dataset, test, _path(folder), ctypes.byref(filled)))

    def snapshot(self, device=None, encoder="query", drop_head=False):
        """A Model of an encoder as it is now, independent of the trainer."""
        filled = _options("snapshot", dict(encoder=encoder, drop_head=drop_head))
        return Model._of(_create("trainer_snapshot", self, ctypes.byref(filled), device))


# ---- functions ----

def version():
    return _lib.moco_version_string().decode()


def build_info():
    return _json("build_info")


def memory_left():
    """Bytes that this process may still take, and what says so; (None, "") where nothing does."""
    source = ctypes.create_string_buffer(4200)
    left = _lib.moco_memory_left(source, len(source))
    return (None, "") if left == 2 ** 64 - 1 else (left, source.value.decode(errors="replace"))


def file_info(path):
    """What a file of tensors is: container, layout, encoder, epoch …"""
    return _json("file_info", _path(path))


def convert(source, target, to="encoder", encoder="query", head="auto", training=None, mean=None, std=None, **options):
    """Checkpoints of other programs in, or out under their names (docs/checkpoints.md): the report as a dictionary.

    to: encoder, training, torchvision, timm or detectron2. training: TrainerOptions of a run, for to="training". options:
    image_size, eval_resize, key_update, vit_heads, cancel."""
    options = _channels(dict(options, to=to, encoder=encoder, head=head, mean=mean, std=std))
    options["training"] = None if training is None else ctypes.addressof(training)
    filled, needed = _options("convert", options), _u64(65536)
    _listen()
    while True:  # a report that does not fit is refused before anything is written
        report = ctypes.create_string_buffer(needed.value)
        status = _lib.moco_convert(_path(source), _path(target), ctypes.byref(filled), report, len(report),
                                   ctypes.byref(needed))
        if status == 0:
            return json.loads(report.value.decode())
        if needed.value <= len(report):
            _raise(status)


def shuffle_permutation(seed, step, count):
    """The permutation that shuffles the keys of step `step` (0 = the first): position p encodes image result[p]."""
    out = np.empty(count, np.int32)
    _call("shuffle_permutation", seed, step, count, _address(out))
    return out


def dataset_views(dataset, index, options, epoch=0):
    """[2, S, S, 3] uint8: the two views of one image that a trainer with these TrainerOptions draws in `epoch`."""
    views = np.empty((2, options.image_size, options.image_size, 3), np.uint8)
    _call("dataset_views", dataset, ctypes.byref(options), epoch, index, _address(views))
    return views


def knn(model, bank, test, k=200, temperature=0.1, loader_threads=0, progress=None, cancel=None):
    """Weighted kNN accuracy: a KnnResult. progress(done, total); something true stops (and raises MocoError)."""
    result, caught = KnnResult(struct_size=ctypes.sizeof(KnnResult)), _Caught()
    filled = _options("knn", dict(k=k, temperature=temperature, loader_threads=loader_threads,
                                  progress=_progress(caught, progress), cancel=cancel))
    status = _lib.moco_knn_measure(model, bank, test, ctypes.byref(filled), ctypes.byref(result))
    if not caught.finish(status):
        _raise(status)
    return result

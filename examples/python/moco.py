"""libmoco for Python: ctypes underneath, NumPy arrays in and out, nothing to compile.

    import moco
    data = moco.Dataset("photos")
    trainer = moco.Trainer("moco-v2", arch="resnet18", batch_size=64, bn_groups=2)
    trainer.run(data, folder="run", progress=lambda report: print(report.step, report.loss))
    rows, indices = trainer.snapshot().embed_dataset(data)

A call that fails raises MocoError with the library's status and message; the library's warnings (a
queue longer than the data set, a loss that stays at chance, ...) go to the logger "moco". The
library is the file named by the environment variable MOCO_LIBRARY, else the one in a build folder
of this source tree, else the one that was installed with this file, else the system's. Calls
release Python's global lock; which object may be used by several threads at once is said in
docs/threads.md.

Functions that are given to a call run on the thread that made it. `return moco.STOP` stops the
call, any other value does not; an exception stops it too, and is raised as it is. Signals are
handled while a call is at work: Ctrl-C and any handler that raises stop it (a run saves first), and
the exception is raised; a handler that returns disturbs nothing.
"""
import atexit
import collections
import ctypes
import ctypes.util
import functools
import glob
import json
import logging
import operator
import os
import queue as queues
import sys
import threading
import time
import weakref

import numpy as np

_i32, _i64, _u64, _f64 = ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64, ctypes.c_double
_ptr, _text = ctypes.c_void_p, ctypes.c_char_p


class MocoError(RuntimeError):
    """A failed call: `status` (number), `name` (such as "MOCO_ERR_IO") and `message`."""

    def __init__(self, status, name, message):
        super().__init__("%s: %s" % (name, message))
        self.status, self.name, self.message = status, name, message

    def __reduce__(self):
        return type(self), (self.status, self.name, self.message)


class _Stop:
    def __repr__(self):
        return "moco.STOP"

    def __reduce__(self):
        return "STOP"


STOP = _Stop()  # what a progress function returns to stop its call


# ---- structs, field by field as in include/moco/*.h ----

class _Struct(ctypes.Structure):
    def as_dict(self):
        return {name: getattr(self, name) for name, _ in self._fields_ if name != "struct_size"}


def _fields(*runs):
    """(type, "names of it in a row"), ... as ctypes wants them."""
    return [(name, kind) for kind, names in runs for name in names.split()]


class DeviceOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("kind", _i32), ("lanes", _i32), ("training_percent", _i64),
                ("number", _i64)]


class DatasetOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("limit", _i64), ("max_pixels", _i64), ("max_bytes", _i64)]


class Image(_Struct):
    _fields_ = ([("struct_size", _u64), ("planes", _ptr * 4), ("strides", _i64 * 4)]
                + [(name, _i32) for name in "width height format channels plane_count bit_depth".split()])


_PROGRESS = ctypes.CFUNCTYPE(_i32, _ptr, _i64, _i64)
_FAILED = ctypes.CFUNCTYPE(None, _ptr, _i64, _i32, _text)


class ModelOptions(_Struct):
    _fields_ = ([("struct_size", _u64)] + [(name, _f64) for name in "mean_r mean_g mean_b std_r std_g std_b".split()]
                + [(name, _i32) for name in "encoder drop_head image_size eval_resize vit_heads precision".split()]
                + [("memory_cap", _i64), ("prefix", _text)])


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
                ("k", _i64), ("loader_threads", _i32), ("tap", _i32)]


class SnapshotOptions(_Struct):
    _fields_ = [("struct_size", _u64), ("encoder", _i32), ("drop_head", _i32)]


class TrainerOptions(_Struct):
    _fields_ = _fields(
        (_u64, "struct_size"),
        (_i32, "recipe arch stem image_size"),
        (_f64, "width"),
        (_i32, """zero_init_residual patch_size vit_depth vit_heads vit_norm freeze_patch loss loss_scale symmetric
            predictor"""),
        (_f64, "temperature key_momentum"),
        (_i32, "momentum_schedule execution"),
        (_i64, "queue_length"),
        (_i32, """head head_width head_layers dimension batch_size bn_groups membership shuffle bn_running shard
            optimizer lr_scaling"""),
        (_f64, "base_lr weight_decay sgd_momentum lars_trust adam_beta1 adam_beta2 adam_epsilon"),
        (_i32, "epochs steps_per_epoch warmup_epochs schedule schedule_unit first_epoch milestone_1 milestone_2"),
        (_f64, "lr_factor"),
        (_i32, "views resize_filter crop_tries blur_form"),
        (_f64, """crop_min_area crop_max_area jitter_brightness jitter_contrast jitter_saturation jitter_hue
            jitter_probability gray_probability blur_probability blur_probability_2 blur_sigma_min blur_sigma_max
            solarize_probability solarize_probability_2 flip_probability mean_r mean_g mean_b std_r std_g std_b"""),
        (_u64, "seed"),
        (_i64, "memory_cap max_broken"),
        (_i32, "max_broken_percent loader_threads precision reserved"))


class ConvertOptions(_Struct):
    _fields_ = ([("struct_size", _u64), ("cancel", _ptr), ("training", _ptr)]
                + [(name, _f64) for name in "mean_r mean_g mean_b std_r std_g std_b".split()]
                + [(name, _i32) for name in """to encoder head image_size eval_resize key_update
                   vit_heads reserved""".split()] + [("prefix", _text)])


class StepReport(_Struct):
    """What one step did; `loss` in nats beside `chance_loss` (that of equal logits), accuracies in
    percent, times in seconds. Of a method without negatives `chance_loss`, `contrast_top1` and
    `contrast_top5` are None."""
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
                ("save_every", _i64), ("save_minutes", _f64), ("eval_every", _i32), ("log_every", _i32),
                ("overwrite", _i32), ("reserved", _i32)]


class KnnResult(_Struct):
    _fields_ = [("struct_size", _u64), ("top1", _f64), ("top5", _f64), ("k", _i64), ("bank", _i64), ("queries", _i64),
                ("chance", _f64)]


class ClassifierReport(_Struct):
    """Where training is: `phase` 0 features of the test set, 1 of the training set, 2 training;
    top1 and top5 in percent, -1 where not measured just now."""
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

_CANCELLED, _FORKED = 14, 11
_ARCH_RECIPE = -1
_TAPS = {"backbone": 0, "projection": 1}
_LAYOUTS = {"nchw": 0, "nhwc": 1}
_FINETUNE_OPTIMIZERS = {"sgd": 0, "adamw": 3}
_PROTOCOLS = {"v1": 0, "v3": 1, "cached": 2}
_FORMATS = {("rgb", 3): 0, ("bgr", 3): 1, ("rgb", 4): 2, ("rgb", 1): 3, ("bgr", 1): 3}

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
    "model_file_info": [_text, _ptr, _ptr, _u64, _ptr],
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
    "trainer_snapshot": [_ptr, _ptr, _ptr, _ptr], "trainer_save": [_ptr, _text],
    "trainer_load": [_text, _ptr, _ptr, _ptr],
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
    "version_number": (_i32, []), "version_string": (_text, []), "memory_left": (_u64, [_ptr, _u64]),
    "status_name": (_text, [_i32]),
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


def _library_places():
    """Where the library is looked for, in this order; the last one is for the system's loader to
    find."""
    if "MOCO_LIBRARY" in os.environ:
        return [os.path.abspath(os.environ["MOCO_LIBRARY"])]
    here = os.path.dirname(os.path.abspath(__file__))
    up = os.path.join(here, os.pardir, os.pardir)
    built = os.path.normpath(os.path.join(up, "build", "libmoco.so"))
    installed = os.path.normpath(os.path.join(up, os.pardir, "lib", "libmoco.so.0"))
    beside = sorted(glob.glob(os.path.join(glob.escape(os.path.dirname(installed)), "*", "libmoco.so.0")))
    return [built, installed] + beside + [ctypes.util.find_library("moco") or "libmoco.so.0"]


def _library_path():
    places = _library_places()
    return next((place for place in places if os.path.exists(place)), places[-1])


def _open_library():
    path = _library_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        tried = "it is now %s" if "MOCO_LIBRARY" in os.environ else "it is not set, and these were tried: %s"
        raise ImportError("libmoco cannot be loaded: %s. Set the environment variable MOCO_LIBRARY to the file "
                          "libmoco.so.0; %s" % (error, tried % ", ".join(_library_places()))) from None
    calls = [(name, _i32, arguments) for name, arguments in _STATUS_CALLS.items()]
    calls += [(name, result, arguments) for name, (result, arguments) in _OTHER_CALLS.items()]
    for name, result, arguments in calls:
        try:
            function = getattr(library, "moco_" + name)
        except AttributeError:
            raise ImportError("%s has no function moco_%s, which this moco.py calls: they belong to different versions"
                              % (path, name)) from None
        function.restype, function.argtypes = result, arguments
    return library


_lib = _open_library()

# ---- handles ----


# What a function of a call may do with an object that its call is changing, between two steps.
_READS = {"trainer_snapshot", "trainer_save", "trainer_state", "trainer_options_get"}


class _Shared:
    """A C object and those who need it: open handles and calls at work. The last of them frees it,
    so that closing a handle never takes an object away from another thread's call. An exception of
    a signal's handler may end any function here at any point: what is counted of a call therefore
    goes with it."""
    lock = threading.RLock()  # a destructor or a signal handler may come in at any point

    def __init__(self, pointer, free, kept):
        self.pointer, self.free, self.kept = pointer, getattr(_lib, free), kept
        self.handles = 1
        self.calls = {}  # of a call at work its address: the work, and whether it must be alone

    def enter(self, work, alone):
        """False when it is freed; RuntimeError when a call is at work that cannot be joined: one of
        another thread, or one of this thread that a signal's handler has come into. Functions of a
        call may go on with its objects, but of one that serves one thread at a time they may only
        ask: it is in the middle of what the call does."""
        with self.lock:
            for reference, exclusive in list(self.calls.values()):
                other = reference()
                if other is None or not (alone or exclusive):
                    continue
                if not (other.outside and other.thread == work.thread):
                    raise RuntimeError("a call is at work on this object, which serves one thread at a time")
                if alone and exclusive and work.name not in _READS:
                    raise RuntimeError("moco_%s would change the object that this function's own call works on"
                                       % work.name)
            if self.pointer:
                self.calls[id(work)] = weakref.ref(work), alone
        return bool(self.pointer)

    def leave(self, work):
        with self.lock:
            self.calls.pop(id(work), None)
        self._free_unused()

    def join(self):
        with self.lock:
            if self.pointer:
                self.handles += 1
        return bool(self.pointer)

    def drop(self):
        with self.lock:
            self.handles -= 1
        self._free_unused()

    def _free_unused(self):
        pointer = None
        with self.lock:
            if self.handles == 0 and all(work() is None for work, _ in list(self.calls.values())):
                pointer, self.pointer = self.pointer, None
        if pointer:
            self.free(pointer)


_garbage = queues.SimpleQueue()  # what told that a handle was collected
_lasts = {}                      # by address: those that have not told yet
_reapers = []                    # generations of processes that have a thread for it


class _Last(weakref.ref):
    """Tells that a handle was collected, by a function of C alone: an exception of a signal's
    handler that comes while a destructor written in Python runs would be lost."""

    def __new__(cls, handle, shared):
        self = super().__new__(cls, handle, _garbage.put)
        self.shared = shared
        _lasts[id(self)] = self
        return self

    def __init__(self, handle, _shared):
        super().__init__(handle, _garbage.put)

    def drop(self):
        """Once, by whoever comes first."""
        if _lasts.pop(id(self), None) is not None:
            self.shared.drop()


def _reap():
    """Frees what was collected, when it is."""
    while True:
        _garbage.get().drop()


def _reap_now():
    """Before something is made that may need the memory."""
    if _generation[0] not in _reapers:
        _reapers.append(_generation[0])
        try:
            threading.Thread(target=_reap, name="moco free", daemon=True).start()
        except RuntimeError:
            pass  # the next call that makes something looks
    try:
        while True:
            _garbage.get_nowait().drop()
    except queues.Empty:
        pass


class _Handle:
    """Owns one C object. Close it, use it as a context, or leave it to the garbage collector.
    Closing it while another thread's call is at work is fine: that call ends as it would have, and
    the object is freed behind it."""
    _free = None
    _alone = False  # True: one thread at a time
    _instead = "make another one"
    _shared = None

    def __init__(self, pointer, kept=None):
        self._share(_Shared(pointer, self._free, kept))

    def _share(self, shared):
        self._last = _Last(self, shared)
        self._shared = shared

    def _open(self):
        """What is behind an open handle."""
        shared = self._shared
        if shared is None:
            raise ValueError("%s is closed" % type(self).__name__)
        return shared

    @property
    def closed(self):
        return self._shared is None

    def close(self):
        last, self._shared = self.__dict__.pop("_last", None), None
        if last is not None:
            last.drop()

    def __enter__(self):
        self._open()
        return self

    def __exit__(self, *_):
        self.close()

    def __reduce_ex__(self, _protocol):
        raise TypeError("a moco.%s cannot be copied or pickled: %s" % (type(self).__name__, self._instead))


def _need(value, kind, what, optional=False):
    """`value`, which must be an open handle of this kind."""
    if value is None and optional:
        return None
    if not isinstance(value, kind):
        raise TypeError("%s is a %s, expected a moco.%s" % (what, type(value).__name__, kind.__name__))
    value._open()
    return value


# ---- calls ----

_log = logging.getLogger("moco")
_thread = threading.local()
_LEVELS = {0: logging.ERROR, 1: logging.WARNING, 2: logging.INFO, 3: logging.DEBUG}


def _write_line(level, line):
    _log.log(_LEVELS.get(level, logging.DEBUG), "%s", os.fsdecode(line))


def _hear(_user, level, line):
    work = getattr(_thread, "work", None)
    if work is None or work.given_up:
        _write_line(level, line)
    else:
        work.ask(_write_line, (level, line), None)


_write_log = _LOG(_hear)


def _listen():
    """The library keeps its log sink per thread: the first call of each sets it."""
    if not getattr(_thread, "listens", False):
        _lib.moco_set_log(_write_log, None, 1)
        _thread.listens = True


def _function(kind, function, stopped=1):
    """A C callback that runs a function of the user where the call was made. `stopped` is what it
    returns to stop."""
    return kind(lambda *arguments: _thread.work.ask(function, arguments, stopped))


_tokens = []  # moco_cancel_t that no call uses


def _token():
    """A moco_cancel_t without a request."""
    try:
        return _tokens.pop()
    except IndexError:
        out = _ptr()
        if _lib.moco_cancel_create(ctypes.byref(out)) != 0:
            raise MemoryError("no memory for a call") from None
        return out.value


_WIDTHS = {_i32: (-1 << 31, 1 << 31), _i64: (-1 << 63, 1 << 63), _u64: (0, 1 << 64)}


def _address(array):
    return array.__array_interface__["data"][0]  # `ctypes` of an array imports, which fails while Python ends


def _plain(name, number, kind, value):
    """An argument as ctypes takes it; a number must fit, since ctypes would cut off its high
    bits."""
    if isinstance(value, np.ndarray):
        return _address(value)
    if kind in _WIDTHS:
        value = _whole(value, "argument %d of moco_%s" % (number, name))
        low, high = _WIDTHS[kind]
        if not low <= value < high:
            raise ValueError("argument %d of moco_%s is %d, expected %d to %d" % (number, name, value, low, high - 1))
    return value


class _Work:
    """A call of the library at work.

    Python runs handlers of signals on its first thread and only between two steps of Python code,
    so a call on that thread is made by another one (a _Worker), while the first waits in Python and
    so handles signals as they come. What the library asks of functions of the user travels back to
    the thread that waits. An exception there, be it of such a function or of a handler, asks the
    library to stop, waits until it has, and goes on its way. On any other thread no signal is
    handled, and the call is made there and then.

    The object holds whatever the library works on until the call is over."""

    def __init__(self, name, arguments, undo=None, alone=False):
        self.function, self.name = getattr(_lib, "moco_" + name), name
        self.arguments, self.undo = arguments, undo
        self.status, self.message, self.error = 0, "", None
        self.begun, self.delivered = [True], [True]  # who takes the one element has the say: list.pop is atomic
        self.done = self.given_up = self.outside = False
        self.changes = alone  # works on an object that serves one thread at a time
        self.stoppable = False
        self.direct, self.generation, self.thread = True, _generation[0], threading.get_ident()
        self.requests, self.answers = queues.SimpleQueue(), queues.SimpleQueue()
        self.token, self.cancels, self.held, self.plain = None, [], [], []
        try:
            self._take(name, alone)
        except BaseException:
            self._release()
            raise

    def _take(self, name, alone):
        for number, (kind, value) in enumerate(zip(self.function.argtypes, self.arguments), 1):
            if isinstance(value, _Handle):
                shared = value._open()
                if shared not in self.held:  # it may be given twice
                    self.held.append(shared)
                    self.changes = self.changes or value._alone
                    if not shared.enter(self, value._alone or alone):
                        raise ValueError("%s is closed" % type(value).__name__)
                value = shared.pointer
            else:
                value = _plain(name, number, kind, value)
            self.plain.append(value)
            options = getattr(value, "_obj", None)
            if isinstance(options, _Struct) and hasattr(type(options), "cancel"):
                self.token, self.stoppable = _token(), True
                options.cancel = self.token
                if getattr(options, "user_cancel", None) is not None:
                    self.cancels.append(options.user_cancel)

    def _release(self):
        with _Shared.lock:
            token, self.token = self.token, None
        if token is not None:
            _lib.moco_cancel_reset(token)
            _tokens.append(token)
        while self.held:
            self.held[-1].leave(self)
            self.held.pop()

    def stop(self):
        with _Shared.lock:  # afterwards it may be another call's
            if self.token is not None:
                _lib.moco_cancel_request(self.token)

    # On the thread that calls the library.

    def execute(self):
        before, _thread.work = getattr(_thread, "work", None), self
        try:
            _works.add(self)
            for cancel in self.cancels:
                cancel._join(self)
            _listen()
            self.status = self.function(*self.plain)
            if self.status != 0:
                self.message = _lib.moco_last_message().decode(errors="replace")
        except BaseException as error:  # an argument that ctypes refuses
            self.error = error
        finally:
            _thread.work = before
            for cancel in self.cancels:
                cancel._works.discard(self)
            _works.discard(self)
            self._release()

    def ask(self, function, arguments, stopped):
        """Runs `function` where the call was made; gives `stopped` when it raises or the call is to
        stop."""
        if self.given_up or self.error is not None:
            return stopped
        if not self.direct:
            self.requests.put((function, arguments, stopped))
            reply = self.answers.get()
            return stopped if self.given_up else reply
        try:
            self.outside = True
            return function(*arguments)
        except BaseException as error:
            self.error = error
            self.stop()
            return stopped
        finally:
            self.outside = False

    # On the thread that asked for the call.

    def run(self):
        """The status, when the call is over."""
        if threading.get_ident() != threading.main_thread().ident:
            if _leaving:
                _park()
            self.execute()
            if _leaving:
                _park()
        elif _leaving or not self._on_a_worker():
            self.execute()
        if self.error is not None:
            self._undo()
            raise self.error
        return self.status

    def _on_a_worker(self):
        """False when no thread can be had."""
        try:
            worker = _idle.pop()
        except IndexError:
            worker = _Worker()
            try:
                worker.start()
            except RuntimeError:
                return False
        self.direct = False
        try:
            worker.works.put(self)
            while not self.done:
                request = self._next()
                if request is not None:
                    self._answer(*request)
                if self.generation != _generation[0]:
                    raise MocoError(_FORKED, "MOCO_ERR_FORKED", "the call is at work in the process that this one is "
                                                                "a child of")
        except BaseException:
            self._give_up()
            raise
        return True

    def _next(self):
        """What the library asks for next. Looks up now and then: a signal that comes just before
        the wait begins, or to another thread, does not end it."""
        try:
            return self.requests.get(timeout=_LOOK_SECONDS)
        except queues.Empty:
            return None

    def _answer(self, function, arguments, stopped):
        reply = stopped
        try:
            self.outside = True
            reply = function(*arguments)
        finally:
            self.outside = False
            self.answers.put(reply)

    def _give_up(self):
        """After an exception on this thread: returns when the call is over, or can be left to
        itself."""
        while True:
            try:
                self.given_up = True
                if _taken(self.begun):  # before the worker saw it
                    self._release()
                    return
                if self.generation != _generation[0]:
                    return
                self.stop()
                if self.undo is not None and not self.stoppable and not self.changes and _taken(self.delivered):
                    return  # it makes an object that nobody waits for, of nothing that changes; the worker frees it
                self.answers.put(None)  # to what may have been asked just now
                while not self.done:
                    self._next()
                self._undo()
                return
            except BaseException:  # a second Ctrl-C: it is being stopped
                continue

    def _undo(self):
        if self.undo is not None and self.status == 0:
            self.undo()


class _Worker(threading.Thread):
    """Makes calls of the first thread, one after the other."""

    def __init__(self):
        super().__init__(name="moco call", daemon=True)
        self.works = queues.SimpleQueue()

    def run(self):
        while True:
            work = self.works.get()
            if _taken(work.begun):
                work.execute()
                if not _taken(work.delivered):
                    work._undo()
            _idle.append(self)
            work.done = True
            work.requests.put(None)
            work = None  # what it holds is not for this thread to keep


def _taken(one):
    """Whether the only element of a list was still there; of several threads that ask, one hears
    True."""
    try:
        one.pop()
    except IndexError:
        return False
    return True


_works = set()        # at work now
_idle = []            # workers without work
_generation = [0]     # counts forks of which this process is the child
_leaving = False      # Python is about to end
_LEAVE_SECONDS = 60
_LOOK_SECONDS = 0.05


def _park():
    """Python ends: it will never come back to this thread."""
    while True:
        time.sleep(3600)


@atexit.register
def _leave():
    """Calls of threads that Python does not wait for are stopped, and a run saves, before the
    process ends."""
    global _leaving
    _leaving = True
    end = time.monotonic() + _LEAVE_SECONDS
    for work in list(_works):
        work.stop()
    while any(not work.outside for work in list(_works)) and time.monotonic() < end:
        time.sleep(0.005)


def _forked():
    """In a child: the threads of the parent are not here, and what they had begun is none of its
    business."""
    _Shared.lock = threading.RLock()
    _generation[0] += 1
    for work in _works:
        work.requests.put(None)
        for shared in work.held if work.thread != threading.get_ident() else ():
            shared.calls.pop(id(work), None)
    _works.clear()
    _idle.clear()


os.register_at_fork(after_in_child=_forked)


def _raise(status, message):
    raise MocoError(status, _lib.moco_status_name(status).decode(), message)


def _call(name, *arguments, alone=False):
    work = _Work(name, arguments, alone=alone)
    if work.run() != 0:
        _raise(work.status, work.message)


def _free_of(out, free):
    """Frees what a call has made and nobody has taken."""
    def undo():
        if out.value:
            getattr(_lib, free)(out)
            out.value = None
    return undo


def _create(free, name, *arguments):
    """What the last argument of a call receives: an object that the function `free` frees."""
    _reap_now()
    out = _ptr()
    work = _Work(name, arguments + (ctypes.byref(out),), _free_of(out, free))
    if work.run() != 0:
        _raise(work.status, work.message)
    return out.value


def _brief(name, *arguments):
    """A call that takes no time and touches no object: on this thread, at once."""
    _listen()
    status = getattr(_lib, "moco_" + name)(*arguments)
    if status != 0:
        _raise(status, _lib.moco_last_message().decode(errors="replace"))


def _query(name, handle, *arguments):
    """A number or text that an object keeps."""
    return _queries(name, handle, [arguments])[0]


def _queries(name, handle, several):
    function, shared = getattr(_lib, "moco_" + name), handle._open()
    if not shared.join():
        raise ValueError("%s is closed" % type(handle).__name__)
    try:
        return [function(shared.pointer, *(_plain(name, number, kind, value) for number, (kind, value)
                                           in enumerate(zip(function.argtypes[1:], arguments), 2)))
                for arguments in several]
    finally:
        shared.drop()


def _json(name, *arguments):
    needed = _u64()
    capacity = 0
    while True:  # the text of a living object may have grown in between
        text = ctypes.create_string_buffer(capacity) if capacity else None
        work = _Work(name, arguments + (text, capacity, ctypes.byref(needed)))
        status = work.run()
        if status == 0 and text is not None:
            return json.loads(text.value.decode())
        if status != 0 and needed.value <= capacity:
            _raise(status, work.message)
        capacity = needed.value + 256


# ---- values ----

def _options(kind, values, *preset):
    """The options struct `kind` with its defaults, those of a preset where it has some, and then
    `values` by name."""
    options = _OPTIONS[kind]()
    _brief(kind + "_options_init", ctypes.byref(options), ctypes.sizeof(options), *preset)
    return _set_options(kind, options, values)


def _set_options(kind, options, values):
    """Callbacks and addresses are stored; everything else is text that the library reads and
    checks. None: as it is."""
    for name, value in values.items():
        if value is None:
            continue
        if name == "cancel":
            options.user_cancel = _need(value, Cancel, "cancel")
        elif isinstance(value, _Address):
            setattr(options, name, value.address)
            options.kept = value
        elif isinstance(value, ctypes._CFuncPtr):
            setattr(options, name, value)
        elif dict(options._fields_).get(name) is _text:
            setattr(options, name, _text_of(value, name))
        else:
            value = _name_of(kind, options, name, value)
            _brief(kind + "_options_set", ctypes.byref(options), _text_of(name, "the name of an option"),
                   _text_of(_option_text(value), name))
    return options


def _name_of(kind, options, name, value):
    """The name of an enumeration's number, which is what its field shows; any other value as it
    is."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 0:
        return value
    if dict(options._fields_).get(name) is not _i32 or value >= 1 << 31:
        return value
    trial = type(options).from_buffer_copy(options)
    setattr(trial, name, int(value))
    text = ctypes.create_string_buffer(1 << 16)
    _brief(kind + "_options_json", ctypes.byref(trial), text, len(text), None)
    shown = json.loads(text.value.decode()).get(name)
    return shown if isinstance(shown, str) else value


class _Address:
    """Where something lies that an options struct points to, and that something."""

    def __init__(self, kept):
        self.kept = kept
        self.address = _address(kept) if isinstance(kept, np.ndarray) else ctypes.addressof(kept)

    @classmethod
    def of(cls, kept):
        return None if kept is None else cls(kept)


def _option_text(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return ",".join(map(_option_text, value))
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _text_of(text, what):
    if not isinstance(text, (str, bytes)):
        raise TypeError("%s is %r, expected a text" % (what, text))
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if b"\0" in data:
        raise ValueError("%s holds a null character: %r" % (what, text if len(text) <= 80 else text[:80]))
    return data


def _choice(table, value, what):
    """The number behind a name; a number that has one is taken too."""
    if isinstance(value, str) and value in table:
        return table[value]
    if not isinstance(value, (str, bool)) and value in table.values():
        return int(value)
    raise ValueError("%s is %r, expected one of %s" % (what, value, ", ".join(map(repr, table))))


def _whole(value, what):
    """An int; 1e3 is one too, 1.5 is not."""
    try:
        return operator.index(value)
    except TypeError:
        pass
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    raise TypeError("%s is %r, expected a whole number" % (what, value))


def _numbers(array, what):
    """An array of numbers, in whatever type it has; text and objects would be guessed at."""
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.is_masked(array):
            raise ValueError("%s has masked values" % what)
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" and array.size > 0:
        raise TypeError("%s is an array of %s, expected numbers" % (what, array.dtype))
    return array


def _floats(array, shape, what):
    """float32 in C order; None in `shape` allows any size."""
    with np.errstate(over="ignore"):  # what is too large is infinite then, and refused as such
        array = np.ascontiguousarray(_numbers(array, what), np.float32)
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape)):
        wanted = ["any" if size is None else size for size in shape]
        raise ValueError("%s is %s, expected %s" % (what, list(array.shape), wanted))
    return array


def _labels(labels, count):
    """int32 [count], or None."""
    if labels is None:
        return None
    given = _numbers(labels, "labels")
    if given.shape != (count,):
        raise ValueError("labels are %s, expected [%d]" % (list(given.shape), count))
    with np.errstate(invalid="ignore"):
        whole = given.astype(np.int32)
    wrong = np.flatnonzero(whole != given)
    if len(wrong) > 0:
        raise ValueError("label %d is %r, expected a whole number below 2^31" % (wrong[0], given[wrong[0]].item()))
    return np.ascontiguousarray(whole)


def _path(path):
    return None if path is None else _text_of(os.fsencode(path), "a path")


def _progress(progress, kind=_PROGRESS, arguments=lambda _user, *arguments: arguments):
    """A C callback for a function of the user, or None. `arguments` makes its arguments of those of
    C."""
    if progress is None:
        return None
    if not callable(progress):
        raise TypeError("progress is a %s, expected a function" % type(progress).__name__)
    return _function(kind, lambda *given: 1 if progress(*arguments(*given)) is STOP else 0)


def _report_of(kind):
    """The arguments of a function that is told of a report: a copy that stays its own."""
    def copy(_user, report):
        own = kind()
        ctypes.memmove(ctypes.byref(own), report, min(report.contents.struct_size, ctypes.sizeof(own)))
        return (own,)
    return copy


def _is_picture(value):
    """Of Pillow, without need of it."""
    return hasattr(value, "mode") and hasattr(value, "convert") and hasattr(value, "size")


def _several(values, what):
    """A list of what may be any iterable, but for one thing that is itself iterable or alone."""
    alone = isinstance(values, (str, bytes, bytearray, memoryview, os.PathLike, dict)) or _is_picture(values)
    if alone or not hasattr(values, "__iter__"):
        raise TypeError("%s is a %s, expected a list of them" % (what, type(values).__name__))
    return list(values)


def _pixels(image, number):
    """One image as an array, uint8 [H,W], [H,W,1], [H,W,3] or [H,W,4]."""
    if _is_picture(image) and image.mode not in ("L", "RGB", "RGBA"):
        raise ValueError("images[%d] is a picture of mode %r, expected 'L', 'RGB' or 'RGBA': convert('RGB') gives one"
                         % (number, image.mode))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (1,), (3,), (4,)):
        first = pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4)
        raise ValueError("images[%d] is %s %s, expected uint8 [H,W], [H,W,3] or [H,W,4]%s" %
                         (number, pixels.dtype, list(pixels.shape), ": the channels come last" if first else ""))
    if pixels.size == 0:
        raise ValueError("images[%d] is %s and has no pixels" % (number, list(pixels.shape)))
    return pixels


def _images(images, order):
    """An array of moco_image_t, which keeps the pixels."""
    if getattr(images, "ndim", None) is not None:  # an array: of images, not one image
        images = np.asarray(images)
        if images.dtype == object and images.ndim == 1:  # of images of several sizes
            images = list(images)
        elif images.ndim not in (3, 4) or images.ndim == 3 and images.shape[2] in (1, 3, 4):
            raise ValueError("images is one array %s, which may be one image: write [image] for one; a stack is "
                             "[count,H,W,3], [count,H,W,4] or [count,H,W]" % list(images.shape))
    if order not in ("rgb", "bgr"):
        raise ValueError("order is %r, expected 'rgb' or 'bgr'" % (order,))
    images = _several(images, "images")
    structs = (Image * len(images))()
    structs.kept = []
    for number, (struct, pixels) in enumerate(zip(structs, images)):
        pixels = _pixels(pixels, number)
        depth = 1 if pixels.ndim == 2 else pixels.shape[2]
        struct.struct_size = ctypes.sizeof(Image)
        struct.format = _FORMATS.get((order, depth), -1)
        if struct.format < 0:
            raise ValueError("images[%d] has %d channels, and none such are known in order %r" % (number, depth, order))
        tight = (1,) if pixels.ndim == 2 else (depth, 1)
        if pixels.strides[1:] != tight or pixels.strides[0] < pixels.shape[1] * depth:
            pixels = np.ascontiguousarray(pixels)
        struct.planes[0], struct.strides[0] = _address(pixels), pixels.strides[0]
        struct.height, struct.width = pixels.shape[:2]
        structs.kept.append(pixels)
    return structs


def _file_bytes(value, what):
    """The bytes of a file in memory."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.uint8:
        return value.tobytes()
    more = ""
    if isinstance(value, (str, os.PathLike)):
        more = ": open(path, 'rb').read() gives them"
    elif hasattr(value, "shape") or _is_picture(value):
        more = ": pixels are for Model.embed_pixels and Trainer.push_pixels"
    raise TypeError("%s is a %s, expected the bytes of a JPEG file%s" % (what, type(value).__name__, more))


def _encoded(files):
    """Arrays of the addresses and sizes of files in memory; the first keeps the bytes alive."""
    files = [_file_bytes(file, "files[%d]" % i) for i, file in enumerate(_several(files, "files"))]
    return (ctypes.c_char_p * len(files))(*files), (_u64 * len(files))(*map(len, files))


def _model_options(values):
    return _options("model", _channels(values))


def _channels(values):
    """`values` with mean and std, which are triples, as the three options that each of them is."""
    values = dict(values)
    for name in ("mean", "std"):
        triple = values.pop(name, None)
        if triple is None:
            continue
        triple = list(triple) if hasattr(triple, "__iter__") and not isinstance(triple, str) else [triple]
        if len(triple) != 3:
            raise ValueError("%s is %r, expected three numbers" % (name, triple))
        values.update((name + "_" + channel, value) for channel, value in zip("rgb", triple))
    return values


# ---- objects ----

class Device(_Handle):
    """Worker threads that models, trainers, queues and indexes may share; lanes=0 takes what the
    process may use. training_percent is the lane time that training keeps while embeddings wait
    too. kind="gpu" is a GPU that oneDNN's OpenCL engine can use; number says which one."""
    _free = "moco_device_free"

    def __init__(self, lanes=0, kind="cpu", training_percent=50, number=0):
        options = _options("device", dict(lanes=lanes, kind=kind, training_percent=training_percent, number=number))
        super().__init__(_create(self._free, "device_create", ctypes.byref(options)))

    def info(self):
        return _json("device_info", self)


class Cancel(_Handle):
    """Stops the calls that got it as `cancel`, from any thread: request() makes them raise
    MocoError (a trainer's run returns False, as after its progress). reset() takes the request
    back."""
    _free = "moco_cancel_free"

    def __init__(self):
        self._works = set()
        super().__init__(_create(self._free, "cancel_create"))

    def _join(self, work):
        self._works.add(work)
        if self.requested:
            work.stop()

    def request(self):
        _query("cancel_request", self)
        for work in list(self._works):
            work.stop()

    @property
    def requested(self):
        return bool(_query("cancel_requested", self))

    def reset(self):
        _query("cancel_reset", self)


_REFUSED = object()  # what is had from a function of the user that has raised
_MAX_SIDE = 16384    # of pixels that the library fills


class Dataset(_Handle):
    """JPEGs of a folder, a .tar or a list file; Dataset.from_images for those that are
    elsewhere."""
    _free = "moco_dataset_free"
    _instead = "open the same images again with moco.Dataset, there where they are needed"

    def __init__(self, path, **options):
        """options: limit, max_pixels, max_bytes."""
        filled = _options("dataset", options)
        super().__init__(_create(self._free, "dataset_open", _path(path), ctypes.byref(filled)))

    @classmethod
    def from_images(cls, images, labels=None, count=None, **options):
        """`images`: a sequence of JPEG files as bytes, or a function of the index that returns one
        (then with `count`), called where the data set is used. None stands for a broken image. An
        exception ends the call that needed the image, and is raised as it is; so does anything that
        is not bytes, as TypeError."""
        if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike)) or _is_picture(images):
            raise TypeError("images is a %s, expected a sequence of JPEG files as bytes, or a function of the index"
                            % type(images).__name__)
        if isinstance(images, (list, tuple)):  # all at once, rather than in the middle of a run
            images = [image if image is None else _file_bytes(image, "images[%d]" % i)
                      for i, image in enumerate(images)]
        if callable(images) and count is None:
            raise TypeError("images is a function: count says how many there are")
        fetch = images if callable(images) else images.__getitem__
        count = len(images) if count is None else _whole(count, "count")
        if not callable(images) and count > len(images):
            raise ValueError("count is %d, there are %d images" % (count, len(images)))
        alive = threading.local()

        def bytes_of(index):
            image = fetch(index)
            return None if image is None else _file_bytes(image, "image %d" % index)

        def read(_user, index, data, size):
            work = _thread.work
            jpeg = work.ask(bytes_of, (index,), _REFUSED)
            if jpeg is _REFUSED:
                return _CANCELLED  # the call is over: says nothing about the image
            if jpeg is None:
                return 1
            alive.jpeg = jpeg  # until the library has copied it, which is before its next call on this thread
            data[0] = ctypes.cast(ctypes.c_char_p(jpeg), _ptr)
            size[0] = len(jpeg)
            return 0

        filled, labels, read = _options("dataset", options), _labels(labels, count), _READ(read)
        self = cls.__new__(cls)
        made = _create(cls._free, "dataset_create", count, read, None, labels, ctypes.byref(filled))
        _Handle.__init__(self, made, read)
        return self

    def __len__(self):
        return _query("dataset_count", self)

    @property
    def names(self):
        return list(map(os.fsdecode, _queries("dataset_name", self, zip(range(len(self))))))

    @property
    def labels(self):
        return np.array(_queries("dataset_label", self, zip(range(len(self)))), np.int32)

    @property
    def classes(self):
        count = _query("dataset_classes", self)
        return list(map(os.fsdecode, _queries("dataset_class_name", self, zip(range(count)))))

    @property
    def broken(self):
        """{index: reason} of the images that were found to be broken so far."""
        reasons = enumerate(_queries("dataset_broken_reason", self, zip(range(len(self)))))
        return {i: reason.decode(errors="replace") for i, reason in reasons if reason is not None}

    def pixels(self, index, resize, size):
        """[size, size, 3] uint8 after the evaluation transform."""
        size = _whole(size, "size")
        out = np.empty((size if 0 < size <= _MAX_SIDE else 0,) * 2 + (3,), np.uint8)
        _call("dataset_pixels", self, index, resize, size, out)
        return out

    def info(self):
        return _json("dataset_info", self)


class Model(_Handle):
    """A finished encoder. Any number of threads may call it at once. Rows: [count, dimension]
    float32. A copy is another handle of the same encoder, which never changes; a pickle holds the
    bytes of its file, and its precision."""
    _free = "moco_model_free"

    def __init__(self, path, device=None, **options):
        """options: encoder ("query" or "key", of a training checkpoint), drop_head, image_size,
        eval_resize, vit_heads, precision ("float32", "bf16" or "f16"), memory_cap, mean, std;
        prefix, of the encoder's tensors in another program's file ("student.backbone")."""
        filled, device = _model_options(options), _need(device, Device, "device", True)
        super().__init__(_create(self._free, "model_load", _path(path), ctypes.byref(filled), device))

    @classmethod
    def from_bytes(cls, data, device=None, **options):
        """The same from the bytes of a file."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError("data is a %s, expected the bytes of a file" % type(data).__name__)
        data, filled, device = bytes(data), _model_options(options), _need(device, Device, "device", True)
        return cls._of(_create(cls._free, "model_load_memory", data, len(data), ctypes.byref(filled), device))

    @classmethod
    def _of(cls, pointer):
        self = cls.__new__(cls)
        _Handle.__init__(self, pointer)
        return self

    def __copy__(self):
        shared, copy = self._open(), type(self).__new__(type(self))
        if not shared.join():
            raise ValueError("%s is closed" % type(self).__name__)
        copy._share(shared)
        return copy

    def __deepcopy__(self, _memo):
        return self.__copy__()

    def __reduce_ex__(self, _protocol):
        return functools.partial(type(self).from_bytes, precision=self.info()["precision"]), (self.to_bytes(),)

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
        return _query("model_image_size", self)

    def dimension(self, tap="backbone"):
        return _query("model_dimension", self, _choice(_TAPS, tap, "tap"))

    def _rows(self, count, tap):
        return np.zeros((count, self.dimension(tap)), np.float32)

    def _embed(self, name, count, images, tap, strict, **options):
        """rows; without `strict` (rows, {number: reason} of the images that could not be used)."""
        rows, failed = self._rows(count, tap), {}
        if not strict:
            def fail(_user, number, _status, reason):
                failed[number] = reason.decode(errors="replace")
            options["failed"] = _FAILED(fail)
        filled = _options("embed", dict(options, tap=_choice(_TAPS, tap, "tap")))
        _call("model_embed_" + name, self, count, *images, ctypes.byref(filled), rows)
        return rows if strict else (rows, failed)

    def embed_encoded(self, files, tap="backbone", strict=True, cancel=None):
        """`files`: image files (JPEG) as bytes. strict: a broken image raises. Otherwise returns
        (rows, failed): the row of a broken image is zero, and failed[number] says why."""
        data, sizes = _encoded(files)
        return self._embed("encoded", len(sizes), (data, sizes), tap, strict, cancel=cancel)

    def embed_pixels(self, images, tap="backbone", order="rgb", strict=True, cancel=None):
        """`images`: uint8 arrays [H,W,3], [H,W,4] or [H,W], each of its own size, or one array of
        them with a dimension more; order "rgb" or "bgr". strict as in embed_encoded."""
        structs = _images(images, order)
        return self._embed("pixels", len(structs), (structs,), tap, strict, cancel=cancel)

    def embed_tensor(self, images, tap="backbone", layout="nchw", cancel=None):
        """`images`: float32 [count,3,S,S] or [count,S,S,3], of the model's size and already
        normalised."""
        size, code = self.image_size, _choice(_LAYOUTS, layout, "layout")
        images = _floats(images, (None, 3, size, size) if code == 0 else (None, size, size, 3), "images")
        return self._embed("tensor", len(images), (images,), tap, True, layout=code, cancel=cancel)

    def embed_dataset(self, dataset, tap="backbone", loader_threads=0, cancel=None):
        """(rows, indices) of the good images in listing order; dataset.broken has the others."""
        dimension, rows, indices = self.dimension(tap), [], []

        def take(_user, count, numbers, values):
            work = _thread.work
            try:  # on the thread of the library: nothing of the user's is called
                rows.append(np.ctypeslib.as_array(values, (count, dimension)).copy())
                indices.append(np.ctypeslib.as_array(numbers, (count,)).copy())
            except BaseException as error:
                work.error = error
                return 1
            return 0

        filled = _options("embed", dict(tap=_choice(_TAPS, tap, "tap"), loader_threads=loader_threads, cancel=cancel))
        _call("model_embed_dataset", self, _need(dataset, Dataset, "dataset"), ctypes.byref(filled), _ROWS(take), None)
        return np.concatenate(rows), np.concatenate(indices)

    def embed_to_npy(self, dataset, path, tap="backbone", loader_threads=0, progress=None, cancel=None):
        """Writes `path`, its .names.txt, .skipped.txt and .embed.json; returns (rows written,
        images skipped). progress(done, total); moco.STOP from it stops (and MocoError is
        raised)."""
        result = EmbedResult(struct_size=ctypes.sizeof(EmbedResult))
        filled = _options("embed", dict(tap=_choice(_TAPS, tap, "tap"), loader_threads=loader_threads,
                                        progress=_progress(progress), cancel=cancel))
        _call("model_embed_to_npy", self, _need(dataset, Dataset, "dataset"), _path(path), ctypes.byref(filled),
              ctypes.byref(result))
        return result.rows, result.skipped


Contrast = collections.namedtuple("Contrast", "loss d_queries top1 top5 chance_loss")


class Queue(_Handle):
    """The dictionary of keys and the InfoNCE loss against it, for networks of your own."""
    _free = "moco_queue_free"
    _alone = True
    _instead = "keys() and restore() carry what it holds"

    def __init__(self, length, dimension, seed=0, device=None):
        filled = _options("queue", dict(length=length, dimension=dimension, seed=seed))
        device = _need(device, Device, "device", True)
        super().__init__(_create(self._free, "queue_create", ctypes.byref(filled), device))

    @property
    def length(self):
        return _query("queue_length", self)

    @property
    def dimension(self):
        return _query("queue_dimension", self)

    @property
    def pointer(self):
        return _query("queue_pointer", self)

    def enqueue(self, keys):
        keys = _floats(keys, (None, self.dimension), "keys")
        _call("queue_enqueue", self, len(keys), keys)

    def contrast(self, queries, keys, temperature=0.2, gradient=True):
        """Loss in nats, its gradient by the queries (None without), top-1 and top-5 in percent."""
        queries = _floats(queries, (None, self.dimension), "queries")
        keys = _floats(keys, queries.shape, "keys")
        d_queries = np.empty_like(queries) if gradient else None
        filled = _options("contrast", dict(temperature=temperature, d_queries=_Address.of(d_queries)))
        result = ContrastResult(struct_size=ctypes.sizeof(ContrastResult))
        _call("queue_contrast", self, len(queries), queries, keys, ctypes.byref(filled), ctypes.byref(result))
        return Contrast(result.loss, d_queries, result.top1, result.top5, result.chance_loss)

    def keys(self):
        """([K, D] keys, row that the next key overwrites)."""
        keys, pointer = np.empty((self.length, self.dimension), np.float32), _i64()
        _call("queue_keys", self, keys, ctypes.byref(pointer))
        return keys, pointer.value

    def restore(self, keys, pointer):
        keys = _floats(keys, (self.length, self.dimension), "keys")
        _call("queue_restore", self, keys, pointer)


class Index(_Handle):
    """Vectors for search by cosine and for the weighted k-nearest-neighbour classifier."""
    _free = "moco_index_free"
    _instead = "save() writes a file, and Index.load() reads it"

    def __init__(self, dimension, device=None, capacity=0):
        """capacity: vectors to take memory for at once."""
        filled, device = _options("index", dict(capacity=capacity)), _need(device, Device, "device", True)
        dimension = _whole(dimension, "dimension")
        super().__init__(_create(self._free, "index_create", dimension, ctypes.byref(filled), device))

    @classmethod
    def load(cls, path, device=None):
        self, device = cls.__new__(cls), _need(device, Device, "device", True)
        _Handle.__init__(self, _create(cls._free, "index_load_npy", _path(path), None, device))
        return self

    def save(self, path):
        _call("index_save_npy", self, _path(path))

    def __len__(self):
        return _query("index_count", self)

    @property
    def dimension(self):
        return _query("index_dimension", self)

    def add(self, vectors, labels=None):
        vectors = _floats(vectors, (None, self.dimension), "vectors")
        _call("index_add", self, len(vectors), vectors, _labels(labels, len(vectors)), alone=True)

    def search(self, queries, k, cancel=None):
        """(numbers, cosines), each [count, k], best first."""
        queries, k = _floats(queries, (None, self.dimension), "queries"), _whole(k, "k")
        shape = (len(queries), min(max(k, 0), len(self)))  # the library refuses a larger k
        ids, cosines = np.empty(shape, np.int64), np.empty(shape, np.float32)
        filled = _options("search", dict(k=k, cancel=cancel))
        _call("index_search", self, len(queries), queries, ctypes.byref(filled), ids, cosines)
        return ids, cosines

    def classify(self, queries, k, classes, temperature=0.1, cancel=None):
        """[count, min(5, classes)] class numbers, best first."""
        queries, classes = _floats(queries, (None, self.dimension), "queries"), _whole(classes, "classes")
        if classes < 1:
            raise ValueError("classes is %d, expected at least 1" % classes)
        top = np.empty((len(queries), min(5, classes)), np.int32)
        filled = _options("classify", dict(k=k, classes=classes, temperature=temperature, cancel=cancel))
        _call("index_classify", self, len(queries), queries, ctypes.byref(filled), top)
        return top


class Classifier(_Handle):
    """A linear classifier with the backbone that it was trained on. Made by Probe and Finetune, or
    from a file."""
    _free = "moco_classifier_free"
    _instead = "save() writes a file, and moco.Classifier() reads it"

    def __init__(self, path, device=None):
        """Of a file that save() has written."""
        device = _need(device, Device, "device", True)
        super().__init__(_create(self._free, "classifier_load", _path(path), None, device))

    def _train(self, name, model, train, test, options, progress):
        options.progress = _progress(progress, _LEARNING, _report_of(ClassifierReport)) or _LEARNING()
        data = [_need(set_, Dataset, what) for set_, what in ((train, "train"), (test, "test"))]
        _Handle.__init__(self, _create(self._free, name, _need(model, Model, "model"), *data, ctypes.byref(options)))

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
        return list(map(os.fsdecode, _queries("classifier_class_name", self, zip(range(self.result.classes)))))

    @property
    def model(self):
        """The backbone, as a Model."""
        return Model._of(_create(Model._free, "classifier_model", self))

    def confusion(self):
        """[C, C] test images of class (row) that were taken for class (column); not of a classifier
        from a file."""
        table = np.empty((self.result.classes, self.result.classes), np.int64)
        _call("classifier_confusion", self, table)
        return table

    def weights(self):
        """([C, F] weights, [C] bias)."""
        result = self.result
        weights, bias = np.empty((result.classes, result.features), np.float32), np.empty(result.classes, np.float32)
        _call("classifier_weights", self, weights, bias)
        return weights, bias

    def info(self):
        return _json("classifier_info", self)

    def save(self, path):
        """Backbone and classifier as safetensors with torchvision's names."""
        _call("classifier_save", self, _path(path))


def probe_options(protocol="cached", **values):
    """A protocol's ProbeOptions with some fields changed; `base_lr` is one learning rate or
    several."""
    return _options("probe", values, _choice(_PROTOCOLS, protocol, "protocol"))


class Probe(Classifier):
    """A linear classifier trained on a model's frozen features."""

    def __init__(self, model, train, test, protocol="cached", progress=None, **options):
        """options: base_lr (one or several), epochs, batch_size, seed, normalize, eval_every and
        the other fields of ProbeOptions. progress(ClassifierReport) after every batch; moco.STOP
        from it stops (and MocoError is raised)."""
        self._train("probe_train", model, train, test, probe_options(protocol, **options), progress)


def finetune_options(optimizer="adamw", **values):
    """An optimizer's FinetuneOptions with some fields changed."""
    return _options("finetune", values, _choice(_FINETUNE_OPTIMIZERS, optimizer, "optimizer"))


class Finetune(Classifier):
    """A copy of a model's backbone, trained with a classifier on labelled images."""

    def __init__(self, model, train, test, optimizer="adamw", progress=None, **options):
        """options: base_lr, epochs, batch_size, mixup, drop_path, seed, eval_every and the other
        fields of FinetuneOptions. progress(ClassifierReport) after every step; moco.STOP from it
        stops (and MocoError is raised)."""
        self._train("finetune_train", model, train, test, finetune_options(optimizer, **options), progress)


def trainer_options(recipe="moco-v2", **values):
    """A recipe's TrainerOptions for `arch`, with some fields changed; enumerations by name, as in
    arch="resnet18"."""
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
    kind = next((kind for kind, struct in _OPTIONS.items() if isinstance(options, struct)), None)
    if kind is None:
        raise TypeError("options is a %s, expected an options struct" % type(options).__name__)
    return _json(kind + "_options_json", ctypes.byref(options))


def plan(options, device=None):
    """The memory a trainer with these TrainerOptions would take, in bytes, without taking it."""
    filled = _trainer_options(options, "options")
    return _json("trainer_plan", ctypes.byref(filled), _need(device, Device, "device", True))


def _trainer_options(options, what):
    if not isinstance(options, TrainerOptions):
        raise TypeError("%s is a %s, expected TrainerOptions, as moco.trainer_options makes them"
                        % (what, type(options).__name__))
    return options


def _recipe(name):
    return _choice({known: number for number, known in enumerate(recipes())}, name, "recipe")


def _report():
    return StepReport(struct_size=ctypes.sizeof(StepReport))


class Trainer(_Handle):
    """A learning encoder. Trainer(recipe, device, name=value ...) for a new one, Trainer.load for a
    checkpoint."""
    _free = "moco_trainer_free"
    _alone = True
    _instead = "save() writes a checkpoint, and Trainer.load() reads it"

    def __init__(self, recipe="moco-v2", device=None, **options):
        filled, device = trainer_options(recipe, **options), _need(device, Device, "device", True)
        super().__init__(_create(self._free, "trainer_create", ctypes.byref(filled), device))

    @classmethod
    def load(cls, path, device=None, overrides=None):
        """overrides: TrainerOptions equal to the saved ones but for memory_cap, loader_threads,
        max_broken and max_broken_percent."""
        self, device = cls.__new__(cls), _need(device, Device, "device", True)
        overrides = None if overrides is None else ctypes.byref(_trainer_options(overrides, "overrides"))
        _Handle.__init__(self, _create(cls._free, "trainer_load", _path(path), overrides, device))
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
        return _query("trainer_step_number", self)

    def state(self):
        return _json("trainer_state", self)

    def push_views(self, queries, keys, layout="nchw"):
        """Both float views of some images, normalised: [count,3,S,S] or [count,S,S,3]."""
        size, code = self.options.image_size, _choice(_LAYOUTS, layout, "layout")
        queries = _floats(queries, (None, 3, size, size) if code == 0 else (None, size, size, 3), "queries")
        keys = _floats(keys, queries.shape, "keys")
        _call("trainer_push_views", self, len(queries), queries, keys, code)

    def push_pixels(self, images, order="rgb"):
        """uint8 images as in Model.embed_pixels; the views are drawn by the library."""
        structs = _images(images, order)
        _call("trainer_push_pixels", self, len(structs), structs)

    def push_encoded(self, files):
        """Image files (JPEG) as bytes; all or none are taken."""
        data, sizes = _encoded(files)
        _call("trainer_push_encoded", self, len(sizes), data, sizes)

    def discard(self):
        """Drops the pushed images and returns how many they were."""
        work = _Work("trainer_discard", (self,))
        return work.run()

    def step(self, cancel=None):
        """One step on the pushed batch; returns a StepReport."""
        report, filled = _report(), _options("run", dict(cancel=cancel))
        _call("trainer_step", self, ctypes.byref(filled), ctypes.byref(report))
        return report

    def steps(self, dataset, count, cancel=None):
        """`count` steps on a data set; returns the StepReport of the last."""
        report, filled = _report(), _options("run", dict(cancel=cancel))
        _call("trainer_steps", self, _need(dataset, Dataset, "dataset"), _whole(count, "count"), ctypes.byref(filled),
              ctypes.byref(report))
        return report

    def run(self, dataset, test=None, folder=None, progress=None, **options):
        """Trains to the end: True; or until progress(report) returns moco.STOP or `cancel` is
        requested: False. What was learnt by then is saved in `folder`, which is made when it is
        missing; so it is after an exception of `progress` or of a signal's handler, which is
        raised. options: max_steps, save_every, save_minutes, eval_every, log_every, overwrite,
        cancel."""
        filled = _options("run", dict(options, progress=_progress(progress, _STEP, _report_of(StepReport))))
        work = _Work("trainer_run", (self, _need(dataset, Dataset, "dataset"), _need(test, Dataset, "test", True),
                                     _path(folder), ctypes.byref(filled)))
        if work.run() not in (0, _CANCELLED):
            _raise(work.status, work.message)
        return work.status == 0

    def snapshot(self, device=None, encoder="query", drop_head=False):
        """A Model of an encoder as it is now, independent of the trainer."""
        filled = _options("snapshot", dict(encoder=encoder, drop_head=drop_head))
        return Model._of(_create(Model._free, "trainer_snapshot", self, ctypes.byref(filled),
                                 _need(device, Device, "device", True)))


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
    """What a file of tensors or of embeddings is: container, layout, encoder, rows …"""
    return _json("file_info", _path(path))


def model_file_info(path, **options):
    """What Model(path, **options).info() would say, without loading the model."""
    return _json("model_file_info", _path(path), ctypes.byref(_model_options(options)))


def convert(source, target, to="encoder", encoder="query", head="auto", training=None, mean=None, std=None, **options):
    """Checkpoints of other programs in, or out under their names (docs/checkpoints.md): the report
    as a dictionary.

    to: encoder, training, torchvision, timm or detectron2. training: TrainerOptions of a run, for
    to="training". options: image_size, eval_resize, key_update, vit_heads, prefix, cancel."""
    options = _channels(dict(options, to=to, encoder=encoder, head=head, mean=mean, std=std))
    options["training"] = None if training is None else _Address.of(_trainer_options(training, "training"))
    filled, needed = _options("convert", options), _u64(65536)
    while True:  # a report that does not fit is refused before anything is written
        report = ctypes.create_string_buffer(needed.value)
        work = _Work("convert", (_path(source), _path(target), ctypes.byref(filled), report, len(report),
                                 ctypes.byref(needed)))
        if work.run() == 0:
            return json.loads(report.value.decode())
        if needed.value <= len(report):
            _raise(work.status, work.message)


def shuffle_permutation(seed, step, count):
    """The permutation that shuffles the keys of step `step` (0 = the first): position p encodes
    image result[p]."""
    count = _whole(count, "count")
    out = np.empty(max(count, 0), np.int32)
    _call("shuffle_permutation", seed, step, count, out)
    return out


def dataset_views(dataset, index, options, epoch=0):
    """[2, S, S, 3] uint8: the two views of one image that a trainer with these TrainerOptions draws
    in `epoch`."""
    size = _trainer_options(options, "options").image_size
    views = np.empty((2,) + (size if 0 < size <= _MAX_SIDE else 0,) * 2 + (3,), np.uint8)
    _call("dataset_views", _need(dataset, Dataset, "dataset"), ctypes.byref(options), epoch, index, views)
    return views


def knn(model, bank, test, k=200, temperature=0.1, loader_threads=0, progress=None, cancel=None):
    """Weighted kNN accuracy: a KnnResult. progress(done, total); moco.STOP from it stops (and
    MocoError is raised)."""
    result = KnnResult(struct_size=ctypes.sizeof(KnnResult))
    filled = _options("knn", dict(k=k, temperature=temperature, loader_threads=loader_threads,
                                  progress=_progress(progress), cancel=cancel))
    _call("knn_measure", _need(model, Model, "model"), _need(bank, Dataset, "bank"), _need(test, Dataset, "test"),
          ctypes.byref(filled), ctypes.byref(result))
    return result

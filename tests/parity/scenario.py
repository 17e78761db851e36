"""A library trainer and a reference that start from the same numbers, and views on which both can agree.

The library draws the first weights; they are read from its checkpoint, changed as below, written back and loaded, so
both sides start from what the file holds. Why the change and the choice of views: docs/numerics.md, "Conditioning".
"""
import os
import tempfile

import numpy as np
import torch

import binding
import reference
import tensors
from reorder import DRAWS

DAMPING = 0.25  # of the last scale of every residual branch
MARGIN = 1e-6  # no ReLU input closer to 0, no pooling tie closer than this, in units of the rms


def options(config, shard=0, **more):
    """The library's options for a reference configuration."""
    values = {name: getattr(config, name) for name in
              ("arch", "width", "stem", "head", "image_size", "dimension", "batch_size", "bn_groups",
               "membership", "bn_running", "queue_length", "temperature", "key_momentum", "sgd_momentum",
               "weight_decay")}
    values.update(base_lr=config.lr * 256 / config.batch_size, schedule="constant", steps_per_epoch=0, shuffle=1,
                  shard=shard)
    values.update(more)
    return values


def vary(state, arch, seed=11):
    """Batch-norm scales around 1, shifts around 0, damped branches; both encoders stay equal."""
    rng = np.random.default_rng(seed)
    last = "bn3.weight" if arch == "resnet50" else "bn2.weight"
    changes = {}
    for name in sorted(n for n in state if n.startswith("encoder_q.")):
        short, shape = name[len("encoder_q."):], state[name].shape
        if not ("bn" in short or "downsample.1" in short):
            continue
        if short.endswith(".weight"):
            value = rng.uniform(0.8, 1.2, shape) * (DAMPING if short.startswith("layer") and short.endswith(last) else 1)
        elif short.endswith(".bias"):
            value = rng.uniform(-0.2, 0.2, shape)
        else:
            continue
        changes[name] = changes["encoder_k." + short] = value.astype(np.float32)
    return changes


def open_or_shut(state, _):
    """Batch-norm shifts that keep every ReLU input 4 standard deviations from 0: inside a block a channel is all through or
    all cut off, what a block gives is all through."""
    rng = np.random.default_rng(11)
    changes = {}
    for name in sorted(n for n in state if n.startswith("encoder_q.") and ("bn" in n or "downsample.1" in n)):
        short, shape = name[len("encoder_q."):], state[name].shape
        branch = short.startswith("layer") and "bn3" in short
        if short.endswith(".weight"):
            value = rng.uniform(0.8, 1.2, shape) * (DAMPING if branch else 1)
        elif short.endswith(".bias"):
            sign = np.where(rng.random(shape) < 0.3, -1, 1) if "bn1" in short or "bn2" in short else 1
            value = 0 if branch else rng.uniform(5, 6, shape) * sign
        else:
            continue
        changes[name] = changes["encoder_k." + short] = np.broadcast_to(value, shape).astype(np.float32)
    return changes


class Folder:
    """A temporary folder for checkpoints."""

    def __init__(self):
        self.held = tempfile.TemporaryDirectory(prefix="moco-parity-")

    def path(self, name):
        return os.path.join(self.held.name, name)


def start(config, folder, shard=0, seed=5, change=vary, **more):
    """(library trainer, tensors at step 0). `change` gives the tensors that replace those drawn; None: none."""
    path = folder.path("start.safetensors")
    trainer = binding.Trainer(seed=seed, **options(config, shard, **more))
    trainer.save(path)
    state, _ = tensors.read(path)
    if change is not None:
        trainer.close()
        tensors.overwrite(path, change(state, config.arch))
        trainer = binding.Trainer.load(path)
        state, _ = tensors.read(path)
    return trainer, state


def references(config, state, draws=DRAWS):
    """The float64 reference, and PyTorch float32's runs, the yardstick of what float32 can do."""
    return reference.Trainer(config, state), [reference.Trainer(config, state, torch.float32, *draw) for draw in draws]


@torch.no_grad()
def margin(exact, queries):
    """How close the query forward of these views comes to a kink; leaves the reference as it was."""
    before = {n: t.clone() for n, t in exact.query.named_buffers()}
    exact.query.watch.active, exact.query.watch.margin = True, np.inf
    exact.query(exact.views(queries))
    exact.query.watch.active = False
    for name, buffer in exact.query.named_buffers():
        buffer.copy_(before[name])
    return exact.query.watch.margin


def choose_views(exact, own, config, seed, wanted=MARGIN, tries=60):
    """The first random views from `seed` on whose query forward keeps its distance from every kink, else the best.

    Candidates are sifted with a float32 reference, which is ten times as fast, and confirmed in float64."""
    best, chosen = -1.0, None
    for attempt in range(tries):
        views = reference.random_views(config, seed * 1000 + attempt)
        distance = margin(own, views[0])
        if distance > max(best, wanted * 0.8):
            distance = margin(exact, views[0])
        if distance > best:
            best, chosen = distance, views
        if best >= wanted:
            break
    return chosen


def checkpoint(trainer, folder):
    """All comparable tensors of the trainer as it stands: through a file, read by our own reader."""
    path = folder.path("now.safetensors")
    trainer.save(path)
    state, _ = tensors.read(path)
    return {n: t.astype(np.float64) for n, t in state.items() if comparable(n)}


def comparable(name):
    return name.startswith(("encoder_q.", "encoder_k.", "queue", "optimizer.momentum_buffer.")) \
        and not name.endswith("num_batches_tracked")

"""Steps of training against PyTorch: loss, gradient norm, both encoders, statistics, queue, optimizer.

Every step feeds both sides the same float views; the key shuffle is asked from the library. ResNet-18 runs for twenty
steps, ResNet-50 for five: beyond that even PyTorch in float32 leaves float64 (docs/numerics.md). A parameter hardly
moves in so few steps, so its way from the start is compared as well.
"""
import sys

import numpy as np
import torch

import binding
import compare
import scenario
from compare import Verdict
from reference import Config

SEED = 5
# Per tensor, with all steps behind it; docs/numerics.md has the growth that these come from.
TOLERANCE = {"query parameters": 1e-4, "key parameters": 1e-4, "query running statistics": 1e-4,
             "key running statistics": 1e-4, "queue": 1e-4, "momentum buffers": 1e-4}
DEEP_TOLERANCE = {"momentum buffers": 2e-3}  # sums that cancel where shifts are large
MOVE_TOLERANCE = 3e-2  # of the way from the start: float32 weights round away up to this share of a short way

BASE = dict(lr=0.005, weight_decay=5e-3, key_momentum=0.9)
DEEP = {**BASE, "lr": 0.001}  # about the published rate
LONG, SHORT = (1, 10, 20), (1, 5)  # compared after these steps
CASES = {
    "resnet18, CIFAR stem, 4 devices of 4, contiguous, K 64":
        (Config(image_size=16, membership="contiguous", **BASE), 0, "nchw", LONG),
    "resnet18, CIFAR stem, 4 devices of 4, strided, K 56 (the queue wraps inside a batch)":
        (Config(image_size=16, membership="strided", queue_length=56, **BASE), 0, "nhwc", LONG),
    "resnet50, 64 pixels, MLP head, one device of two shards":
        (Config(arch="resnet50", stem="imagenet", head="mlp", image_size=64, batch_size=8, bn_groups=1, **DEEP),
         4, "nchw", SHORT),
    "resnet50, 33 pixels, MLP head, 2 devices of two shards, strided":
        (Config(arch="resnet50", stem="imagenet", head="mlp", image_size=33, batch_size=8, bn_groups=2,
                membership="strided", **DEEP), 2, "nchw", SHORT),
}


def compare_kinds(verdict, step, ours, exact, own, deep):
    for kind, tolerance in {**TOLERANCE, **(DEEP_TOLERANCE if deep else {})}.items():
        names = [n for n in exact if compare.kind_of(n) == kind and n != "queue_ptr"]
        verdict.tensors(f"step {step}, {kind}", {n: ours[n] for n in names if n in ours}, {n: exact[n] for n in names},
                        [{n: run[n] for n in names} for run in own], tolerance)
    verdict.true(f"step {step}, queue pointer {ours['queue_ptr']}", np.array_equal(ours["queue_ptr"].ravel(),
                                                                                  exact["queue_ptr"].ravel()))


def compare_moves(verdict, step, start, ours, exact, own):
    for kind in ("query parameters", "key parameters"):
        names = [n for n in exact if compare.kind_of(n) == kind]
        moves = [{n: run[n] - start[n] for n in names} for run in (ours, exact, *own)]
        verdict.tensors(f"step {step}, way of the {kind}", moves[0], moves[1], moves[2:], MOVE_TOLERANCE)


def run_case(verdict, title, config, shard, layout, look):
    print(title)
    folder = scenario.Folder()
    deep = config.arch == "resnet50"  # too many ReLUs to find views away from all kinks; the pool's ties remain
    trainer, start = scenario.start(config, folder, shard, SEED, change=scenario.open_or_shut if deep else scenario.vary)
    exact, own = scenario.references(config, start)
    worst = {"loss": 0.0, "gradient_norm": 0.0}
    for step in range(look[-1]):
        views = scenario.choose_views(exact, own[0], config, 1 + step)
        permutation = binding.shuffle(SEED, step, config.batch_size)
        trainer.push(*views, layout)
        report = trainer.step()
        wanted = exact.step(*views, permutation)
        for run in own:
            run.step(*views, permutation)
        for name in worst:
            worst[name] = max(worst[name], abs(getattr(report, name) / wanted[name] - 1))
        for name in ("contrast_top1", "contrast_top5"):
            verdict.quiet(f"step {step + 1}: {name} {getattr(report, name)}, wanted {wanted[name]}",
                          abs(getattr(report, name) - wanted[name]) <= wanted["close"] + 1e-9)
        verdict.quiet(f"step {step + 1}: learning rate", abs(report.lr / config.lr - 1) < 1e-6)
        if step + 1 in look:
            ours, states = scenario.checkpoint(trainer, folder), [run.state() for run in own]
            compare_kinds(verdict, step + 1, ours, exact.state(), states, deep)
            if step > 0:  # the way of one step is too short for float32 weights
                compare_moves(verdict, step + 1, start, ours, exact.state(), states)
    for name, error in worst.items():
        verdict.true(f"{name} of every step: worst relative error {error:.1e} (at most 1e-04)", error <= 1e-4)
    trainer.close()


def main():
    torch.set_num_threads(1)
    verdict = Verdict("trajectory")
    for title, case in CASES.items():
        run_case(verdict, title, *case)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

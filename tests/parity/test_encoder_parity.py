"""The gradient of one step, layer by layer, for several networks and odd image sizes.

At the first step the momentum buffer is d = gradient (no weight decay here), so a checkpoint after one step shows the
gradient of every tensor, and the weights show -lr times it.
"""
import sys

import numpy as np
import torch

import binding
import scenario
from compare import Verdict
from reference import Config

SEED = 3
TOLERANCE = 1e-4
PREFIX = "optimizer.momentum_buffer."
SMALL = dict(batch_size=8, bn_groups=2, weight_decay=0.0, lr=0.05)
CASES = {
    "resnet18, CIFAR stem, 33 pixels": Config(image_size=33, **SMALL),
    "resnet18, CIFAR stem, 16 pixels, width 0.5, MLP head": Config(image_size=16, width=0.5, head="mlp", **SMALL),
    "resnet18, 65 pixels, MLP head": Config(stem="imagenet", image_size=65, head="mlp", **SMALL),
    "resnet34, 49 pixels": Config(arch="resnet34", stem="imagenet", image_size=49, **SMALL),
    "resnet50, 33 pixels, MLP head": Config(arch="resnet50", stem="imagenet", image_size=33, head="mlp", **SMALL),
    "resnet50, CIFAR stem, 17 pixels": Config(arch="resnet50", stem="cifar", image_size=17, **SMALL),
    "resnet18, 33 pixels, weights as drawn": Config(stem="imagenet", image_size=33, **SMALL),
}


def run_case(verdict, title, config):
    print(title)
    folder = scenario.Folder()
    trainer, start = scenario.start(config, folder, 0, SEED, change=None if "as drawn" in title else scenario.vary)
    exact, own = scenario.references(config, start)
    views = scenario.choose_views(exact, own[0], config, 7)
    permutation = binding.shuffle(SEED, 0, config.batch_size)
    trainer.push(*views)
    report = trainer.step()
    wanted = exact.step(*views, permutation)
    for run in own:
        run.step(*views, permutation)
    ours = scenario.checkpoint(trainer, folder)
    gradients = {n[len(PREFIX):]: t for n, t in ours.items() if n.startswith(PREFIX)}
    verdict.close("  loss", report.loss, wanted["loss"], 1e-5)
    verdict.close("  gradient norm", report.gradient_norm, wanted["gradient_norm"], 1e-5)
    verdict.tensors("  gradient", gradients, exact.gradients, [run.gradients for run in own], TOLERANCE)
    names, states = [f"encoder_q.{n}" for n in gradients], [run.state() for run in own]
    step = {n: start[n].astype(np.float64) - config.lr * exact.gradients[n[len("encoder_q."):]] for n in names}
    verdict.tensors("  weights after the step", {n: ours[n] for n in names}, step,
                    [{n: s[n] for n in names} for s in states], TOLERANCE)
    queries = {n: t for n, t in exact.state().items() if "running_" in n}
    verdict.tensors("  running statistics", {n: ours[n] for n in queries}, queries,
                    [{n: s[n] for n in queries} for s in states], TOLERANCE)
    trainer.close()


def main():
    torch.set_num_threads(1)
    verdict = Verdict("encoder")
    for title, config in CASES.items():
        run_case(verdict, title, config)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

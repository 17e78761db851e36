"""A device of several shards must be one batch norm over all of its images, forward and backward.

The same device is cut into shards of 2, 4, 8 and 16 images; each is held against one big batch norm in float64, with
PyTorch's float32 batch norm and the library's uncut device as yardsticks.
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

import binding
import compare
import reference
import scenario
from compare import Verdict
from reference import Config

SEED = 9
TOLERANCE = 1e-4
PREFIX = "optimizer.momentum_buffer."
WHOLE = dict(batch_size=16, weight_decay=0.0, lr=0.02, image_size=16)
CASES = {
    "resnet18, one device": (Config(bn_groups=1, **WHOLE), (16, 8, 4, 2)),
    "resnet18, 2 devices, strided": (Config(bn_groups=2, membership="strided", **WHOLE), (8, 4, 2)),
    "resnet50, one device, MLP head": (Config(arch="resnet50", stem="imagenet", head="mlp", bn_groups=1,
                                              **{**WHOLE, "image_size": 33}), (16, 8, 4, 2)),
}


def one_step(config, shard, views, folder):
    """What a step leaves behind: gradients and running statistics as one dict, and the loss."""
    trainer, _ = scenario.start(config, folder, shard, SEED)
    trainer.push(*views)
    loss = trainer.step().loss
    state = scenario.checkpoint(trainer, folder)
    trainer.close()
    return {n: t for n, t in state.items() if n.startswith(PREFIX) or "running_" in n}, loss


def wanted_of(run):
    return {n: t for n, t in run.state().items() if n.startswith(PREFIX) or "running_" in n}


def run_case(verdict, title, config, shards):
    print(title)
    folder = scenario.Folder()
    trainer, start = scenario.start(config, folder, shards[0], SEED)
    trainer.close()
    exact, own = scenario.references(config, start)
    views = scenario.choose_views(exact, own[0], config, 21)
    permutation = binding.shuffle(SEED, 0, config.batch_size)
    loss = exact.step(*views, permutation)["loss"]
    for run in own:
        run.step(*views, permutation)
    wanted, peers = wanted_of(exact), [wanted_of(run) for run in own]
    uncut = None
    for shard in shards:
        ours, our_loss = one_step(config, shard, views, folder)
        verdict.close(f"shards of {shard}: loss", our_loss, loss, 1e-5)
        verdict.tensors(f"shards of {shard}: gradients and statistics", ours, wanted, peers, TOLERANCE)
        uncut = uncut or ours
        total, whole = (compare.rss(compare.relative(o[n], wanted[n]) for n in wanted) for o in (ours, uncut))
        verdict.true(f"shards of {shard}: root-sum-square {total:.1e}, uncut {whole:.1e}",
                     total <= compare.WHOLE_FACTOR * max(whole, compare.rss(map(compare.least, wanted))))


def check_full_size(verdict):
    """Statistics of the first batch norm at 224 pixels, batch 32: 401,408 values a channel must still add up."""
    print("first batch norm at 224 pixels, batch 32, one device")
    config = Config(stem="imagenet", image_size=224, batch_size=32, bn_groups=1, width=0.0625, lr=1e-4)
    folder, views = scenario.Folder(), reference.random_views(config, 1)
    for shard in (32, 8):
        trainer, start = scenario.start(config, folder, shard, SEED, change=None)
        trainer.push(*views)
        trainer.step()
        state = scenario.checkpoint(trainer, folder)
        trainer.close()
        weight = torch.tensor(start["encoder_q.conv1.weight"], dtype=torch.float64)
        with torch.no_grad():
            y = F.conv2d(torch.tensor(views[0], dtype=torch.float64), weight, stride=2, padding=3)
        mean, var = y.mean((0, 2, 3)).numpy(), y.var((0, 2, 3)).numpy()
        shift = np.abs(state["encoder_q.bn1.running_mean"] / 0.1 - mean) / np.sqrt(var)
        verdict.true(f"shards of {shard}: mean off by {shift.max():.1e} standard deviations (at most 1e-05)",
                     shift.max() <= 1e-5)
        verdict.close(f"shards of {shard}: variance", (state["encoder_q.bn1.running_var"] - 0.9) / 0.1, var, 1e-5)


def main():
    torch.set_num_threads(1)
    verdict = Verdict("multishard")
    check_full_size(verdict)
    for title, case in CASES.items():
        run_case(verdict, title, *case)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

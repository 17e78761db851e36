"""The reference against itself: brute-force batch norm, published parameter counts, check values, float32 growth.

Needs no library. What the other scripts compare with must be right first.
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

import reference
from compare import Verdict
from reference import Config

PARAMETERS = {"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032}  # with a 1000-way fc


def brute_force_batch_norm(x, weight, bias, groups):
    """Loops over groups and channels: the definition, nothing else. Returns (y, mean over groups of mean, of variance)."""
    y = np.zeros_like(x)
    means, variances = [], []
    for rows in groups:
        part = x[rows]
        count = part[:, 0].size
        group_mean, group_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        for c in range(x.shape[1]):
            mean = part[:, c].sum() / count
            var = ((part[:, c] - mean) ** 2).sum() / count
            y[rows, c] = (part[:, c] - mean) / np.sqrt(var + 1e-5) * weight[c] + bias[c]
            group_mean[c], group_var[c] = mean, var * count / (count - 1)
        means.append(group_mean)
        variances.append(group_var)
    return y, np.mean(means, 0), np.mean(variances, 0)


def check_batch_norm(verdict):
    rng = np.random.default_rng(1)
    for membership in ("contiguous", "strided"):
        groups = reference.groups_of(12, 3, membership)
        layer = reference.GroupedBatchNorm(5).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(rng.standard_normal(5)))
            layer.bias.copy_(torch.tensor(rng.standard_normal(5)))
        layer.groups = groups
        x = rng.standard_normal((12, 5, 4, 3)) + np.arange(12).reshape(12, 1, 1, 1)
        wanted, mean, var = brute_force_batch_norm(x, layer.weight.detach().numpy(), layer.bias.detach().numpy(),
                                                   [g.numpy() for g in groups])
        got = layer(torch.tensor(x)).detach().numpy()
        verdict.close(f"grouped batch norm, {membership}", got, wanted, 1e-12)
        verdict.close("  running mean", layer.running_mean.numpy(), 0.1 * mean, 1e-12)
        verdict.close("  running variance", layer.running_var.numpy(), 0.9 + 0.1 * var, 1e-12)


def check_membership(verdict):
    """Sample n of 16 has the value n, four groups: the published means."""
    for membership, wanted in (("strided", [6, 7, 8, 9]), ("contiguous", [1.5, 5.5, 9.5, 13.5])):
        means = [float(rows.double().mean()) for rows in reference.groups_of(16, 4, membership)]
        verdict.true(f"membership {membership}: group means {means}", means == wanted)


def check_isolation(verdict):
    """Backward of a group sees only its own samples: a loss on group 0 sends nothing to the others."""
    groups = reference.groups_of(8, 2, "strided")
    layer = reference.GroupedBatchNorm(3).double()
    layer.groups = groups
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    (layer(x)[groups[0]] ** 3).sum().backward()
    verdict.true("gradient stays inside a group", float(x.grad[groups[1]].abs().max()) == 0.0
                 and float(x.grad[groups[0]].abs().max()) > 0.0)


def check_parameters(verdict):
    for arch, wanted in PARAMETERS.items():
        encoder = reference.Encoder(Config(arch=arch, width=1.0, stem="imagenet", dimension=1000))
        count = sum(p.numel() for p in encoder.parameters())
        verdict.true(f"{arch}: {count:,} parameters with a 1000-way fc", count == wanted)
    encoder = reference.Encoder(Config(arch="resnet18", width=1.0, stem="cifar", dimension=128))
    verdict.true("resnet18, CIFAR stem, 128-d fc: 11,234,496 parameters",
                 sum(p.numel() for p in encoder.parameters()) == 11_234_496)
    verdict.true("channels of width 0.25, 0.3, 0.0625", [reference.channels(c, w) for w in (0.25, 0.3, 0.0625)
                                                         for c in (64, 128, 256, 512)] ==
                 [16, 32, 64, 128, 16, 32, 80, 160, 16, 16, 16, 32])


def check_info_nce(verdict):
    """The gradient by the queries against its closed form."""
    rng = np.random.default_rng(2)
    q, k, queue = (F.normalize(torch.tensor(rng.standard_normal(s)), dim=1) for s in ((6, 8), (6, 8), (20, 8)))
    q.requires_grad_(True)
    loss, *_ = reference.info_nce(q, k, queue.t(), 0.2)
    loss.backward()
    every = np.concatenate([k.numpy()[:, None], np.broadcast_to(queue.numpy(), (6, 20, 8))], axis=1)
    logits = np.einsum("nd,njd->nj", q.detach().numpy(), every) / 0.2
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    wanted = (np.einsum("nj,njd->nd", p, every) - k.numpy()) / (6 * 0.2)
    verdict.close("InfoNCE loss", loss.item(), -np.log(p[:, 0]).mean(), 1e-12)
    verdict.close("InfoNCE gradient", q.grad.numpy(), wanted, 1e-12)


def check_shuffle(verdict):
    """With one group, keys do not depend on the permutation; with four they do, and rows stay in image order."""
    config = Config(batch_size=8, image_size=16)
    tensors = reference.random_tensors(config)
    _, images = reference.random_views(config, 3)
    permutation = np.random.default_rng(4).permutation(8)
    for devices in (1, 4):
        config.bn_groups = devices
        keys = []
        for order in (np.arange(8), permutation):
            trainer = reference.Trainer(config, tensors)
            keys.append(trainer.encode_keys(trainer.views(images), order).numpy())
        difference = np.abs(keys[0] - keys[1]).max()
        verdict.true(f"keys under a shuffle, {devices} group(s): largest change {difference:.1e}",
                     difference < 1e-12 if devices == 1 else difference > 1e-3)


def check_sgd(verdict):
    """Two steps by hand: d = g + wd p; buf = d, then mu buf + d; p -= lr buf."""
    config = Config(batch_size=8, bn_groups=2, image_size=16, weight_decay=0.01)
    trainer = reference.Trainer(config, reference.random_tensors(config))
    weight = trainer.query.layer2[0].conv1.weight
    buffer = None
    for step in range(2):
        before = weight.detach().clone().numpy()
        trainer.step(*reference.random_views(config, step), np.arange(8))
        d = trainer.gradients["layer2.0.conv1.weight"] + config.weight_decay * before
        buffer = d if buffer is None else config.sgd_momentum * buffer + d
        verdict.close(f"SGD, step {step + 1}", weight.detach().numpy(), before - config.lr * buffer, 1e-12)


def main():
    torch.set_num_threads(1)
    verdict = Verdict("reference")
    for part in (check_batch_norm, check_membership, check_isolation, check_parameters, check_info_nce, check_shuffle,
                 check_sgd):
        part(verdict)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

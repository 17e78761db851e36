"""MoCo v1/v2 in plain PyTorch, float32 or float64: an independent statement of what the library must compute.

Networks in torchvision's form with its state-dict names; batch norm per batch-norm group; queue; InfoNCE; key shuffle
with a given permutation; torch.optim.SGD; key momentum in the order of the published code (before the key forward, so
the key encoder that a step leaves behind is one update short: state() applies the missing one to a copy).
"""
import copy
import dataclasses
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning barriers cost tenfold where cores are shared
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from reorder import reorder

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
EPS, BN_MOMENTUM = 1e-5, 0.1
NEAR = 1e-4  # logits closer than this may change places in float32


@dataclasses.dataclass
class Config:
    arch: str = "resnet18"
    width: float = 0.25
    stem: str = "cifar"
    head: str = "linear"
    image_size: int = 32
    dimension: int = 32
    batch_size: int = 16
    bn_groups: int = 4
    membership: str = "contiguous"
    bn_running: str = "mean"
    queue_length: int = 64
    temperature: float = 0.2
    key_momentum: float = 0.99
    lr: float = 0.03  # as applied; the library's base_lr is this times 256 / batch_size
    sgd_momentum: float = 0.9
    weight_decay: float = 1e-4


def channels(base, width):
    return max(16, int(round(base * width / 16)) * 16)


def groups_of(count, devices, membership):
    """The rows of each batch-norm group, in order."""
    rows = torch.arange(count)
    each = count // devices
    group = rows // each if membership == "contiguous" else rows % devices
    return [rows[group == g] for g in range(devices)]


class GroupedBatchNorm(nn.Module):
    """Batch norm with statistics per batch-norm group in training; ordinary batch norm in evaluation.

    Running statistics: mode "mean" is the mean over the devices of what each would have written, "first" is the first
    device's, as in checkpoints of distributed training. Either way one update per forward.
    """

    def __init__(self, count):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(count))
        self.bias = nn.Parameter(torch.zeros(count))
        self.register_buffer("running_mean", torch.zeros(count))
        self.register_buffer("running_var", torch.ones(count))
        self.groups, self.mode = None, "mean"

    def forward(self, x):
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, EPS)
        parts, means, variances = [], [], []
        for rows in self.groups:
            mean, var = self.running_mean.clone(), self.running_var.clone()
            parts.append(F.batch_norm(x[rows], mean, var, self.weight, self.bias, True, BN_MOMENTUM, EPS))
            means.append(mean)
            variances.append(var)
        count = len(means) if self.mode == "mean" else 1
        self.running_mean.copy_(sum(means[:count]) / count)
        self.running_var.copy_(sum(variances[:count]) / count)
        back = torch.argsort(torch.cat(list(self.groups)))
        return torch.cat(parts)[back]


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3 (with the stride), 1x1 with four times the channels."""

    def __init__(self, inputs, planes, stride, bottleneck, watch):
        super().__init__()
        outputs = planes * (4 if bottleneck else 1)
        shapes = [(1, inputs, planes, 1), (3, planes, planes, stride), (1, planes, outputs, 1)] if bottleneck else \
                 [(3, inputs, planes, stride), (3, planes, planes, 1)]
        for i, (kernel, c, k, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(c, k, kernel, s, kernel // 2, bias=False))
            setattr(self, f"bn{i}", GroupedBatchNorm(k))
        self.depth, self.watch = len(shapes), watch
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                            GroupedBatchNorm(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = self.watch.relu(y)
        return self.watch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Watch:
    """Applies ReLU; on request also keeps the smallest distance of any input from the kink, in units of their rms."""

    def __init__(self):
        self.active, self.margin = False, np.inf

    def relu(self, x):
        if self.active:
            d = x.detach()
            self.margin = min(self.margin, float(d.abs().min() / d.pow(2).mean().sqrt()))
        return F.relu(x)

    def pool(self, x):
        """Max pooling 3x3 stride 2 pad 1; the margin is the gap between the two largest, where the largest counts."""
        if self.active:
            d = F.pad(x.detach(), (1, 1, 1, 1), value=-np.inf)
            windows = d.unfold(2, 3, 2).unfold(3, 3, 2).flatten(4)
            top = windows.topk(2, dim=4).values
            gaps = (top[..., 0] - top[..., 1])[top[..., 0] > 0]
            self.margin = min(self.margin, float(gaps.min() / x.detach().pow(2).mean().sqrt()))
        return F.max_pool2d(x, 3, 2, 1)


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.watch = Watch()
        bottleneck = config.arch == "resnet50"
        base = [channels(c, config.width) for c in (64, 128, 256, 512)]
        self.cifar = config.stem == "cifar"
        self.conv1 = nn.Conv2d(3, base[0], 3, 1, 1, bias=False) if self.cifar else \
            nn.Conv2d(3, base[0], 7, 2, 3, bias=False)
        self.bn1 = GroupedBatchNorm(base[0])
        inputs = base[0]
        for stage, (planes, count) in enumerate(zip(base, BLOCKS[config.arch]), 1):
            blocks = []
            for i in range(count):
                blocks.append(Block(inputs, planes, 2 if stage > 1 and i == 0 else 1, bottleneck, self.watch))
                inputs = planes * (4 if bottleneck else 1)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, config.dimension) if config.head == "linear" else \
            nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, config.dimension))
        for module in self.modules():
            if isinstance(module, GroupedBatchNorm):
                module.mode = config.bn_running

    def set_groups(self, groups):
        for module in self.modules():
            if isinstance(module, GroupedBatchNorm):
                module.groups = groups

    def backbone(self, x):
        x = self.watch.relu(self.bn1(self.conv1(x)))
        if not self.cifar:
            x = self.watch.pool(x)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return x.mean(dim=(2, 3))

    def forward(self, x):
        features = self.backbone(x)
        if isinstance(self.fc, nn.Sequential):
            return self.fc[2](self.watch.relu(self.fc[0](features)))
        return self.fc(features)


def normalise(x):
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)


def info_nce(q, k, queue, temperature):
    """(mean loss, top-1 percent, top-5 percent, percent of rows where rounding may decide); queue is [D,K], label 0."""
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue], dim=1) / temperature
    loss = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
    better = (logits[:, 1:] > logits[:, :1]).sum(1)
    close = ((logits[:, 1:] - logits[:, :1]).abs() < NEAR).any(1)
    return loss, *(float(rows.double().mean() * 100) for rows in (better < 1, better < 5, close))


class Trainer:
    """The reference run. `tensors` are those of a checkpoint at step 0; `order` as reorder() has it."""

    def __init__(self, config, tensors, dtype=torch.float64, memory_format=torch.contiguous_format, order=0):
        self.config, self.dtype, self.memory_format, self.steps = config, dtype, memory_format, 0
        self.query, self.key = Encoder(config).to(dtype), Encoder(config).to(dtype)
        for prefix, encoder in (("encoder_q.", self.query), ("encoder_k.", self.key)):
            load_encoder(encoder, tensors, prefix)
            reorder(encoder, order).to(memory_format=memory_format)
            encoder.set_groups(groups_of(config.batch_size, config.bn_groups, config.membership))
        self.queue = torch.tensor(tensors["queue"], dtype=dtype)
        self.pointer = int(tensors["queue_ptr"].reshape(-1)[0])
        self.optimizer = torch.optim.SGD(self.query.parameters(), config.lr, config.sgd_momentum,
                                         weight_decay=config.weight_decay)

    def views(self, array):
        return torch.tensor(array, dtype=self.dtype).contiguous(memory_format=self.memory_format)

    @torch.no_grad()
    def encode_keys(self, images, permutation):
        """Position p of the key batch encodes image permutation[p]; rows come back in image order."""
        permutation = torch.as_tensor(permutation)
        shuffled = normalise(self.key(images[permutation].contiguous(memory_format=self.memory_format)))
        keys = torch.empty_like(shuffled)
        keys[permutation] = shuffled
        return keys

    @torch.no_grad()
    def enqueue(self, keys):
        for row in keys:
            self.queue[:, self.pointer] = row
            self.pointer = (self.pointer + 1) % self.queue.shape[1]

    def step(self, queries, keys, permutation):
        if self.steps > 0:  # at the first step both encoders are equal and the update is the identity
            momentum_update(self.key, self.query, self.config.key_momentum)
        q = normalise(self.query(self.views(queries)))
        k = self.encode_keys(self.views(keys), permutation)
        loss, top1, top5, close = info_nce(q, k, self.queue.clone(), self.config.temperature)
        self.optimizer.zero_grad()
        loss.backward()
        self.gradients = {n: p.grad.detach().double().numpy().copy() for n, p in self.query.named_parameters()}
        norm = float(np.sqrt(sum((g ** 2).sum() for g in self.gradients.values())))
        self.optimizer.step()
        self.enqueue(k)
        self.steps += 1
        return {"loss": loss.item(), "gradient_norm": norm, "contrast_top1": top1, "contrast_top5": top5,
                "close": close}

    def state(self):
        """All tensors as float64 under a checkpoint's names, with the key encoder after the pending update."""
        key = copy.deepcopy(self.key)
        if self.steps > 0:
            momentum_update(key, self.query, self.config.key_momentum)
        state = {f"encoder_q.{n}": t for n, t in self.query.state_dict().items()}
        state.update({f"encoder_k.{n}": t for n, t in key.state_dict().items()})
        state["queue"], state["queue_ptr"] = self.queue, torch.tensor([self.pointer])
        for name, parameter in self.query.named_parameters():
            buffer = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                state[f"optimizer.momentum_buffer.{name}"] = buffer
        return {n: t.detach().double().numpy().copy() for n, t in state.items()}


@torch.no_grad()
def momentum_update(key, query, momentum):
    for k, q in zip(key.parameters(), query.parameters()):
        k.copy_(k * momentum + q * (1.0 - momentum))


def load_encoder(encoder, tensors, prefix):
    """Copy a checkpoint's tensors in; names and shapes must be exactly torchvision's (the batch counter may be there)."""
    own = encoder.state_dict()
    given = {n[len(prefix):]: t for n, t in tensors.items()
             if n.startswith(prefix) and not n.endswith("num_batches_tracked")}
    if set(own) != set(given):
        raise ValueError(f"{prefix}: missing {sorted(set(own) - set(given))}, unknown {sorted(set(given) - set(own))}")
    for name, tensor in own.items():
        if tuple(tensor.shape) != given[name].shape:
            raise ValueError(f"{prefix}{name}: shape {given[name].shape}, wanted {tuple(tensor.shape)}")
    encoder.load_state_dict({n: torch.tensor(given[n], dtype=own[n].dtype) for n in own})


def random_tensors(config, seed=0):
    """A step-0 checkpoint's tensors, made by PyTorch, for the reference's own tests."""
    torch.manual_seed(seed)
    encoder = Encoder(config)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    state = {n: t.numpy().copy() for n, t in encoder.state_dict().items()}
    tensors = {f"{p}.{n}": t.copy() for p in ("encoder_q", "encoder_k") for n, t in state.items()}
    queue = np.random.default_rng(seed).standard_normal((config.dimension, config.queue_length)).astype(np.float32)
    tensors["queue"] = queue / np.linalg.norm(queue, axis=0)
    tensors["queue_ptr"] = np.zeros(1, dtype=np.int64)
    return tensors


def random_views(config, seed):
    """Two related views of random smooth images: [B,3,S,S] each, float32, about zero mean and unit variance."""
    rng = np.random.default_rng(seed)
    size, count = config.image_size, config.batch_size
    coarse = torch.tensor(rng.standard_normal((count, 3, 5, 5)))
    smooth = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).numpy()
    return tuple((smooth + 0.3 * rng.standard_normal(smooth.shape)).astype(np.float32) for _ in range(2))

"""MoCo v3, SimCLR, BYOL and the symmetric queue loss in plain PyTorch: heads with batch norm, predictor, in-batch losses, LARS.

Written from the published descriptions (arXiv 2104.02057, 2002.05709, 2006.07733); the backbone is reference.Encoder's. The key
encoder a step leaves behind includes the update that the published code makes at the start of the next step. BYOL's
published code makes it at the end of the step itself.
"""
import copy
import dataclasses
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import reference
import vit_reference
from reference import GroupedBatchNorm, normalise
from reorder import reorder


@dataclasses.dataclass
class Config(reference.Config):
    recipe: str = "moco-v3"
    loss: str = "batch"            # queue, batch, nt-xent, regression
    scale: str = "2t"              # one, two, 2t
    symmetric: int = 1
    predictor: int = 1
    head: str = "mlp-v3"
    head_width: int = 64
    head_layers: int = 0
    optimizer: str = "lars"
    trust: float = 0.001
    betas: tuple = (0.9, 0.999)
    momentum_schedule: str = "cosine"
    warmup: int = 1
    schedule: str = "cosine"
    milestones: tuple = (3, 7)
    epochs: int = 5
    steps_per_epoch: int = 10
    unit: str = "step"             # what the rate follows: every step, or whole epochs
    first_epoch: int = 0           # what the rate counts the first epoch as
    membership: str = "contiguous"
    patch: int = 8
    depth: int = 2
    heads: int = 4
    channels: int = 48             # of a ViT; width 1 is 384
    vit_norm: str = "layer"

    @property
    def is_vit(self):
        return self.arch.startswith("vit")


def sequence(inputs, hidden, outputs, layers, last_norm, affine, dtype_std=None):
    """Linear without bias and batch norm in turn, ReLU between; modules numbered as nn.Sequential does."""
    parts = []
    for layer in range(layers):
        last = layer == layers - 1
        parts.append(nn.Linear(inputs if layer == 0 else hidden, outputs if last else hidden, bias=False))
        if not last:
            parts += [GroupedBatchNorm(hidden), nn.ReLU()]
        elif last_norm:
            norm = GroupedBatchNorm(outputs)
            norm.affine = affine
            parts.append(norm)
    return nn.Sequential(*parts)


class VitBody(vit_reference.ViT):
    """A ViT whose head lies in the same state dict, as `head`."""

    def __init__(self, config):
        super().__init__(vit_reference.Config(config.arch, config.image_size, config.patch, config.depth, config.heads,
                                              config.channels, config.vit_norm))
        self.head = sequence(config.channels, config.head_width or config.channels, config.dimension,
                             config.head_layers or 3, True, "none")
        for p in self.patch_embed.parameters():
            p.requires_grad_(False)
        self.watch = reference.Watch()

    def backbone(self, x):
        return super().forward(x)

    @property
    def fc(self):
        return self.head


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.is_vit:
            self.body = VitBody(config)
            return
        plain = "linear" if config.head.startswith("mlp-") else config.head
        self.body = reference.Encoder(dataclasses.replace(config, head=plain))
        features = self.body.fc.in_features if plain == "linear" else 0
        width = config.head_width or features
        if config.head == "mlp-v3":
            self.body.fc = sequence(features, width, config.dimension, config.head_layers or 2, True, "none")
        elif config.head == "mlp-simclr":
            self.body.fc = sequence(features, width, config.dimension, config.head_layers or 3, True, "scale")
        elif config.head == "mlp-byol":
            self.body.fc = sequence(features, width, config.dimension, config.head_layers or 2, False, "both")

    def backbone(self, x):
        return self.body.backbone(x)

    def head(self, features):
        fc = self.body.fc
        if isinstance(fc, nn.Sequential):
            for module in fc:
                features = self.body.watch.relu(features) if isinstance(module, nn.ReLU) else module(features)
            return features
        return fc(features)

    def forward(self, x):
        return self.head(self.backbone(x))


def set_groups(module, groups):
    for part in module.modules():
        if isinstance(part, GroupedBatchNorm):
            part.groups = groups


def fix_constants(module):
    """Batch norms without shift, or without scale and shift, keep 0 and 1."""
    for part in module.modules():
        if isinstance(part, GroupedBatchNorm):
            affine = getattr(part, "affine", "both")
            part.weight.requires_grad_(affine != "none")
            part.bias.requires_grad_(affine == "both")


class Lars:
    def __init__(self, named, config, inside):
        self.named, self.config, self.inside = named, config, inside
        self.velocity = {n: torch.zeros_like(p) for n, p in named}

    @torch.no_grad()
    def step(self, lr):
        for name, p in self.named:
            d = p.grad
            if p.ndim > 1:
                d = d + self.config.weight_decay * p
                a, b = p.norm(), d.norm()
                if a > 0 and b > 0:
                    d = d * (self.config.trust * a / b)
            v = self.velocity[name]
            if self.inside:
                v.mul_(self.config.sgd_momentum).add_(d * lr)
                p.sub_(v)
            else:
                v.mul_(self.config.sgd_momentum).add_(d)
                p.sub_(v * lr)

    def state(self):
        return {f"optimizer.momentum_buffer.{n}": v for n, v in self.velocity.items()}


class Torch:
    """torch.optim's SGD and AdamW."""

    def __init__(self, named, config):
        self.named = named
        parameters = [p for _, p in named]
        if config.optimizer == "sgd":
            self.kept = {"momentum_buffer": "momentum_buffer"}
            self.inner = torch.optim.SGD(parameters, 1.0, config.sgd_momentum, weight_decay=config.weight_decay)
        else:
            self.kept = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
            self.inner = torch.optim.AdamW(parameters, 1.0, config.betas, 1e-8, weight_decay=config.weight_decay)

    def step(self, lr):
        for group in self.inner.param_groups:
            group["lr"] = lr
        self.inner.step()

    def state(self):
        return {f"optimizer.{kind}.{n}": self.inner.state[p][kind] for n, p in self.named for kind in self.kept}


PREFIXES = {"batch": ("base_encoder.", "momentum_encoder."), "regression": ("online_encoder.", "target_encoder.")}


class Trainer:
    """The reference run; `tensors` are those of a checkpoint at step 0; `order` as reorder() has it."""

    def __init__(self, config, tensors, dtype=torch.float64, memory_format=torch.contiguous_format, order=0):
        self.config, self.dtype, self.memory_format, self.steps = config, dtype, memory_format, 0
        self.prefixes = prefixes = PREFIXES.get(config.loss, ("encoder_q.", "encoder_k."))
        self.at_once = config.loss == "regression"  # the key encoder moves in the step itself
        self.query = Encoder(config).to(dtype)
        self.key = copy.deepcopy(self.query) if config.loss != "nt-xent" else None
        last = config.is_vit and config.loss == "batch"
        self.predictor = sequence(config.dimension, config.head_width, config.dimension, 2, last, "none").to(dtype) \
            if config.predictor else None
        self.load(self.query.body, tensors, prefixes[0])
        if self.key is not None:
            self.load(self.key.body, tensors, prefixes[1])
        if self.predictor is not None:
            self.load(self.predictor, tensors, "predictor.")
        both = config.loss == "nt-xent"
        rows = config.batch_size * (2 if both else 1)
        self.body_groups = reference.groups_of(rows, config.bn_groups, config.membership)
        self.head_groups = self.body_groups if config.loss == "queue" else [torch.arange(rows)]
        for module in filter(None, (self.query, self.key)):
            reorder(module, order).to(memory_format=memory_format)
            fix_constants(module)
            set_groups(module, self.body_groups)
            set_groups(module.body.fc, self.head_groups)
        if self.predictor is not None:
            fix_constants(reorder(self.predictor, order))
            set_groups(self.predictor, self.head_groups)
        if config.loss == "queue":
            self.queue = torch.tensor(tensors["queue"], dtype=dtype)
            self.pointer = int(tensors["queue_ptr"].reshape(-1)[0])
        named = [(n, p) for n, p in self.query.body.named_parameters() if p.requires_grad and n != "pos_embed"]
        if self.predictor is not None:
            named += [("predictor." + n, p) for n, p in self.predictor.named_parameters() if p.requires_grad]
        self.named = named
        self.optimizer = Lars(named, config, config.optimizer == "lars-simclr") if config.optimizer.startswith("lars") \
            else Torch(named, config)

    def load(self, module, tensors, prefix):
        state = module.state_dict()
        for name in state:
            if prefix + name in tensors:
                state[name] = torch.tensor(tensors[prefix + name], dtype=self.dtype)
        module.load_state_dict(state)

    # ---- schedules: e is the real-valued epoch ----

    def epoch_now(self, step):
        return step / self.config.steps_per_epoch

    def lr(self):
        c = self.config
        e = c.first_epoch + (self.steps // c.steps_per_epoch if c.unit == "epoch" else self.epoch_now(self.steps))
        if e < c.warmup:
            return c.lr * e / c.warmup
        if c.schedule == "step":
            return c.lr * 0.1 ** sum(e >= m for m in c.milestones)
        return c.lr * 0.5 * (1 + math.cos(math.pi * (e - c.warmup) / (c.epochs - c.warmup)))

    def momentum(self, step):
        c = self.config
        if c.momentum_schedule == "constant":
            return c.key_momentum
        return 1 - 0.5 * (1 + math.cos(math.pi * self.epoch_now(step) / c.epochs)) * (1 - c.key_momentum)

    @torch.no_grad()
    def follow(self, key, step):
        m = self.momentum(step)
        for k, q in zip(key.body.parameters(), self.query.body.parameters()):
            k.mul_(m).add_(q, alpha=1 - m)

    # ---- a step ----

    def views(self, array):
        return torch.tensor(array, dtype=self.dtype).contiguous(memory_format=self.memory_format)

    def scale(self):
        return {"one": 1.0, "two": 2.0, "2t": 2 * self.config.temperature}[self.config.scale]

    def in_batch(self, q, k):
        q, k = normalise(q), normalise(k)
        return F.cross_entropy(q @ k.T / self.config.temperature, torch.arange(len(q))) * self.scale()

    def regression(self, q, k):
        return ((normalise(q) - normalise(k)) ** 2).sum(1).mean() * self.scale()

    def against_queue(self, q, k):
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ self.queue], 1) / self.config.temperature
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long)) * self.scale()

    def nt_xent(self, z):
        z, rows = normalise(z), len(z)
        logits = z @ z.T / self.config.temperature
        logits = logits - torch.diag(torch.full((rows,), torch.inf, dtype=z.dtype))
        partner = (torch.arange(rows) + rows // 2) % rows
        return F.cross_entropy(logits, partner) * self.scale()

    @torch.no_grad()
    def keys(self, x, permutation):
        permutation = torch.as_tensor(permutation)
        shuffled = normalise(self.key(x[permutation].contiguous(memory_format=self.memory_format)))
        keys = torch.empty_like(shuffled)
        keys[permutation] = shuffled
        return keys

    def loss(self, x1, x2, permutation):
        c = self.config
        if c.loss == "nt-xent":
            return self.nt_xent(self.query(torch.cat([x1, x2])))
        if c.loss in ("batch", "regression"):
            q = [self.predictor(self.query(x)) if self.predictor is not None else self.query(x) for x in (x1, x2)]
            with torch.no_grad():
                k = [self.key(x) for x in (x1, x2)]
            half = self.in_batch if c.loss == "batch" else self.regression
            return half(q[0], k[1]) + half(q[1], k[0])
        if not c.symmetric:
            self.new_keys = self.keys(x2, permutation)
            return self.against_queue(normalise(self.query(x1)), self.new_keys)
        q = [normalise(self.query(x)) for x in (x1, x2)]
        k = [self.keys(x, permutation) for x in (x1, x2)]
        self.new_keys = torch.cat(k)
        return self.against_queue(q[0], k[1]) + self.against_queue(q[1], k[0])

    def step(self, first, second, permutation):
        if self.key is not None and self.steps > 0 and not self.at_once:
            self.follow(self.key, self.steps)
        loss = self.loss(self.views(first), self.views(second), permutation)
        for _, p in self.named:
            p.grad = None
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.double().pow(2).sum()) for _, p in self.named))
        lr = self.lr()
        self.optimizer.step(lr)
        if self.at_once:
            self.follow(self.key, self.steps)
        if self.config.loss == "queue":
            for row in self.new_keys:
                self.queue[:, self.pointer] = row
                self.pointer = (self.pointer + 1) % self.queue.shape[1]
        self.steps += 1
        return {"loss": float(loss.detach()), "gradient_norm": norm, "lr": lr}

    def constants(self):
        """Names in state() that no file holds: scales and shifts that a batch norm does not have."""
        places = [(self.prefixes[0], self.query.body)]
        if self.key is not None:
            places.append((self.prefixes[1], self.key.body))
        if self.predictor is not None:
            places.append(("predictor.", self.predictor))
        lacking = {"none": ("weight", "bias"), "scale": ("bias",), "both": ()}
        return {f"{prefix}{name}.{part}" for prefix, module in places for name, norm in module.named_modules()
                if isinstance(norm, GroupedBatchNorm) for part in lacking[getattr(norm, "affine", "both")]}

    @torch.no_grad()
    def state(self):
        out = {}

        def put(prefix, module):
            for name, t in module.state_dict().items():
                out[prefix + name] = t
        put(self.prefixes[0], self.query.body)
        if self.key is not None:
            key = copy.deepcopy(self.key)
            if not self.at_once:
                self.follow(key, self.steps)
            put(self.prefixes[1], key.body)
        if self.predictor is not None:
            put("predictor.", self.predictor)
        if self.config.loss == "queue":
            out["queue"], out["queue_ptr"] = self.queue, torch.tensor([self.pointer])
        out.update(self.optimizer.state())
        return {n: t.double().numpy().copy() for n, t in out.items()}

"""Fine-tuning against PyTorch: ten steps of a small ResNet and of a small ViT with both optimizers, warm-up and cosine,
label smoothing, mixup, drop path, one and several batch-norm groups, shards that meet; every weight and running statistic
of the file that is written; answers on a test set; what was drawn.

The order of the images, the classifier's first weights, the shares of mixup and the dropped paths come from the
counter-based generator (test_probe.py states it once more); what is made of its draws is restated here. Crops are of the
whole of square pictures of the network's size, so they are the pictures themselves.
"""
import io
import os
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import reference
import tensors
import test_family
import vit_reference
from compare import Verdict
from reorder import DRAWS, ORDERS, reorder
from test_probe import moco, words

WEIGHTS, ORDER, MIX, PATH = 24, 25, 27, 28  # streams
SIDE, CLASSES, BATCH, IMAGES, STEPS = 16, 5, 8, 43, 10
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
TOLERANCE = 1e-4


# ---- draws ----

class Stream:
    """The draws of one counter, one after the other."""

    def __init__(self, seed, stream, time, index=0):
        self.units = (words(seed, stream, time, 4096, index) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53
        self.at = 0

    def unit(self):
        self.at += 1
        return self.units[self.at - 1]

    def normal(self):
        radius = np.sqrt(-2 * np.log(1 - self.unit()))
        return radius * np.cos(2 * np.pi * self.unit())

    def gamma(self, shape):
        d = (shape + 1 if shape < 1 else shape) - 1 / 3
        while True:
            x = self.normal()
            u, v = 1 - self.unit(), (1 + x / np.sqrt(9 * d)) ** 3
            if v > 0 and np.log(u) < 0.5 * x * x + d - d * v + d * np.log(v):
                break
        return d * v * (1 - self.unit()) ** (1 / shape) if shape < 1 else d * v


def share_of(seed, step, alpha):
    if alpha == 0:
        return 1.0
    stream = Stream(seed, MIX, step)
    x = stream.gamma(alpha)
    return x / (x + stream.gamma(alpha))


def factors_of(seed, step, blocks, per_block, last):
    """[B, blocks * per_block]: 0 or 1/(1-p), p linear over the blocks from 0 to `last`."""
    rows = []
    for image in range(BATCH):
        stream = Stream(seed, PATH, step, image)
        drops = [last * block / (blocks - 1) for block in range(blocks) for _ in range(per_block)]
        rows.append([0.0 if stream.unit() < p else 1 / (1 - p) for p in drops])
    return np.array(rows, np.float32)


# ---- data ----

def picture(number):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (SIDE, SIDE, 3)) // 3 + 34 * (number % CLASSES)
    out = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


def pixels(files):
    return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])


# ---- the reference ----

class Block(reference.Block):
    """A residual block whose branch is multiplied by a factor per image."""
    factors = None

    def forward(self, x):
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = self.watch.relu(y)
        if self.factors is not None:
            y = y * self.factors[:, None, None, None]
        return self.watch.relu(y + (x if self.downsample is None else self.downsample(x)))


class TokenBlock(vit_reference.Block):
    """A transformer's block, both of whose branches are multiplied by factors per image."""
    factors = None

    def forward(self, x):
        attention, mlp = (1.0, 1.0) if self.factors is None else (f[:, None, None] for f in self.factors)
        x = x + attention * self.attn(self.norm1(x))
        return x + mlp * self.mlp(self.norm2(x))


class Classifier(vit_reference.ViT):
    def __init__(self, config):
        super().__init__(config)
        self.head = torch.nn.Linear(config.channels, CLASSES)

    def forward(self, x):
        return self.head(super().forward(x))


# The stem has no meaning for a ViT but one: evaluation does not resize, and the test images are taken as they are.
VIT = dict(arch="vit_small", stem="cifar", width=0.125, vit_depth=3, vit_heads=4, patch_size=8, head_width=32)


class Case:
    def __init__(self, verdict, vit):
        self.verdict, self.vit = verdict, vit
        self.layer, self.per_block = ("head", 2) if vit else ("fc", 1)
        self.folder = tempfile.TemporaryDirectory()
        kind = VIT if vit else dict(arch="resnet18", width=0.25, queue_length=32, bn_groups=2)
        means = dict(zip(("mean_r", "mean_g", "mean_b", "std_r", "std_g", "std_b"), MEAN + STD))
        self.model = moco.Trainer("moco-v3-vit" if vit else "moco-cifar", image_size=SIDE, batch_size=8, dimension=16,
                                  seed=4, **kind, **means).snapshot()
        self.model.save(self.path("model"))
        if not vit:
            self.leave_kinks()
        files = [picture(i) for i in range(IMAGES)]
        labels = np.arange(IMAGES, dtype=np.int32) % CLASSES
        self.images, self.labels = pixels(files), labels.copy()
        labels[3] = -1  # has no class: left out
        self.train = moco.Dataset.from_images(files, labels)
        tests = [picture(1000 + i) for i in range(21)]
        self.test_images, self.test_labels = pixels(tests), np.arange(21, dtype=np.int32) % CLASSES
        self.test = moco.Dataset.from_images(tests, self.test_labels)

    def leave_kinks(self):
        """Batch-norm shifts that keep every ReLU input away from 0: ten steps pass millions of inputs, and one that
        rounding puts on the other side may carry two runs a tenth of a tensor apart."""
        state, _ = tensors.read(self.path("model"))
        changes = test_family.vary({f"encoder_q.{name}": value for name, value in state.items()}, True)
        tensors.overwrite(self.path("model"), {name.split(".", 1)[1]: value for name, value in changes.items()})
        self.model = moco.Model(self.path("model"))

    def path(self, name):
        return os.path.join(self.folder.name, name + ".safetensors")

    def inputs(self, images, dtype):
        """As the library's float32 inputs."""
        x = images.astype(np.float32) / np.float32(255)
        x = (x - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        return torch.tensor(x, dtype=dtype).permute(0, 3, 1, 2)

    def batches(self, seed, epochs):
        for epoch in range(epochs):
            order = np.argsort(words(seed, ORDER, epoch, IMAGES), kind="stable")
            order = [i for i in order if i != 3]
            for at in range(0, len(order) - BATCH + 1, BATCH):
                yield epoch, at // BATCH, order[at:at + BATCH]

    def network(self, dtype, devices, seed):
        if self.vit:
            net = Classifier(vit_reference.Config(image_size=SIDE, patch=8, depth=3, heads=4, channels=48))
        else:
            net = reference.Encoder(reference.Config(arch="resnet18", width=0.25, stem="cifar", head="linear",
                                                     image_size=SIDE, dimension=CLASSES, batch_size=BATCH,
                                                     bn_groups=devices))
        for module in net.modules():
            if isinstance(module, reference.Block):
                module.__class__ = Block
            if isinstance(module, vit_reference.Block):
                module.__class__ = TokenBlock
            if isinstance(module, reference.GroupedBatchNorm):
                module.groups = reference.groups_of(BATCH, devices, "contiguous")
        state, _ = tensors.read(self.path("model"))
        own, weight = net.state_dict(), self.layer + ".weight"
        stream = Stream(seed, WEIGHTS, 0)
        stream.units = (words(seed, WEIGHTS, 0, 2 * own[weight].numel()) >> np.uint64(11)) * 2.0 ** -53
        first = [0.01 * stream.normal() for _ in range(own[weight].numel())]
        state[weight] = np.array(first, np.float32).reshape(own[weight].shape)
        state[self.layer + ".bias"] = np.zeros(CLASSES, np.float32)
        net.load_state_dict({name: torch.tensor(state[name]) for name in own})
        return net.to(dtype)

    def trained(self, optimizer, o, dtype, memory_format=torch.contiguous_format, order=0):
        net = self.network(dtype, o["bn_groups"], o["seed"])
        reorder(net, order).to(memory_format=memory_format)
        blocks = [m for m in net.modules() if isinstance(m, (Block, TokenBlock))]
        for parameter in net.parameters():
            parameter.requires_grad_(True)  # positions and patches too, which pre-training keeps
        flat = [p for n, p in net.named_parameters() if p.numel() == p.shape[-1] or n.endswith("pos_embed")]
        rest = [p for n, p in net.named_parameters() if p.numel() > p.shape[-1] and not n.endswith("pos_embed")]
        groups = [{"params": rest, "weight_decay": o["weight_decay"]},
                  {"params": flat, "weight_decay": o["weight_decay"] if o["decay_vectors"] else 0.0}]
        optim = torch.optim.SGD(groups, 0.1, 0.9) if optimizer == "sgd" else \
            torch.optim.AdamW(groups, 0.1, eps=o["adam_epsilon"])
        images, per_epoch, losses = self.inputs(self.images, dtype), (IMAGES - 1) // BATCH, []
        for step, (epoch, number, rows) in enumerate(self.batches(o["seed"], o["epochs"])):
            e, warm = epoch + number / per_epoch, o["warmup_epochs"]
            rate = e / warm if e < warm else 0.5 * (1 + np.cos(np.pi * (e - warm) / (o["epochs"] - warm)))
            share = share_of(o["seed"], step, o["mixup"])
            x, y = images[rows], torch.tensor(self.labels[rows].astype(np.int64))
            target = F.one_hot(y, CLASSES).to(dtype) * (1 - o["label_smoothing"]) + o["label_smoothing"] / CLASSES
            x, target = (share * v + (1 - share) * v.flip(0) for v in (x, target))
            if o["drop_path"] > 0:
                factors = factors_of(o["seed"], step, len(blocks), self.per_block, o["drop_path"])
                factors = torch.tensor(factors.T.reshape(len(blocks), self.per_block, BATCH), dtype=dtype)
                for block, of_block in zip(blocks, factors):
                    block.factors = of_block if self.vit else of_block[0]
            for group in optim.param_groups:
                group["lr"] = o["base_lr"] * rate * (BATCH / 256 if o["lr_scaling"] == "linear" else 1)
            net.train()
            loss = -(target * F.log_softmax(net(x), 1)).sum(1).mean()
            losses.append(loss.item())
            optim.zero_grad()
            loss.backward()
            optim.step()
        for block in blocks:
            block.factors = None
        net.eval()
        with torch.no_grad():
            answers = net(self.inputs(self.test_images, dtype))
        confusion = np.zeros((CLASSES, CLASSES), np.int64)
        np.add.at(confusion, (self.test_labels, answers.argmax(1).numpy()), 1)
        loss = F.cross_entropy(answers, torch.tensor(self.test_labels.astype(np.int64))).item()
        state = {name: value.double().numpy() for name, value in net.state_dict().items()}
        return state, {"train": np.array([np.mean(losses[-per_epoch:])]), "test": np.array([loss])}, confusion

    def compare(self, title, optimizer, **options):
        o = dict(seed=7, epochs=2, batch_size=BATCH, bn_groups=1, crop_min_area=1.0, flip_probability=0.0,
                 loader_threads=2, warmup_epochs=0, drop_path=0.0, mixup=0.0, label_smoothing=0.0, lr_scaling="none")
        o.update(options)
        filled = moco.finetune_options(optimizer, **o)
        for name in "weight_decay", "decay_vectors", "base_lr", "adam_epsilon":
            o[name] = getattr(filled, name)
        finetune = moco.Finetune(self.model, self.train, self.test, optimizer, **{k: v for k, v in options.items()},
                                 **{k: v for k, v in o.items() if k not in options})
        finetune.save(self.path("tuned"))
        ours, meta = tensors.read(self.path("tuned"))
        ours = {name: value for name, value in ours.items() if "num_batches" not in name}
        exact = self.trained(optimizer, o, torch.float64)
        own = [self.trained(optimizer, o, torch.float32, *draw) for draw in (ORDERS if self.vit else DRAWS)]
        self.verdict.true(f"{title}: {finetune.result.steps} steps",
                          finetune.result.steps == STEPS and finetune.result.train_images == 40)
        for kind in "running_", "":
            part = [{n: v for n, v in s.items() if ("running_" in n) == bool(kind)}
                    for s in (ours, exact[0], *(run[0] for run in own))]
            if kind and self.vit:
                continue
            self.verdict.tensors(f"{title}, {'statistics' if kind else 'weights'}", part[0], part[1], part[2:], TOLERANCE)
        result = finetune.result
        losses = {"train": np.array([result.train_loss]), "test": np.array([result.test_loss])}
        for name, loss in losses.items():
            self.verdict.close(f"{title}, {name} loss", loss, exact[1][name], TOLERANCE)
        self.verdict.true(f"{title}, confusion table", np.array_equal(finetune.confusion(), exact[2]))
        return finetune


def main():
    torch.set_num_threads(1)
    verdict = Verdict("finetune")
    case = Case(verdict, False)
    case.compare("sgd", "sgd", base_lr=0.002)
    case.compare("sgd, smoothing, mixup, warm-up, two groups", "sgd", base_lr=0.1, lr_scaling="linear",
                 label_smoothing=0.1, mixup=0.8, warmup_epochs=1, bn_groups=2, decay_vectors=0, weight_decay=0.01)
    case.compare("adamw, smoothing, mixup", "adamw", base_lr=2e-4, label_smoothing=0.2, mixup=1.5, adam_epsilon=1e-2)
    case.compare("adamw, drop path, shards that meet", "adamw", base_lr=2e-4, drop_path=0.4, shard=2, adam_epsilon=1e-2)
    tuned = case.compare("sgd, everything", "sgd", base_lr=0.002, drop_path=0.3, shard=2, bn_groups=2, mixup=0.3,
                         label_smoothing=0.1)
    reload(case, tuned)
    case = Case(verdict, True)
    case.compare("vit, adamw, everything", "adamw", base_lr=5e-4, drop_path=0.5, shard=2, mixup=0.8, label_smoothing=0.1,
                 warmup_epochs=1, adam_epsilon=1e-4)
    reload(case, case.compare("vit, sgd", "sgd", base_lr=0.02, bn_groups=2))
    return verdict.finish()


def reload(case, tuned):
    loaded = moco.Model(case.path("tuned"))
    rows, _ = loaded.embed_dataset(case.test)
    weights, bias = tuned.weights()
    answers = (rows.astype(np.float64) @ weights.T.astype(np.float64) + bias).argmax(1)
    case.verdict.true("the file loads as a model, whose features give the measured answers",
                      loaded.dimension("projection") == 0
                      and abs(100 * np.mean(answers == case.test_labels) - tuned.result.top1) < 1e-9)


if __name__ == "__main__":
    sys.exit(main())

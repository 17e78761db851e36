"""Files of ours in the networks of other programs: what is written for torchvision loads into torchvision's own ResNets,
what is written for timm into a ViT of timm's names, and a training checkpoint fills the whole module of MoCo v3. Every
load is strict, and the network gives the features that the library gives.
"""
import dataclasses
import os
import shutil
import sys

import numpy as np
import torch
import torch.nn as nn

try:
    import torchvision
except ImportError:
    torchvision = None

import binding
import family
import reference
import scenario
import tensors
import vit_reference
from compare import Verdict

TOLERANCE = 1e-5
V3 = family.Config(recipe="moco-v3", arch="resnet18", stem="cifar", image_size=32, width=0.25, batch_size=8,
                   bn_groups=1, head_width=48, dimension=16)
VIT = family.Config(recipe="moco-v3-vit", arch="vit_small", stem="imagenet", image_size=32, patch=8, depth=2, heads=4,
                    channels=48, width=0.125, batch_size=4, bn_groups=1, head_width=48, dimension=16)
CONV = dataclasses.replace(VIT, arch="vit_conv_small", patch=16, heads=6)


def ordinary(path, seed):
    """Numbers of ordinary sizes for what begins as a constant: scales, shifts, statistics, class tokens. Every encoder
    gets its own."""
    rng, state = np.random.default_rng(seed), tensors.read(path)[0]
    changes = {}
    for name in sorted(n for n in state if not n.startswith(("optimizer.", "queue")) and state[n].dtype == np.float32):
        shape = state[name].shape
        if name.endswith("running_var"):
            changes[name] = rng.uniform(0.5, 2, shape)
        elif name.endswith("running_mean"):
            changes[name] = rng.uniform(-0.3, 0.3, shape)
        elif name.endswith("cls_token"):
            changes[name] = rng.normal(0, 0.5, shape)
        elif len(shape) == 1:
            changes[name] = rng.uniform(0.7, 1.2, shape) if name.endswith("weight") else rng.uniform(-0.2, 0.2, shape)
    tensors.overwrite(path, {n: t.astype(np.float32) for n, t in changes.items()})


def train(folder, name, config, recipe, steps=1, **values):
    """A checkpoint of the library's own trainer after a few steps."""
    path = folder.path(name)
    with binding.Trainer(recipe, seed=3, shuffle=0, schedule="constant", warmup_epochs=0, **values) as trainer:
        for step in range(steps):
            trainer.push(*reference.random_views(config, 40 + step))
            trainer.step()
        trainer.save(path)
    ordinary(path, 1)
    return path


def train_v3(folder, config):
    fields = ("arch", "stem", "image_size", "width", "batch_size", "bn_groups", "head_width", "dimension")
    values = {f: getattr(config, f) for f in fields}
    if config.is_vit:
        values.update(patch_size=config.patch, vit_depth=config.depth, vit_heads=config.heads)
    return train(folder, f"{config.arch}.safetensors", config, config.recipe, 2, **values)


def published(module, flat=False):
    """The same network with PyTorch's own batch norms, without scale and shift where the programs have none."""
    for name, child in list(module.named_children()):
        if isinstance(child, reference.GroupedBatchNorm):
            kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
            setattr(module, name, kind(len(child.weight), affine=getattr(child, "affine", "both") != "none"))
        else:
            published(child, flat or name in ("fc", "head", "predictor"))
    return module


def torch_state(path):
    return {n: torch.tensor(t) for n, t in tensors.read(path)[0].items()}


def strictly(verdict, title, path, module):
    try:
        module.load_state_dict(torch_state(path), strict=True)
        problem = ""
    except RuntimeError as error:
        problem = ": " + str(error)
    verdict.true(f"{title}: {len(module.state_dict())} tensors load strictly{problem}", not problem)
    return module.double().eval()


@torch.no_grad()
def same_rows(verdict, title, path, images, network, tap="backbone"):
    """The library's embeddings of `path` against what the network makes of the images."""
    with binding.Model.load(path) as model:
        ours = model.embed(tap, images)
    wanted = network(torch.tensor(images).double())
    wanted = (reference.normalise(wanted) if tap == "projection" else wanted).numpy()
    worst = max(np.linalg.norm(r - e) / np.linalg.norm(e) for r, e in zip(ours, wanted))
    apart = min(np.linalg.norm(wanted[0] - r) / np.linalg.norm(r) for r in wanted[1:])
    verdict.true(f"{title}: {ours.shape[1]} numbers for each of {len(ours)} images, worst {worst:.1e} (at most "
                 f"{TOLERANCE:.0e}; images are {apart:.1e} apart)",
                 ours.shape == wanted.shape and worst <= TOLERANCE and apart > 10 * TOLERANCE)


def into_torchvision(verdict, folder):
    """Encoders of full width into torchvision's own networks."""
    if torchvision is None:
        print("torchvision's own networks skipped: python3-torchvision is not installed")
        return
    config = reference.Config(image_size=65, batch_size=4)
    images = reference.random_views(config, 8)[0]
    for arch, make in (("resnet18", torchvision.models.resnet18), ("resnet50", torchvision.models.resnet50)):
        source = train(folder, f"{arch}.safetensors", config, "moco-v2", arch=arch, stem="imagenet", width=1,
                       image_size=65, batch_size=4, bn_groups=1, queue_length=8, dimension=16)
        for which in ("query", "key"):
            out, ours = folder.path("out.safetensors"), folder.path("model.safetensors")
            binding.convert(source, out, "torchvision", encoder=int(which == "key"))
            binding.convert(source, ours, encoder=int(which == "key"))
            network = make()
            network.fc = nn.Identity()
            title = f"{arch}, {which}, torchvision {torchvision.__version__}"
            same_rows(verdict, title, ours, images, strictly(verdict, title, out, network))
        linear_evaluation(verdict, folder, arch, make(), source, images)


def linear_evaluation(verdict, folder, arch, network, source, images):
    """A training checkpoint through the lines of docs/checkpoints.md, opened as MoCo's main_lincls.py opens its own."""
    page = open(os.path.join(binding.ROOT, "docs", "checkpoints.md"), encoding="utf-8").read()
    blocks = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    block = next(b for b in blocks if "state = load_file(" in b)
    lines = block[block.index("state = load_file("):]  # its imports are another package's, which stands in below
    os.makedirs(folder.path("RUN"), exist_ok=True)
    shutil.copy(source, folder.path("RUN/checkpoint.safetensors"))
    here = os.getcwd()
    os.chdir(folder.path("."))
    try:
        exec(lines, {"torch": torch, "load_file": torch_state})
        saved = torch.load("x.pth.tar", map_location="cpu")["state_dict"]
    finally:
        os.chdir(here)
    prefix = "module.encoder_q."
    state = {n[len(prefix):]: t for n, t in saved.items() if n.startswith(prefix) and not n.startswith(prefix + "fc")}
    found = network.load_state_dict(state, strict=False)
    verdict.true(f"{arch} as main_lincls.py loads it: {len(state)} tensors, missing {found.missing_keys}",
                 found.missing_keys == ["fc.weight", "fc.bias"] and not found.unexpected_keys)
    network.fc = nn.Identity()
    same_rows(verdict, f"{arch} in main_lincls.py", source, images, network.double().eval())


def into_timm(verdict, folder):
    """ViTs of the library's own trainer into networks of timm's names."""
    for config in (VIT, CONV):
        source, out, ours = train_v3(folder, config), folder.path("out.safetensors"), folder.path("model.safetensors")
        images = reference.random_views(config, 8)[0]
        for which in ("query", "key"):
            binding.convert(source, out, "timm", encoder=int(which == "key"))
            binding.convert(source, ours, encoder=int(which == "key"))
            heads = int(tensors.read(out)[1]["vit_heads"])
            network = published(vit_reference.ViT(vit_reference.Config(
                config.arch, config.image_size, config.patch, config.depth, heads, config.channels)))
            title = f"{config.arch}, {which} to timm"
            same_rows(verdict, title, ours, images, strictly(verdict, title, out, network))


class Method(nn.Module):
    """MoCo v3's own module."""

    def __init__(self, config):
        super().__init__()
        self.base_encoder, self.momentum_encoder = (family.Encoder(config).body for _ in range(2))
        self.predictor = family.sequence(config.dimension, config.head_width, config.dimension, 2, config.is_vit, "none")
        published(self)


@torch.no_grad()
def into_the_method(verdict, folder):
    """A training checkpoint into MoCo v3's module: nothing is missing, and nothing but the optimizer's state is over."""
    for config in (V3, VIT, CONV):
        source, module = train_v3(folder, config), Method(config)
        state = torch_state(source)
        own = module.state_dict()
        found = module.load_state_dict(state, strict=False)
        over = [n for n in found.unexpected_keys if not n.startswith("optimizer.")]
        verdict.true(f"{config.arch} into MoCo v3's module: {len(own)} tensors, missing {found.missing_keys}, unexpected "
                     f"{len(found.unexpected_keys) - len(over)} of the optimizer and {over}",
                     not found.missing_keys and not over and
                     all(own[n].dtype == state[n].dtype and torch.equal(module.state_dict()[n], state[n]) for n in own))
        encoder = family.Encoder(config)
        for which, body in (("query", module.base_encoder), ("key", module.momentum_encoder)):
            encoder.body = body
            binding.convert(source, folder.path("model.safetensors"), encoder=int(which == "key"))
            same_rows(verdict, f"{config.arch}, {which}, projections", folder.path("model.safetensors"),
                      reference.random_views(config, 9)[0], encoder.double().eval(), "projection")


def main(names):
    torch.set_num_threads(1)
    verdict = Verdict("published")
    for part in (into_torchvision, into_timm, into_the_method):
        if not names or part.__name__ in names:
            print(part.__doc__.strip().splitlines()[0])
            part(verdict, scenario.Folder())
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

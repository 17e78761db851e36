"""Vision transformers against PyTorch: features and batch statistics, every parameter's gradient, embeddings of a saved
model, initial values.

usage: test_vit.py PROGRAM   (PROGRAM is encoder_ops; test_full_size.py has ViT-S/16 at 224 pixels)
Exits 77 (skipped) where PyTorch is absent."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

import binding
import tensors
from compare import Verdict
from reference import groups_of
from reorder import DRAWS, ORDERS, reorder
from vit_reference import Config, ViT, positions

TOLERANCE = 1e-4
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
    os.environ.get("MOCO_BINARY_DIR", os.path.join(binding.ROOT, "build")), "tests", "encoder_ops")

# title, network, options of the library beside those that follow from it, cut of the batch
CASES = [
    ("ViT, 17 tokens, batch of one shard", Config(), {}, dict(batch=4)),
    ("ViT, 2 tokens, patch 16", Config(image_size=16, patch=16), {}, dict(batch=3)),
    ("ViT, 26 tokens, patch 7, 3 heads, trained patches", Config(image_size=35, patch=7, heads=3, channels=96),
     dict(freeze_patch=0), dict(batch=6, groups=3, lanes=2)),
    ("ViT, 37 tokens, patch 3, 5 heads, one block", Config(image_size=18, patch=3, heads=5, channels=80, depth=1), {},
     dict(batch=4, groups=2, shards=2)),
    ("ViT, 50 tokens, by primitives", Config(image_size=28, patch=4, heads=4, channels=64), dict(freeze_patch=0),
     dict(batch=2, primitives=1)),
    ("ViT, 145 tokens, attention in two parts", Config(image_size=96, heads=4, channels=64), {}, dict(batch=3)),
    ("ViT-BN, 17 tokens, groups of two shards", Config(norm="batch", heads=4, channels=64, depth=3), {},
     dict(batch=8, groups=2, shards=2, lanes=2)),
    ("ViT-BN, 10 tokens, by primitives", Config(image_size=24, norm="batch"), {}, dict(batch=6, primitives=1)),
    ("ViT with convolutions, 5 tokens", Config(arch="vit_conv_small", patch=16, heads=4, channels=64), {},
     dict(batch=8, groups=2)),
    ("ViT with convolutions and BN, 10 tokens, two shards",
     Config(arch="vit_conv_small", image_size=48, patch=16, heads=3, channels=48, norm="batch"), {},
     dict(batch=8, shards=2)),
]


def write(path, arrays):
    """A safetensors file of float32 arrays."""
    import json
    header, at = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + 4 * array.size]}
        at += 4 * array.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array, "<f4").tobytes())


def options(config, more):
    base = {"vit_small": 384, "vit_conv_small": 384}[config.arch]
    values = dict(arch=config.arch, image_size=config.image_size, patch_size=config.patch, vit_depth=config.depth,
                  vit_heads=config.heads, vit_norm=config.norm, width=config.channels / base, **more)
    return [f"{name}={value}" for name, value in values.items()]


def call(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def vary(path, seed):
    """Norm scales around 1, every other vector around 0, a class token of some size, statistics that are not 0 and 1."""
    rng = np.random.default_rng(seed)
    state, _ = tensors.read(path)
    changes = {}
    for name, array in state.items():
        if name.endswith("num_batches_tracked") or name == "pos_embed":
            continue
        if name == "cls_token":
            value = rng.standard_normal(array.shape)
        elif name.endswith("running_var"):
            value = rng.uniform(0.5, 2, array.shape)
        elif array.ndim == 1 and name.endswith(".weight"):
            value = rng.uniform(0.7, 1.3, array.shape)
        elif array.ndim == 1:
            value = rng.uniform(-0.3, 0.3, array.shape)
        else:
            continue
        changes[name] = value.astype(np.float32)
    tensors.overwrite(path, changes)


def reference_of(config, state, dtype, memory_format=torch.contiguous_format, order=0):
    model = reorder(ViT(config), order).to(dtype=dtype, memory_format=memory_format)
    model.load_state_dict({n: torch.tensor(t).to(dtype) for n, t in state.items()
                           if not n.endswith("num_batches_tracked")})
    return model


def frozen(name, config, more):
    return name == "pos_embed" or (name.startswith("patch_embed.proj.") and not config.conv_stem
                                   and int(more.get("freeze_patch", 1)) == 1)


@torch.no_grad()
def far_from_kinks(config, cut, state, images):
    """Does no ReLU input come closer to 0 than 1e-6 of their rms? Nearer, rounding may decide which side it falls on."""
    model = reference_of(config, state, torch.float64)
    model.train()
    model.set_groups(groups_of(len(images), cut.get("groups", 1), "contiguous"))
    model.watch.active = True
    model(torch.tensor(images, dtype=torch.float64))
    return model.watch.margin > 1e-6


def train(config, more, cut, state, images, gradient, dtype, *draw):
    """Features, gradients of what is trained, statistics, as float64 arrays."""
    model = reference_of(config, state, dtype, *draw)
    model.train()
    model.set_groups(groups_of(len(images), cut.get("groups", 1), "contiguous"))
    statistics, hooks = {}, []
    for name, module in model.named_modules():
        if hasattr(module, "running_mean"):
            hooks.append(module.register_forward_hook(observe(statistics, name)))
    features = model(torch.tensor(images, dtype=dtype))
    (features * torch.tensor(gradient, dtype=dtype)).sum().backward()
    for hook in hooks:
        hook.remove()
    gradients = {n: p.grad.double().numpy() for n, p in model.named_parameters() if not frozen(n, config, more)}
    return {"features": features.detach().double().numpy(), **{f"gradient.{n}": g for n, g in gradients.items()},
            **statistics}


def observe(statistics, name):
    def hook(module, inputs, _):
        x = inputs[0].detach().double()
        if x.dim() == 3:  # tokens: [n, t, d]
            x = x.transpose(1, 2)
        parts = [x[rows].transpose(0, 1).flatten(1) for rows in module.groups]
        statistics[f"mean.{name}"] = np.stack([p.mean(1).numpy() for p in parts])
        statistics[f"variance.{name}"] = np.stack([p.var(1, unbiased=False).numpy() for p in parts])
    return hook


@torch.no_grad()
def embed(config, state, images, dtype, *draw):
    model = reference_of(config, state, dtype, *draw)
    model.eval()
    return model(torch.tensor(images, dtype=dtype)).double().numpy()


def run_case(verdict, title, config, more, cut, varied=True):
    print(title)
    with tempfile.TemporaryDirectory(prefix="moco-vit-") as folder:
        model, source, result = (os.path.join(folder, n) for n in ("model.safetensors", "in", "out"))
        call("init", model, *options(config, more))
        if varied:
            vary(model, len(title))
        state, _ = tensors.read(model)
        rng = np.random.default_rng(len(title))
        size, batch = config.image_size, cut["batch"]
        images = rng.standard_normal((batch, 3, size, size)).astype(np.float32)
        while config.conv_stem and not far_from_kinks(config, cut, state, images):
            images = rng.standard_normal((batch, 3, size, size)).astype(np.float32)
        gradient = rng.standard_normal((batch, config.channels)).astype(np.float32)
        write(source, {"images": images.transpose(0, 2, 3, 1), "gradient": gradient})
        print(call("run", model, source, result, *options(config, more), *(f"{n}={v}" for n, v in cut.items())), end="")
        ours, _ = tensors.read(result)
        kinds = [(torch.float64,), *((torch.float32, *draw) for draw in (DRAWS if config.conv_stem else ORDERS))]
        exact, *own = (train(config, more, cut, state, images, gradient, *kind) for kind in kinds)
        for name in [n for n in ours if n.startswith("gradient.") and frozen(n[len("gradient."):], config, more)]:
            verdict.quiet(f"{name} is zero", not ours.pop(name).any())
        keys = ours.pop("keys")
        verdict.tensors("  train mode", ours, exact, own, TOLERANCE)
        verdict.close("  key mode, features", keys, exact["features"], TOLERANCE)
        wanted, *own = (embed(config, state, images, *kind) for kind in kinds)
        with binding.Model.load(model) as loaded:
            for count in sorted({1, 3, batch}):
                rows = loaded.embed("backbone", images[:count])
                verdict.tensors(f"  infer mode, {count} images", {"rows": rows}, {"rows": wanted[:count]},
                                [{"rows": each[:count]} for each in own], TOLERANCE)
        return state


def main():
    torch.set_num_threads(1)
    verdict = Verdict("vit")
    for title, config, more, cut in CASES:
        state = run_case(verdict, title, config, more, cut)
        verdict.close("  positions", state["pos_embed"], positions(config).numpy(), 1e-7)
    run_case(verdict, "ViT as drawn", Config(depth=3), {}, dict(batch=4), varied=False)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

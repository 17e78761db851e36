"""Embeddings of a snapshot, of a saved model and of a loaded checkpoint against PyTorch in evaluation mode.

A few steps first, so that running statistics are far from 0 and 1. Batch norm folding must not change the numbers.
"""
import sys

import numpy as np
import torch

import binding
import family
import reference
import scenario
import tensors
import test_family
from compare import Verdict, one_by_one
from reference import Config
from reorder import DRAWS, ORDERS, reorder

SEED = 13
TOLERANCE = 1e-4
STEPS = 4
BASE = dict(batch_size=8, bn_groups=2, lr=0.02)
CASES = {
    "resnet18, CIFAR stem, 32 pixels": Config(image_size=32, **BASE),
    "resnet18, 33 pixels, MLP head": Config(stem="imagenet", image_size=33, head="mlp", **BASE),
    "resnet34, CIFAR stem, 16 pixels": Config(arch="resnet34", image_size=16, **BASE),
    "resnet50, 65 pixels, MLP head": Config(arch="resnet50", stem="imagenet", image_size=65, head="mlp", **BASE),
}
WHOLE = dict(image_size=16, width=0.125, batch_size=8, bn_groups=1, lr=0.02, warmup=0)
NT_XENT = dict(recipe="simclr", loss="nt-xent", scale="one", symmetric=0, predictor=0, head="mlp-simclr", head_width=0,
               optimizer="lars-simclr", momentum_schedule="constant")
WHOLE_BATCH = {
    "v3, ResNet": (family.Config(**WHOLE), {}),
    "v3, ViT": (family.Config(recipe="moco-v3-vit", arch="vit_small", stem="imagenet", optimizer="adamw",
                              **{**WHOLE, "lr": 2e-3}), {"patch_size": 8, "vit_depth": 2, "vit_heads": 4}),
    "SimCLR": (family.Config(**NT_XENT, **WHOLE), {}),
    "SimCLR, two layers of another width": (family.Config(**{**NT_XENT, "head_width": 40}, head_layers=2, **WHOLE), {}),
}
COUNTS = (1, 3, 17, 40)


def encoder_of(config, state):
    if not isinstance(config, family.Config):
        encoder = reference.Encoder(config).double()
        reference.load_encoder(encoder, state, "encoder_q.")
        return encoder
    encoder = family.Trainer(config, state).query
    prefix = "base_encoder." if config.loss == "batch" else "encoder_q."
    held = {n[len(prefix):] for n in state if n.startswith(prefix)}
    unknown = {n for n in held - set(encoder.body.state_dict()) if not n.endswith("num_batches_tracked")}
    if unknown:
        raise ValueError(f"the reference has no {sorted(unknown)}")
    return encoder


@torch.no_grad()
def wanted_rows(config, state, images, dtype, memory_format=torch.contiguous_format, order=0):
    encoder = reorder(encoder_of(config, state), order).to(dtype=dtype, memory_format=memory_format)
    encoder.eval()
    images = torch.tensor(images, dtype=dtype)
    return {"backbone": encoder.backbone(images).double().numpy(),
            "projection": reference.normalise(encoder(images)).double().numpy()}


def train(config, folder, more):
    trainer, _ = scenario.start(config, folder, 0, SEED) if more is None else \
        test_family.start(config, folder, more, away=False)
    for step in range(STEPS):
        trainer.push(*reference.random_views(config, 50 + step))
        trainer.step()
    return trainer


def rounding_of(config, state):
    """The library folds batch norms and leaves the sums to kernels of the processor's; PyTorch has others, which may halve
    sums again and again where ours run through."""
    return one_by_one(layer.weight[0].numel() for layer in encoder_of(config, state).modules()
                      if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)))


def check_model(verdict, title, model, images, exact, own, sums, layouts=("nchw",), counts=COUNTS):
    for tap in ("backbone", "projection"):
        for count in counts:
            for layout in layouts:
                rows = model.embed(tap, images[:count], layout)
                verdict.tensors(f"{title}, {tap}, {count} images, {layout}", {"rows": rows},
                                {"rows": exact[tap][:count]}, [{"rows": each[tap][:count]} for each in own], TOLERANCE, sums=sums)


def run_case(verdict, title, config, more=None):
    """`more`: options of a method whose loss joins the whole batch."""
    print(title)
    folder = scenario.Folder()
    with train(config, folder, more) as trainer:
        trainer.save(folder.path("checkpoint.safetensors"))
        state, _ = tensors.read(folder.path("checkpoint.safetensors"))
        spread = np.concatenate([t.ravel() for n, t in state.items()
                                 if n.startswith(("encoder_q.", "base_encoder.")) and "running_var" in n])
        verdict.true(f"running variances have moved: {spread.min():.2f} to {spread.max():.2f}",
                     np.abs(spread - 1).mean() > 0.1)
        images = np.concatenate([reference.random_views(config, 90 + i)[0] for i in range(5)])
        exact = wanted_rows(config, state, images, torch.float64)
        own = [wanted_rows(config, state, images, torch.float32, *draw) for draw in (ORDERS if more and "vit_depth" in more else DRAWS)]
        sums = rounding_of(config, state)
        with trainer.snapshot() as model:
            check_model(verdict, "snapshot", model, images, exact, own, sums, ("nchw", "nhwc"))
            model.save(folder.path("model.safetensors"))
            trainer.push(*reference.random_views(config, 60))
            trainer.step()
            check_model(verdict, "snapshot after training went on", model, images, exact, own, sums, counts=(3,))
        for name in ("model", "checkpoint"):
            with binding.Model.load(folder.path(f"{name}.safetensors")) as model:
                check_model(verdict, f"loaded {name}", model, images, exact, own, sums, counts=(3, 40))


def main():
    torch.set_num_threads(1)
    verdict = Verdict("embed")
    for title, config in CASES.items():
        run_case(verdict, title, config)
    for title, case in WHOLE_BATCH.items():
        run_case(verdict, title, *case)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

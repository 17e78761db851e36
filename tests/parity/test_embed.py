"""Embeddings of a snapshot, of a saved model and of a loaded checkpoint against PyTorch in evaluation mode.

A few steps first, so that running statistics are far from 0 and 1. Batch norm folding must not change the numbers.
"""
import sys

import numpy as np
import torch

import binding
import reference
import scenario
import tensors
from compare import Verdict
from reference import Config

SEED = 13
TOLERANCE = 1e-4
STEPS = 4
BASE = dict(batch_size=8, virtual_devices=2, lr=0.02)
CASES = {
    "resnet18, CIFAR stem, 32 pixels": Config(image_size=32, **BASE),
    "resnet18, 33 pixels, MLP head": Config(stem="imagenet", image_size=33, head="mlp", **BASE),
    "resnet34, CIFAR stem, 16 pixels": Config(arch="resnet34", image_size=16, **BASE),
    "resnet50, 65 pixels, MLP head": Config(arch="resnet50", stem="imagenet", image_size=65, head="mlp", **BASE),
}
COUNTS = (1, 3, 17, 40)


@torch.no_grad()
def wanted_rows(config, state, images, dtype):
    encoder = reference.Encoder(config).to(dtype)
    reference.load_encoder(encoder, state, "encoder_q.")
    encoder.eval()
    images = torch.tensor(images, dtype=dtype)
    return {"backbone": encoder.backbone(images).double().numpy(),
            "projection": reference.normalise(encoder(images)).double().numpy()}


def train(config, folder):
    trainer, _ = scenario.start(config, folder, 0, SEED)
    for step in range(STEPS):
        trainer.push(*reference.random_views(config, 50 + step))
        trainer.step()
    return trainer


def check_model(verdict, title, model, images, exact, own, layouts=("nchw",), counts=COUNTS):
    for tap in ("backbone", "projection"):
        for count in counts:
            for layout in layouts:
                rows = model.embed(tap, images[:count], layout)
                verdict.tensors(f"{title}, {tap}, {count} images, {layout}", {"rows": rows},
                                {"rows": exact[tap][:count]}, [{"rows": own[tap][:count]}], TOLERANCE)


def run_case(verdict, title, config):
    print(title)
    folder = scenario.Folder()
    with train(config, folder) as trainer:
        trainer.save(folder.path("checkpoint.safetensors"))
        state, _ = tensors.read(folder.path("checkpoint.safetensors"))
        spread = np.concatenate([t.ravel() for n, t in state.items() if n.startswith("encoder_q.") and "running_var" in n])
        verdict.true(f"running variances have moved: {spread.min():.2f} to {spread.max():.2f}",
                     np.abs(spread - 1).mean() > 0.1)
        images = np.concatenate([reference.random_views(config, 90 + i)[0] for i in range(5)])
        exact, own = (wanted_rows(config, state, images, dtype) for dtype in (torch.float64, torch.float32))
        with trainer.snapshot() as model:
            check_model(verdict, "snapshot", model, images, exact, own, ("nchw", "nhwc"))
            model.save(folder.path("model.safetensors"))
            trainer.push(*reference.random_views(config, 60))
            trainer.step()
            check_model(verdict, "snapshot after training went on", model, images, exact, own, counts=(3,))
        for name in ("model", "checkpoint"):
            with binding.Model.load(folder.path(f"{name}.safetensors")) as model:
                check_model(verdict, f"loaded {name}", model, images, exact, own, counts=(3, 40))


def main():
    torch.set_num_threads(1)
    verdict = Verdict("embed")
    for title, config in CASES.items():
        run_case(verdict, title, config)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

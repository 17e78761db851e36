"""ResNet-50 and ViT-S/16 as published, at 224 pixels, batch 8: features or loss, every parameter's gradient, statistics.

ResNet-50 has 10 million ReLU inputs an image, so views without any near 0 do not exist; docs/numerics.md, "Full size",
says what is done instead. A run takes so long that two of PyTorch's have to do: all tensors together are held against them,
each alone against a fixed bound."""
import sys

import torch

import binding
import scenario
import test_vit
from compare import Verdict
from reference import Config, random_views
from reorder import DRAWS

PREFIX = "optimizer.momentum_buffer."
RESNET = Config(arch="resnet50", width=1, stem="imagenet", head="mlp", image_size=224, dimension=128, batch_size=8,
                bn_groups=1, queue_length=4096, weight_decay=0.0)


def resnet(verdict, title, change, tolerance, kinked, seed=3):
    print(f"ResNet-50, 224 pixels, batch 8, one device of two shards, {title}")
    folder = scenario.Folder()
    trainer, start = scenario.start(RESNET, folder, 0, seed, change=change)
    exact, own = scenario.references(RESNET, start, DRAWS[:2])
    views = random_views(RESNET, 1)
    permutation = binding.shuffle(seed, 0, RESNET.batch_size)
    trainer.push(*views)
    report = trainer.step()
    wanted = exact.step(*views, permutation)
    for run in own:
        run.step(*views, permutation)
    ours = scenario.checkpoint(trainer, folder)
    trainer.close()
    gradients = {n[len(PREFIX):]: t for n, t in ours.items() if n.startswith(PREFIX)}
    verdict.close("  loss", report.loss, wanted["loss"], 1e-5)
    verdict.close("  gradient norm", report.gradient_norm, wanted["gradient_norm"], tolerance)
    verdict.tensors("  gradient", gradients, exact.gradients, [run.gradients for run in own], tolerance, each=False,
                    kinked=kinked)
    state = {n: t for n, t in exact.state().items() if "running_" in n or n == "queue"}
    states = [run.state() for run in own]
    verdict.tensors("  running statistics and keys", {n: ours[n] for n in state}, state,
                    [{n: s[n] for n in state} for s in states], 1e-4, each=False, kinked=kinked)


def vit(verdict):
    test_vit.run_case(verdict, "ViT-S/16, 224 pixels, batch 8, trained patches",
                      test_vit.Config(image_size=224, patch=16, depth=12, channels=384), dict(freeze_patch=0),
                      dict(batch=8, groups=2))


def main():
    torch.set_num_threads(1)
    verdict = Verdict("full size")
    resnet(verdict, "ReLU inputs away from 0", scenario.open_or_shut, 5e-4, False)
    resnet(verdict, "ReLU inputs where they fall", scenario.vary, 5e-2, True)
    vit(verdict)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

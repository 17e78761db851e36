"""Check values that can be worked out by hand: group membership, rates, the queue's pointer, the rules of the commit."""
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

import binding
import reference
import scenario
from compare import Verdict
from reference import Config

SEED = 17
TINY = dict(arch="resnet18", width=0.0625, stem="imagenet", head="linear", image_size=16, dimension=16, batch_size=4,
            bn_groups=2, queue_length=10, epochs=200)


def tiny_views(seed):
    return reference.random_views(Config(image_size=16, batch_size=4), seed)


def tiny_trainer(recipe="moco-v2", **more):
    return binding.Trainer(recipe, seed=SEED, **{**TINY, **more})


def check_membership(verdict):
    """Image n of 16 has the constant value n, four devices. bn1 then sees n * a, with a the first convolution of ones:
    its running mean shows the mean of n over a device, its running variance who shares a device."""
    numbers = np.arange(16.0)
    images = np.broadcast_to(numbers.reshape(16, 1, 1, 1), (16, 3, 16, 16))
    permutation = binding.shuffle(SEED, 0, 16)
    for membership, means in (("strided", [6, 7, 8, 9]), ("contiguous", [1.5, 5.5, 9.5, 13.5])):
        groups = [g.numpy() for g in reference.groups_of(16, 4, membership)]
        verdict.quiet(f"{membership}: published means", [float(numbers[g].mean()) for g in groups] == means)
        for running in ("first", "mean"):
            config = Config(image_size=16, membership=membership, bn_running=running, lr=1e-3)
            folder = scenario.Folder()
            trainer, start = scenario.start(config, folder, 0, SEED, change=None)
            trainer.push(images, images)
            trainer.step()
            state = scenario.checkpoint(trainer, folder)
            trainer.close()
            seen = groups if running == "mean" else groups[:1]
            for encoder, order in (("encoder_q", np.arange(16)), ("encoder_k", permutation)):
                weight = torch.tensor(start["encoder_q.conv1.weight"], dtype=torch.float64)
                a = F.conv2d(torch.ones(1, 3, 16, 16, dtype=torch.float64), weight, padding=1)[0].flatten(1).numpy()
                values = [order[g][:, None, None] * a for g in seen]  # [images, channels, pixels] of each device
                mean = 0.1 * np.mean([v.mean((0, 2)) for v in values], 0)
                var = 0.9 + 0.1 * np.mean([np.moveaxis(v, 1, 0).reshape(len(a), -1).var(1, ddof=1) for v in values], 0)
                title = f"{membership}, statistics of {running}, {encoder}"
                verdict.close(f"{title}: bn1.running_mean", state[f"{encoder}.bn1.running_mean"], mean, 1e-5)
                verdict.close(f"{title}: bn1.running_var", state[f"{encoder}.bn1.running_var"], var, 1e-5)


def rates(recipe, steps, **more):
    """Learning rates by step at one step per epoch, scaled back to batch 256, and the trainer."""
    trainer = tiny_trainer(recipe, steps_per_epoch=1, **more)
    found = []
    for step in range(steps):
        trainer.push(*tiny_views(step % 7))
        found.append(trainer.step().lr * 256 / TINY["batch_size"])
    return found, trainer


def check_rates(verdict):
    published = {
        "moco-v1": ({0: 0.03, 119: 0.03, 120: 0.003, 159: 0.003, 160: 0.0003, 199: 0.0003}, 0, 1.0),
        "moco-v2": ({0: 0.03, 1: 0.029998149, 50: 0.025606602, 100: 0.015, 199: 1.8505e-6}, 0, 1.0),
        # The demo's values are for batch 512 and count epochs from 1.
        "moco-cifar": ({1: 0.059996299, 50: 0.051213203, 100: 0.03, 150: 0.0087867966, 199: 3.7010e-6, 200: 0.0}, 1, 2.0),
    }
    for recipe, (values, first, scale) in published.items():
        found, trainer = rates(recipe, 200)
        trainer.close()
        worst = max(abs(found[e - first] * scale - wanted) / max(wanted, 1e-6) for e, wanted in values.items())
        verdict.true(f"{recipe}: learning rate at e = {', '.join(map(str, values))}: worst error {worst:.1e}",
                     worst < 2e-5)  # the published values have five digits or more


def check_last_demo_epoch(verdict):
    """The demo's last epoch has rate 0: weights stand still; statistics, key encoder, queue and momentum go on."""
    folder = scenario.Folder()
    _, trainer = rates("moco-cifar", 1, epochs=2)
    before = scenario.checkpoint(trainer, folder)
    trainer.push(*tiny_views(3))
    rate = trainer.step().lr
    after = scenario.checkpoint(trainer, folder)
    trainer.close()
    weights = [n for n in before if n.startswith("encoder_q.") and "running_" not in n]
    verdict.true("last epoch of the demo: rate 0 and the same weights",
                 rate == 0.0 and all(np.array_equal(before[n], after[n]) for n in weights))
    for name in ("encoder_q.bn1.running_mean", "encoder_k.bn1.running_var", "encoder_k.conv1.weight", "queue",
                 "optimizer.momentum_buffer.conv1.weight"):
        verdict.quiet(f"last epoch of the demo: {name} still changes", not np.array_equal(before[name], after[name]))


def check_epochs(verdict):
    """Three steps per epoch: the rate changes only between epochs, and the report counts both."""
    trainer = tiny_trainer("moco-v2", steps_per_epoch=3, epochs=4)
    rows = []
    for step in range(12):
        trainer.push(*tiny_views(step))
        report = trainer.step()
        rows.append((report.epoch, report.step_in_epoch, report.lr * 256 / 4))
    trainer.close()
    wanted = [(s // 3, s % 3 + 1, 0.03 * 0.5 * (1 + math.cos(math.pi * (s // 3) / 4))) for s in range(12)]
    verdict.true("three steps per epoch: epoch, step in epoch and rate of 12 steps",
                 all(r[:2] == w[:2] and abs(r[2] - w[2]) < 1e-8 for r, w in zip(rows, wanted)))


def check_pointer(verdict):
    """K 10, B 4: the pointer goes 4, 8, 2, 6, 0 and each step replaces just the oldest four keys."""
    folder = scenario.Folder()
    with tiny_trainer() as trainer:
        before, pointers, only = scenario.checkpoint(trainer, folder), [], True
        for step in range(5):
            trainer.push(*tiny_views(step))
            trainer.step()
            after = scenario.checkpoint(trainer, folder)
            changed = {j for j in range(10) if not np.array_equal(before["queue"][:, j], after["queue"][:, j])}
            only &= changed == {(4 * step + i) % 10 for i in range(4)}
            only &= bool(np.abs(np.linalg.norm(after["queue"], axis=0) - 1).max() < 1e-5)
            pointers.append(int(after["queue_ptr"].ravel()[0]))
            before = after
    verdict.true(f"queue pointer {pointers}, only the oldest keys replaced", only and pointers == [4, 8, 2, 6, 0])


def check_chance(verdict):
    for length, wanted in ((4096, 8.3180), (65536, 11.0904)):
        with tiny_trainer(queue_length=length) as trainer:
            trainer.push(*tiny_views(1))
            found = trainer.step().chance_loss
        verdict.true(f"chance loss at K {length}: {found:.4f}",
                     abs(found - wanted) < 6e-5 and abs(found - math.log1p(length)) < 1e-9)
    # v3: two halves of 2T ln B each. NT-Xent: ln(2N-1), and twice that in the form of the published code.
    v3 = dict(loss="batch", loss_scale="2t", symmetric=1, predictor=1, shuffle=0)
    whole = dict(loss="nt-xent", shuffle=0)
    for title, values, wanted in (("v3 at T 1", {**v3, "temperature": 1.0}, 4 * math.log(4)),
                                  ("v3 at T 0.2", {**v3, "temperature": 0.2}, 0.8 * math.log(4)),
                                  ("v3, one half", {**v3, "temperature": 0.2, "symmetric": 0}, 0.4 * math.log(4)),
                                  ("NT-Xent", {**whole, "loss_scale": "one"}, math.log(7)),
                                  ("NT-Xent doubled", {**whole, "loss_scale": "two"}, 2 * math.log(7))):
        with tiny_trainer(**values) as trainer:
            trainer.push(*tiny_views(1))
            found = trainer.step().chance_loss
        verdict.true(f"chance loss of {title}, batch 4: {found:.4f}", abs(found - wanted) < 1e-9)


def check_commit(verdict):
    """The key encoder to the bit: two rounded products, one rounded sum. The weights: p - lr buf to one rounding."""
    folder, m, wd = scenario.Folder(), 0.999, 1e-4
    with tiny_trainer(key_momentum=m, weight_decay=wd, schedule="constant", base_lr=0.64) as trainer:
        states = [scenario.checkpoint(trainer, folder)]
        for step in range(3):
            trainer.push(*tiny_views(step))
            lr = np.float32(trainer.step().lr)
            states.append(scenario.checkpoint(trainer, folder))
    names = [n[len("encoder_q."):] for n in states[0] if n.startswith("encoder_q.") and "running_" not in n]
    f32, same, moved, close = np.float32, True, [], True
    for before, after in zip(states, states[1:]):
        for name in names:
            k, q = (f32(s[f"encoder_{w}.{name}"]) for s, w in ((before, "k"), (after, "q")))
            wanted = k * f32(m) + q * f32(1.0 - m)  # float32 arrays: each operation rounds
            same &= np.array_equal(wanted, f32(after[f"encoder_k.{name}"]))
            p, buffer = f32(before[f"encoder_q.{name}"]), f32(after[f"optimizer.momentum_buffer.{name}"])
            moved.append(np.abs(buffer).max())
            exact = p.astype(np.float64) - float(lr) * buffer.astype(np.float64)
            close &= bool((np.abs(q - exact) <= 0.51 * (np.spacing(np.abs(q)) + np.spacing(np.abs(lr * buffer)))).all())
    verdict.true("key momentum: f32(f32(k m) + f32(q (1-m))) to the bit, three steps", same)
    verdict.true(f"SGD: p - lr buf, one rounding each, three steps (largest buffer {max(moved):.2f})", close)


def check_recipes(verdict):
    """The published columns, one for one."""
    common = {"queue_length": 65536, "key_momentum": 0.999, "dimension": 128, "batch_size": 256, "bn_groups": 8,
              "base_lr": 0.03, "sgd_momentum": 0.9, "weight_decay": 1e-4, "epochs": 200, "arch": "resnet50",
              "membership": "contiguous", "shuffle": 1, "zero_init_residual": 0}
    wanted = {
        "moco-v1": {**common, "temperature": 0.07, "head": "linear", "schedule": "step", "milestone_1": 120,
                    "milestone_2": 160, "lr_factor": 0.1},
        "moco-v2": {**common, "temperature": 0.2, "head": "mlp", "schedule": "cosine"},
        "moco-cifar": {**common, "temperature": 0.1, "head": "linear", "schedule": "cosine", "queue_length": 4096,
                       "key_momentum": 0.99, "weight_decay": 5e-4, "arch": "resnet18", "stem": "cifar",
                       "membership": "strided", "first_epoch": 1},
    }
    # arXiv 2104.02057 and 2002.05709: batch, rates, heads, views.
    whole = {"arch": "resnet50", "stem": "imagenet", "batch_size": 4096, "bn_groups": 1, "shuffle": 0,
             "epochs": 100, "schedule": "cosine", "schedule_unit": "step", "first_epoch": 0, "warmup_epochs": 10,
             "lr_scaling": "linear",
             "weight_decay": 1e-6, "sgd_momentum": 0.9, "lars_trust": 0.001, "crop_max_area": 1,
             "jitter_probability": 0.8, "gray_probability": 0.2, "flip_probability": 0.5, "blur_sigma_min": 0.1,
             "blur_sigma_max": 2, "solarize_probability": 0, "image_size": 224}
    v3 = {**whole, "head_layers": 0, "loss": "batch", "loss_scale": "2t", "symmetric": 1, "predictor": 1, "head": "mlp-v3",
          "head_width": 4096, "dimension": 256, "key_momentum": 0.99, "momentum_schedule": "cosine", "views": "v3",
          "jitter_brightness": 0.4, "jitter_contrast": 0.4, "jitter_saturation": 0.2, "jitter_hue": 0.1,
          "blur_probability": 1, "blur_probability_2": 0.1, "solarize_probability_2": 0.2, "crop_tries": 10,
          "resize_filter": "bilinear", "blur_form": "pillow", "mean_r": 0.485, "std_r": 0.229}
    wanted.update({
        "moco-v3": {**v3, "temperature": 1, "optimizer": "lars", "base_lr": 0.6, "crop_min_area": 0.2,
                    "zero_init_residual": 1},
        "moco-v3-vit": {**v3, "arch": "vit_small", "temperature": 0.2, "optimizer": "adamw", "adam_beta1": 0.9,
                        "adam_beta2": 0.999, "adam_epsilon": 1e-8, "base_lr": 1.5e-4, "weight_decay": 0.1,
                        "epochs": 300, "warmup_epochs": 40, "crop_min_area": 0.08, "freeze_patch": 1, "patch_size": 0,
                        "vit_norm": "layer"},
        "simclr": {**whole, "head_layers": 2, "loss": "nt-xent", "loss_scale": "one", "symmetric": 0, "predictor": 0,
                   "head": "mlp-simclr", "head_width": 0, "dimension": 128, "temperature": 0.1, "optimizer": "lars-simclr", "base_lr": 0.3,
                   "zero_init_residual": 1, "views": "simclr", "crop_min_area": 0.08, "crop_tries": 100,
                   "jitter_brightness": 0.8, "jitter_contrast": 0.8, "jitter_saturation": 0.8, "jitter_hue": 0.2,
                   "blur_probability": 0.5, "blur_probability_2": -1, "solarize_probability_2": -1,
                   "resize_filter": "bicubic", "blur_form": "gaussian", "mean_r": 0, "std_r": 1},
    })
    for recipe, values in wanted.items():
        found = binding.options_json(binding.make_options(recipe))
        wrong = {n: (found.get(n), v) for n, v in values.items() if found.get(n) != v}
        verdict.true(f"{recipe}: {len(values)} published values {wrong or ''}", not wrong)


def check_shuffle(verdict):
    seen = [binding.shuffle(seed, step, 256) for seed, step in ((1, 0), (1, 1), (2, 0), (1, 0))]
    verdict.true("shuffles are permutations that depend on seed and step only",
                 all(np.array_equal(np.sort(p), np.arange(256)) for p in seen) and np.array_equal(seen[0], seen[3])
                 and not np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2]))
    mean = np.mean([binding.shuffle(3, step, 8) for step in range(4000)], 0)
    verdict.true(f"shuffles are uniform: mean image of each position {np.abs(mean - 3.5).max():.3f} from 3.5",
                 np.abs(mean - 3.5).max() < 0.15)


def main():
    torch.set_num_threads(1)
    verdict = Verdict("check values")
    for part in (check_recipes, check_shuffle, check_membership, check_rates, check_last_demo_epoch, check_epochs,
                 check_pointer, check_chance, check_commit):
        print(part.__name__[len("check_"):].replace("_", " "))
        part(verdict)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

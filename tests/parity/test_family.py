"""Every recipe against PyTorch: loss, gradient norm, learning rate, every parameter, statistic, optimizer state and the
queue. Ten steps on networks as they start, and a hundred on networks without a ReLU input near 0.

The yardstick is PyTorch in float64; PyTorch in float32 shows how far float32 itself strays.
"""
import dataclasses
import sys

import numpy as np
import torch

import binding
import compare
import family
import reference
import scenario
import tensors
from compare import Verdict
from family import Config

SEED = 7
# Of a tensor's norm, and of a report. A ReLU input within rounding of 0 would part any two float32 runs, so the views
# of the ten steps keep away from that, and the hundred steps start from weights that do; reasons and figures for these
# and the constants below: docs/numerics.md, "A hundred steps".
TOLERANCE = 1e-4
REPORT_TOLERANCE = {10: 1e-5, 100: 1e-4}
WAY_TOLERANCE = 1e-3  # of the way from the start, besides a rounding of the weight at every step
ROUNDING = 2.0**-23
STATE_FLOOR = {"momentum_buffer": 1e-4, "exp_avg": 1e-4, "exp_avg_sq": 1e-8}  # of all tensors of that state
SHIFT_FLOOR = 1e-2  # of momentum buffers of shifts, which a batch norm behind them takes away again in part or whole
# AdamW divides a gradient that is rounding by its own size. The third kind is a statistic of the first.
UNDETERMINED = ("encoder.norm.bias", "attn.qkv.bias (keys)", "head.1.running_mean")
UNDETERMINED_TOLERANCE = 2e-2
LOOK = (1, 10, 100)
SMALL = dict(width=0.0625, image_size=16, bn_groups=4, batch_size=16, lr=0.002, epochs=12)
PER_EPOCH = dict(unit="epoch", warmup=0, momentum_schedule="constant")  # as v1, v2 and the CIFAR-10 demonstration

CASES = {
    "moco-v1, SGD with steps":
        (Config(recipe="moco-v1", loss="queue", scale="one", symmetric=0, predictor=0, head="linear", temperature=0.07,
                key_momentum=0.99, weight_decay=1e-4, optimizer="sgd", schedule="step", queue_length=72, **PER_EPOCH,
                **SMALL), {"milestone_1": 3, "milestone_2": 7}),
    "moco-v2, MLP head, cosine":
        (Config(recipe="moco-v2", loss="queue", scale="one", symmetric=0, predictor=0, head="mlp", head_width=0,
                temperature=0.2, key_momentum=0.99, weight_decay=1e-4, optimizer="sgd", queue_length=64, **PER_EPOCH,
                **SMALL), {}),
    # Ten epochs counted from 1: the rate of the last is 0.
    "moco-cifar, strided devices":
        (Config(recipe="moco-cifar", loss="queue", scale="one", symmetric=0, predictor=0, head="linear",
                temperature=0.1, key_momentum=0.99, weight_decay=5e-4, optimizer="sgd", membership="strided",
                queue_length=64, first_epoch=1, **PER_EPOCH, **{**SMALL, "epochs": 10}), {}),
    "moco-v3, LARS, one device of 2 shards":
        (Config(temperature=1.0, weight_decay=1e-6, **{**SMALL, "bn_groups": 1}), {}),
    "moco-v3, LARS, 4 devices, two passes, branches from 0":
        (Config(temperature=1.0, weight_decay=1e-6, **SMALL), {"zero_init_residual": 1}),
    "moco-v3, ViT, AdamW, two passes":
        (Config(recipe="moco-v3-vit", arch="vit_small", stem="imagenet", temperature=0.2, weight_decay=0.1,
                optimizer="adamw", **{**SMALL, "bn_groups": 1, "width": 0.125, "lr": 2e-4}),
         {"patch_size": 8, "vit_depth": 2, "vit_heads": 4, "shard": 4}),
    "simclr, LARS with the rate inside, one device of 4 shards, branches from 0":
        (Config(recipe="simclr", loss="nt-xent", scale="one", symmetric=0, predictor=0, head="mlp-simclr", head_width=0,
                optimizer="lars-simclr", temperature=0.5, weight_decay=1e-6, **{**SMALL, "bn_groups": 1}),
         {"shard": 8, "zero_init_residual": 1}),
    "simclr, the published code's scale, 4 devices, two passes":
        (Config(recipe="simclr", loss="nt-xent", scale="two", symmetric=0, predictor=0, head="mlp-simclr",
                head_width=48, head_layers=2, optimizer="lars-simclr", temperature=0.5, weight_decay=1e-4, **SMALL), {}),
    "byol, LARS, one group of 2 shards":
        (Config(recipe="byol", loss="regression", scale="one", head="mlp-byol", weight_decay=1e-6,
                **{**SMALL, "bn_groups": 1}), {"shard": 8, "zero_init_residual": 1}),
    "byol, LARS, 4 groups, two passes":
        (Config(recipe="byol", loss="regression", scale="one", head="mlp-byol", weight_decay=1e-6, **SMALL), {}),
    # 32 keys a step: the queue's end falls into the middle of a step, in ten steps four times.
    "moco-v1, symmetric loss with a queue, SGD":
        (Config(recipe="moco-v1", loss="queue", scale="one", symmetric=1, predictor=0, head="linear", temperature=0.07,
                key_momentum=0.99, weight_decay=1e-4, optimizer="sgd", schedule="step", queue_length=72, **PER_EPOCH,
                **SMALL), {"milestone_1": 3, "milestone_2": 7}),
    "moco-v2, symmetric loss with a queue, SGD":
        (Config(recipe="moco-v2", loss="queue", scale="one", symmetric=1, predictor=0, head="mlp", head_width=0,
                temperature=0.2, key_momentum=0.99, weight_decay=1e-4, optimizer="sgd", queue_length=88, **PER_EPOCH,
                **SMALL), {}),
    "moco-v2, symmetric loss with a queue, AdamW":
        (Config(recipe="moco-v2", loss="queue", scale="one", symmetric=1, predictor=0, head="linear", temperature=0.2,
                weight_decay=0.1, optimizer="adamw", momentum_schedule="constant", queue_length=88,
                **{**SMALL, "lr": 1e-4}), {}),
}

LONG = ("moco-v1, SGD with steps", "moco-v2, MLP head, cosine", "moco-cifar, strided devices",
        "moco-v3, LARS, one device of 2 shards",
        "simclr, LARS with the rate inside, one device of 4 shards, branches from 0", "byol, LARS, one group of 2 shards")


def options(c, more):
    values = {name: getattr(c, name) for name in
              ("arch", "width", "stem", "head", "image_size", "dimension", "batch_size", "bn_groups",
               "membership", "temperature", "key_momentum", "sgd_momentum", "weight_decay", "loss", "symmetric", "predictor",
               "head_width", "head_layers", "optimizer", "momentum_schedule", "epochs", "steps_per_epoch",
               "schedule", "first_epoch")}
    if c.loss == "queue":
        values["queue_length"] = c.queue_length
    values.update(base_lr=c.lr * 256 / c.batch_size, schedule_unit=c.unit, warmup_epochs=c.warmup,
                  loss_scale=c.scale, shuffle=1 if c.loss == "queue" else 0, zero_init_residual=0)
    return {**values, **more}


def is_norm(short, state_name, state):
    return "bn" in short or "downsample.1" in short or (state[state_name].ndim == 1 and "running" not in short)


def is_inside(short):
    """Batch norms inside a block or a head; what the stem or a block gives goes on along shortcuts."""
    return ".bn1." in short or short.startswith(("fc.1.", "fc.4.", "head.1.", "head.4.", "1."))


def vary(state, away):
    """Batch-norm scales around 1 and shifts around 0, branches damped unless they start at 0, all encoders equal.

    `away`: shifts of 5 to 6 instead. A channel inside a block or a head is then all through or all cut off, what a
    block gives is all through, and no rounding decides a ReLU."""
    rng, changes = np.random.default_rng(3), {}
    names = [n for n in sorted(state) if n.startswith(("encoder_q.", "base_encoder.", "online_encoder.", "predictor."))]
    for name in names:
        short, shape = name.split(".", 1)[1], state[name].shape
        if not is_norm(short, name, state) or not short.endswith((".weight", ".bias")):
            continue
        branch = short.startswith("layer") and "bn2" in short
        if short.endswith(".weight"):
            value = rng.uniform(0.8, 1.2, shape)
            if branch:
                value *= scenario.DAMPING if state[name].any() else 0
        elif away and not branch and ("bn" in short or "downsample.1" in short or is_inside(short)):
            value = rng.uniform(5, 6, shape)
            if is_inside(short):
                value = np.where(rng.random(shape) < 0.3, -value, value)
        else:
            value = rng.uniform(-0.2, 0.2, shape)
        for prefix, other in (("encoder_q.", "encoder_k."), *family.PREFIXES.values()):
            if name.startswith(prefix) and other + short in state:
                changes[other + short] = value.astype(np.float32)
        changes[name] = value.astype(np.float32)
    return changes


def start(config, folder, more, away=False):
    path = folder.path("start.safetensors")
    trainer = binding.Trainer(config.recipe, seed=SEED, **options(config, more))
    trainer.save(path)
    trainer.close()
    state, _ = tensors.read(path)
    tensors.overwrite(path, vary(state, away))
    state, _ = tensors.read(path)
    return binding.Trainer.load(path), state


def kind_of(name):
    if name.startswith(("optimizer.", "queue", "predictor.")):
        return name.split(".")[0]
    return name.split(".")[0] + (" statistics" if "running_" in name else " parameters")


def comparable(state):
    """A running mean may vanish: it is compared on the scale of its standard deviation. Of a bias of queries, keys and
    values, that of the keys shifts all logits of a softmax alike: it is a tensor of its own."""
    state = {n: t + np.sqrt(state[n.replace("running_mean", "running_var")]) if n.endswith("running_mean") else t
             for n, t in state.items()}
    for n in [n for n in state if n.endswith("attn.qkv.bias")]:
        q, k, v = np.split(state.pop(n), 3)
        state[n + " (keys)"], state[n] = k, np.concatenate([q, v])
    return state


def state_of_optimizer(name):
    return name.split(".")[1] if name.startswith("optimizer.") else None


def errors(run, exact, names):
    """Per tensor, relative to its norm; optimizer state at least to a share of all state of its kind."""
    whole = {}
    for n in exact:
        kind = state_of_optimizer(n)
        whole[kind] = np.hypot(whole.get(kind, 0.0), np.linalg.norm(exact[n]))

    def floor(n):
        kind = state_of_optimizer(n)
        share = SHIFT_FLOOR if kind == "momentum_buffer" and n.endswith(".bias") else STATE_FLOOR.get(kind, 0.0)
        return max(share * whole[kind], 1e-30)
    return {n: float(np.linalg.norm(run[n] - exact[n]) / max(np.linalg.norm(exact[n]), floor(n))) for n in names}


def way_errors(run, exact, start, names, steps):
    """Of what is allowed: the way's tolerance, and an ulp of the weight at every step."""
    def allowed(n):
        way, weight = np.linalg.norm(exact[n] - start[n]), np.linalg.norm(exact[n])
        return WAY_TOLERANCE * way + steps * ROUNDING * weight + 1e-30
    return {n: float(np.linalg.norm(run[n] - exact[n]) / allowed(n)) for n in names}


def close(verdict, title, mine, theirs, limit):
    worst = max(mine, key=mine.get)
    own = f"PyTorch float32 {max(theirs.values()):.1e}, " if theirs else ""
    verdict.true(f"{title}: {len(mine)} tensors, worst {mine[worst]:.1e} {worst} ({own}at most {limit:.1e})",
                 mine[worst] <= limit)


def look(verdict, step, config, start, ours, exact, own, constants):
    """`own` is PyTorch's float32 run, or None."""
    ours, exact, own, start = (comparable(state or {}) for state in (ours, exact, own, start))
    names = [n for n in exact if n not in constants]
    known = ("base_encoder.", "momentum_encoder.", "online_encoder.", "target_encoder.", "encoder_q.", "encoder_k.",
             "predictor.", "queue", "optimizer.")
    compared = {n for n in ours if n.startswith(known) and not n.endswith("num_batches_tracked")}
    verdict.quiet(f"step {step}: tensors that one side lacks: {sorted(compared ^ set(names))}", compared == set(names))
    names = [n for n in names if n in ours]
    loose = [n for n in names if config.is_vit and config.optimizer == "adamw" and n.endswith(UNDETERMINED)
             and not n.startswith("optimizer.")]
    if loose:
        close(verdict, f"step {step}, undetermined", errors(ours, exact, loose), own and errors(own, exact, loose),
              UNDETERMINED_TOLERANCE)
    for kind in sorted({kind_of(n) for n in names}):
        some = [n for n in names if kind_of(n) == kind and n not in loose]
        close(verdict, f"step {step}, {kind}", errors(ours, exact, some), own and errors(own, exact, some), TOLERANCE)
        if kind.endswith("parameters"):
            ways = [way_errors(run, exact, start, some, step) if run else {} for run in (ours, own)]
            close(verdict, f"step {step}, way of the {kind} in units of what is allowed", *ways, 1.0)


@torch.no_grad()
def margin(run, views, permutation):
    """How close the queries' forward of these views comes to a kink of ReLU; leaves the run as it was."""
    modules = [m for m in (run.query, run.key, run.predictor) if m is not None]
    before = [[b.clone() for b in m.buffers()] for m in modules]
    watch = run.query.body.watch
    watch.active, watch.margin = True, np.inf
    run.loss(*(run.views(v) for v in views), permutation)
    watch.active = False
    for module, kept in zip(modules, before):
        for buffer, value in zip(module.buffers(), kept):
            buffer.copy_(value)
    return watch.margin


def choose_views(own, exact, config, number, permutation, wanted=2e-6, tries=12):
    """For the first steps: views on which no rounding decides a ReLU; float32 sifts, float64 confirms."""
    best, chosen = -1.0, None
    for attempt in range(tries):
        views = reference.random_views(config, number * 100 + attempt)
        distance = margin(own, views, permutation)
        if distance > max(best, wanted * 0.8):
            distance = margin(exact, views, permutation)
        if distance > best:
            best, chosen = distance, views
        if best >= wanted:
            break
    return chosen


def run_case(verdict, title, config, more, steps, away):
    print(f"{title}: {steps} steps{', ReLU inputs away from 0' if away else ''}")
    folder = scenario.Folder()
    trainer, state = start(config, folder, more, away)
    exact = family.Trainer(config, state)
    own = family.Trainer(config, state, torch.float32) if not away else None
    names = ("loss", "gradient_norm", "lr")
    worst, theirs = ({n: 0.0 for n in names} for _ in range(2))
    for step in range(steps):
        permutation = binding.shuffle(SEED, step, config.batch_size)
        views = choose_views(own, exact, config, step, permutation) if not away and step < 10 else \
            reference.random_views(config, 100 * step)
        trainer.push(*views, "nchw")
        report, wanted = trainer.step(), exact.step(*views, permutation)
        other = own.step(*views, permutation) if own else {}
        for name in names:
            size = max(abs(wanted[name]), 1e-30)
            worst[name] = max(worst[name], abs(getattr(report, name) - wanted[name]) / size)
            theirs[name] = max(theirs[name], abs(other.get(name, np.nan) - wanted[name]) / size)
        if step + 1 in (LOOK[-1:] if away else LOOK):
            path = folder.path("now.safetensors")
            trainer.save(path)
            ours = {n: t.astype(np.float64) for n, t in tensors.read(path)[0].items()}
            look(verdict, step + 1, config, state, ours, exact.state(), own and own.state(), exact.constants())
    for name, error in worst.items():
        limit = 1e-9 if name == "lr" else REPORT_TOLERANCE[steps]
        peer = f"PyTorch float32 {theirs[name]:.1e}, " if own else ""
        verdict.true(f"{name} of {steps} steps: worst relative error {error:.1e} ({peer}at most {limit:.1e})",
                     error <= limit)
    trainer.close()


def gradients(config, values, views, folder):
    """Those of the first step: SGD's momentum buffers after it."""
    with binding.Trainer(config.recipe, seed=SEED, **values) as trainer:
        trainer.push(*views, "nchw")
        trainer.step()
        path = folder.path("step.safetensors")
        trainer.save(path)
    start = "optimizer.momentum_buffer."
    return {n[len(start):]: t.astype(np.float64) for n, t in tensors.read(path)[0].items() if n.startswith(start)}


def two_passes(verdict, title, config, count):
    """Gradients of a batch of 64: two passes with several shard sizes against one pass (test_bits has the lanes)."""
    vit = {"patch_size": 8, "vit_depth": 2, "vit_heads": 4, "weight_decay": 0.0}
    views, folder = reference.random_views(config, 9), scenario.Folder()
    one = gradients(config, options(config, {**vit, "execution": "one-pass", "shard": 16}), views, folder)
    whole = np.sqrt(sum(np.linalg.norm(g) ** 2 for g in one.values()))
    for shard in (4, 16, 32, 64):
        two = gradients(config, options(config, {**vit, "execution": "two-pass", "shard": shard}), views, folder)
        verdict.quiet(f"{title}: {len(one)} and {len(two)} gradients, wanted {count} twice",
                      one.keys() == two.keys() and len(one) == count)
        # The batch norm behind takes a shift of the features away: what is left of its gradient is rounding.
        vanished = max(np.linalg.norm(g.pop("norm.bias")) for g in (dict(one), two)) / whole
        error = {n: compare.relative(two[n], one[n], 0) for n in two}
        worst = max(error, key=error.get)
        verdict.true(f"{title}, two passes, shards of {shard}: {len(error)} gradients, worst {error[worst]:.1e} of one "
                     f"pass's {worst} (at most 1e-05), norm.bias {vanished:.1e} of all (at most 1e-08)",
                     error[worst] <= 1e-5 and vanished <= 1e-8)


WHOLE = dict(arch="vit_small", stem="imagenet", optimizer="sgd",
             **{**SMALL, "batch_size": 64, "bn_groups": 1, "width": 0.125})
WHOLE_BATCH = {
    "moco-v3": (Config(recipe="moco-v3-vit", **WHOLE), 38),
    "simclr": (Config(recipe="simclr", loss="nt-xent", scale="one", symmetric=0, predictor=0, head="mlp-simclr",
                      head_width=0, momentum_schedule="constant", **WHOLE), 37),
}


def main():
    torch.set_num_threads(1)
    verdict = Verdict("family")
    wanted = sys.argv[1:]
    if not wanted or "two" in wanted:
        for title, case in WHOLE_BATCH.items():
            two_passes(verdict, title, *case)
    for title, case in CASES.items():
        if not wanted or any(w in title for w in wanted):
            vit = case[0].is_vit  # its blocks have no ReLU
            run_case(verdict, title, *case, steps=100 if vit else 10, away=False)
            # The other execution, scale or optimizer of a recipe that has its hundred steps is content with ten.
            if title in LONG:
                run_case(verdict, title, *case, steps=100, away=True)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

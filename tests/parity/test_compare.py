"""The comparison itself: honest runs pass, an error of ten times the reference's own rounding in one tensor is refused.

Once with drawn errors of few degrees of freedom, thousands of times; once with PyTorch's own float32 runs of a training
in other orders of its sums. docs/numerics.md, "The yardstick", has the argument. Needs no library.
"""
import sys

import numpy as np
import torch

import compare
import family
import reference
from compare import Verdict, judged, relative
from reorder import DRAWS, reorder

TENSORS, FREEDOM, TRIALS = 60, 6, 300
TEN = 10.0
CONFIG = family.Config(temperature=1.0, weight_decay=1e-6, width=0.0625, image_size=16, bn_groups=4, batch_size=16,
                       lr=0.02, epochs=12, head_width=48)
STEPS, OTHERS = 2, 16


def holds(ours, exact, own, **how):
    return all(good for _, good in judged(ours, exact, own, np.inf, **how))


def with_error(tensor, size, rng):
    """The tensor with an error of that size, as relative() measures it, in a direction of its own."""
    direction = rng.standard_normal(tensor.shape)
    norm = max(np.linalg.norm(tensor), compare.FLOOR * np.sqrt(tensor.size))
    return tensor + direction * (size * norm / np.linalg.norm(direction))


def yardsticks(exact, own):
    return {n: max(compare.least(n), *(relative(run[n], exact[n]) for run in own)) for n in exact}


def drawn_errors(verdict):
    """Errors that lie in FREEDOM random directions of a tensor: fewer than were found in any network here."""
    rng = np.random.default_rng(1)
    exact = {f"tensor {i}": rng.standard_normal(200) for i in range(TENSORS)}
    size = {n: 10.0 ** rng.uniform(-7, -5) for n in exact}
    directions = {n: np.linalg.qr(rng.standard_normal((200, FREEDOM)))[0] * np.linalg.norm(exact[n]) * size[n] for n in exact}

    def run():
        return {n: exact[n] + directions[n] @ rng.standard_normal(FREEDOM) / np.sqrt(FREEDOM) for n in exact}
    false, missed, blunt = 0, 0, 0
    for _ in range(TRIALS):
        own, ours = [run() for _ in range(compare.RUNS)], run()
        false += not holds(ours, exact, own)
        spoilt = rng.choice(list(exact))
        error = TEN * yardsticks(exact, own)[spoilt]
        missed += holds({**ours, spoilt: with_error(ours[spoilt], error, rng)}, exact, own)
        blunt += holds({n: with_error(t, 4 * size[n], rng) for n, t in ours.items()}, exact, own)
    verdict.true(f"{TRIALS} honest runs of {TENSORS} tensors, {FREEDOM} degrees of freedom each: {false} refused",
                 false == 0)
    verdict.true(f"the same with {TEN:g} times the reference's own error in one tensor: {missed} of {TRIALS} pass",
                 missed == 0)
    verdict.true(f"the same with 4 times the reference's error in all tensors: {blunt} of {TRIALS} pass", blunt == 0)


def fill(run):
    """The same random numbers for every run; shifts that keep ReLU inputs away from 0, where rounding would decide."""
    rng = np.random.default_rng(5)
    for module in (run.query, run.predictor):
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                value = rng.standard_normal(parameter.shape) * (2 / parameter[0].numel()) ** 0.5
            else:
                value = rng.uniform(0.8, 1.2, parameter.shape) + (5 if name.endswith("bias") else 0)
            if parameter.requires_grad:
                parameter.data.copy_(torch.tensor(value.astype(np.float32)))
    run.key.load_state_dict(run.query.state_dict())
    return run


def trained(dtype, memory_format=torch.contiguous_format, order=0):
    run = fill(family.Trainer(CONFIG, {}, dtype, memory_format, order))
    for step in range(STEPS):
        run.step(*reference.random_views(CONFIG, step), None)
    constant = run.constants()
    return {n: t for n, t in run.state().items() if n not in constant}


def trainings(verdict):
    """MoCo v3 with LARS: each further order of PyTorch's sums is judged as if it were the library."""
    exact = trained(torch.float64)
    own = [trained(torch.float32, *draw) for draw in DRAWS]
    rng, farthest, whole, spread = np.random.default_rng(2), 0.0, 0.0, []
    stick = yardsticks(exact, own)
    peer = max(compare.rss(relative(run[n], exact[n]) for n in exact) for run in own)
    honest = True
    for order in range(100, 100 + OTHERS):
        ours = trained(torch.float32, torch.contiguous_format, order)
        errors = {n: relative(ours[n], exact[n]) for n in exact}
        farthest = max(farthest, max(errors[n] / stick[n] for n in exact))
        whole = max(whole, compare.rss(errors.values()) / peer)
        spread.append(list(errors.values()))
        honest &= holds(ours, exact, own)
    square = np.square(spread)
    freedom = 2 * square.mean(0) ** 2 / np.maximum(square.var(0, ddof=1), 1e-60)
    verdict.true(f"{OTHERS} other orders of PyTorch's sums, {len(exact)} tensors: at most {farthest:.2f} of the yardstick "
                 f"in a tensor, {whole:.2f} in all (degrees of freedom: a tenth of the tensors have fewer than "
                 f"{np.quantile(freedom, 0.1):.0f})", honest)
    mean = {n: max(compare.least(n), np.sqrt(np.mean([relative(run[n], exact[n]) ** 2 for run in own]))) for n in exact}
    for title, size in (("the largest error of PyTorch's runs", stick), ("the root mean square of their errors", mean)):
        passed = [n for n in exact if holds({n: with_error(ours[n], TEN * size[n], rng)}, {n: exact[n]},
                                            [{n: run[n]} for run in own])]
        verdict.true(f"{TEN:g} times {title} in each of {len(exact)} tensors in turn; not refused: {passed}", not passed)


def main():
    torch.set_num_threads(1)
    verdict = Verdict("comparison")
    drawn_errors(verdict)
    trainings(verdict)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

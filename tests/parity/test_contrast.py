"""The stand-alone queue against NumPy in float64: InfoNCE, its gradient, its accuracies, and wrap-around enqueueing."""
import sys

import numpy as np

import binding
from compare import RUNS, Verdict

TOLERANCE = 1e-5
# rows, width, keys, temperature; 32 rows is the tile, 70 makes two whole ones and a rest
CASES = [(1, 3, 1, 0.2), (1, 16, 7, 0.07), (2, 5, 33, 0.2), (31, 64, 100, 0.1), (32, 128, 4096, 0.1),
         (33, 128, 4096, 0.07), (70, 100, 999, 0.2), (70, 33, 65536, 0.2), (32, 128, 65536, 0.2), (1, 128, 65536, 0.07)]


def unit_rows(rng, count, width):
    rows = rng.standard_normal((count, width)).astype(np.float32)
    return (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)


def info_nce(q, k, queue, temperature):
    """Loss, gradient by q, number of queue keys that beat the own key, all in the type of the inputs."""
    logits = np.concatenate([(q * k).sum(1, keepdims=True), q @ queue.T], axis=1) / q.dtype.type(temperature)
    shifted = logits - logits.max(1, keepdims=True)
    weights = np.exp(shifted)
    total = weights.sum(1, keepdims=True)
    p = weights / total
    loss = (np.log(total[:, 0]) - shifted[:, 0]).mean()
    gradient = (p[:, 1:] @ queue + (p[:, :1] - 1) * k) / q.dtype.type(len(q) * temperature)
    return loss, gradient, (logits[:, 1:] > logits[:, :1]).sum(1)


def in_order(number, q, k, queue, temperature):
    """The gradient in float32 with the sums over the width and over the keys in an order drawn from `number`."""
    rng = np.random.default_rng(number)
    width, keys = rng.permutation(q.shape[1]), rng.permutation(len(queue))
    return info_nce(q[:, width], k[:, width], queue[keys][:, width], temperature)[1][:, np.argsort(width)]


def check_contrast(verdict, rng, rows, width, length, temperature):
    keys = unit_rows(rng, rows, width)
    # Queries near their keys to a varying degree, so that accuracies are neither 0 nor 100.
    mix = rng.uniform(0, 1, (rows, 1))
    queries = mix * keys + (1 - mix) * unit_rows(rng, rows, width)
    queries = (queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    with binding.Queue(length, width, seed=3) as queue:
        held, pointer = queue.keys()
        loss, gradient, top1, top5 = queue.contrast(queries, keys, temperature)
        after, after_pointer = queue.keys()
    doubles = [a.astype(np.float64) for a in (queries, keys, held)]
    wanted, wanted_gradient, better = info_nce(*doubles, temperature)
    title = f"N {rows}, D {width}, K {length}, T {temperature}"
    verdict.close(f"{title}: loss {loss:.6f}", loss, wanted, TOLERANCE, floor=1e-3)
    verdict.tensors(f"{title}: gradient", {"gradient": gradient}, {"gradient": wanted_gradient},
                    [{"gradient": in_order(number, queries, keys, held, temperature)} for number in range(RUNS)],
                    TOLERANCE, floor=1e-4)
    accuracies = tuple(float((better < n).mean() * 100) for n in (1, 5))
    verdict.true(f"{title}: top-1 {top1:.1f}, top-5 {top5:.1f}", np.allclose((top1, top5), accuracies, atol=1e-9))
    verdict.quiet(f"{title}: the queue is read only", np.array_equal(held, after) and pointer == after_pointer)
    verdict.quiet(f"{title}: first content has unit rows",
                  np.abs(np.linalg.norm(held.astype(np.float64), axis=1) - 1).max() < 1e-5)


def check_first_content(verdict):
    """Standard normal, then divided by its norm: coordinates have mean 0 and variance 1/D; the seed matters."""
    with binding.Queue(4096, 64, seed=1) as first, binding.Queue(4096, 64, seed=2) as second, \
            binding.Queue(4096, 64, seed=1) as again:
        a, b, c = (q.keys()[0] for q in (first, second, again))
    verdict.true(f"first content: mean {a.mean():.1e}, variance times D {a.var() * 64:.3f}",
                 abs(a.mean()) < 1e-3 and abs(a.var() * 64 - 1) < 1e-3)
    verdict.true("first content follows the seed", np.array_equal(a, c) and not np.array_equal(a, b))
    largest = np.abs(a @ a.T - np.eye(4096)).max()
    verdict.true(f"first content: largest cosine of two keys {largest:.2f}", largest < 0.8)


def check_enqueue(verdict, rng):
    """Batches of every awkward size against a Python model of the ring."""
    for length in (1, 7, 64):
        with binding.Queue(length, 8, seed=4) as queue:
            model, pointer = queue.keys()
            for count in (1, 3, length, 5, 2 * length + 3, length - 1 or 1, 16, 1):
                keys = unit_rows(rng, count, 8)
                queue.enqueue(keys)
                for row in keys:
                    model[pointer] = row
                    pointer = (pointer + 1) % length
                held, at = queue.keys()
                verdict.quiet(f"K {length}: {count} keys in a Python ring", np.array_equal(held, model) and at == pointer)
            queue.restore(model[::-1], length - 1)
            held, at = queue.keys()
            verdict.quiet(f"K {length}: restored", np.array_equal(held, model[::-1]) and at == length - 1)
    verdict.true("wrap-around enqueueing equals a Python ring for K 1, 7, 64", not verdict.failed)


def check_refusals(verdict, rng):
    with binding.Queue(10, 4, seed=1) as queue:
        before = queue.keys()
        keys = unit_rows(rng, 3, 4)
        keys[1] *= 1.01
        try:
            queue.enqueue(keys)
            refused = ""
        except binding.MocoError as error:
            refused = str(error)
        after = queue.keys()
        verdict.true(f"a key of norm 1.01 is refused: {refused}", "MOCO_ERR_ARGUMENT" in refused
                     and np.array_equal(before[0], after[0]) and before[1] == after[1])


def main():
    rng = np.random.default_rng(0)
    verdict = Verdict("contrast")
    for case in CASES:
        check_contrast(verdict, rng, *case)
    check_first_content(verdict)
    check_enqueue(verdict, rng)
    check_refusals(verdict, rng)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

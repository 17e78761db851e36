"""Search and the weighted kNN classifier against NumPy in float64."""
import sys

import numpy as np

import binding
from compare import Verdict

# bank, queries, width, k, temperature, classes; k may exceed the bank
CASES = [(1, 1, 4, 1, 0.1, 1), (500, 33, 16, 5, 0.07, 3), (5000, 70, 128, 200, 0.1, 10), (150, 20, 64, 200, 0.1, 100)]


def wanted_classes(cosines, labels, k, temperature, classes):
    """Scores of all classes from the k nearest of each query."""
    scores = np.zeros((len(cosines), classes))
    for row, values in enumerate(cosines):
        for i in np.argsort(-values, kind="stable")[:k]:
            scores[row, labels[i]] += np.exp(values[i] / temperature)
    return scores


def check_case(verdict, rng, bank, count, width, k, temperature, classes):
    centres = rng.standard_normal((classes, width))
    labels = rng.integers(0, classes, bank)
    # Neither bank nor queries are normalised: the index does that.
    vectors = ((centres[labels] + rng.standard_normal((bank, width))) * rng.uniform(0.5, 20, (bank, 1))).astype(np.float32)
    queries = ((centres[rng.integers(0, classes, count)] + rng.standard_normal((count, width))) * 3).astype(np.float32)
    unit = [a.astype(np.float64) / np.linalg.norm(a.astype(np.float64), axis=1, keepdims=True) for a in (queries, vectors)]
    cosines = unit[0] @ unit[1].T
    nearest = min(k, bank)
    with binding.Index(width) as index:
        index.add(vectors[:bank // 2 + 1], labels[:bank // 2 + 1])
        if bank > 1:
            index.add(vectors[bank // 2 + 1:], labels[bank // 2 + 1:])
        ids, found = index.search(queries, nearest)
        top = index.classify(queries, k, temperature, classes)
    title = f"bank {bank}, D {width}, k {k}, T {temperature}, {classes} classes"
    order = -np.sort(-cosines, axis=1)[:, :nearest]
    verdict.true(f"{title}: cosines within {np.abs(found - order).max():.1e}", np.abs(found - order).max() < 1e-6)
    own = np.take_along_axis(cosines, ids, axis=1)
    verdict.true(f"{title}: the numbers belong to them", np.abs(own - order).max() < 1e-6
                 and all(len(set(row)) == nearest for row in ids.tolist()))
    scores = wanted_classes(cosines, labels, nearest, temperature, classes)
    best = -np.sort(-scores, axis=1)[:, :top.shape[1]]
    given = np.take_along_axis(scores, top.astype(np.int64), axis=1)
    # Equal to rounding: two classes whose scores differ by less may change places.
    verdict.true(f"{title}: classes, best first; top-1 is the largest score for all {count}",
                 bool((np.abs(given - best) <= 1e-4 * np.maximum(best, 1e-6)).all())
                 and all(len(set(row)) == top.shape[1] for row in top.tolist()))


def check_ties(verdict):
    """Equal similarities come in the order of their numbers; equal scores with the lower class first."""
    vectors = np.zeros((6, 4), dtype=np.float32)
    vectors[:, 0] = 1
    vectors[2] = [0, 1, 0, 0]
    with binding.Index(4) as index:
        index.add(vectors, np.array([5, 3, 0, 3, 5, 1]))
        ids, _ = index.search(vectors[:1], 6)
        top = index.classify(vectors[:1], 5, 0.1, 6)
    verdict.true(f"ties: numbers {ids[0].tolist()}, classes {top[0].tolist()}",
                 ids[0].tolist() == [0, 1, 3, 4, 5, 2] and top[0, :3].tolist() == [3, 5, 1])


def main():
    rng = np.random.default_rng(8)
    verdict = Verdict("knn")
    for case in CASES:
        check_case(verdict, rng, *case)
    check_ties(verdict)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

"""The linear probe against PyTorch: the same features in the same order, weights after several epochs, accuracies, the
confusion table; cached features and features made batch by batch; each learning rate of a sweep against itself alone.

The order of the images and the first weights come from the counter-based generator, stated here once more
(Philox4x32-10): key = seed, counter = (block, index, epoch, stream).
"""
import io
import os
import sys
import tempfile

import numpy as np
import torch
from PIL import Image

import tensors
from compare import Verdict
from reorder import ORDERS, reorder

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python"))
sys.dont_write_bytecode = True
import moco  # noqa: E402

WEIGHTS, ORDER = 16, 17  # streams
SIDE, CLASSES = 16, 5
TOLERANCE = 1e-4
LOSS_TOLERANCE = 1e-4  # after twenty steps, as of every recipe


def philox(seed, stream, time, blocks, index=0):
    """[blocks, 4] words of a stream."""
    counter = np.stack(np.broadcast_arrays(np.arange(blocks), index, time, stream)).astype(np.uint64)
    key, mask = [seed & 0xFFFFFFFF, seed >> 32], np.uint64(0xFFFFFFFF)
    for _ in range(10):
        first, second = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        shift = np.uint64(32)
        counter = np.stack([(second >> shift) ^ counter[1] ^ np.uint64(key[0]), second & mask,
                            (first >> shift) ^ counter[3] ^ np.uint64(key[1]), first & mask])
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter.T


def words(seed, stream, time, count, index=0):
    """64-bit draws, low word first."""
    pairs = philox(seed, stream, time, (count + 1) // 2, index).reshape(-1, 2)[:count]
    return pairs[:, 0] | pairs[:, 1] << np.uint64(32)


def permutation(seed, epoch, count):
    return np.argsort(words(seed, ORDER, epoch, count), kind="stable")


def first_weights(seed, std, classes, features):
    units = (words(seed, WEIGHTS, 0, 2 * classes * features) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53
    radius = np.sqrt(-2 * np.log(1 - units[0::2]))
    return (std * radius * np.cos(2 * np.pi * units[1::2])).reshape(classes, features).astype(np.float32)


def picture(number):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (SIDE, SIDE, 3)) // 3 + 34 * (number % CLASSES)
    out = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


def data_set(first, count, holes):
    """Images first … first+count-1; with holes, some have no class and one is no image."""
    files = [picture(first + i) for i in range(count)]
    labels = np.array([(first + i) % CLASSES for i in range(count)], np.int32)
    if holes:
        labels[[3, 11]] = -1
        files[7] = b"no image"
    return moco.Dataset.from_images(files, labels)


class Case:
    def __init__(self, verdict):
        self.verdict = verdict
        self.model = moco.Trainer("moco-cifar", arch="resnet18", width=0.25, image_size=SIDE, batch_size=8,
                                  bn_groups=2, queue_length=32, dimension=16, seed=4).snapshot()
        self.train, self.test = data_set(0, 70, True), data_set(1000, 43, False)
        self.features, self.indices = self.model.embed_dataset(self.train)
        self.test_features, _ = self.model.embed_dataset(self.test)

    def orders(self, cached, seed, epochs):
        """Rows of self.features in the order of each epoch."""
        labels = self.train.labels
        labelled = [row for row, index in enumerate(self.indices) if labels[index] >= 0]
        if cached:
            return [[labelled[i] for i in permutation(seed, e, len(labelled))] for e in range(epochs)]
        row_of = {index: row for row, index in enumerate(self.indices) if labels[index] >= 0}
        return [[row_of[i] for i in permutation(seed, e, len(self.train)) if i in row_of] for e in range(epochs)]

    def reference(self, dtype, order_of_sums, lr, schedule, cached=True, seed=0, epochs=4, batch_size=16, normalize=0,
                  weight_decay=0.0, sgd_momentum=0.9, init_std=0.01, **_):
        labels = torch.tensor(self.train.labels[self.indices].astype(np.int64))
        x, test = (torch.tensor(rows, dtype=dtype) for rows in (self.features, self.test_features))
        if normalize:
            x, test = (torch.nn.functional.normalize(rows) for rows in (x, test))
        layer = reorder(torch.nn.Linear(x.shape[1], CLASSES), order_of_sums).to(dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(first_weights(seed, init_std, *layer.weight.shape)))
            layer.bias.zero_()
        optimizer = torch.optim.SGD(layer.parameters(), lr, sgd_momentum, weight_decay=weight_decay)
        for epoch, order in enumerate(self.orders(cached, seed, epochs)):
            optimizer.param_groups[0]["lr"] = lr * schedule(epoch)
            total = 0.0
            for at in range(0, len(order), batch_size):
                rows = order[at:at + batch_size]
                loss = torch.nn.functional.cross_entropy(layer(x[rows]), labels[rows])
                total += loss.item() * len(rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        wanted = torch.tensor(self.test.labels.astype(np.int64))
        with torch.no_grad():
            answers = layer(test)
            confusion = np.zeros((CLASSES, CLASSES), np.int64)
            np.add.at(confusion, (wanted.numpy(), answers.argmax(1).numpy()), 1)
            test_loss = torch.nn.functional.cross_entropy(answers, wanted).item()
        return {"weights": {name: getattr(layer, name).detach().double().numpy() for name in ("weight", "bias")},
                "losses": {"train": np.array([total / len(order)]), "test": np.array([test_loss])},
                "confusion": confusion}

    def compare(self, title, protocol, lr, schedule, **options):
        probe = moco.Probe(self.model, self.train, self.test, protocol, base_lr=lr, **options)
        result = probe.result
        weights, bias = probe.weights()
        factor = options.get("batch_size", 16) / 256 if protocol == "v3" else 1.0
        options["cached"] = protocol == "cached"
        exact = self.reference(torch.float64, 0, lr * factor, schedule, **options)
        own = [self.reference(torch.float32, order, lr * factor, schedule, **options) for _, order in ORDERS]
        losses = {"train": np.array([result.train_loss]), "test": np.array([result.test_loss])}
        self.verdict.tensors(title, {"weight": weights, "bias": bias}, exact["weights"],
                             [run["weights"] for run in own], TOLERANCE)
        for name, loss in losses.items():
            self.verdict.close(f"{title}, {name} loss", loss, exact["losses"][name], LOSS_TOLERANCE)
        same = np.array_equal(probe.confusion(), exact["confusion"])
        top1 = 100 * np.trace(exact["confusion"]) / exact["confusion"].sum()
        self.verdict.true(f"{title}, confusion table and top-1 {result.top1:.2f} %",
                          same and abs(result.top1 - top1) < 1e-9)
        self.verdict.true(f"{title}, {result.train_images} training images", result.train_images == 67)
        return probe


def cosine(epochs):
    return lambda epoch: 0.5 * (1 + np.cos(np.pi * epoch / epochs))


def steps(first, second):
    return lambda epoch: 0.1 ** ((epoch >= first) + (epoch >= second))


def protocols(case):
    few = dict(epochs=4, batch_size=16, loader_threads=2)
    whole = dict(crop_min_area=1.0, flip_probability=0.0)  # the picture itself: features as the evaluation's
    case.compare("cached, rate 0.5", "cached", 0.5, cosine(4), seed=7, **few)
    case.compare("cached, rate 20, decay, no momentum", "cached", 20.0, cosine(4), seed=2 ** 40 + 5, weight_decay=1e-3,
                 sgd_momentum=0.0, init_std=0.3, **few)
    case.compare("cached, unit features, rate 3", "cached", 3.0, cosine(4), normalize=1, **few)
    case.compare("v1, rate 3", "v1", 3.0, steps(3, 4), seed=3, epochs=5, batch_size=20, **whole)
    case.compare("v1, unit features, milestones of one's own", "v1", 10.0, steps(1, 3), seed=3, epochs=4, batch_size=67,
                 normalize=1, milestone_1=1, milestone_2=3, **whole)
    case.compare("v3, rate 8 at batch 256", "v3", 8.0, cosine(3), seed=1, epochs=3, batch_size=16, **whole)


def sweep(case):
    rates = [0.3, 3.0, 30.0]
    for protocol in "cached", "v1":
        options = dict(epochs=3, batch_size=16, seed=9)
        together = moco.Probe(case.model, case.train, case.test, protocol, base_lr=rates, **options)
        alone = [moco.Probe(case.model, case.train, case.test, protocol, base_lr=rate, **options) for rate in rates]
        same = all(a.as_dict() == b.rates[0].as_dict() for a, b in zip(together.rates, alone))
        best = together.result.best
        same = same and all(np.array_equal(a, b) for a, b in zip(together.weights(), alone[best].weights()))
        case.verdict.true(f"{protocol}: three rates side by side have the bits of each alone", same)
        top = max(together.rates, key=lambda rate: (rate.top1, -rate.test_loss))
        case.verdict.true(f"{protocol}: rate {top.base_lr:g} is the best", together.result.base_lr == top.base_lr)


def files(case):
    with tempfile.TemporaryDirectory() as folder:
        probe = moco.Probe(case.model, case.train, case.test, base_lr=3, epochs=2, batch_size=16)
        probe.save(os.path.join(folder, "probe.safetensors"))
        case.model.save(os.path.join(folder, "model.safetensors"))
        got, meta = tensors.read(os.path.join(folder, "probe.safetensors"))
        model, _ = tensors.read(os.path.join(folder, "model.safetensors"))
        weights, bias = probe.weights()
        case.verdict.true("the file has the classifier", np.array_equal(got["fc.weight"], weights)
                          and np.array_equal(got["fc.bias"], bias) and meta["kind"] == "classifier"
                          and meta["classes"] == '["0","1","2","3","4"]')
        backbone = {name for name in model if not name.startswith("fc.")}
        case.verdict.true("and the backbone", set(got) == backbone | {"fc.weight", "fc.bias"}
                          and all(np.array_equal(got[name], model[name]) for name in backbone))
        loaded = moco.Model(os.path.join(folder, "probe.safetensors"))
        rows, _ = loaded.embed_dataset(case.test)
        case.verdict.true("which loads as a model", np.array_equal(rows, case.test_features)
                          and loaded.dimension("projection") == 0)


def main():
    torch.set_num_threads(1)
    verdict = Verdict("probe")
    case = Case(verdict)
    protocols(case)
    sweep(case)
    files(case)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main())

"""Random images, and what Pillow lacks a direct call for; used by test_pillow.py and test_views.py."""
import os
import random

import numpy as np
from PIL import Image, __version__ as pillow_version

# Pillow's resampling gives these bytes from 9.4 to 11.1; 13.0 rounds elsewhere: bilinear pixels differ by up to 1,
# bicubic ones by up to 22.
RESAMPLES_ALIKE = (9, 4) <= tuple(int(part) for part in pillow_version.split(".")[:2]) < (12, 0)


def other_resampling(what):
    """Says that, and why, `what` is not compared."""
    print(f"skipped: {what}: Pillow {pillow_version} resamples otherwise than 9.4 to 11.1, whose bytes these are")


def seeded():
    """A generator with a fresh seed, which is printed; MOCO_TEST_SEED repeats an earlier run."""
    seed = int(os.environ.get("MOCO_TEST_SEED") or random.SystemRandom().randrange(2 ** 32))
    print("seed", seed, "(again: MOCO_TEST_SEED=%d)" % seed)
    return random.Random(seed)


def noise(rng, width, height):
    """Random pixels; sometimes smooth or of few values, where rounding and clipping matter most."""
    kind = rng.randrange(4)
    a = np.random.RandomState(rng.randrange(2 ** 31)).randint(0, 256, (height, width, 3), np.uint8)
    if kind == 1:
        a = np.where(a > 127, 255, 0).astype(np.uint8)
    elif kind == 2:
        a = (a // 8 + 120).astype(np.uint8)
    elif kind == 3:
        a[:, :, 1] = a[:, :, 0]
    return Image.fromarray(a)


def sized(rng):
    pick = rng.randrange(10)
    if pick == 0:
        return 1, rng.randint(1, 40)
    if pick == 1:
        return rng.randint(1, 40), 1
    if pick < 8:
        return rng.randint(1, 80), rng.randint(1, 80)
    return rng.randint(80, 400), rng.randint(80, 400)


def hue_shift(image, shift):
    """As torchvision shifts a hue: by whole 255ths, toward zero, in bytes that wrap at 256."""
    h, s, v = image.convert("HSV").split()
    turned = (np.asarray(h).astype(int) + int(shift * 255)) & 255
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), s, v)).convert("RGB")


def gaussian(image, radius, sigma):
    """Blur by the kernel itself, zeros beyond the edges, in float64 and not rounded: [H, W, 3]."""
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    kernel = np.exp(-x * x / (2 * sigma * sigma))
    kernel /= kernel.sum()
    out = np.asarray(image).astype(np.float64)
    for axis in 0, 1:
        margin = [(0, 0)] * 3
        margin[axis] = (radius, radius)
        padded, length = np.pad(out, margin), out.shape[axis]
        out = sum(tap * np.take(padded, range(i, i + length), axis) for i, tap in enumerate(kernel))
    return out

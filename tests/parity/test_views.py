"""Whole views against Pillow, and the sheet of `moco views` against both: the draws as lib/data/views.c documents them and the operations by Pillow, byte for byte.

The random generator (Philox4x32-10), the boxes, decisions and pipelines are written here once more, from their
description; only the true Gaussian of SimCLR is NumPy's, and there a byte may differ where the exact value lies within
a thousandth of a tie. All recipes with their own numbers, then with numbers by chance; images and options come from a
fresh seed, which is printed."""
import io
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

import pictures

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "examples", "python"))
import moco  # noqa: E402

RECIPES = ["moco-v1", "moco-v2", "moco-cifar", "moco-v3", "simclr", "moco-v3-vit", "simclr-code"]
PIPELINES = [["gray", "jitter", "flip"], ["jitter", "gray", "blur", "flip"], ["flip", "jitter", "gray"],
             ["jitter", "gray", "blur", "solarize", "flip"], ["flip", "jitter", "gray", "blur"],
             ["flip", "jitter", "gray", "blur"]]
V3, SIMCLR, SIMCLR_CODE = 3, 4, 5
FILTERS = [getattr(Image, "Resampling", Image).BILINEAR, getattr(Image, "Resampling", Image).BICUBIC]
VIEW0 = 4  # the stream of the first view

if not pictures.RESAMPLES_ALIKE:
    pictures.other_resampling("whole views")
    sys.exit(77)
rng = pictures.seeded()


class Draws:
    """Philox4x32-10: counter (block, image, epoch, stream), key = seed; words in order, 64 bits low word first."""

    def __init__(self, seed, stream, index, time):
        self.key, self.counter, self.words = (seed & 0xFFFFFFFF, seed >> 32), [0, index, time, stream], []

    def word(self):
        if not self.words:
            c, (k0, k1) = list(self.counter), self.key
            for _ in range(10):
                a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
                c = [(b >> 32) ^ c[1] ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k1, a & 0xFFFFFFFF]
                k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
            self.words = c
            self.counter[0] += 1
        return self.words.pop(0)

    def unit(self):
        low = self.word()
        return ((low | self.word() << 32) >> 11) * 2.0 ** -53

    def range(self, low, high):
        return low + (high - low) * self.unit()

    def below(self, n):
        if n <= 1:
            return 0
        while True:
            product = self.word() * n
            if product & 0xFFFFFFFF >= 2 ** 32 % n:
                return product >> 32


def box_by_side(draws, o, width, height):
    """As SimCLR's published code has it from TensorFlow: among all heights that an aspect allows, one."""
    area = width * height  # first, so that a box of exactly an allowed share is not lost to rounding
    least, most = o.crop_min_area * area, o.crop_max_area * area
    for _ in range(o.crop_tries):
        aspect = draws.range(3 / 4, 4 / 3)
        high = round(math.sqrt(most / aspect))
        if round(high * aspect) > width:
            high = int((width + 0.5 - 1e-7) / aspect)
            if round(high * aspect) > width:
                high -= 1
        high = min(high, height)
        low = min(round(math.sqrt(least / aspect)), high)
        h = low + draws.below(high - low + 1)
        if round(h * aspect) * h < least:
            h += 1
        if round(h * aspect) * h > most:
            h -= 1
        w = round(h * aspect)
        if least <= w * h <= most and 0 < w <= width and 0 < h <= height and w * h >= 0.1 * area:
            top = draws.below(height - h) if h < height else 0
            left = draws.below(width - w) if w < width else 0
            return left, top, left + w, top + h
    return 0, 0, width, height


def crop(draws, o, image):
    """The box and its size; the central one of an allowed aspect after the last try."""
    width, height = image.size
    if o.views == SIMCLR_CODE:
        return image.crop(box_by_side(draws, o, width, height)).resize((o.image_size,) * 2, FILTERS[o.resize_filter])
    for _ in range(o.crop_tries):
        area = width * height * draws.range(o.crop_min_area, o.crop_max_area)
        aspect = math.exp(draws.range(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 1 <= w <= width and 1 <= h <= height:
            top, left = draws.below(height - h + 1), draws.below(width - w + 1)
            break
    else:
        w = round(height * (4 / 3)) if width / height > 4 / 3 else width
        h = round(width / (3 / 4)) if width / height < 3 / 4 else height
        left, top = (width - w) // 2, (height - h) // 2
    return image.crop((left, top, left + w, top + h)).resize((o.image_size,) * 2, FILTERS[o.resize_filter])


def jitter(draws, o, image):
    order = list(range(4))
    for i in 3, 2, 1:
        j = draws.below(i + 1)
        order[i], order[j] = order[j], order[i]
    strengths = o.jitter_brightness, o.jitter_contrast, o.jitter_saturation
    factors = [draws.range(max(0.0, 1 - x), 1 + x) for x in strengths]
    hue = draws.range(-o.jitter_hue, o.jitter_hue)
    enhancers = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
    for operation in order:
        if operation < 3:
            image = enhancers[operation](image).enhance(factors[operation])
        elif o.jitter_hue > 0:
            image = pictures.hue_shift(image, hue)
    return image


def expected(o, image, epoch, index, view):
    """The view as an array: bytes, or reals where a true Gaussian came last."""
    draws = Draws(o.seed, VIEW0 + view, index, epoch)
    blur_p = o.blur_probability_2 if view and o.blur_probability_2 != -1 else o.blur_probability
    solarize_p = o.solarize_probability_2 if view and o.solarize_probability_2 != -1 else o.solarize_probability
    image = crop(draws, o, image)
    for step in PIPELINES[o.views]:
        u = draws.unit()
        if step == "jitter" and u < o.jitter_probability:
            image = jitter(draws, o, image)
        elif step == "gray" and u < o.gray_probability:
            image = image.convert("L").convert("RGB")
        elif step == "blur" and u < blur_p:
            sigma = draws.range(o.blur_sigma_min, o.blur_sigma_max)
            if o.blur_form == 1:
                assert o.views >= SIMCLR  # where the blur comes last: reals cannot go on
                return pictures.gaussian(image, o.image_size // 10 // 2, sigma)
            image = image.filter(ImageFilter.GaussianBlur(sigma))
        elif step == "solarize" and u < solarize_p:
            image = ImageOps.solarize(image)
        elif step == "flip" and u < o.flip_probability:
            image = ImageOps.mirror(image)
    return np.asarray(image)


def by_chance(o):
    """Numbers from all over their ranges, at and beyond their ends where that is allowed."""
    for name in "brightness", "contrast", "saturation":
        setattr(o, "jitter_" + name, rng.choice([0.0, rng.uniform(0, 1), rng.uniform(1, 10)]))
    o.jitter_hue = rng.choice([0.0, rng.uniform(0, 0.5)])
    for name in "jitter", "gray", "flip":
        setattr(o, name + "_probability", rng.choice([0.0, 1.0, rng.random()]))
    o.crop_min_area = rng.uniform(0.01, 1)
    o.crop_max_area = rng.uniform(o.crop_min_area, 1)
    o.crop_tries = rng.choice([1, 3, 10, 200])
    o.resize_filter = rng.randrange(2)
    o.views = rng.randrange(6)
    o.blur_form = rng.randrange(2) if o.views >= SIMCLR else 0
    o.blur_sigma_min = rng.uniform(0.01, 3)
    o.blur_sigma_max = rng.uniform(o.blur_sigma_min, 9)
    has_blur = "blur" in PIPELINES[o.views]
    o.blur_probability = rng.random() if has_blur else 0.0
    o.blur_probability_2 = rng.choice([-1.0, rng.random()]) if has_blur else rng.choice([-1.0, 0.0])
    o.solarize_probability = rng.random() if o.views == V3 else 0.0
    o.solarize_probability_2 = rng.choice([-1.0, rng.random()]) if o.views == V3 else -1.0


def files(count):
    made = []
    for i in range(count):
        size = pictures.sized(rng) if i % 3 else (rng.randint(30, 120), rng.randint(30, 120))
        file = io.BytesIO()
        pictures.noise(rng, *size).convert(rng.choice(["RGB", "RGB", "L", "CMYK"])).save(file, "JPEG", quality=95)
        made.append(file.getvalue())
    return made


def compare(what, jpegs, options_of, sizes):
    """Both views of every image; gives the number of bytes that are wrong."""
    data, wrong, bytes_in_all, inexact = moco.Dataset.from_images(jpegs), 0, 0, 0.0
    for index, jpeg in enumerate(jpegs):
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        options, epoch = options_of(), rng.choice([0, 1, rng.randrange(2 ** 32)])
        options.seed = rng.choice([0, rng.randrange(2 ** 64)])
        options.image_size = rng.choice(sizes)
        got = moco.dataset_views(data, index, options, epoch)
        for view in range(2):
            want = expected(options, image, epoch, index, view)
            off = np.abs(got[view].astype(np.float64) - want)
            if want.dtype != np.uint8:
                inexact = max(inexact, off.max() - 0.5)
                off = off > 0.5 + 1e-3
            if off.any():
                print(f"{what}: image {index} {image.size}, view {view}: {np.count_nonzero(off)} bytes differ; options",
                      options.as_dict())
            wrong += np.count_nonzero(off)
            bytes_in_all += off.size
    print(f"{what}: {2 * len(jpegs)} views, {wrong} of {bytes_in_all} bytes differ"
          + (f"; Gaussian within {max(inexact, 0):.1g} of rounding" if inexact else ""))
    return wrong


def sheet():
    """Every cell of a sheet shows its view, a few levels of JPEG aside, and no other view is closer to it."""
    program = os.path.join(os.path.dirname(moco._library_path()), "moco")
    if not os.path.exists(program):
        print("sheet skipped: no", program)
        return 0
    with tempfile.TemporaryDirectory() as home:
        folder, path = os.path.join(home, "images"), os.path.join(home, "sheet.jpg")
        os.mkdir(folder)
        for i in range(6):
            small = pictures.noise(rng, rng.randint(3, 6), rng.randint(3, 6))
            small.resize((rng.randint(60, 90), rng.randint(60, 90)), FILTERS[1]).save(
                os.path.join(folder, "%d.jpg" % i), quality=95)
        seed, epoch, size = rng.randrange(2 ** 32), rng.randrange(1000), rng.choice([32, 50])
        said = subprocess.run([program, "views", folder, "-o", path, "--recipe", "moco-v3", "--size", str(size), "--seed",
                               str(seed), "--epoch", str(epoch), "--pairs", "2", "--json"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        said = [json.loads(line) for line in said.splitlines()]
        shown, side = np.asarray(Image.open(path).convert("RGB")), size * said[-1]["zoom"]
        data, cells, views = moco.Dataset(folder), [], []
        for line in said[:-1]:
            cells += [shown[y:y + side, x:x + side] for x, y in line["at"]]
            views.append(data.pixels(line["index"], round(size * 8 / 7), size))
            for pair in range(2):
                options = moco.trainer_options("moco-v3", image_size=size, seed=seed)
                views += list(moco.dataset_views(data, line["index"], options, epoch + pair))
    off = np.array([[np.abs(np.repeat(np.repeat(view, side // size, 0), side // size, 1) - cell.astype(float)).mean()
                     for view in views] for cell in cells])
    own = off.diagonal()
    print(f"sheet: {len(cells)} cells, mean difference {own.mean():.2f} from their views (at most {own.max():.2f}), "
          f"{off[~np.eye(len(off), dtype=bool)].mean():.1f} from others")
    return int(len(cells) != 30 or own.max() > 12 or (own > off.min(1) + 1).any())


def main():
    wrong = sheet()
    for number, recipe in enumerate(RECIPES):
        def published():
            return moco.trainer_options(recipe)
        wrong += compare(recipe, files(60), published, [16, 24, 31, 48])
        wrong += compare(recipe + " at 224", files(3), published, [224])

    def chance():
        options = moco.trainer_options(rng.choice(RECIPES))
        by_chance(options)
        return options
    wrong += compare("by chance", files(300), chance, [16, 17, 24, 40])
    sys.exit("views differ" if wrong else 0)


main()

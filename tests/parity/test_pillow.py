"""Image operations against Pillow: every byte equal.

usage: test_pillow.py PROGRAM   (PROGRAM is image_ops, the library's operations behind a pipe)
Exits 77 (skipped) where Pillow or NumPy is absent. Colour conversions are compared over all 2^24 inputs, everything
else over random images, sizes and parameters from a fresh seed, which is printed. The one operation that Pillow lacks,
the true Gaussian, is compared with NumPy in float64: it must be the correctly rounded result, or within a thousandth
of a level of it."""
import io
import os
import struct
import subprocess
import sys

try:
    import numpy as np
    from PIL import Image, ImageEnhance, ImageFile, ImageFilter, ImageOps, __version__ as pillow_version
    import pictures
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

(DECODE, RESIZE, GRAY, BRIGHTNESS, CONTRAST, SATURATION, TO_HSV, TO_RGB, HUE, BLUR, FLIP, EVAL, SOLARIZE,
 GAUSSIAN) = range(14)
FILTERS = [getattr(Image, "Resampling", Image).BILINEAR, getattr(Image, "Resampling", Image).BICUBIC]


class Ops:
    def __init__(self, program):
        self.pipe = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, operation, data, size=(0, 0), whole=(), number=0.0):
        whole = list(whole) + [0] * (6 - len(whole))
        self.pipe.stdin.write(struct.pack("<10id", operation, *size, len(data), *whole, number) + data)
        self.pipe.stdin.flush()
        status, width, height = struct.unpack("<3i", self.pipe.stdout.read(12))
        if status:
            return None
        return np.frombuffer(self.pipe.stdout.read(width * height * 3), np.uint8).reshape(height, width, 3)

    def image(self, operation, image, whole=(), number=0.0):
        return self(operation, image.tobytes(), image.size, whole, number)


rng = pictures.seeded()
ImageFile.MAXBLOCK = 2 ** 22  # its encoder wants space for a whole optimised scan
failures = 0
compared = {}


def same(what, got, want):
    global failures
    want = np.asarray(want)
    compared[what] = compared.get(what, 0) + 1
    if got is None or got.shape != want.shape or not np.array_equal(got, want):
        failures += 1
        if failures <= 20:
            if got is None or got.shape != want.shape:
                print(f"{what}: got {None if got is None else got.shape}, wanted {want.shape}")
            else:
                off = np.abs(got.astype(int) - want)
                print(f"{what}: {np.count_nonzero(off)} of {off.size} bytes differ, by up to {off.max()}")


def noise():
    return pictures.noise(rng, *pictures.sized(rng))


def resizes(ops, count):
    """Crops resized: the filter sees nothing outside the box."""
    for i in range(count):
        image = noise()
        w, h = rng.randint(1, image.width), rng.randint(1, image.height)
        x, y = rng.randint(0, image.width - w), rng.randint(0, image.height - h)
        side = rng.choice([32, 32, 16, 224, w, h, rng.randint(1, 100)])
        out = (side, side) if rng.random() < 0.8 else (rng.randint(1, 60), rng.randint(1, 60))
        want = image.crop((x, y, x + w, y + h)).resize(out, FILTERS[i % 2])
        same(["bilinear", "bicubic"][i % 2], ops.image(RESIZE, image, (x, y, w, h) + out, i % 2), want)


def blends(ops, count):
    for _ in range(count):
        image = noise()
        factor = rng.choice([0.0, 1.0, rng.uniform(0, 1), rng.uniform(0.6, 1.4), rng.uniform(1, 3), rng.uniform(0, 11)])
        same("brightness", ops.image(BRIGHTNESS, image, number=factor), ImageEnhance.Brightness(image).enhance(factor))
        same("contrast", ops.image(CONTRAST, image, number=factor), ImageEnhance.Contrast(image).enhance(factor))
        same("saturation", ops.image(SATURATION, image, number=factor), ImageEnhance.Color(image).enhance(factor))
        same("gray", ops.image(GRAY, image), image.convert("L").convert("RGB"))
        same("solarize", ops.image(SOLARIZE, image), ImageOps.solarize(image))
        same("flip", ops.image(FLIP, image), ImageOps.mirror(image))


def hues(ops, count):
    n = np.arange(256, dtype=np.uint8)
    every = np.empty((256, 256, 256, 3), np.uint8)
    every[..., 0], every[..., 1], every[..., 2] = n[:, None, None], n[:, None], n
    every = every.tobytes()
    same("every RGB to HSV", ops(TO_HSV, every, (4096, 4096)),
         Image.frombytes("RGB", (4096, 4096), every).convert("HSV"))
    same("every HSV to RGB", ops(TO_RGB, every, (4096, 4096)),
         Image.frombytes("HSV", (4096, 4096), every).convert("RGB"))
    for _ in range(count):
        image = noise()
        shift = rng.choice([0.0, 0.5, -0.5, rng.uniform(-0.5, 0.5), rng.uniform(-0.1, 0.1), rng.uniform(-0.005, 0.005)])
        same("hue", ops.image(HUE, image, number=shift), pictures.hue_shift(image, shift))


def blurs(ops, count):
    for i in range(count):
        image = noise()
        sigma = 0.01 + i / 1000 if i < 150 else rng.choice([2 ** 0.5, rng.uniform(0.1, 2), rng.uniform(0.1, 2),
                                                            rng.uniform(2, 30), 100.0])
        same("blur", ops.image(BLUR, image, number=sigma), image.filter(ImageFilter.GaussianBlur(sigma)))


def gaussians(ops, count):
    global failures
    worst = 0.0
    for _ in range(count):
        image = noise()
        radius = rng.randint(0, 13)
        sigma = rng.choice([rng.uniform(0.1, 2), rng.uniform(0.01, 0.2), rng.uniform(2, 30)])
        got = ops.image(GAUSSIAN, image, (radius,), sigma)
        compared["gaussian"] = compared.get("gaussian", 0) + 1
        off = 1.0 if got is None else np.abs(got - pictures.gaussian(image, radius, sigma)).max() - 0.5
        worst = max(worst, off)
        failures += off > 1e-3
    print(f"gaussian: at most {max(worst, 0):.2g} of a level beyond rounding")


def centre_crop(image, size):
    """Middle window, halves to even, black where the image is smaller."""
    out = Image.new("RGB", (size, size))
    left, top = round((image.width - size) / 2.0), round((image.height - size) / 2.0)
    at = [0, 0]
    if image.width < size:
        left, at[0] = 0, (size - image.width) // 2
    if image.height < size:
        top, at[1] = 0, (size - image.height) // 2
    out.paste(image.crop((left, top, min(left + size, image.width), min(top + size, image.height))), at)
    return out


def evals(ops, count):
    for _ in range(count):
        image = noise()
        short = rng.choice([32, 37, 64, min(image.size)])
        size = rng.choice([short, short, max(1, short - 5), 28, short + 7])
        long_side = int(short * max(image.size) / min(image.size))
        target = (long_side, short) if image.width >= image.height else (short, long_side)
        want = centre_crop(image if min(image.size) == short else image.resize(target, FILTERS[0]), size)
        same("evaluation", ops.image(EVAL, image, (short, 0, 0, 0, size, size)), want)


def segments(data):
    """Marker segments up to the scan, and the rest."""
    parts, at = [data[:2]], 2
    while data[at + 1] != 0xDA:
        size = 2 + int.from_bytes(data[at + 2:at + 4], "big")
        parts.append(data[at:at + size])
        at += size
    return parts, data[at:]


def with_adobe(data, transform):
    """The file with its colour transform (0 none, 1 YCbCr, 2 YCCK) said by an Adobe segment instead of by JFIF."""
    parts, rest = segments(data)
    parts = [part for part in parts if part[:2] not in (b"\xff\xe0", b"\xff\xee")]
    parts.insert(1, b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform]))
    return b"".join(parts) + rest


def jpegs(ops, count):
    for _ in range(count):
        image = noise()
        mode = rng.choice(["RGB", "RGB", "L", "CMYK"])
        options = {"quality": rng.choice([10, 75, 95, 100]), "progressive": rng.random() < 0.3,
                   "optimize": rng.random() < 0.5}
        if mode == "RGB":
            options["subsampling"] = rng.randrange(3)
        if rng.random() < 0.2:
            options["exif"] = Image.Exif()
            options["exif"][0x0112] = rng.randint(2, 8)  # an orientation, which is ignored
        file = io.BytesIO()
        image.convert(mode).save(file, "JPEG", **options)
        data = file.getvalue()
        if mode != "L" and rng.random() < 0.4:
            transform = rng.choice([0, 1] if mode == "RGB" else [0, 2])
            data, mode = with_adobe(data, transform), mode + " Adobe %d" % transform
        same("decode " + mode, ops(DECODE, data), Image.open(io.BytesIO(data)).convert("RGB"))
    folder = os.path.join(os.environ.get("MOCO_TEST_DATA", "absent"), "photos")
    if not os.path.isdir(folder):
        print("photographs skipped: no MOCO_TEST_DATA/photos")
        return
    for name in rng.sample(sorted(os.listdir(folder)), 20):
        path = os.path.join(folder, name)
        image = Image.open(path).convert("RGB")
        with open(path, "rb") as file:
            same("decode photograph", ops(DECODE, file.read()), image)
        if not pictures.RESAMPLES_ALIKE:
            continue
        want = image.resize((256, 256 * image.height // image.width) if image.width < image.height else
                            (256 * image.width // image.height, 256), FILTERS[0])
        same("evaluate photograph", ops.image(EVAL, image, (256, 0, 0, 0, 224, 224)), centre_crop(want, 224))


def main():
    ops = Ops(sys.argv[1])
    if pictures.RESAMPLES_ALIKE:
        resizes(ops, 1600)
        evals(ops, 400)
    else:
        pictures.other_resampling("resizing and evaluation")
    blends(ops, 300)
    hues(ops, 200)
    blurs(ops, 400)
    gaussians(ops, 80)
    jpegs(ops, 300)
    ops.pipe.stdin.close()
    if ops.pipe.wait() != 0:
        sys.exit("the program failed")
    print("Pillow", pillow_version, compared)
    sys.exit(f"{failures} comparisons differ" if failures else 0)


main()

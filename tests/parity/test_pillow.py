"""Image operations against Pillow: every byte equal.

usage: test_pillow.py PROGRAM   (PROGRAM is image_ops, the library's operations behind a pipe)
Exits 77 (skipped) where Pillow or NumPy is absent. Colour conversions are compared over all 2^24 inputs, everything
else over random sizes and parameters from a fixed seed."""
import io
import os
import random
import struct
import subprocess
import sys

try:
    import numpy as np
    from PIL import Image, ImageEnhance, ImageFile, ImageFilter, ImageOps, __version__ as pillow_version
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

DECODE, RESIZE, GRAY, BRIGHTNESS, CONTRAST, SATURATION, TO_HSV, TO_RGB, HUE, BLUR, FLIP, EVAL = range(12)
BILINEAR = getattr(Image, "Resampling", Image).BILINEAR


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


rng = random.Random(20)
ImageFile.MAXBLOCK = 2 ** 22  # its encoder wants room for a whole optimised scan
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


def noise(width, height):
    """Random pixels; sometimes smooth or of few values, where rounding and clipping matter most."""
    kind = rng.randrange(4)
    r = np.random.RandomState(rng.randrange(2 ** 31))
    a = r.randint(0, 256, (height, width, 3), np.uint8)
    if kind == 1:
        a = np.where(a > 127, 255, 0).astype(np.uint8)
    elif kind == 2:
        a = (a // 8 + 120).astype(np.uint8)
    elif kind == 3:
        a[:, :, 1] = a[:, :, 0]
    return Image.fromarray(a)


def sized():
    pick = rng.randrange(10)
    if pick == 0:
        return 1, rng.randint(1, 40)
    if pick == 1:
        return rng.randint(1, 40), 1
    if pick < 8:
        return rng.randint(1, 80), rng.randint(1, 80)
    return rng.randint(80, 400), rng.randint(80, 400)


def resizes(ops, count):
    for _ in range(count):
        image = noise(*sized())
        w, h = rng.randint(1, image.width), rng.randint(1, image.height)
        x, y = rng.randint(0, image.width - w), rng.randint(0, image.height - h)
        side = rng.choice([32, 32, 16, 224, w, h, rng.randint(1, 100)])
        out = (side, side) if rng.random() < 0.8 else (rng.randint(1, 60), rng.randint(1, 60))
        want = image.crop((x, y, x + w, y + h)).resize(out, BILINEAR)
        same("crop and resize", ops.image(RESIZE, image, (x, y, w, h) + out), want)


def blends(ops, count):
    for _ in range(count):
        image = noise(*sized())
        factor = rng.choice([0.0, 1.0, rng.uniform(0, 1), rng.uniform(0.6, 1.4), rng.uniform(1, 3), rng.uniform(0, 11)])
        same("brightness", ops.image(BRIGHTNESS, image, number=factor), ImageEnhance.Brightness(image).enhance(factor))
        same("contrast", ops.image(CONTRAST, image, number=factor), ImageEnhance.Contrast(image).enhance(factor))
        same("saturation", ops.image(SATURATION, image, number=factor), ImageEnhance.Color(image).enhance(factor))
        same("gray", ops.image(GRAY, image), image.convert("L").convert("RGB"))
        same("flip", ops.image(FLIP, image), ImageOps.mirror(image))


def hue_shift(image, shift):
    h, s, v = image.convert("HSV").split()
    turned = (np.asarray(h).astype(int) + int(shift * 255)) & 255
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), s, v)).convert("RGB")


def hues(ops, count):
    n = np.arange(2 ** 24, dtype=np.uint32)
    every = np.stack([n >> 16, (n >> 8) & 255, n & 255], 1).astype(np.uint8).reshape(4096, 4096, 3)
    same("every RGB to HSV", ops(TO_HSV, every.tobytes(), (4096, 4096)), Image.fromarray(every).convert("HSV"))
    same("every HSV to RGB", ops(TO_RGB, every.tobytes(), (4096, 4096)),
         Image.frombytes("HSV", (4096, 4096), every.tobytes()).convert("RGB"))
    for _ in range(count):
        image = noise(*sized())
        shift = rng.choice([0.0, 0.5, -0.5, rng.uniform(-0.5, 0.5), rng.uniform(-0.1, 0.1), rng.uniform(-0.005, 0.005)])
        same("hue", ops.image(HUE, image, number=shift), hue_shift(image, shift))


def blurs(ops, count):
    for i in range(count):
        image = noise(*sized())
        sigma = 0.01 + i / 1000 if i < 200 else rng.choice([2 ** 0.5, rng.uniform(0.1, 2), rng.uniform(0.1, 2),
                                                            rng.uniform(2, 30), 100.0])
        same("blur", ops.image(BLUR, image, number=sigma), image.filter(ImageFilter.GaussianBlur(sigma)))


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
        image = noise(*sized())
        short = rng.choice([32, 37, 64, min(image.size)])
        size = rng.choice([short, short, max(1, short - 5), 28, short + 7])
        long_side = int(short * max(image.size) / min(image.size))
        target = (long_side, short) if image.width >= image.height else (short, long_side)
        want = centre_crop(image if min(image.size) == short else image.resize(target, BILINEAR), size)
        same("evaluation", ops.image(EVAL, image, (short, 0, 0, 0, size, size)), want)


def jpegs(ops, count):
    for _ in range(count):
        image = noise(*sized())
        mode = rng.choice(["RGB", "RGB", "L", "CMYK"])
        options = {"quality": rng.choice([10, 75, 95, 100]), "progressive": rng.random() < 0.3,
                   "optimize": rng.random() < 0.5}
        if mode == "RGB":
            options["subsampling"] = rng.randrange(3)
        data = io.BytesIO()
        image.convert(mode).save(data, "JPEG", **options)
        same("decode " + mode, ops(DECODE, data.getvalue()), Image.open(io.BytesIO(data.getvalue())).convert("RGB"))
    folder = os.path.join(os.environ.get("MOCO_SOURCE_DIR", "."), "..", "shared", "data", "photos")
    if not os.path.isdir(folder):
        print("photographs skipped: no", folder)
        return
    for name in sorted(os.listdir(folder))[::5]:
        path = os.path.join(folder, name)
        image = Image.open(path).convert("RGB")
        with open(path, "rb") as file:
            same("decode photograph", ops(DECODE, file.read()), image)
        want = image.resize((256, 256 * image.height // image.width) if image.width < image.height else
                            (256 * image.width // image.height, 256), BILINEAR)
        same("evaluate photograph", ops.image(EVAL, image, (256, 0, 0, 0, 224, 224)), centre_crop(want, 224))


def main():
    ops = Ops(sys.argv[1])
    resizes(ops, 2000)
    blends(ops, 400)
    hues(ops, 300)
    blurs(ops, 600)
    evals(ops, 500)
    jpegs(ops, 400)
    ops.pipe.stdin.close()
    if ops.pipe.wait() != 0:
        sys.exit("the program failed")
    print("Pillow", pillow_version, compared)
    sys.exit(f"{failures} comparisons differ" if failures else 0)


main()

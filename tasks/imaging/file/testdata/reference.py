"""What scipy and Pillow make of photographs, to compare the filters with.

Usage: reference.py OUT PHOTO...

For every photo writes OUT/NAME.png, the pixels that libjpeg decodes, and one
OUT/NAME.FILTER.png for each filter. Kernels are written out here or are the
libraries' own; none comes from the program under test.
"""
import pathlib
import sys

import numpy as np
from PIL import Image
from scipy import ndimage


def store(path, pixels):
    rounded = np.clip(np.rint(pixels), 0, 255).astype("uint8")
    Image.fromarray(rounded).save(path, compress_level=1)


def gauss(pixels, sigma):
    # Edge pixels repeated, cut off at three sigma.
    axes = (sigma, sigma) + (0,) * (pixels.ndim - 2)
    return ndimage.gaussian_filter(pixels, axes, mode="nearest", truncate=3)


def reference(photo, stem):
    image = Image.open(photo).convert("RGB")
    image.save(stem + ".png", compress_level=1)
    pixels = np.asarray(image, "float32")
    gray = image.convert("L")
    gray.save(stem + ".grayscale.png", compress_level=1)
    store(stem + ".blur.png", gauss(pixels, 3))
    store(stem + ".sharpen.png", pixels + 1.5 * (pixels - gauss(pixels, 1)))
    luma = np.asarray(gray, "float32")
    across = ndimage.sobel(luma, axis=1, mode="nearest")
    down = ndimage.sobel(luma, axis=0, mode="nearest")
    store(stem + ".edges.png", np.hypot(across, down))
    width, height = image.size
    for name, w in (("shrink", 640), ("enlarge", width + width // 3)):
        h = max(1, (height * w + width // 2) // width)
        image.resize((w, h), Image.LANCZOS).save(f"{stem}.{name}.png", compress_level=1)


def deep(photo, stem):
    """A gray picture of 16 bits that really uses them."""
    luma = np.asarray(Image.open(photo).convert("L"), "float64")
    wide = ndimage.gaussian_filter(luma, 1.5, mode="nearest") * 257
    rounded = np.rint(wide).astype("uint16")
    Image.fromarray(rounded.astype("int32"), "I").save(stem + ".png")
    blurred = ndimage.gaussian_filter(rounded.astype("float64"), 2, mode="nearest", truncate=4)
    Image.fromarray(np.rint(blurred).astype("int32"), "I").save(stem + ".blur.png")


out = pathlib.Path(sys.argv[1])
for name in sys.argv[2:]:
    reference(name, str(out / pathlib.Path(name).stem))
deep(sys.argv[2], str(out / "deep"))

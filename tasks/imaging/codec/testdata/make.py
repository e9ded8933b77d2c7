"""Writes the files beside it, and what Pillow decodes of them: run once by hand.

Needs python3-numpy and python3-pil. The picture is drawn, not photographed.
"""
import numpy as np
from PIL import Image

W, H = 61, 35
y, x = np.mgrid[0:H, 0:W].astype(float)
r = 127 + 120 * np.sin(x / 7) * np.cos(y / 9)
g = np.clip(8 * (x - y) % 255, 0, 255)
b = np.where((x - 30) ** 2 + (y - 17) ** 2 < 120, 230, 255 * y / H)
rgb = np.dstack([r, g * 0.5 + 60, b]).round().astype("uint8")
picture = Image.fromarray(rgb, "RGB")
alpha = np.tile(np.linspace(0, 255, W).astype("uint8"), (H, 1))
veiled = Image.fromarray(np.dstack([rgb, alpha]), "RGBA")


def keep(name, image, mode="RGB", **options):
    image.save(name, **options)
    Image.open(name).convert(mode).save(name + ".png", optimize=True)


for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
    keep(name + ".jpg", picture, quality=92, subsampling=subsampling)
keep("progressive.jpg", picture, quality=92, progressive=True)
keep("cmyk.jpg", picture.convert("CMYK"), quality=92)
keep("lossy.webp", picture, quality=90)
keep("alpha.webp", veiled, mode="RGBA", quality=90)
keep("lossless.webp", veiled, mode="RGBA", lossless=True, exact=True)
small = picture.resize((8, 8))
small.save("animated.webp", save_all=True, append_images=[small.rotate(90)], duration=100)
small.save("animated.png", save_all=True, append_images=[small.rotate(90)], duration=100)

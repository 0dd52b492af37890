"""Makes the pictures in demo/: photographs, a hole, an aerial picture and a drawn electron micrograph.

python demo_pictures.py --aerial DIR    DIR holds "Tile 1" to "Tile 8" (see fetch_aerial.sh)
"""

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from evaluate import ROOT, add_noise, halved, read_scenes


def smooth_noise(rng, shape, sigma):
    """Gaussian noise with features of about `sigma` pixels, scaled to mean 0 and standard deviation 1."""
    noise = gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def place_cells(rng, height, width):
    """Centres and radii of discs that do not overlap, large ones first, also slightly outside the picture."""
    discs = np.empty((0, 3))
    for radius in np.geomspace(48, 6, 4000):
        x, y = rng.uniform(-40, width + 40), rng.uniform(-40, height + 40)
        if np.all(np.hypot(discs[:, 0] - x, discs[:, 1] - y) > 1.05 * (discs[:, 2] + radius)):
            discs = np.vstack([discs, (x, y, radius)])
    return discs


def micrograph(seed, width=384, height=320):
    """HxW bytes that look like a section of nerve tissue: warped cells, dark membranes, organelles, grain."""
    rng = np.random.default_rng(seed)
    shape = (height, width)
    y, x = np.mgrid[:height, :width].astype(float)
    u, v = (grid + 5 * smooth_noise(rng, shape, 14) + 1.2 * smooth_noise(rng, shape, 4) for grid in (x, y))

    discs = place_cells(rng, height, width)
    reach = np.stack([np.hypot(u - cx, v - cy) - radius for cx, cy, radius in discs])
    owner = reach.argmin(axis=0)
    nearest, second = np.partition(reach, 1, axis=0)[:2]
    border = (second - nearest) / 2

    image = 150 + 12 * rng.normal(size=len(discs))[owner] + 16 * smooth_noise(rng, shape, 40)
    image += 17 * smooth_noise(rng, shape, 1.3) + 9 * smooth_noise(rng, shape, 4)

    for cx, cy, radius in discs[discs[:, 2] > 9]:
        for _ in range(rng.poisson(radius / 3)):  # vesicles: small dark rings
            angle, distance = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 0.6))
            r = np.hypot(u - cx - distance * np.cos(angle), v - cy - distance * np.sin(angle))
            image -= rng.uniform(45, 85) * np.exp(-(((r - rng.uniform(0.5, 2.5)) / 1.2) ** 2))
    for cx, cy, radius in discs[discs[:, 2] > 24]:
        if rng.random() < 0.6:  # a mitochondrion: a dark oval with stripes
            angle, size = rng.uniform(0, np.pi), radius * rng.uniform(0.25, 0.4)
            along = (u - cx) * np.cos(angle) + (v - cy) * np.sin(angle)
            across = (v - cy) * np.cos(angle) - (u - cx) * np.sin(angle)
            r = np.hypot(along / 1.4, across) / size
            inside = 1 / (1 + np.exp((r - 1) * size))
            image -= inside * (40 + 26 * np.sin(along * 1.1 + 0.3 * across))
            image -= 45 * np.exp(-(((r - 1) * size / 1.5) ** 2))

    thickness = 2.2 * np.exp(0.22 * smooth_noise(rng, shape, 12))
    membrane = np.exp(-((border / thickness) ** 4)) * (1 + 0.15 * smooth_noise(rng, shape, 5))
    image = gaussian_filter(image - 95 * membrane, 0.8) + rng.normal(0, 9, shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def scratches(width, height):
    """A mask, white in the hole: two scratches and a stain."""
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for points in ([(0.04, 0.2), (0.3, 0.32), (0.52, 0.22), (0.97, 0.4)], [(0.1, 0.95), (0.35, 0.62), (0.6, 0.8)]):
        draw.line([(x * width, y * height) for x, y in points], fill=255, width=9, joint="curve")
    draw.ellipse((0.78 * width, 0.66 * height, 0.88 * width, 0.82 * height), fill=255)
    return np.array(mask)


def main():
    parser = argparse.ArgumentParser(description="Makes the demo pictures.")
    parser.add_argument("--out", type=Path, default=ROOT / "demo")
    parser.add_argument("--aerial", type=Path, required=True, help="folder of the aerial pictures")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    clean = skimage.data.chelsea()[16:272, 40:424]
    scenes = {name: picture for name, picture, _ in read_scenes(args.aerial, held_out=True)}
    rocket = Image.fromarray(skimage.data.rocket()).resize((480, 320), Image.Resampling.LANCZOS)
    portrait = skimage.data.astronaut()[:288, 64:448]
    pictures = {
        "clean.png": clean,
        "noisy.png": add_noise(clean, 25, args.seed),
        "cells.png": micrograph(args.seed),
        "hole.png": scratches(*clean.shape[1::-1]),
        "portrait.png": portrait,
        "small.png": halved(portrait),
        "rocket.jpg": np.array(rocket),
        "aerial.jpg": scenes["tile4-part7"][200:584, 300:812],
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(args.out / name, optimize=True, quality=92)


if __name__ == "__main__":
    main()

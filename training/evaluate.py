"""Measures the two shipped models on pictures that they were not trained on, and prints Markdown tables.

python evaluate.py denoise [--model FILE] [--pictures DIR]
python evaluate.py cells --data DIR [--model FILE] [--pictures DIR]
"""

import argparse
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.datasets
import torch
from PIL import Image

from unet import load

ROOT = Path(__file__).resolve().parent.parent
CELLS_TRAIN, CELLS_HELD_OUT = range(24), range(24, 30)
SIGMAS = (15, 25, 50)


def run(net, x):
    """Runs `net` on a CxHxW array, padded by reflection on the right and below to the size that the network needs."""
    step = 2**net.levels
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (0, -height % step), (0, -width % step)), mode="reflect")
    with torch.inference_mode():
        y = net(torch.from_numpy(padded.astype(np.float32))[None])[0].numpy()
    return y[:, :height, :width]


# Denoising


def held_out_photos():
    """Photographs inside the scikit-image and scikit-learn wheels: name -> HxWx3 bytes."""
    photos = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    photos |= {name: sklearn.datasets.load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    return photos


def add_noise(image, sigma, seed=0):
    """Gaussian noise of standard deviation `sigma` (on the scale 0..255), rounded and clipped to bytes."""
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def denoise(net, image):
    """HxWx3 bytes -> HxWx3 bytes."""
    y = run(net, image.transpose(2, 0, 1) / 255).transpose(1, 2, 0)
    return np.clip(np.rint(y * 255), 0, 255).astype(np.uint8)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))


def denoise_figures(net, pictures=None):
    """Rows (photo, sigma, PSNR of the noisy picture, PSNR of the result); writes noisy | result | clean if asked."""
    rows = []
    for name, clean in held_out_photos().items():
        for sigma in SIGMAS:
            noisy = add_noise(clean, sigma)
            result = denoise(net, noisy)
            rows.append((name, sigma, psnr(noisy, clean), psnr(result, clean)))
            if pictures:
                Image.fromarray(np.hstack([noisy, result, clean])).save(pictures / f"{name}-{sigma}.png")
    return rows


def denoise_table(rows):
    lines = ["| photo | sigma | noisy, dB | denoised, dB | gain, dB |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [f"| {name} | {sigma} | {a:.2f} | {b:.2f} | {b - a:.2f} |" for name, sigma, a, b in rows]
    for sigma in SIGMAS:
        a, b = np.mean([row[2:] for row in rows if row[1] == sigma], axis=0)
        lines.append(f"| **mean** | {sigma} | {a:.2f} | {b:.2f} | {b - a:.2f} |")
    return "\n".join(lines)


# Cells


def read_cells(data, numbers):
    """(images NxHxW bytes, membrane masks NxHxW bool). In the files white is cell, black is membrane."""
    images = [np.array(Image.open(data / "image" / f"{n}.png").convert("L")) for n in numbers]
    labels = [np.array(Image.open(data / "label" / f"{n}.png").convert("L")) for n in numbers]
    return np.stack(images), np.stack(labels) < 128


def membrane(net, recipe, image):
    """HxW bytes -> HxW probability of membrane."""
    spec = recipe["input"]
    return run(net, ((image * spec["scale"] - spec["mean"][0]) / spec["std"][0])[None])[0]


def scores(predicted, truth):
    """(F1, IoU, precision, recall) of the membrane class, over all pixels given."""
    hits = np.count_nonzero(predicted & truth)
    precision, recall = hits / max(1, np.count_nonzero(predicted)), hits / np.count_nonzero(truth)
    f1 = 2 * hits / (np.count_nonzero(predicted) + np.count_nonzero(truth))
    return f1, f1 / (2 - f1), precision, recall


def cells_figures(net, recipe, data, pictures=None):
    """Rows (picture number, F1, IoU, precision, recall); writes image | mask | label if asked."""
    rows = []
    for number, image, truth in zip(CELLS_HELD_OUT, *read_cells(data, CELLS_HELD_OUT), strict=True):
        mask = membrane(net, recipe, image) > recipe["output"]["threshold"]
        rows.append((number, *scores(mask, truth)))
        if pictures:
            panels = [image, np.where(mask, 0, 255), np.where(truth, 0, 255)]
            Image.fromarray(np.hstack(panels).astype(np.uint8)).save(pictures / f"cells-{number}.png")
    return rows


def cells_table(rows):
    lines = ["| picture | F1 | IoU | precision | recall |", "| --- | ---: | ---: | ---: | ---: |"]
    mean = ("**mean**", *np.mean([row[1:] for row in rows], axis=0))
    lines += [f"| {row[0]} | " + " | ".join(f"{v:.3f}" for v in row[1:]) + " |" for row in [*rows, mean]]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Measures a model on held-out pictures.")
    parser.add_argument("task", choices=["denoise", "cells"])
    parser.add_argument("--model", type=Path, help="default: models/TASK.safetensors")
    parser.add_argument("--data", type=Path, help="folder with image/ and label/ (cells)")
    parser.add_argument("--pictures", type=Path, help="write comparison pictures into this folder")
    args = parser.parse_args()
    net, recipe = load(args.model or ROOT / "models" / f"{args.task}.safetensors")
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    if args.task == "denoise":
        print(denoise_table(denoise_figures(net, args.pictures)))
    elif args.data:
        print(cells_table(cells_figures(net, recipe, args.data, args.pictures)))
    else:
        parser.error("cells needs --data")


if __name__ == "__main__":
    main()

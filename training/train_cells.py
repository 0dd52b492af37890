"""Trains models/cells.safetensors: cell membranes in electron micrographs.

python train_cells.py --data DIR    DIR holds image/0.png .. image/29.png and label/ likewise (ISBI 2012)
"""

import datetime
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from evaluate import CELLS_TRAIN, cells_figures, cells_table, membrane, read_cells, scores
from trainer import options, train
from unet import CELLS


def warp_grid(rng, crop, height, width):
    """Sampling grid of a random crop: rotated, scaled, mirrored and deformed by a few pixels."""
    angle, scale = rng.uniform(0, 2 * math.pi), math.exp(rng.uniform(-0.3, 0.3))
    matrix = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix[:, 0] *= rng.choice([-1, 1])
    ramp = torch.arange(crop) - (crop - 1) / 2
    offset = torch.stack(torch.meshgrid(ramp, ramp, indexing="xy"), dim=-1)
    knots = torch.from_numpy(rng.normal(0, rng.uniform(0, 6), (1, 2, 5, 5)).astype(np.float32))
    offset += F.interpolate(knots, size=(crop, crop), mode="bicubic", align_corners=True)[0].permute(1, 2, 0)
    size = torch.tensor([width, height])
    centre = torch.from_numpy(rng.uniform(0, 1, 2).astype(np.float32)) * size
    return 2 * (offset @ matrix.T + centre) / size - 1


def change_light(rng, image):
    """Random focus, contrast, brightness, gamma, uneven light and grain for an image in 0..1 (1xHxW)."""
    if rng.random() < 0.4:
        sigma = rng.uniform(0.4, 1.3)
        taps = torch.exp(-torch.arange(-4, 5).square() / (2 * sigma**2))
        taps /= taps.sum()
        padded = F.pad(image[None], (4, 4, 4, 4), mode="reflect")
        image = F.conv2d(F.conv2d(padded, taps.view(1, 1, 1, 9)), taps.view(1, 1, 9, 1))[0]
    image = (image - 0.5) * math.exp(rng.uniform(-0.4, 0.4)) + 0.5 + rng.uniform(-0.12, 0.12)
    shade = torch.from_numpy(rng.normal(0, rng.uniform(0, 0.06), (1, 1, 3, 3)).astype(np.float32))
    image = image + F.interpolate(shade, size=image.shape[1:], mode="bicubic", align_corners=True)[0]
    image = image.clamp(0, 1) ** math.exp(rng.uniform(-0.3, 0.3))
    grain = rng.normal(0, rng.uniform(0, 0.08), image.shape).astype(np.float32)
    return (image + torch.from_numpy(grain)).clamp(0, 1)


def sample(rng, images, masks, crop):
    number = rng.integers(len(images))
    pair = torch.stack([images[number], masks[number]])[None]
    grid = warp_grid(rng, crop, *images.shape[1:])[None]
    image, mask = F.grid_sample(pair, grid, padding_mode="reflection", align_corners=False)[0]
    return change_light(rng, image[None]), (mask[None] > 0.5).float()


def loss_of(logits, target):
    """Binary cross-entropy plus Dice."""
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * target).sum() / (probability.sum() + target.sum())
    return F.binary_cross_entropy_with_logits(logits, target) + 1 - overlap


def best_threshold(net, recipe, images, masks):
    """The threshold with the best F1 over the training pictures."""
    probability = np.stack([membrane(net, recipe, image) for image in images])
    thresholds = np.arange(0.2, 0.81, 0.02)
    return round(float(max(thresholds, key=lambda t: scores(probability > t, masks)[0])), 2)


def export(net, args, mean, std, step):
    """Writes the model and returns a table of its figures on the held-out pictures."""
    images, masks = read_cells(args.data, CELLS_TRAIN)
    recipe = {
        "task": "segment",
        "description": "Cell membranes in grey electron micrographs of nerve tissue, about 4 nm a pixel: "
                       "class 1 is membrane, class 0 the inside of a cell.",
        "license": "MIT OR Apache-2.0; its training data is offered for non-commercial software, see models/README.md",
        "training": "",
        "input": {"channels": "gray", "scale": 1 / 255, "mean": [mean], "std": [std]},
        "output": {
            "decode": "mask", "threshold": 0.5,
            "classes": [{"name": "cell", "color": [0, 0, 0]}, {"name": "membrane", "color": [230, 60, 60]}],
        },
        "pad": "reflect",
    }
    recipe["output"]["threshold"] = best_threshold(net, recipe, images, masks)
    rows = cells_figures(net, recipe, args.data)
    f1 = np.mean([row[1] for row in rows])
    recipe["training"] = (
        "ISBI 2012 EM segmentation challenge stack (Drosophila ventral nerve cord, serial section TEM; Cardona et al. "
        "2010; offered 'for the purpose of generating or testing non-commercial image segmentation software'), "
        "pictures 0-23 of the copy in github.com/zhixuhao/unet. "
        f"{step} steps of {args.batch} crops of {args.crop}x{args.crop}, BCE + Dice, Adam, seed {args.seed}, "
        f"{datetime.date.today()}. Held-out pictures 24-29: mean membrane F1 {f1:.3f}."
    )
    net.export(args.out, recipe)
    return cells_table(rows)


def main():
    parser = options("cells", steps=4500, batch=4, crop=192)
    parser.add_argument("--data", type=Path, required=True, help="folder with image/ and label/")
    args = parser.parse_args()
    images, masks = read_cells(args.data, CELLS_TRAIN)
    mean, std = round(float(images.mean() / 255), 4), round(float(images.std() / 255), 4)
    images, masks = torch.from_numpy(images / np.float32(255)), torch.from_numpy(masks).float()

    def loss(net, rng):
        batch, targets = map(torch.stack, zip(*(sample(rng, images, masks, args.crop) for _ in range(args.batch))))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net.logits(((batch - mean) / std).contiguous(memory_format=torch.channels_last))
        return loss_of(logits.float(), targets)

    train(CELLS, args, loss, lambda net, step: export(net, args, mean, std, step), freeze_norms_at=0.8)


if __name__ == "__main__":
    main()

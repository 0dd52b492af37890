"""Trains models/scene.safetensors: water, land, road, building and vegetation in aerial pictures.

python train_scene.py --data DIR    DIR holds "Tile 1" to "Tile 8" (see fetch_aerial.sh)
"""

import datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from evaluate import SCENE_CLASSES, SCENE_VOID, read_scenes, scene_figures, table
from trainer import options, train
from unet import SCENE


def sample(rng, scenes, crop):
    """A crop of 0.5 to 1.3 times the pictures' scale, turned, mirrored, with other light: (CxHxW in 0..1, HxW)."""
    _, picture, labels = scenes[rng.integers(len(scenes))]
    side = min(round(crop / rng.uniform(0.5, 1.3)), *labels.shape)
    y, x = (rng.integers(length - side + 1) for length in labels.shape)

    def part(array, filter):
        image = Image.fromarray(array[y : y + side, x : x + side])
        return np.array(image.resize((crop, crop), filter))

    picture, labels = part(picture, Image.Resampling.BILINEAR), part(labels, Image.Resampling.NEAREST)
    turns, mirror = rng.integers(4), rng.choice([-1, 1])
    picture, labels = (np.rot90(array, turns)[::mirror] for array in (picture, labels))
    light = (picture / np.float32(255)) ** rng.uniform(0.75, 1.35) * rng.uniform(0.85, 1.15, 3)
    light = np.ascontiguousarray(light.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(light), torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64))


def main():
    parser = options("scene", steps=8000, batch=4, crop=160, rate=2e-3)
    parser.add_argument("--data", type=Path, required=True, help="folder of the aerial pictures")
    args = parser.parse_args()
    scenes = read_scenes(args.data, held_out=False)
    pixels = np.concatenate([picture.reshape(-1, 3) for _, picture, _ in scenes]) / np.float32(255)
    mean, std = (values.round(4).tolist() for values in (pixels.mean(axis=0), pixels.std(axis=0)))
    shares = sum(np.bincount(labels.ravel(), minlength=256)[: len(SCENE_CLASSES)] for *_, labels in scenes)
    # Rare classes count more, by the square root of their rarity.
    weights = torch.tensor(np.sqrt(np.median(shares) / shares), dtype=torch.float32)
    normalise = [torch.tensor(values)[:, None, None] for values in (mean, std)]

    def loss_of(net, rng):
        pictures, labels = map(torch.stack, zip(*(sample(rng, scenes, args.crop) for _ in range(args.batch))))
        x = (pictures - normalise[0]) / normalise[1]
        logits = net.logits(x.contiguous(memory_format=torch.channels_last))
        return F.cross_entropy(logits, labels, weights, ignore_index=SCENE_VOID)

    def report(net, step):
        recipe = {
            "task": "segment",
            "description": "Water, land, roads, buildings and vegetation in aerial pictures of a desert city.",
            "license": "MIT OR Apache-2.0",
            "input": {"channels": "rgb", "scale": 1 / 255, "mean": mean, "std": std},
            "output": {
                "decode": "mask",
                "classes": [{"name": name, "color": list(color)} for name, (_, color) in SCENE_CLASSES.items()],
                "background": "none",
            },
            "pad": "reflect",
        }
        rows = scene_figures(net, recipe, args.data)
        majority, miou = np.mean([row[1:] for row in rows], axis=0)
        recipe["training"] = (
            "Semantic Segmentation of Aerial Imagery (Humans in the Loop and Mohammed Bin Rashid Space Centre, CC0-1.0), "
            f"{len(scenes)} of 72 pictures of Dubai. {step} steps of {args.batch} crops of {args.crop}x{args.crop}, "
            f"weighted cross-entropy, Adam, seed {args.seed}, {datetime.date.today()}. The 16 other pictures: mean IoU "
            f"{miou:.3f}, of the most frequent class everywhere {majority:.3f}."
        )
        net.export(args.out, recipe, half=True)
        return table(["class", "majority class, IoU", "IoU"], rows, digits=3)

    train(SCENE, args, loss_of, report, freeze_norms_at=0.8)


if __name__ == "__main__":
    main()

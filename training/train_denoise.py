"""Trains models/denoise.safetensors: Gaussian noise of unknown strength in RGB photographs.

python train_denoise.py --photos DIR    DIR holds the files of photos.txt (see fetch_photos.sh)
"""

import argparse
import datetime
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from evaluate import ROOT, denoise_figures, denoise_table
from unet import DENOISE, Average, UNet

LONGER_SIDES = (600, 900, 1300)


def read_photos(folder):
    """Each photograph of photos.txt at several sizes: a list of lists of HxWx3 bytes."""
    photos = []
    for line in tqdm(Path(__file__).with_name("photos.txt").read_text().split(), desc="photos"):
        photo = Image.open(folder / line).convert("RGB")
        sizes = [min(1, side / max(photo.size)) for side in LONGER_SIDES]
        photos.append([
            np.array(photo.resize([round(size * n) for n in photo.size], Image.Resampling.LANCZOS)) for size in sizes
        ])
    return photos


def random_crop(rng, photo, crop):
    y, x = rng.integers(photo.shape[0] - crop + 1), rng.integers(photo.shape[1] - crop + 1)
    return photo[y : y + crop, x : x + crop]


def sample(rng, photos, crop):
    """(clean, noisy) CxHxW in 0..1: the more detailed of two random crops."""
    sizes = photos[rng.integers(len(photos))]
    photo = sizes[rng.integers(len(sizes))]
    clean = max((random_crop(rng, photo, crop) for _ in range(2)), key=np.std)
    clean = np.rot90(clean, rng.integers(4))[:: rng.choice([-1, 1])][..., rng.permutation(3)]
    clean = np.ascontiguousarray(clean.transpose(2, 0, 1), dtype=np.float32)
    noisy = clean + rng.uniform(0, 50) * rng.standard_normal(clean.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noisy = np.clip(np.rint(noisy), 0, 255)
    return torch.from_numpy(clean / 255), torch.from_numpy(noisy / 255)


def export(net, args, step):
    """Writes the model and returns its figures on the held-out photographs."""
    rows = denoise_figures(net)
    before, after = np.mean([row[2:] for row in rows if row[1] == 25], axis=0)
    net.export(args.out, {
        "task": "denoise",
        "description": "Takes Gaussian noise of unknown strength (sigma 0 to 50 of 255) out of RGB photographs.",
        "license": "MIT OR Apache-2.0",
        "training": (
            "33 photographs from the Debian 12 packages lomiri-wallpapers (CC0-1.0, CC-BY-4.0, CC-BY-SA-3.0, "
            "CC-BY-SA-4.0), mate-backgrounds (GPL-2+) and plasma-workspace-wallpapers (GPL-2+, LGPL-3), scaled to "
            "longer sides of 600, 900 and 1300; Gaussian noise of sigma 0-50, half of it rounded and clipped to bytes. "
            f"{step} steps of {args.batch} crops of {args.crop}x{args.crop}, Charbonnier loss, Adam, seed {args.seed}, "
            f"{datetime.date.today()}. Six held-out photographs at sigma 25: mean PSNR {before:.2f} -> {after:.2f} dB."
        ),
        "input": {"channels": "rgb", "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "output": {"decode": "image", "scale": 255.0},
        "pad": "reflect",
    })
    return rows


def main():
    parser = argparse.ArgumentParser(description="Trains the denoising model.")
    parser.add_argument("--photos", type=Path, required=True, help="folder that fetch_photos.sh filled")
    parser.add_argument("--out", type=Path, default=ROOT / "models" / "denoise.safetensors")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--crop", type=int, default=80)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=2000, help="steps between exports")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)

    photos = read_photos(args.photos)
    net = UNet(DENOISE).to(memory_format=torch.channels_last).train()
    average = Average(net, decay=0.998)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.rate, betas=(0.9, 0.99))
    warm_up, frozen_from = 100, int(0.7 * args.steps)
    for step in (bar := tqdm(range(1, args.steps + 1), mininterval=10)):
        if step == frozen_from:
            net.freeze_norms()
        rate = min(step / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / args.steps))
        optimizer.param_groups[0]["lr"] = args.rate * rate
        clean, noisy = map(torch.stack, zip(*(sample(rng, photos, args.crop) for _ in range(args.batch))))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net.logits(noisy.contiguous(memory_format=torch.channels_last))
        loss = ((noisy + logits.float() - clean).square() + 1e-6).sqrt().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update(net)
        bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        if step % args.save_every == 0 or step == args.steps:
            bar.write(f"step {step}\n{denoise_table(export(average.net, args, step))}")


if __name__ == "__main__":
    main()

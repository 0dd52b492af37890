"""Trains models/denoise.safetensors: Gaussian noise of unknown strength in RGB photographs.

python train_denoise.py --photos DIR    DIR holds the files of photos.txt (see fetch_photos.sh)
"""

import datetime
from pathlib import Path

import numpy as np
import torch

from evaluate import denoise_figures, denoise_table
from trainer import PHOTOS, charbonnier, detailed_crop, options, photo_recipe, read_photos, train
from unet import DENOISE


def sample(rng, photos, crop):
    """(clean, noisy) CxHxW in 0..1."""
    clean = detailed_crop(rng, photos, crop)[..., rng.permutation(3)]
    clean = np.ascontiguousarray(clean.transpose(2, 0, 1), dtype=np.float32)
    noisy = clean + rng.uniform(0, 50) * rng.standard_normal(clean.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noisy = np.clip(np.rint(noisy), 0, 255)
    return torch.from_numpy(clean / 255), torch.from_numpy(noisy / 255)


def export(net, args, step):
    """Writes the model and returns a table of its figures on the held-out photographs."""
    rows = denoise_figures(net)
    before, after = np.mean([row[2:] for row in rows if row[1] == 25], axis=0)
    training = (
        f"{PHOTOS}, scaled to longer sides of 600, 900 and 1300; Gaussian noise of sigma 0-50, half of it rounded and "
        "clipped to bytes. "
        f"{step} steps of {args.batch} crops of {args.crop}x{args.crop}, Charbonnier loss, Adam, seed {args.seed}, "
        f"{datetime.date.today()}. Six held-out photographs at sigma 25: mean PSNR {before:.2f} -> {after:.2f} dB."
    )
    description = "Takes Gaussian noise of unknown strength (sigma 0 to 50 of 255) out of RGB photographs."
    net.export(args.out, photo_recipe("denoise", description, training))
    return denoise_table(rows)


def main():
    parser = options("denoise", steps=10000, batch=12, crop=80)
    parser.add_argument("--photos", type=Path, required=True, help="folder that fetch_photos.sh filled")
    args = parser.parse_args()
    photos = read_photos(args.photos, longer_sides=(600, 900, 1300))

    def loss_of(net, rng):
        clean, noisy = map(torch.stack, zip(*(sample(rng, photos, args.crop) for _ in range(args.batch))))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net.logits(noisy.contiguous(memory_format=torch.channels_last))
        return charbonnier(noisy + logits.float(), clean)

    train(DENOISE, args, loss_of, lambda net, step: export(net, args, step), freeze_norms_at=0.7)


if __name__ == "__main__":
    main()

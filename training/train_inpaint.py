"""Trains models/inpaint.safetensors: holes in RGB photographs.

python train_inpaint.py --photos DIR    DIR holds the files of photos.txt (see fetch_photos.sh)
"""

import datetime
from pathlib import Path

import cv2
import numpy as np
import torch

from evaluate import inpaint_figures, random_strokes, table
from trainer import PHOTOS, ROOT, detailed_crop, options, photo_recipe, planes, read_photos, train
from unet import INPAINT, load


def main():
    parser = options("inpaint", steps=3000, batch=16, crop=64)
    parser.add_argument("--photos", type=Path, required=True, help="folder that fetch_photos.sh filled")
    args = parser.parse_args()
    photos = read_photos(args.photos, longer_sides=(600, 900))

    def sample(rng):
        """(picture, mask, weights of its pixels): pixels near known ones count most, because they can be predicted."""
        mask = random_strokes(rng, args.crop, args.crop, widths=(3, 20))
        weights = mask * 0.93 ** cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        return planes(detailed_crop(rng, photos, args.crop)), torch.from_numpy(mask)[None], torch.from_numpy(weights)[None]

    def loss_of(net, rng):
        target, hole, weights = (torch.stack(parts).float() for parts in zip(*(sample(rng) for _ in range(args.batch))))
        x = torch.cat([target * (1 - hole), hole], dim=1).contiguous(memory_format=torch.channels_last)
        # Squares: an edge that goes on across a stroke is rare but large, and an absolute error would not follow it.
        return ((net(x) - target).square() * weights).sum() / (3 * weights.sum())

    @torch.no_grad()
    def start_from(net):
        """Takes over what `denoise` knows about edges and textures. The mask counts for nothing at first."""
        known = load(ROOT / "models" / "denoise.safetensors")[0].state_dict()
        first = known["enc1.conv1.weight"]
        known["enc1.conv1.weight"] = torch.cat([first, torch.zeros_like(first[:, :1])], dim=1)
        known["output.weight"] *= 0.1
        net.load_state_dict(known)

    def report(net, step):
        rows = inpaint_figures(net)
        telea, result = np.mean([row[1:] for row in rows], axis=0)
        training = (
            f"{PHOTOS}, scaled to longer sides of 600 and 900, with strokes and rectangles cut out. "
            f"{step} steps of {args.batch} crops of {args.crop}x{args.crop}, Adam, "
            f"seed {args.seed}, {datetime.date.today()}. Six held-out photographs, inside the holes: mean PSNR "
            f"{result:.2f} dB, Telea's method {telea:.2f} dB."
        )
        description = "Fills holes of up to about 60 pixels' width in RGB photographs."
        net.export(args.out, photo_recipe("inpaint", description, training, mask={}))
        return table(["photo", "Telea, dB", "inpainted, dB", "gain, dB"], [(*row, row[2] - row[1]) for row in rows])

    train(INPAINT, args, loss_of, report, freeze_norms_at=0.8, start_from=start_from)


if __name__ == "__main__":
    main()

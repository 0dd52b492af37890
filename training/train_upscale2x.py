"""Trains models/upscale2x.safetensors: RGB photographs at twice their height and width.

python train_upscale2x.py --photos DIR    DIR holds the files of photos.txt (see fetch_photos.sh)
"""

import datetime
from pathlib import Path

import numpy as np
import torch

from evaluate import halved, table, upscale_figures
from trainer import PHOTOS, charbonnier, detailed_crop, options, photo_recipe, planes, read_photos, train
from unet import UPSCALE2X


def main():
    parser = options("upscale2x", steps=4500, batch=12, crop=96)
    parser.add_argument("--photos", type=Path, required=True, help="folder that fetch_photos.sh filled")
    args = parser.parse_args()
    photos = read_photos(args.photos, longer_sides=(600, 900))

    def loss_of(net, rng):
        large = [detailed_crop(rng, photos, args.crop)[..., rng.permutation(3)] for _ in range(args.batch)]
        small = torch.stack([planes(halved(picture)) for picture in large])
        return charbonnier(net(small.contiguous(memory_format=torch.channels_last)), torch.stack(list(map(planes, large))))

    def report(net, step):
        rows = upscale_figures(net)
        bicubic, result = np.mean([row[1:] for row in rows], axis=0)
        training = (
            f"{PHOTOS}, scaled to longer sides of 600 and 900, halved with Pillow's bicubic filter. "
            f"{step} steps of {args.batch} crops of {args.crop}x{args.crop}, Charbonnier loss, Adam, "
            f"seed {args.seed}, {datetime.date.today()}. Six held-out photographs: mean PSNR {result:.2f} dB, "
            f"bicubic {bicubic:.2f} dB."
        )
        description = "Doubles the height and width of RGB photographs that were scaled down by a bicubic filter."
        net.export(args.out, photo_recipe("upscale", description, training))
        return table(["photo", "bicubic, dB", "upscaled, dB", "gain, dB"], [(*row, row[2] - row[1]) for row in rows])

    train(UPSCALE2X, args, loss_of, report)


if __name__ == "__main__":
    main()

